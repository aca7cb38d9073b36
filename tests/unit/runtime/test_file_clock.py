"""One clock for all streams: jumps, wraps and strays, on drawn packets and on joined recordings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest

from adcvsr.runtime.video.file_clock import WRAP_S, FileClock
from adcvsr.runtime.video.source import FileSource, SourceFrame
from video_facts import VideoMaker

TICK = Fraction(1, 90_000)
STREAMS = [
    SimpleNamespace(index=i, type=t) for i, t in enumerate(("video", "audio", "subtitle", "audio"))
]


@dataclass
class Fake:
    """What the clock looks at in a packet."""

    stream: Any
    pts: int | None
    dts: int | None
    duration: int
    pos: int | None
    time_base: Fraction = TICK


def part(start: float, seconds: float, *, sound: float | None = None, at: int = 0) -> list[Fake]:
    """A recording: pictures each 40 ms, decoded 80 ms early, sound each 24 ms, mixed as sent."""
    found = []
    for n in range(round(seconds * 25)):
        pts = round((start + n * 0.04) * 90_000)
        found.append((n * 0.04, Fake(STREAMS[0], pts, pts - 7200, 3600, 0)))
    for n in range(round((seconds if sound is None else sound) / 0.024)):
        pts = round((start + n * 0.024) * 90_000)
        found.append((n * 0.024, Fake(STREAMS[1], pts, pts, 2160, 0)))
    found.sort(key=lambda each: each[0])
    for n, (_, packet) in enumerate(found):
        packet.pos = at + n
    return [packet for _, packet in found]


def run(packets: list[Fake], container: str = "mpegts") -> tuple[FileClock, list[Fake]]:
    begin = min(p.pts for p in packets[:5] if p.pts is not None) * TICK
    clock = FileClock(container, begin)
    stamped = wrapped(packets) if container == "mpegts" else packets
    return clock, list(clock.corrected(iter(stamped)))  # type: ignore[arg-type]


def wrapped(packets: list[Fake]) -> list[Fake]:
    """Stamps as a stream carries them: 33 bits."""
    for packet in packets:
        packet.pts = None if packet.pts is None else packet.pts % (1 << 33)
        packet.dts = None if packet.dts is None else packet.dts % (1 << 33)
    return packets


def shown(packets: list[Fake], index: int) -> np.ndarray[Any, Any]:
    return np.array([float(p.pts * TICK) for p in packets if p.stream.index == index])


@pytest.mark.parametrize("to", [10, 3600, 7199.5, 7202.5, 7230, 20_000, 90_000])
@pytest.mark.parametrize("sound", [1.4, 2.0])
def test_one_correction_for_all(to: float, sound: float) -> None:
    """Whichever way the clock jumps, the parts follow each other and keep picture and sound."""
    first, second = part(7200, 2, sound=sound), part(to, 2, at=1000)
    clock, moved = run(first + second)
    pictures, sounds = shown(moved, 0), shown(moved, 1)
    if 7202 < to < 7210:  # a pause
        assert clock.jumps == 0
        assert pictures[50] - 7200 == pytest.approx(to - 7200)
        return
    assert clock.jumps == 1
    assert len(pictures) == 100
    assert np.allclose(np.diff(pictures), 0.04, atol=1e-4) or sound == 2.0
    assert np.diff(pictures).max() < 0.07
    assert (np.diff(sounds) > 0).all()
    begin = np.flatnonzero([p is second[0] for p in moved])[0]
    assert pictures[50] == pytest.approx(shown(moved[begin:], 1)[0], abs=2e-5)
    assert any("clock jumps once" in note for note in clock.notes())


def test_packets_of_both_sides_are_mixed() -> None:
    """A demuxer gives the last picture out when the next one begins, after sound behind it."""
    first, second = part(50, 2), part(10, 2, at=1000)
    late = max(i for i, p in enumerate(first) if p.stream.type == "video")
    packet = first.pop(late)
    clock, moved = run([*first, second[1], packet, second[0], *second[2:]])
    assert (clock.jumps, clock.strays) == (1, 0)
    assert sorted(shown(moved, 0)) == list(shown(moved, 0))
    assert np.diff(shown(moved, 0)).max() < 0.07


def test_wrap_is_no_jump() -> None:
    clock, moved = run(part(float(WRAP_S) - 1, 3))
    assert (clock.jumps, clock.strays) == (0, 0)
    assert np.allclose(np.diff(shown(moved, 0)), 0.04, atol=1e-4)
    assert np.allclose(np.diff(shown(moved, 1)), 0.024, atol=1e-4)


@pytest.mark.parametrize("stream", [0, 1])
@pytest.mark.parametrize("by", [-3000, 3000])
def test_a_stray_time_moves_nothing(stream: int, by: int) -> None:
    packets = part(7200, 2)
    stray = [p for p in packets if p.stream.index == stream][20]
    assert stray.pts is not None
    assert stray.dts is not None
    stray.pts, stray.dts = stray.pts + by * 90_000, stray.dts + by * 90_000
    clock, moved = run(packets)
    assert (clock.jumps, clock.strays) == (0, 1)
    times = [p.pts for p in moved if p.pts is not None]
    assert min(times) * TICK >= 7200 - 0.08
    assert max(times) * TICK < 7202


def test_many_jumps() -> None:
    parts = (part(start, 0.4, at=1000 * n) for n, start in enumerate((90, 50, 20, 4000, 7)))
    clock, moved = run(list(chain.from_iterable(parts)))
    assert clock.jumps == 4
    assert np.diff(shown(moved, 0)).max() < 0.07
    assert any("jumps 4 times" in note for note in clock.notes())


@pytest.mark.parametrize("middle", [900, 21])
def test_a_recording_without_sound_in_between(middle: float) -> None:
    """Sound comes back behind a second jump, which is read ahead together with the first."""
    silent = part(middle, 2, sound=0, at=1000)
    clock, moved = run([*part(5000, 2), *silent, *part(20, 2, at=2000)])
    assert clock.jumps == 2
    pictures = shown(moved, 0)
    assert len(pictures) == 150
    assert np.diff(pictures).max() < 0.07
    sounds = shown(moved, 1)
    assert sounds[83] == pytest.approx(pictures[100], abs=0.03)


def test_sparse_subtitles_follow() -> None:
    """A cue long after the one before is no jump, and one behind a jump is moved with the rest."""
    first, second = part(50, 40), part(10, 2, at=9000)
    first.insert(3, Fake(STREAMS[2], 50 * 90_000, 50 * 90_000, 0, 2))
    second.append(Fake(STREAMS[2], 11 * 90_000, 11 * 90_000, 0, 9900))
    _, moved = run(first + second)
    cues = shown(moved, 2)
    assert cues[1] - cues[0] == pytest.approx(41, abs=0.05)


@pytest.mark.parametrize("container", ["matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2"])
def test_pauses_of_files_with_an_index_stay(container: str) -> None:
    clock, moved = run(part(0, 1) + part(5000, 1, at=1000), container)
    assert clock.jumps == 0
    assert shown(moved, 0)[25] == 5000


def flashes(path: Path) -> tuple[list[float], list[float]]:
    """Times of the source's white frames and loud packets."""
    white, loud = [], []
    with FileSource(path) as source:
        decoder = av.CodecContext.create("mp2", "r")
        for item in source:
            if isinstance(item, SourceFrame):
                if item.rgb.mean() > 200:
                    white.append(float(item.pts * source.info.time_base))
            elif item.pts is not None:
                time = float(item.pts * item.time_base - source.time_offset)
                heard = decoder.decode(av.Packet(bytes(item)))
                loud += [time for frame in heard if np.abs(frame.to_ndarray()).max() > 0.25]
    return white, loud


