"""One contract for every source and every sink, by themselves and through both commands.

Servers and devices are FFmpeg's muxers into a file here. A new one is a file and a line in
`SOURCES` or `SINKS`, and is tested here without another line but its address in `live_ends`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter
from click.testing import CliRunner, Result
from live_ends import sink_at, source_at

from adcvsr.cli._say import start_speaking
from adcvsr.cli.commands import load_command
from adcvsr.pictures.clips import read_clip
from adcvsr.pictures.colour import SDR_BT709, frame_from_rgb
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.pictures.yuv import yuv_from_frame
from adcvsr.pictures.yuv_picture import AnyPicture
from adcvsr.runtime import upscaler as upscalers
from adcvsr.runtime.live.sink import SINKS, FinishedFrame, open_sink
from adcvsr.runtime.live.source import SOURCES, LiveFrame, open_source
from adcvsr.runtime.upscaler import Upscaler
from adcvsr.runtime.video.encoders import EncodeOptions
from live_streams import write_coded_clip

FRAMES = 6


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_coded_clip(tmp_path_factory.mktemp("sources") / "clip.mp4", frames=30, fps=30)


@pytest.mark.parametrize("scheme", sorted(SOURCES))
def test_every_source_gives_frames_in_order_until_it_is_stopped(scheme: str, clip: Path) -> None:
    stop = threading.Event()
    with source_at(scheme, clip) as address:
        source = open_source(address, stop)
        frames: list[LiveFrame] = []
        began = time.monotonic()
        for frame in source.frames():
            frames.append(frame)
            if len(frames) == FRAMES:
                stop.set()
    assert len(frames) == FRAMES
    reformatter = VideoReformatter()
    for frame in frames:
        rgb = frame.rgb(reformatter)
        assert (rgb.dtype, rgb.ndim, rgb.shape[2]) == (np.uint8, 3, 3)
        assert frame.size == (rgb.shape[1], rgb.shape[0])
        assert rgb.std() > 5
        assert frame.luma().shape == (36, 64)
        assert scheme == "v4l2" or frame.size == (96, 64)
    assert all(began <= a.captured <= b.captured for a, b in pairwise(frames))
    known = [frame.media_time for frame in frames if frame.media_time is not None]
    assert all(b > a for a, b in pairwise(known))
    assert {frame.connection for frame in frames} == {0}
    assert source.rate
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("adcvsr")]


@pytest.mark.parametrize("kind", ["rgb", "yuv"])
@pytest.mark.parametrize("scheme", sorted(SINKS))
def test_every_sink_takes_frames_and_closes_twice(
    scheme: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if (scheme, kind) == ("whip", "yuv"):
        pytest.skip("as gst, and its server takes seconds")
    with (
        sink_at(scheme, tmp_path, monkeypatch) as address,
        open_sink(address, EncodeOptions()) as sink,
    ):
        for index, drawn in enumerate(draw_clip(3, 64, 96)):
            picture: AnyPicture = drawn
            if kind == "yuv":
                frame = frame_from_rgb(drawn, SDR_BT709, "nv12", VideoReformatter())
                picture = yuv_from_frame(frame, SDR_BT709, VideoReformatter())
            finished = FinishedFrame(picture, picture, index / 25, Fraction(25), SDR_BT709)
            encoded = sink.encode(finished)
            assert encoded is not None
            assert sink.present(encoded)
            sink.publish({}, "")
        assert sink.size == (96, 64)
        assert not sink.drops
        sink.finish()
        sink.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "adcvsr-page"]
    assert (tmp_path / "out.mp4").exists() == (scheme == "file")
    if (received := tmp_path / "received").exists():
        assert received.stat().st_size > 1000


@pytest.fixture(scope="module")
def loaded() -> Iterator[Upscaler]:
    with Upscaler("nano", variant="fp32-onnx", threads=1) as ready:
        yield ready


@pytest.fixture
def network(loaded: Upscaler, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands find the network loaded already."""

    @contextmanager
    def once(*_: Any, **__: Any) -> Iterator[Upscaler]:
        loaded.reset()
        yield loaded

    monkeypatch.setattr(upscalers, "Upscaler", once)


def run(command: str, source: str, sink: str, *options: str) -> Result:
    """Take every frame from one end to the other by `live` or by `upscale`."""
    start_speaking()
    ends = ["--source", source, "--sink", sink, "--policy", "every", "--model", "nano"]
    arguments = ends if command == "live" else [source, sink]
    return CliRunner().invoke(load_command(command), [*arguments, *options])


