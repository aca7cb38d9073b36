"""The profile as a user meets it, and what it makes of a variant that is broken on purpose."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result
from repeat_session import RepeatSession

from adcvsr.bundle import open_bundle
from adcvsr.calibration.profile import over_time, page
from adcvsr.calibration.profile import run as profile_run
from adcvsr.calibration.profile.page_first import speed_part
from adcvsr.calibration.profile.request import Clip
from adcvsr.cli import profile as profile_command
from adcvsr.cli.commands import cli
from adcvsr.errors import OutputNotWritableError, UnreadableVideoError
from adcvsr.pictures.clips import write_clip
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.runtime.bench import bench
from adcvsr.runtime.proof.colours import NAMED
from held_colours import hold_few_colours
from variant_bundle import add_variant, break_layer, copy_of_nano, load, quantize

BROKEN = "unet.down_blocks.0.resnets.2.conv1/Conv"

pytest.importorskip("onnx", reason="variants are made with onnx")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["profile", "--no-statement", *map(str, arguments)])


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped network with an INT8 variant, and one with a wrong scale in it."""
    work = tmp_path_factory.mktemp("profile")
    path = copy_of_nano(work / "nano")
    model = quantize(path, work)
    add_variant(path, "int8-ort", model)
    add_variant(path, "int8-onnx", break_layer(model, BROKEN, 4.0))
    return path


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips of different sizes, and one too short."""
    folder = tmp_path_factory.mktemp("clips")
    write_clip(folder / "a.mp4", draw_clip(12, 128, 192))
    write_clip(folder / "b.mp4", draw_clip(9, 96, 96))
    write_clip(folder / "short.mp4", draw_clip(3, 96, 96))
    return folder


@pytest.fixture(scope="module")
def profiled(
    bundle: Path, clips: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Result, Path]:
    folder = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        hold_few_colours(patch)  # `test_colours` runs all of them
        done = run(
            bundle, "--clips", clips, "--truth", "--variant", "fp32-onnx,int8-ort,int8-onnx",
            "--metrics", "psnr,haarpsi", "--max-side", "48", "--drift-frames", "70",
            "--duration", "0.2", "-o", folder / "report.html", "--trace", folder / "trace.json",
        )  # fmt: skip
    assert done.exit_code == 0, f"{done.output}{done.exception!r}"
    return done, folder


@pytest.fixture(scope="module")
def facts(profiled: tuple[Result, Path]) -> Any:
    return json.loads((profiled[1] / "report.json").read_text())


def test_the_page_begins_with_what_decides(profiled: tuple[Result, Path]) -> None:
    """The worst crop under a wipe and all variants by quality and speed, before any table."""
    page = (profiled[1] / "report.html").read_text()
    first, rest = page.split("<h2>1. Figures</h2>")
    assert first.index("The picture that decides") < first.index("Quality against speed")
    assert 'class="wipe crop"' in first
    assert first.count("<circle") == 3  # fp32-onnx, int8-ort, int8-onnx
    colours = f"worst of {len(NAMED)} flat colours"
    assert colours not in rest.split("</table>")[0]
    assert colours in rest


def test_a_wrong_scale_is_found(facts: Any) -> None:
    """The broken layer heads the list, the layers after it are not blamed, and the answer is no."""
    first, second, *_ = facts["layers"]["variants"]["int8-onnx"]["layers"]
    assert first["layer"] == BROKEN
    assert first["isolated_db"] < 0
    assert first["damage_per_ms"] > 10 * second["damage_per_ms"]
    assert first["picture_db"] < 25 < second["picture_db"]
    after = {row["layer"]: row for row in facts["layers"]["variants"]["int8-onnx"]["layers"]}
    heir = after["unet.down_blocks.0.resnets.2.conv2/Conv"]
    assert heir["isolated_db"] > 20 > heir["accumulated_db"]

    judged = {each["variant"]: each for each in facts["verdict"]["judgements"]}
    assert not judged["int8-onnx"]["good"]
    assert facts["verdict"]["ship"] != "int8-onnx"
    assert "No to int8-onnx" in facts["verdict"]["lines"][1]
    assert BROKEN in facts["verdict"]["lines"][1]


def test_a_sound_variant_has_no_such_layer(facts: Any) -> None:
    rows = facts["layers"]["variants"]["int8-ort"]["layers"]
    assert len(rows) == 12
    assert min(row["isolated_db"] for row in rows) > 15
    for row in rows:
        assert row["accumulated_db"] < row["isolated_db"] + 3
        assert row["reference_ms"] >= 0
    assert sum(row["reference_ms"] for row in rows) > 0.1


def test_figures_of_the_table(facts: Any) -> None:
    exact, sound, broken = facts["table"]
    assert exact["psnr_db"] is None
    assert sound["psnr_db"] > 30 > broken["psnr_db"]
    assert sound["to_truth"]["psnr"] == pytest.approx(
        exact["to_truth"]["psnr"] - sound["truth_loss_db"]
    )
    assert sound["to_reference"]["haarpsi"] > broken["to_reference"]["haarpsi"]
    assert sound["worst_frame_db"] <= sound["psnr_db"]
    assert not sound["drifts"]
    assert facts["over_time"]["variants"]["int8-ort"]["drift"]["frames"] <= 70
    assert facts["bench"]["variants"][0]["start"]["memory_bytes"] > 20e6


def test_ranges_hold_what_was_calibrated(facts: Any) -> None:
    ranges = facts["layers"]["variants"]["int8-ort"]["ranges"]
    assert {"relu", "add_41"} <= {each["tensor"] for each in ranges}
    for each in ranges:
        assert each["bits"] == 8
        assert 0 <= each["clipped"] < 0.05


class Reader(HTMLParser):
    """Checks that tags close, and collects what the page would fetch."""

    VOID = frozenset({"meta", "img", "input", "br", "link"})

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.outside: list[str] = []
        self.svgs = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.svgs += tag == "svg"
        for key, value in attrs:
            if key in ("src", "href") and not (value or "").startswith("data:"):
                self.outside.append(value or "")
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag


def test_the_page_needs_nothing_else(profiled: tuple[Result, Path]) -> None:
    text = (profiled[1] / "report.html").read_text()
    reader = Reader()
    reader.feed(text)
    assert not reader.stack
    assert not reader.outside
    assert "@import" not in text
    assert not re.search(r"url\(", text)
    assert reader.svgs >= 6
    assert len(text) < 5e6
    assert "nan" not in re.sub(r"base64,[^\"]*", "", text).lower().split()
    assert not re.search(r'points="[^"]*nan', text)
    for heading in ("1. Figures", "2. Layers", "3. Pictures", "4. Plots", "5. How it was measured"):
        assert heading in text


def test_lines_say_what_was_left_out(profiled: tuple[Result, Path]) -> None:
    output = profiled[0].output
    assert "'short.mp4' left out: 3 frames, needs 8" in output
    assert "clips of different sizes (24x24, 48x32)" in output
    assert "no drift" not in output  # 70 frames are three rounds of a clip of 12
    assert "Ship " in output


def test_the_trace_has_frames_and_layers(profiled: tuple[Result, Path]) -> None:
    events = json.loads((profiled[1] / "trace.json").read_text())["traceEvents"]
    tracks = {e["args"]["name"] for e in events if e["name"] == "thread_name"}
    assert {"fp32-onnx", "int8-ort", "layers int8-ort on ort-cpu"} <= tracks
    assert sum(e["name"] == "frame" for e in events) == 3 * (12 + 9)


@pytest.fixture
def no_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Starts, each a process of its own, are measured for the page above."""
    found = {"load_seconds": 0.2, "first_frame_ms": 9.0, "memory_bytes": 90_000_000}
    monkeypatch.setattr(bench, "measure_start", lambda *_: found)


