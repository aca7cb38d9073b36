"""`--model auto` takes the best-looking student that a machine has the time for, and says so."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from adcvsr.bundle import open_bundle
from adcvsr.cli._say import start_speaking
from adcvsr.cli._students import live_model
from adcvsr.cli.commands import load_command
from adcvsr.errors import BundleError, BundleNotFoundError, ConfigError
from adcvsr.pictures.crop import Crop
from adcvsr.runtime.processing import backends, students
from adcvsr.runtime.processing.students import (
    FILES,
    PICTURES,
    STREAMS,
    STRENGTHS,
    Student,
    at_strength,
    choose_student,
)
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
    monkeypatch.setattr(
        students, "cpu_milliseconds", lambda bundle, *_: (times[asked[id(bundle)]], "as said")
    )
    return times


def test_the_best_that_fits_else_the_quickest(measured: dict[str, float]) -> None:
    small = choose_student(FILES, 160 * 90, RATE)
    assert small.name == "small-restore"
    assert small.reason == (
        "the best-looking within 4 times; it takes about 0.6 times as long as the video plays "
        "(as said)"
    )
    # 24 ms x 64 x 25 a second are 38 seconds of work a second; 5 ms are 8.
    hd = choose_student(FILES, HD, RATE)
    assert hd.name == "nano-restore"
    assert hd.reason == (
        "the quickest; it takes about 8.0 times as long as the video plays (as said)"
    )
    assert choose_student(FILES, HD, Fraction(2)).name == "small-restore"  # 3.1 times
    assert choose_student(FILES, None, RATE).name == "nano-restore"
    # Pictures do not play: the rate counts for nothing, and each may take its seconds.
    photo = choose_student(PICTURES, HD, RATE)
    assert photo.name == "small-restore"
    assert photo.reason == (
        "the best-looking within 30 s; it takes about 1.5 s a picture (as said)"
    )
    assert choose_student(PICTURES, 20 * HD, RATE).name == "nano-restore"
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
    assert student == (
        "small-restore",
        "the best that can run on tensorrt, where no time is measured beforehand",
    )


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
        start_speaking()  # another test may have said the same
        done = CliRunner().invoke(load_command("upscale"), arguments)
        assert done.exit_code == 0, done.output
        return done.output

    assert "the model is" not in run("variable.mp4")  # the tests' own
    monkeypatch.delenv("ADCVSR_MODEL")
    assert "the model is" not in run("option.mp4", "--model", "nano")
    said = run("auto.mp4", "--variant", "fp32")
    line = next(line for line in said.splitlines() if "the model is" in line)
    assert "restore, the best-looking within 4 times; it takes about 0.0 times as long" in line
    assert line.endswith("--model takes another, nano for clean input")


def test_a_wrong_address_is_told_before_a_model_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ADCVSR_MODEL")
    for source, why in (
        ("test://?size=1x1", "is too small"),
        ("test://?colour=red", "has no option colour"),
        ("rtps://camera", "no source 'rtps://'"),
    ):
        done = CliRunner().invoke(load_command("live"), ["--source", source, "--sink", "null://"])
        assert isinstance(done.exception, ConfigError)
        assert why in str(done.exception)
        assert "the model is" not in done.output


def test_live_says_which_and_the_option_decides(
    measured: dict[str, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ADCVSR_MODEL")
    measured["small-restore"] = 60.0  # a third of that at 80x64, of 100 ms a frame

    def run(source: str, *more: str) -> str:
        arguments = ["--source", source, "--sink", "null://", "--variant", "fp32", *more]
        done = CliRunner().invoke(load_command("live"), arguments)
        assert done.exit_code == 0, done.output
        return done.output

    said = run("test://?size=80x64&fps=10&frames=2", "--threads", "1")
    assert (
        "the model is small-restore, the best-looking within 0.7 times; it takes about 0.2 times "
        "as long as the video plays (as said); for clean input: --model nano"
    ) in said
    assert "the model is" not in run("test://?size=80x64&fps=30&frames=1", "--model", "nano")
    measured["small-restore"] = 600.0
    assert "the model is nano-camera, the best-looking within 0.7 times" in run(
        "test://?size=80x64&fps=10&frames=2"
    )


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{file}", (32 * 24, 25)),
        ("file:{file}?loop=1", (32 * 24, 25)),
        ("test://?size=320x180&fps=12.5", (320 * 180, 12.5)),
        ("v4l2:///dev/video0?format=nv12&size=640x360", (640 * 360, 30)),
        ("v4l2:///dev/video0", (None, 30)),
        ("test://", (320 * 180, 30)),
        # What belongs to a camera or a pipeline, and not to its address here.
        ("rtsp://camera/live?size=640x360&fps=15", (None, None)),
        ("gst:videotestsrc ! video/x-raw,width=64 ?size=640x360", (None, None)),
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


def test_every_strength_is_a_bundle_of_the_package() -> None:
    for model, points in STRENGTHS.items():
        assert points[1.0] == model
        for strength, name in points.items():
            assert at_strength(model, strength) == name
            assert at_strength(name, 1.0) == model
            assert open_bundle(name).scale == 4
    with pytest.raises(ConfigError, match=r"has bundles for 0, 0.5, 1; .*blend nano nano-restore"):
        at_strength("nano-restore", 0.7)
    with pytest.raises(ConfigError, match="'nano-camera', which has no strengths: .*small"):
        at_strength("nano-camera", 0.5)
    with pytest.raises(ConfigError, match="0.5 of 'small-restore': the package has bundles for 0"):
        at_strength("small", 0.5)


@pytest.mark.parametrize(
    ("command", "ends"),
    [
        ("upscale", ["in.mp4", "out.mp4"]),
        ("upscale", ["test://?frames=1", "null:"]),
        ("live", ["--source", "test://?frames=1", "--sink", "null:"]),
        ("job plan", ["in.mp4", "out.mp4", "job"]),
    ],
)
def test_what_has_no_bundle_is_refused_before_anything_is_opened(
    command: str, ends: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in.mp4").touch()
    name, *sub = command.split()
    asked = [*sub, *ends, "--model", "auto", "--strength", "0.7"]
    wrong = CliRunner().invoke(load_command(name), asked)
    assert isinstance(wrong.exception, ConfigError), wrong.output
    assert "--strength 0.7 of 'nano-restore'" in str(wrong.exception)
    assert not Path("out.mp4").exists()
