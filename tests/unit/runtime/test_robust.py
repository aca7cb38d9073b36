"""All of clips/robust through `upscale`, against the table in robust_table.py."""

from __future__ import annotations

import re
from contextlib import suppress
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest

from adcvsr.bundle import open_bundle
from adcvsr.errors import AdcVsrError
from adcvsr.runtime.processor import StreamProcessor
from adcvsr.runtime.sessions.session import Frame, StreamSession
from adcvsr.runtime.upscaler import Upscaler
from adcvsr.runtime.video.encoders import EncodeOptions
from robust_table import QUICK, ROBUST, Good, Refused
from video_facts import video_facts

NANO_MEGAPIXELS = 0.3
"""Whole clips below are upscaled by nano; larger ones by repeating pixels: what is tested here is
everything around the network."""

PATCH = 8
FLAT_DEVIATION = 0.6
"""Patches whose levels deviate less are flat."""

WEIGHTS = {1: (0.2126, 0.0722), 4: (0.3, 0.11), 5: (0.299, 0.114), 6: (0.299, 0.114)}
WEIGHTS |= {7: (0.212, 0.087), 9: (0.2627, 0.0593)}


class RepeatSession(StreamSession):
    """Each pixel becomes sixteen."""

    backend = "repeat"

    def _open(self) -> None: ...

    def _close(self) -> None: ...

    def _resize(self, height: int, width: int, slots: int) -> None: ...

    def _reset(self) -> None: ...

    def _infer(self, frame: Frame, slot: int) -> Frame:
        return np.ascontiguousarray(frame.repeat(4, 0).repeat(4, 1))


@pytest.fixture(scope="module")
def upscalers() -> Any:
    bundle = open_bundle("nano")
    with Upscaler(bundle, threads=2) as nano, Upscaler(bundle, threads=1) as repeat:
        session = RepeatSession(bundle, bundle.variant("fp32-onnx"))
        repeat._processor = StreamProcessor(session)
        with session:
            yield nano, repeat


def pixels(name: str) -> int:
    """Of a whole clip: cheap ones come first."""
    expected = ROBUST[name]
    if isinstance(expected, Refused):
        return 0
    return expected.size[0] * expected.size[1] * expected.frames


def test_table_is_complete(data: Path) -> None:
    assert {path.name for path in (data / "clips/robust").iterdir()} == set(ROBUST)
    assert len(ROBUST) == 77
    assert set(QUICK) <= set(ROBUST)


@pytest.mark.parametrize("name", QUICK)
def test_quick(upscalers: Any, data: Path, tmp_path: Path, name: str) -> None:
    check(upscalers, data / "clips/robust" / name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(ROBUST) - set(QUICK), key=pixels))
def test_all(upscalers: Any, data: Path, tmp_path: Path, name: str) -> None:
    check(upscalers, data / "clips/robust" / name, tmp_path)


def check(upscalers: Any, source: Path, folder: Path) -> None:
    expected, output = ROBUST[source.name], folder / "out.mp4"
    options = EncodeOptions(preset="ultrafast", crf=4)
    if isinstance(expected, Refused):
        with pytest.raises(AdcVsrError, match=expected.says) as caught:
            upscalers[1].upscale_file(source, output, options=options)
        assert "\n" not in str(caught.value)
        assert not list(folder.iterdir())
        return
    width, height = expected.size
    small = pixels(source.name) <= NANO_MEGAPIXELS * 1e6
    report = upscalers[0 if small else 1].upscale_file(source, output, options=options)
    assert [path.name for path in folder.iterdir()] == ["out.mp4"]
    after = video_facts(output)
    assert report.frames == len(after.times) == expected.frames
    assert after.size == (4 * width, 4 * height) == report.output_size
    assert after.rotation % 360 == expected.rotation
    assert after.aspect == expected.aspect
    assert expected.says in "\n".join(report.notes)
    check_times(source, after.times, expected)
    check_colours(source, output, expected)


