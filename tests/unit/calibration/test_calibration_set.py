"""Calibration sets: what is chosen, what is refused, and that the bytes repeat."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from adcvsr.bundle import open_bundle
from adcvsr.calibration.sets import calibration_set
from adcvsr.calibration.sets.build_set import SetOptions, build_set
from adcvsr.calibration.sets.calibration_set import FRAMES, MANIFEST, open_set
from adcvsr.calibration.sets.reader import calibration_feeds, probe_runs
from adcvsr.calibration.sets.selection import choose_runs
from adcvsr.calibration.sets.survey import ClipSurvey, FrameTraits, estimate_noise, survey_clip
from adcvsr.cli.commands import cli
from adcvsr.errors import CalibrationError, ConfigError, InputNotFoundError, OutputExistsError
from adcvsr.pictures.clips import write_clip, write_png
from adcvsr.pictures.synthetic import draw_clip
from changed_manifest import with_manifest

SMALL = SetOptions(runs=4, length=4, width=48, height=32)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A moving clip with a cut to its own negative, and a dim noisy one."""
    folder = tmp_path_factory.mktemp("clips")
    drawn = draw_clip(10, 48, 64)
    write_clip(folder / "cut.mp4", [*drawn, *(255 - drawn)])
    noise = np.random.default_rng(0).normal(0, 2, (10, 48, 64, 3))
    write_clip(folder / "dim.mp4", (drawn / 3 + noise).clip(0, 255).astype(np.uint8))
    return folder


def build(clips: Path, output: Path, options: SetOptions = SMALL) -> tuple[list[str], Path]:
    lines: list[str] = []
    build_set([clips], output, open_bundle("nano"), options, report=lines.append)
    return lines, output


