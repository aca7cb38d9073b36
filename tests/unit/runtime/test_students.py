"""`--model auto` takes the best-looking student that a machine has the time for, and says so."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from adcvsr.bundle import open_bundle
from adcvsr.cli._students import live_model
from adcvsr.cli.commands import load_command
from adcvsr.errors import BundleError, BundleNotFoundError
from adcvsr.pictures.crop import Crop
from adcvsr.runtime.processing import backends, students
from adcvsr.runtime.processing.students import FILES, STREAMS, Student, choose_student
from video_facts import VideoMaker

HD, RATE = 1280 * 720, Fraction(25)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Milliseconds of a frame of 160x90 by student; one that is not in it is not installed."""
    times = {"small-restore": 24.0, "nano-restore": 5.0, "nano-camera": 5.0}
    asked: dict[int, str] = {}

    def find(name: str) -> Any:
        if name not in times:
            raise BundleNotFoundError(f"no bundle named '{name}'")
        bundle = open_bundle("nano")
        asked[id(bundle)] = name
        return bundle

    monkeypatch.setattr(students, "open_bundle", find)
    monkeypatch.setattr(students, "cpu_milliseconds", lambda bundle, *_: times[asked[id(bundle)]])
    return times


def test_the_best_that_fits_else_the_quickest(measured: dict[str, float]) -> None:
    small = choose_student(FILES, 160 * 90, RATE)
    assert small.name == "small-restore"
    assert small.reason == (
        "the best-looking within 4 times; it takes about 0.6 times as long as the video plays"
    )
    # 24 ms x 64 x 25 a second are 38 seconds of work a second; 5 ms are 8.
    hd = choose_student(FILES, HD, RATE)
    assert hd.name == "nano-restore"
    assert hd.reason == "the quickest; it takes about 8.0 times as long as the video plays"
    assert choose_student(FILES, HD, Fraction(2)).name == "small-restore"  # 3.1 times
    assert choose_student(FILES, None, RATE).name == "nano-restore"
    # Streams have the time that capture and encoder leave.
    stream = choose_student(STREAMS, 160 * 90, RATE)
    assert stream.name == "small-restore"
    assert choose_student(STREAMS, 160 * 90, Fraction(30)).name == "nano-camera"  # 0.72 times
    del measured["small-restore"]
    assert choose_student(FILES, 160 * 90, RATE).name == "nano-restore"
    del measured["nano-restore"]
    with pytest.raises(BundleNotFoundError, match="no bundle named 'nano-restore'"):
        choose_student(FILES, HD, RATE)


def test_a_gpu_takes_the_best_and_measures_nothing(
    measured: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        students, "choose_backend", lambda *_, **__: backends.Choice("tensorrt", (), ())
    )
    monkeypatch.delattr(students, "cpu_milliseconds")
    student = choose_student(FILES, HD, RATE)
    assert student == ("small-restore", "the best that can run on tensorrt")


def test_a_variant_that_none_has_is_an_error() -> None:
    assert choose_student(FILES, None, None, variant="fp32").name == "nano-restore"
    with pytest.raises(BundleError, match="int9"):
        choose_student(FILES, None, None, variant="int9")


def test_upscale_says_which_and_the_variable_and_the_option_decide(
    make_video: VideoMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_video(pts=range(0, 3 * 512, 512))

    def run(name: str, *more: str) -> str:
        arguments = [str(source), str(tmp_path / name), *more]
        done = CliRunner().invoke(load_command("upscale"), arguments)
        assert done.exit_code == 0, done.output
        return done.output

    assert "the model is" not in run("variable.mp4")  # the tests' own
    monkeypatch.delenv("ADCVSR_MODEL")
    assert "the model is" not in run("option.mp4", "--model", "nano")
    said = run("auto.mp4", "--variant", "fp32")
    line = next(line for line in said.splitlines() if "the model is" in line)
    assert "restore, the best-looking within 4 times; it takes about 0.0 times as long" in line
    assert line.endswith("--model takes another")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{file}", (32 * 24, 25)),
        ("file:{file}?loop=1", (32 * 24, 25)),
        ("test://?size=320x180&fps=12.5", (320 * 180, 12.5)),
        ("v4l2:///dev/video0?format=nv12&size=640x360", (640 * 360, 30)),
        ("test://?size=1x1&fps=30", (1, 30)),
        ("rtsp://camera/size=1x1", (None, None)),
        ("no/such.mp4", (None, None)),
        (None, (None, None)),
    ],
)
def test_what_is_known_of_a_stream_before_it_is_opened(
    source: str | None,
    expected: tuple[int | None, float | None],
    make_video: VideoMaker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[int | None, Fraction | None]] = []

    def choose(_: object, pixels: int | None, rate: Fraction | None, **__: object) -> Student:
        seen.append((pixels, rate))
        return Student("nano", "as the test says")

    monkeypatch.setattr(students, "choose_student", choose)
    if source is not None and "{file}" in source:
        source = source.format(file=make_video(pts=range(0, 3 * 512, 512)))
    assert live_model(source, None) == "nano"
    assert seen == [expected]
    live_model(source, Crop.parse("16x8+0+0"))
    assert seen[1][0] in (None, 16 * 8)