def recording(path: Path, start_s: int, sound_s: float) -> bytes:
    """Two seconds of a transport stream; white and loud from 1.0 to 1.2 s."""
    with av.open(str(path), "w", options={"mpegts_copyts": "1"}) as container:
        video = container.add_stream("mpeg2video", rate=25)
        video.width, video.height, video.pix_fmt = 32, 32, "yuv420p"
        sound = container.add_stream("mp2", rate=48_000)
        for _, frame, stream in mixed(start_s, sound_s):
            container.mux((video if stream == 0 else sound).encode(frame))
        container.mux(video.encode())
        container.mux(sound.encode())
    return path.read_bytes()


def mixed(start_s: int, sound_s: float) -> Iterator[tuple[float, Any, int]]:
    found: list[tuple[float, Any, int]] = []
    for n in range(50):
        image = np.full((32, 32, 3), 255 if 25 <= n < 30 else 90, np.uint8)
        picture = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
        picture.pts, picture.time_base = n + start_s * 25, Fraction(1, 25)
        found.append((n / 25, picture, 0))
    for n in range(int(sound_s * 48_000) // 1152):
        time = np.arange(n * 1152, (n + 1) * 1152) / 48_000
        wave = np.sin(2 * np.pi * 1000 * time) * 0.5 * ((time >= 1) & (time < 1.2))
        samples = (np.stack([wave, wave], 1).reshape(1, -1) * 32_767).astype(np.int16)
        heard = av.AudioFrame.from_ndarray(samples, format="s16", layout="stereo")
        heard.sample_rate, heard.time_base = 48_000, Fraction(1, 48_000)
        heard.pts = n * 1152 + start_s * 48_000
        found.append((n * 0.024, heard, 1))
    return iter(sorted(found, key=lambda each: each[0]))


@pytest.mark.parametrize("starts", [(50, 10), (7200, 3600), (10, 3610), (95_000, 5, 1000)])
def test_joined_recordings_stay_in_step(tmp_path: Path, starts: tuple[int, ...]) -> None:
    """Sound that ends before its picture, and whatever clock follows: flash and beep together."""
    joined = tmp_path / "joined.ts"
    joined.write_bytes(
        b"".join(recording(tmp_path / f"{n}.ts", s, 1.4) for n, s in enumerate(starts))
    )
    white, loud = flashes(joined)
    assert len(white) == 5 * len(starts)
    for part_of in range(len(starts)):
        first = white[5 * part_of]
        assert first == pytest.approx(1 + 2 * part_of, abs=0.15)
        beep = min(loud, key=lambda time: abs(time - first))
        assert abs(beep - first) < 0.05


def test_a_clip_that_is_whole_is_not_touched(make_video: VideoMaker) -> None:
    for name in ("a.ts", "a.mkv", "a.mp4"):
        with FileSource(make_video(name, audio=True)) as source:
            items = list(source)
        assert items
        assert not any("clock jumps" in note or "far from all" in note for note in source.notes)