def check_times(source: Path, times: list[Fraction], expected: Good) -> None:
    if expected.times == "made":
        assert times == [Fraction(n, 25) for n in range(expected.frames)]
        return
    assert all(a < b for a, b in pairwise(times))
    if expected.times == "kept":
        before = decoded_times(source)
        # A moved clock is a constant; where the container has its own, nothing is moved.
        start = Fraction(0)
        with av.open(str(source), metadata_errors="replace") as container:
            if container.format.name in ("mpegts", "mpeg"):
                start = Fraction(container.start_time, av.time_base)
        for old, new in zip(before, times, strict=True):
            assert abs(new - (old - start)) <= Fraction(1, 60000)


def decoded_times(path: Path) -> list[Fraction]:
    """Times of all frames that come out, whatever packets are damaged."""
    times = []
    with av.open(str(path), metadata_errors="replace") as container:
        video = container.streams.video[0]
        for packet in container.demux(video):
            with suppress(av.FFmpegError):
                times += [f.pts * Fraction(f.time_base) for f in video.decode(packet)]
    return times


def check_colours(source: Path, output: Path, expected: Good) -> None:
    """Flat patches of the first frame mean the same colour, both converted by the definition."""
    with av.open(str(source), metadata_errors="replace") as container:
        container.streams.video[0].codec_context.flags |= 1  # unaligned crop
        before = next(container.decode(video=0))
    with av.open(str(output)) as container:
        after = next(container.decode(video=0))
    if before.interlaced_frame or min(expected.size) < 3 * PATCH:
        return
    low = exact_rgb(before)
    assert after.colorspace != 2
    big = exact_rgb(after)
    worst = 0.0
    for top in range(PATCH, expected.size[1] - 2 * PATCH, PATCH):
        for left in range(PATCH, expected.size[0] - 2 * PATCH, PATCH):
            around = low[top - PATCH : top + 2 * PATCH, left - PATCH : left + 2 * PATCH]
            mean = low[top : top + PATCH, left : left + PATCH].mean((0, 1))
            if around.std((0, 1)).max() > FLAT_DEVIATION:
                continue
            if around.min() < 0 or around.max() > 255:
                continue  # colours that RGB cannot hold
            patch = big[4 * top : 4 * (top + PATCH), 4 * left : 4 * (left + PATCH)]
            worst = max(worst, float(np.abs(patch.mean((0, 1)) - mean).max()))
    assert worst <= 2


def exact_rgb(frame: av.VideoFrame) -> npt.NDArray[np.float64]:
    """R'G'B' in levels of 255 by the definition (H.273), chroma repeated."""
    kind = frame.format
    if kind.is_rgb:
        return frame.to_ndarray(format="rgb24").astype(float)
    bits = kind.components[0].bits
    planes = [_plane(plane, bits) for plane in frame.planes[:3]]
    y, cb, cr = (_grown(plane, planes[0].shape) / 2 ** (bits - 8) for plane in planes)
    full = int(frame.color_range) == 2 or kind.name.startswith("yuvj")
    matrix = int(frame.colorspace)
    if matrix not in WEIGHTS:
        matrix = 1 if frame.height >= 720 else 6
    red, blue = WEIGHTS[matrix]
    luma = y / 255 if full else (y - 16) / 219
    blue_difference, red_difference = ((c - 128) / (255 if full else 224) for c in (cb, cr))
    r = luma + 2 * (1 - red) * red_difference
    b = luma + 2 * (1 - blue) * blue_difference
    g = (luma - red * r - blue * b) / (1 - red - blue)
    return np.stack([r, g, b], -1) * 255


def _plane(plane: av.video.plane.VideoPlane, bits: int) -> npt.NDArray[np.float64]:
    kind = np.dtype("<u2" if bits > 8 else "u1")
    rows = np.frombuffer(bytes(plane), kind).reshape(plane.height, -1)
    return rows[:, : plane.width].astype(float)


def _grown(plane: npt.NDArray[np.float64], shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    down, right = (-(-whole // part) for whole, part in zip(shape, plane.shape, strict=True))
    return plane.repeat(down, 0).repeat(right, 1)[: shape[0], : shape[1]]


def test_every_error_pattern_is_one() -> None:
    for expected in ROBUST.values():
        if isinstance(expected, Refused):
            assert re.compile(expected.says).pattern
