"""Files of one frame and of few have decoding times that muxers and readers take."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from adcvsr.pictures.clips import write_clip
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.runtime.video.decoding_times import DecodingTimes
from adcvsr.runtime.video.encoders import EncodeOptions
from adcvsr.runtime.video.sink import FileSink
from adcvsr.runtime.video.source import FileSource

GARBAGE = -(2**62) + 12345


def through(frames: int, dts: list[int]) -> list[int | None]:
    """Decoding times behind the guard, of packets that come when the encoder is ended."""
    guard = DecodingTimes()
    for index in range(frames):
        frame = av.VideoFrame(16, 16, "yuv420p")
        frame.pts, frame.time_base = index, Fraction(1, 25)
        guard.frame(frame, 25)
    guard.end()
    packets = []
    for index, given in enumerate(dts):
        packet = av.Packet(b"x")
        packet.pts, packet.dts = index, given
        guard.packet(packet)
        packets.append(packet.dts)
    return packets


def test_one_and_two_frames_are_decoded_as_they_are_shown() -> None:
    """x265 has set nothing there."""
    assert through(1, [GARBAGE]) == [0]
    for one, other in ((GARBAGE, -GARBAGE), (0, GARBAGE), (1, 0), (5, 5), (-1, 7)):
        assert through(2, [one, other]) == [0, 1]


def test_of_three_frames_the_times_are_the_encoders() -> None:
    """It knows its delay by then, and frames may be reordered."""
    assert through(3, [-2, -1, 0]) == [-2, -1, 0]


@pytest.mark.parametrize("frames", [1, 2, 3])
@pytest.mark.parametrize("name", ["out.mkv", "out.mp4", "out.mov"])
def test_short_files_of_x265(tmp_path: Path, name: str, frames: int) -> None:
    """Times of decoding grow, none is behind the time of showing, and every frame comes back.

    Once each: what x265 leaves is another thing every time, of which the tests above have a choice.
    """
    given = tmp_path / "in.mp4"
    write_clip(given, draw_clip(frames, 32, 32))
    options = EncodeOptions(encoder="libx265", preset="ultrafast")
    with (
        FileSource(given) as source,
        FileSink(tmp_path / name, source, options, print) as sink,
    ):
        sink.open_encoder()
        for index in range(frames):
            sink.write(np.full((128, 128, 3), 40 * index, np.uint8), index * 512)
        sink.flush()
        sink.finish()
    with av.open(str(tmp_path / name)) as written:
        packets = [packet for packet in written.demux(video=0) if packet.size]
        decoding = [packet.dts for packet in packets if packet.dts is not None]
        assert decoding == sorted(set(decoding))
        assert all(p.dts is None or p.dts <= p.pts for p in packets)
        assert all(packet.dts is None or abs(packet.dts) < 1 << 20 for packet in packets)
    with av.open(str(tmp_path / name)) as written:
        assert sum(1 for _ in written.decode(video=0)) == frames