def test_runs_cover_what_the_clips_have(clips: Path, tmp_path: Path) -> None:
    lines, path = build(clips, tmp_path / "set")
    calibration = open_set(path)
    assert not lines
    facts = [run.facts for run in calibration.runs]
    assert {fact.get("clip") for fact in facts} == {"cut.mp4", "dim.mp4", None}
    assert facts[-1]["drawn"]
    (cut,) = [run for run in calibration.runs if run.cut is not None]
    # The run goes across frame 10, where the negative begins.
    assert cut.facts["first_frame"] + cut.cut == 10
    changes = np.abs(np.diff(cut.frames.astype(int), axis=0)).mean((1, 2, 3))
    assert changes.argmax() == cut.cut - 1
    assert changes.max() > 3 * np.median(changes)
    assert calibration.manifest["coverage"]["cuts"] == 1
    assert sum(calibration.manifest["coverage"]["noise"]["runs"]) == 4
    assert (path / "contact_sheet.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_clips_give_the_same_bytes(clips: Path, tmp_path: Path) -> None:
    _, first = build(clips, tmp_path / "a")
    _, second = build(clips, tmp_path / "b")
    for name in (FRAMES, MANIFEST, "contact_sheet.png"):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_cuts_are_made_where_clips_have_none(clips: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    calibration = build_set(
        [clips / "dim.mp4"],
        tmp_path / "set",
        open_bundle("nano"),
        dataclasses.replace(SMALL, length=2, drawn=False),
        report=lines.append,
    )
    assert lines == ["the clips have too few cuts: 1 made by joining runs"]
    assert calibration.runs[-1].facts["joined"] == ["dim.mp4", "dim.mp4"]


def test_states_are_recomputed_cold_then_warm(clips: Path, tmp_path: Path) -> None:
    _, path = build(clips, tmp_path / "set")
    bundle, calibration = open_bundle("nano"), open_set(path)
    feeds = calibration_feeds(bundle, calibration)
    name = bundle.state[0].name
    lengths = [SMALL.length] * len(calibration.runs) + [len(r) for r in probe_runs(calibration)]
    assert len(feeds) == sum(lengths) > calibration.frames  # the drawn colours come along
    cold = [index for index, feed in enumerate(feeds) if not feed[name].any()]
    assert cold == [sum(lengths[:run]) for run in range(len(lengths))]


def test_noise_and_motion_are_measured(clips: Path) -> None:
    flat = np.full((64, 64), 100, np.float32)
    assert estimate_noise(flat) == 0
    noisy = flat + np.random.default_rng(0).normal(0, 4, flat.shape).astype(np.float32)
    assert 2.5 < estimate_noise(noisy) < 4.5
    survey = survey_clip(clips / "cut.mp4", max_frames=30)
    assert survey.cuts == [10]
    assert survey.frames[1].motion > 0.1


def test_runs_unlike_each_other_come_first() -> None:
    """A dark, a bright and a moving scene among many alike are all found."""
    usual = FrameTraits(luminance=100, motion=1, noise=1, contrast=30)
    scenes = [usual] * 30
    scenes[6:8] = [dataclasses.replace(usual, luminance=30)] * 2
    scenes[14:16] = [dataclasses.replace(usual, luminance=190)] * 2
    scenes[22:24] = [dataclasses.replace(usual, motion=9)] * 2
    survey = ClipSurvey(Path("a.mp4"), 90, 160, scenes)
    runs = choose_runs([survey], count=4, length=2)
    assert {6, 14, 22} <= {run.start for run in runs}


def test_stills_and_emptiness_are_refused(tmp_path: Path, clips: Path) -> None:
    still = draw_clip(1, 32, 48)[0]
    write_png(tmp_path / "still.png", still)
    with pytest.raises(CalibrationError, match="1 stills and no video"):
        build(tmp_path, tmp_path / "set")
    write_clip(tmp_path / "frozen.mp4", [still] * 8, crf=0)
    with pytest.raises(CalibrationError, match="stills only"):
        build(tmp_path / "frozen.mp4", tmp_path / "set")
    write_clip(tmp_path / "black.mp4", np.zeros((8, 32, 48, 3), np.uint8))
    with pytest.raises(CalibrationError, match="is empty"):
        build(tmp_path / "black.mp4", tmp_path / "set")
    with pytest.raises(CalibrationError, match="none of 2 files"):
        build(clips, tmp_path / "set", dataclasses.replace(SMALL, width=640))
    with pytest.raises(InputNotFoundError, match="no file or folder"):
        build(tmp_path / "nothing", tmp_path / "set")
    with pytest.raises(ConfigError, match="length = 1"):
        build(clips, tmp_path / "set", dataclasses.replace(SMALL, length=1))
    assert not (tmp_path / "set").exists()


def test_an_altered_or_black_set_is_refused(clips: Path, tmp_path: Path) -> None:
    _, path = build(clips, tmp_path / "set")
    good = (path / FRAMES).read_bytes()
    (path / FRAMES).write_bytes(good[:-1] + b"x")
    with pytest.raises(CalibrationError, match="changed after"):
        open_set(path)
    black = {f"run_{i:03d}": np.zeros((4, 32, 48, 3), np.uint8) for i in range(5)}
    rewrite(path, black)
    with pytest.raises(CalibrationError, match="shows nothing"):
        open_set(path)
    rewrite(path, {})
    with pytest.raises(CalibrationError, match="damaged"):
        open_set(path)
    (path / MANIFEST).write_text("{}")
    with pytest.raises(CalibrationError, match="manifest"):
        open_set(path)
    with pytest.raises(CalibrationError, match="no calibration set"):
        open_set(tmp_path)


def rewrite(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Other frames under a manifest that fits them."""
    import hashlib

    np.savez_compressed(path / FRAMES, **arrays)
    data = (path / FRAMES).read_bytes()
    manifest = json.loads((path / MANIFEST).read_text())
    manifest["files"][FRAMES] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    (path / MANIFEST).write_text(json.dumps(manifest))


def test_a_set_of_another_network_is_refused(
    clips: Path, tmp_path: Path, tiny_bundle: Path
) -> None:
    _, path = build(clips, tmp_path / "set")
    with pytest.raises(CalibrationError, match="made for the network 'nano'.*'tiny' holds another"):
        open_set(path).require_fit(open_bundle(tiny_bundle))
    with pytest.raises(ConfigError, match="multiples of 2"):
        dataclasses.replace(SMALL, width=47).check(open_bundle(tiny_bundle).size_multiple)


def test_a_set_fits_networks_of_its_shape_whatever_they_are_called(
    clips: Path, tmp_path: Path
) -> None:
    _, path = build(clips, tmp_path / "set")
    renamed = with_manifest(
        open_bundle("nano").path,
        tmp_path / "other",
        config={**open_bundle("nano").manifest["config"], "name": "blended"},
    )
    open_set(path).require_fit(open_bundle(renamed))
    # A set from before its network's name was left out fits where the name is the same.
    facts = json.loads((path / MANIFEST).read_text())
    config = json.dumps(open_bundle("nano").config.to_dict(), sort_keys=True)
    facts["network"]["config_sha256"] = hashlib.sha256(config.encode()).hexdigest()
    old = dataclasses.replace(open_set(path), manifest=facts)
    old.require_fit(open_bundle("nano"))
    with pytest.raises(CalibrationError, match="holds another"):
        old.require_fit(open_bundle(renamed))


def test_a_set_of_another_size_is_refused(clips: Path, tmp_path: Path) -> None:
    _, path = build(clips, tmp_path / "set")
    other = with_manifest(open_bundle("nano").path, tmp_path / "nano", size_multiple=64)
    with pytest.raises(CalibrationError, match="frames of 48x32, 'nano' takes multiples of 64"):
        open_set(path).require_fit(open_bundle(other))


def test_a_set_that_declares_too_much_is_not_unpacked(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, path = build(clips, tmp_path / "set")
    declared = sum(run.frames.nbytes for run in open_set(path).runs)
    monkeypatch.setattr(calibration_set, "FRAMES_LIMIT_BYTES", declared - 1)
    with pytest.raises(CalibrationError, match=r"declares \d+ bytes of frames, more than"):
        open_set(path)


def test_the_command(clips: Path, tmp_path: Path) -> None:
    command = ["calibrate", str(clips), "-o", str(tmp_path / "set"), "--runs", "3", "--length", "3"]
    done = CliRunner().invoke(cli, [*command, "--size", "48x32"])
    assert done.exit_code == 0, done.output
    assert "4 runs, 12 frames of 48x32" in done.output
    assert "luminance low to high" in done.output
    again = CliRunner().invoke(cli, [*command, "--size", "48x32"])
    assert isinstance(again.exception, OutputExistsError)
    wrong = CliRunner().invoke(cli, [*command, "--size", "48"])
    assert wrong.exit_code == 2
    assert "WIDTHxHEIGHT" in wrong.output