@pytest.mark.parametrize("command", ["live", "upscale"])
@pytest.mark.parametrize("scheme", sorted(SOURCES))
@pytest.mark.usefixtures("network")
def test_every_source_goes_through_both_commands(
    scheme: str, command: str, clip: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.mkv"
    if ends_by_itself := scheme in ("-", "file"):
        clip = write_coded_clip(tmp_path / "short.mp4", frames=12, fps=30)
    with source_at(scheme, clip) as address:
        place = str(clip) if scheme == "file" else address
        limit = [] if ends_by_itself else ["--duration", "0.3"]
        result = run(command, place, str(output), "--preset", "ultrafast", *limit)
    assert result.exit_code == 0, (result.output, result.exception)
    pictures = list(read_clip(output))
    assert len(pictures) == 12 if ends_by_itself else pictures
    assert scheme == "v4l2" or {each.shape for each in pictures} == {(256, 384, 3)}


@pytest.mark.parametrize("command", ["live", "upscale"])
@pytest.mark.parametrize("scheme", sorted(SINKS))
@pytest.mark.usefixtures("network")
def test_every_sink_goes_through_both_commands(
    scheme: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if (scheme, command) == ("whip", "live"):
        pytest.skip("as upscale, and its server takes seconds")
    source = "test://?size=64x64&fps=50&frames=3"
    with sink_at(scheme, tmp_path, monkeypatch) as address:
        result = run(command, source, address)
    assert result.exit_code == 0, (result.output, result.exception)
    assert scheme == "-" or "3 of 3 frames" in result.stdout
    if scheme in ("-", "file", "pictures"):
        name = {"-": "received", "file": "out.mp4", "pictures": "frame_%05d.png"}[scheme]
        assert len(list(read_clip(tmp_path / name))) == 3
    if scheme == "pictures":
        assert len(list(tmp_path.glob("frame_0000[123].png"))) == 3


@pytest.mark.usefixtures("network")
def test_a_file_goes_to_a_stream_whole_and_as_fast_as_it_goes(tmp_path: Path) -> None:
    slow = write_coded_clip(tmp_path / "in.mp4", 12, 1)
    began = time.monotonic()
    result = run("upscale", str(slow), "null://")
    assert time.monotonic() - began < 8
    assert result.exit_code == 0, result.output
    assert "12 of 12 frames" in result.stdout
    assert "sound, subtitles and chapters stay behind" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["a.mp4", "b.mp4", "null://"], "an address is one end of two"),
        (["null://"], "an address is one end of two"),
        (["test://", "null://", "--start", "3"], "--start is for files"),
        (["test://", "out.mp4", "--resume"], "--resume is for files"),
        (["test://", "out.mkv", "--chroma", "420"], "--chroma is for files"),
    ],
)
def test_what_is_for_files_is_refused_where_an_end_is_an_address(
    arguments: list[str], says: str
) -> None:
    result = CliRunner().invoke(load_command("upscale"), arguments)
    assert result.exit_code == 2
    assert says in result.stderr


VALUES = {
    "crop": "32x32+2+4",
    "fit": "pad",
    "output_size": "640x360",
    "strength": "0.5",
    "size": "64x64",
    "rate": "25",
    "start": "3",
    "duration": "3",
}
"""Of options whose type does not say what it takes."""


def words_for(option: click.Option) -> list[str]:
    """The option with a value that is not its default."""
    if option.is_flag or option.count:
        return [(option.secondary_opts or option.opts)[-1]]
    value = VALUES.get(option.name or "", "7")
    if isinstance(option.type, click.Choice):
        value = next(str(each) for each in option.type.choices if str(each) != option.default)
    return [option.opts[-1], value]


def options_of(name: str) -> list[click.Option]:
    return [each for each in load_command(name).params if isinstance(each, click.Option)]


@pytest.mark.parametrize("option", options_of("upscale"), ids=lambda each: str(each.name))
def test_upscale_gives_an_address_every_option_that_live_has(
    option: click.Option, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}
    live = load_command("live")
    monkeypatch.setattr(live, "callback", lambda **options: given.update(options))
    words, name = words_for(option), str(option.name)
    start_speaking()
    result = CliRunner().invoke(load_command("upscale"), ["test://", "null://", *words])
    others = {each.name: each for each in options_of("live")}
    if name not in others:
        assert result.exit_code == 2
        assert f"{words[0]} is for files" in result.stderr
        return
    assert result.exit_code == 0, result.output
    ends = ["--source", "test://", "--sink", "null://"]
    with live.make_context("live", [*ends, *words]) as context:
        assert given.get(name) == context.params.get(name)  # of -v and -q there is none
    assert others[name].opts == option.opts