@pytest.mark.usefixtures("few_colours", "no_start")
def test_no_truth_and_one_variant(clips: Path, tmp_path: Path) -> None:
    """The shipped bundle as it comes: nothing to compare, and the page says so instead of plots."""
    bundle = copy_of_nano(tmp_path / "nano")
    page = tmp_path / "one.html"
    done = run(
        bundle, "--clips", clips / "a.mp4", clips / "b.mp4", "--max-side", "32",
        "--duration", "0.1", "--metrics", "psnr", "-o", page,
    )  # fmt: skip
    assert done.exit_code == 0, f"{done.output}{done.exception!r}"
    assert "has one variant that runs here" in done.output
    assert re.search(r"one\.html \(\d+ kB\)", done.output.replace("\n", ""))
    text = page.read_text()
    assert "one variant alone cannot be compared" in text
    assert text.count("<svg") == 1  # latency
    found = json.loads(page.with_suffix(".json").read_text())
    assert len(found["clips"]) == 2
    assert found["clips"][0]["to_truth"] == {}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--variant", "fp32,fp16"], "no variant 'fp16'"),
        (["-o", "report.pdf"], "ending in .html"),
        (["-o", "nowhere/report.html"], "does not exist; create it first"),
        (["--metrics", "psnrr"], "did you mean 'psnr'"),
        (["--beside", "nano"], "give --truth"),
        (["--truth", "--beside", "nowhere/none"], "nowhere/none"),
    ],
)
def test_bad_input(
    bundle: Path,
    clips: Path,
    arguments: list[str],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Refused before minutes of measuring."""
    monkeypatch.setattr(profile_run, "measure_clip", lambda *_: pytest.fail("measured"))
    done = run(bundle, "--clips", clips / "a.mp4", *arguments)
    assert done.exit_code != 0
    assert says in f"{done.output}{done.exception}"


@pytest.mark.parametrize("as_json", [False, True])
def test_a_full_disk_costs_one_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    """What took minutes is printed, and all that can be written is; stdout is JSON where asked."""
    found = SimpleNamespace(
        statements=[], to_json=dict, facts={"verdict": {"lines": ["Ship int8-ort."]}}
    )
    stored: list[str] = []

    def full(*_: Any) -> int:
        raise OutputNotWritableError("no space left for the page")

    monkeypatch.setattr(profile_run, "run_profile", lambda *_, **__: found)
    monkeypatch.setattr(page, "write_page", full)
    monkeypatch.setattr(profile_command, "_store", lambda *_: stored.append("statements"))
    monkeypatch.setattr(profile_command, "_require_own", lambda _: None)
    arguments = ["--clips", str(tmp_path), "--store", "-o", str(tmp_path / "p.html")]
    done = CliRunner().invoke(cli, ["profile", "nano", *arguments, *["--json"] * as_json])
    assert isinstance(done.exception, OutputNotWritableError)
    assert done.stdout.strip() == ("{}" if as_json else "Ship int8-ort.")
    assert json.loads((tmp_path / "p.json").read_text()) == {}
    assert stored == ["statements"]


def test_quality_is_drawn_over_times_that_mean_something() -> None:
    """Without PSNR nothing, which is said; over CPU time where wall times are worthless."""
    rows: list[dict[str, Any]] = [
        {"name": name, "fps": fps, "cpu_fps": 4.0 * fps, "quality": None}
        for name, fps in (("fp32-onnx", 9.0), ("int8-ort", 12.0))
    ]
    facts: dict[str, Any] = {"overview": {"rows": rows, "quality": "PSNR-Y, dB", "note": ""}}
    facts["verdict"] = {"basis": "wall"}
    drawn = speed_part(facts)
    assert "PSNR here, which is not among the measures" in drawn
    assert "<svg" not in drawn

    for row, quality in zip(rows, (33.0, 32.9), strict=True):
        row["quality"] = quality
    assert "<title>int8-ort: 12.0, 32.90</title>" in speed_part(facts)
    facts["verdict"] = {"basis": "cpu"}
    drawn = speed_part(facts)
    assert "<title>int8-ort: 48.0, 32.90</title>" in drawn
    assert "Frames a processor-second on these clips" in drawn
    assert "other work made wall times worthless" in drawn


def test_a_clip_that_is_cut_meanwhile_costs_the_statement_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All else was measured by then, and is not lost."""

    def cut(*_: object, **__: object) -> None:
        raise UnreadableVideoError("'a.mp4' ends before frame 9")

    monkeypatch.setattr(profile_run, "make_statements", cut)
    monkeypatch.setattr(profile_run, "find_clips", lambda *_: [])
    nano = open_bundle("nano")
    sessions = [RepeatSession(nano, nano.variant("fp32-onnx")) for _ in range(2)]
    lines: list[str] = []
    request: Any = SimpleNamespace(statement=True)
    assert not profile_run._make_statements(request, sessions, lines.append, lines.append)
    assert lines == ["statement", "no statement: 'a.mp4' ends before frame 9"]


def test_clips_that_cannot_be_used(bundle: Path, clips: Path, tmp_path: Path) -> None:
    page = tmp_path / "a.html"
    assert "frames a profile needs" in str(
        run(bundle, "--clips", clips / "short.mp4", "-o", page).exception
    )
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    assert "bad.mp4" in str(run(bundle, "--clips", tmp_path / "bad.mp4", "-o", page).exception)
    assert "none.mp4" in str(run(bundle, "--clips", tmp_path / "none.mp4", "-o", page).exception)
    assert not list(tmp_path.glob("a.*"))


@pytest.mark.usefixtures("few_colours", "no_start")
def test_a_variant_equal_to_the_reference(clips: Path, tmp_path: Path) -> None:
    """No error anywhere: no infinity in the JSON, no empty plot, nothing to hold against it."""
    bundle = copy_of_nano(tmp_path / "nano")
    add_variant(bundle, "fp16-onnx", load(bundle))
    page = tmp_path / "equal.html"
    done = run(
        bundle, "--clips", clips / "a.mp4", "--max-side", "32", "--drift-frames", "0",
        "--duration", "0.1", "--metrics", "psnr", "--frames", "8", "-o", page,
    )  # fmt: skip
    assert done.exit_code == 0, f"{done.output}{done.exception!r}"
    found = json.loads(page.with_suffix(".json").read_text())
    assert found["table"][1]["psnr_db"] == 99
    assert found["verdict"]["judgements"][0]["good"]
    assert {row["isolated_db"] for row in found["layers"]["variants"]["fp16-onnx"]["layers"]} == {
        99
    }
    assert found["over_time"]["variants"]["fp16-onnx"]["drift"] is None
    text = page.read_text()
    assert "nothing to draw, all are zero" in text
    assert "equal to fp32-onnx" in text
    assert "Drift: a clip" not in text
    assert "no drift or cold start: 0 frames" in done.output


def test_a_long_run_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow network on a slow machine shows the drift of what fits, and says so."""
    monkeypatch.setattr(over_time, "MOST_SECONDS", 0.0)
    nano = open_bundle("nano")
    clip = Clip("a.mp4", list(draw_clip(12, 16, 16)), None)
    lines: list[str] = []
    with (
        RepeatSession(nano, nano.variant("fp32-onnx")) as exact,
        RepeatSession(nano, nano.variant("int8-ort")) as other,
    ):
        found = over_time.measure_over_time(
            [clip], [exact, other], 1000, lambda: None, lines.append
        )
    assert lines == ["drift over 0 of 1000 frames: 0 min were over"]
    assert found is not None
    assert found["variants"]["int8-ort"]["drift"] is None
    assert found["variants"]["int8-ort"]["cut"] is not None
