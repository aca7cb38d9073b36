"""Outputs of another size than four times the input's: files, live streams, pictures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from adcvsr.arrays import Frame
from adcvsr.bundle import open_bundle
from adcvsr.cli.commands import cli
from adcvsr.errors import ConfigError
from adcvsr.pictures.clips import read_clip
from adcvsr.pictures.output_size import OutputSize
from adcvsr.runtime.live.live_report import LiveOptions
from adcvsr.runtime.live.live_run import LiveRun
from adcvsr.runtime.upscaler import Upscaler
from adcvsr.runtime.video.encoders import EncodeOptions
from video_facts import VideoMaker, video_facts


@pytest.fixture(scope="module")
def upscaler() -> Iterator[Upscaler]:
    with Upscaler("nano", variant="fp32", threads=1) as ready:
        yield ready


@pytest.mark.parametrize(
    ("asked", "size"),
    [
        (OutputSize(scale=2), (64, 48)),
        (OutputSize(scale=3), (96, 72)),
        (OutputSize(height=66), (88, 66)),
        (OutputSize(size=(640, 480)), (640, 480)),
        (OutputSize(size=(100, 100), fit=True), (100, 74)),
    ],
)
def test_a_file_of_that_size(
    upscaler: Upscaler, make_video: VideoMaker, tmp_path: Path, asked: OutputSize, size: Any
) -> None:
    """It shows what the network made, reduced by areas, with everything else kept."""
    source = make_video(audio=True)
    report = upscaler.upscale_file(source, tmp_path / "out.mp4", size=asked)
    facts = video_facts(tmp_path / "out.mp4")
    assert facts.size == report.output_size == size
    assert facts.times == video_facts(source).times
    assert facts.audio
    assert ("enlarged" in "\n".join(report.notes)) == (size[0] > 128)


def test_a_reduced_file_is_the_reduced_picture(
    upscaler: Upscaler, make_video: VideoMaker, tmp_path: Path
) -> None:
    source = make_video(size=(64, 48))
    options = EncodeOptions(crf=1)
    upscaler.upscale_file(source, tmp_path / "out.mp4", options=options, size=OutputSize(scale=2))
    big = list(upscaler.upscale_clip(read_clip(source)))
    for picture, found in zip(big, read_clip(tmp_path / "out.mp4"), strict=True):
        expected = picture.reshape(96, 2, 128, 2, 3).mean((1, 3))
        assert np.abs(expected - found).mean() < 2


@pytest.mark.parametrize("ending", ["mp4", "avi"])
def test_a_turned_picture_is_sized_as_it_is_shown(
    upscaler: Upscaler, make_video: VideoMaker, tmp_path: Path, ending: str
) -> None:
    """Upright it is 24x32, so 60 wide; avi turns the picture, mp4 has a tag."""
    source = make_video(rotation=90, aspect=Fraction(4, 3))
    output = tmp_path / f"out.{ending}"
    upscaler.upscale_file(source, output, size=(60, 80))
    facts = video_facts(output)
    assert facts.size == ((80, 60) if ending == "mp4" else (60, 80))
    assert facts.rotation == (90 if ending == "mp4" else 0)
    if ending == "mp4":
        assert facts.aspect == Fraction(4, 3)


def test_pixels_become_square_where_the_shape_is_the_shown_one(
    upscaler: Upscaler, make_video: VideoMaker, tmp_path: Path
) -> None:
    source = make_video(aspect=Fraction(4, 3))  # 32x24, shown as 16:9
    report = upscaler.upscale_file(source, tmp_path / "out.mp4", size=(96, 54))
    facts = video_facts(tmp_path / "out.mp4")
    assert (facts.size, facts.aspect) == ((96, 54), 1)
    assert "pixels of 4:3 become square" in "\n".join(report.notes)


def test_another_shape_leaves_nothing(
    upscaler: Upscaler, make_video: VideoMaker, tmp_path: Path
) -> None:
    source = make_video()
    with pytest.raises(ConfigError, match="72x54 and 96x72 have its shape"):
        upscaler.upscale_file(source, tmp_path / "out.mp4", size=(96, 54))
    with pytest.raises(ConfigError, match="refuses 32768x24576"):
        upscaler.upscale_file(source, tmp_path / "out.mp4", size=(32768, 24576))
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


def test_pictures_of_a_scale() -> None:
    frame: Frame = np.random.default_rng(3).integers(0, 256, (20, 31, 3), np.uint8)
    bundle = open_bundle("nano")
    with (
        Upscaler(bundle, variant="fp32", threads=1) as four,
        Upscaler(bundle, variant="fp32", threads=1, scale=2) as two,
    ):
        big, half = four(frame), two(frame)
        assert half.shape == (40, 62, 3)
        assert abs(half - big.reshape(40, 2, 62, 2, 3).mean((1, 3))).max() <= 1
        assert [each.shape for each in two.upscale_clip([frame, frame])] == [(40, 62, 3)] * 2
    with pytest.raises(ConfigError, match="a scale of 5"):
        Upscaler(bundle, scale=5)


def test_a_live_recording_of_that_size(upscaler: Upscaler, tmp_path: Path) -> None:
    options, source = LiveOptions(policy="every"), "test://?size=160x90&fps=50&frames=4"
    encode = EncodeOptions(size=OutputSize(scale=2))
    output = tmp_path / "live.mp4"
    report = LiveRun(upscaler, source, str(output), options, encode=encode).run()
    assert report.output_size == video_facts(output).size == (320, 180)
    encode = EncodeOptions(size=OutputSize(size=(300, 300)))
    with pytest.raises(ConfigError, match="has another shape"):
        LiveRun(upscaler, source, "null://", options, encode=encode).run()


@pytest.mark.parametrize(
    ("given", "label", "size"),
    [
        (["--scale", "2"], "x2", (64, 48)),
        (["--height", "72"], "72p", (96, 72)),
        (["--output-size", "80x80", "--fit"], "80x80", (80, 60)),
    ],
)
def test_the_command(make_video: VideoMaker, given: list[str], label: str, size: Any) -> None:
    """Without OUTPUT the name says the size; JSON has it."""
    source = make_video()
    command = ["upscale", str(source), *given, "--json", "--variant", "fp32"]
    done = CliRunner().invoke(cli, command)
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["output"] == str(source.with_name(f"in_{label}.mp4"))
    assert report["output_size"] == list(size)
    assert video_facts(source.with_name(f"in_{label}.mp4")).size == size


def test_a_plan_knows_the_size() -> None:
    command = ["plan", "nano", "--target", "orin-nano", "--source", "640x360@30", "--json"]
    four, two = (
        json.loads(CliRunner().invoke(cli, [*command, *size]).stdout)
        for size in ([], ["--scale", "2"])
    )
    assert (four["output_size"], two["output_size"]) == ([2560, 1440], [1280, 720])
    assert two["codecs"]["encode_cpu_ms"] == pytest.approx(four["codecs"]["encode_cpu_ms"] / 4)
    assert two["memory_bytes"] < four["memory_bytes"]
    refused = CliRunner().invoke(cli, [*command, "--output-size", "1000x1000"])
    assert refused.exit_code == 1
    large = CliRunner().invoke(cli, [*command, "--output-size", "20000x11250"])
    assert "20000x11250: most encoders take sides of up to 16384" in large.stderr


def test_a_size_beyond_the_encoder_is_an_error_that_says_so(
    upscaler: Upscaler, make_video: VideoMaker, tmp_path: Path
) -> None:
    source = make_video(size=(32, 24))
    with pytest.raises(ConfigError, match="sides of up to 16384 pixels: ask for a smaller size"):
        upscaler.upscale_file(source, tmp_path / "out.mp4", size=(32_000, 24_000))
    assert list(tmp_path.glob("out*")) == []
    live = LiveRun(
        upscaler,
        f"file:{source}?pace=0",
        str(tmp_path / "live.mp4"),
        LiveOptions(policy="every"),
        encode=EncodeOptions(size=OutputSize(size=(32_000, 24_000))),
    )
    with pytest.raises(ConfigError, match="sides of up to 16384 pixels: ask for a smaller size"):
        live.run()
