"""All of clips/robust through `upscale`, against the table in robust_table.py."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import av
import numpy as np
import numpy.typing as npt
import pytest
from repeat_session import RepeatSession

from adcvsr.bundle import open_bundle
from adcvsr.errors import AdcVsrError
from adcvsr.pictures.output_size import OutputSize
from adcvsr.pictures.pyav import open_input
from adcvsr.runtime import file_run
from adcvsr.runtime.processing.processor import StreamProcessor
from adcvsr.runtime.upscaler import Upscaler
from adcvsr.runtime.video.encoders import EncodeOptions
from robust_table import QUICK, ROBUST, Good, Refused
from video_facts import video_facts

NANO_MEGAPIXELS = 0.3
"""Whole clips below are upscaled by nano; larger ones by repeating pixels: what is tested here is
everything around the network."""

PATCH = 8
COMPARED_FRAMES = 64
"""Of a file, at most; all of the one with the largest pictures."""

FLAT_DEVIATION = 0.6
"""Patches whose levels deviate less are flat."""

Floats = npt.NDArray[np.float64]
WEIGHTS = {1: (0.2126, 0.0722), 4: (0.3, 0.11), 5: (0.299, 0.114), 6: (0.299, 0.114)}
WEIGHTS |= {7: (0.212, 0.087), 9: (0.2627, 0.0593)}


@pytest.fixture(scope="module")
def upscalers() -> Any:
    bundle = open_bundle("nano")
    with Upscaler(bundle, threads=2) as nano, Upscaler(bundle, threads=1) as repeat:
        session = RepeatSession(bundle, bundle.variant("fp32-onnx"))
        repeat._clips = repeat._processor = StreamProcessor(session)
        deep = RepeatSession(bundle, session.variant)
        deep.deep = True
        with session, deep:
            repeat.repeats_deep = deep
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
@pytest.mark.parametrize("name", sorted(sorted(set(ROBUST) - set(QUICK)), key=pixels))
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
    times = 4
    if expected.hdr and min(expected.size) > 4 * PATCH:
        # Of its own size: what is tested is colour, and pictures of 33 million pixels take long.
        times = 1
        shown = expected.size[::-1] if expected.rotation % 180 else expected.size
        options = replace(options, size=OutputSize(size=shown))
    small = pixels(source.name) <= NANO_MEGAPIXELS * 1e6
    ready = upscalers[0 if small and not expected.hdr else 1]
    with repeated_deep(upscalers[1]) if expected.hdr else nullcontext():
        report = ready.upscale_file(source, output, options=options)
    assert [path.name for path in folder.iterdir()] == ["out.mp4"]
    after = video_facts(output)
    assert report.frames == len(after.times) == expected.frames
    assert after.size == (times * width, times * height) == report.output_size
    assert (report.hdr, after.colour[3] in (16, 18)) == (expected.hdr, bool(expected.hdr))
    assert after.rotation % 360 == expected.rotation
    assert after.aspect == expected.aspect
    assert after.pixels == expected.pixels
    assert expected.says in "\n".join(report.notes)
    check_times(source, after.times, expected)
    check_colours(source, output, expected, times)


def check_times(source: Path, times: list[Fraction], expected: Good) -> None:
    if expected.times == "made":
        assert times == [Fraction(n, 25) for n in range(expected.frames)]
        return
    assert all(a < b for a, b in pairwise(times))
    if expected.times == "kept":
        before = [frame.pts * Fraction(frame.time_base) for frame in decoded(source)]
        # A moved clock is a constant; where the container has its own, nothing is moved.
        start = Fraction(0)
        with open_input(str(source)) as container:
            if container.format.name in ("mpegts", "mpeg"):
                start = Fraction(container.start_time, av.time_base)
        for old, new in zip(before, times, strict=True):
            assert abs(new - (old - start)) <= Fraction(1, 60000)


def repeated_deep(repeat: Any) -> AbstractContextManager[object]:
    """Frames of more than 8 bits are repeated, too."""
    return patch.object(file_run, "open_deep", lambda *_, **__: (repeat.repeats_deep, ""))


def check_colours(source: Path, output: Path, expected: Good, times: int) -> None:
    """Flat patches of each frame mean the same colour, both converted by the definition.

    Frame after frame, and of the large picture no more than means of patches: memory is that of a
    few frames.
    """
    if min(expected.size) < 3 * PATCH:
        return
    compared = 0
    pairs = zip(decoded(source), decoded(output), strict=True)
    for before, after in islice(pairs, COMPARED_FRAMES):
        if before.interlaced_frame or (before.width, before.height) != expected.size:
            continue  # deinterlaced; scaled to the size of the first frame
        compared += 1
        assert after.colorspace != 2
        colours, flat = flat_patches(exact_rgb(*planes_of(before)))
        big = exact_rgb(*planes_of(after, patch=times * PATCH))
        rows, columns = flat.shape
        worst = np.abs(big[:rows, :columns] - colours)[flat].max(initial=0)
        assert worst <= 2, f"frame {compared - 1} is off by {worst:.2f} levels"
    assert compared or "deinterlaced" in expected.says


def decoded(path: Path) -> Iterator[av.VideoFrame]:
    """All frames that come out, whatever packets are damaged."""
    with open_input(str(path)) as container:
        video = container.streams.video[0]
        video.thread_type = "SLICE"
        video.codec_context.flags |= 1  # unaligned crop
        for packet in container.demux(video):
            with suppress(av.FFmpegError):
                yield from video.decode(packet)


def flat_patches(rgb: Floats) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Mean colours of patches, and which of them are flat with all that is around them."""
    rows, columns = (side // PATCH for side in rgb.shape[:2])
    tiles = rgb[: rows * PATCH, : columns * PATCH].reshape(rows, PATCH, columns, PATCH, 3)
    means, squares = tiles.mean((1, 3)), (tiles * tiles).mean((1, 3))
    deviation = around(squares, np.add) / 9 - (around(means, np.add) / 9) ** 2
    flat = (deviation <= FLAT_DEVIATION**2).all(-1)
    # Not colours that RGB cannot hold.
    flat &= around(tiles.min((1, 3)), np.minimum).min(-1) >= 0
    flat &= around(tiles.max((1, 3)), np.maximum).max(-1) <= 255
    flat[[0, -1]], flat[:, [0, -1]] = False, False
    return means, flat


def around(patches: Floats, combine: np.ufunc) -> Floats:
    """Combine each patch with its eight neighbours; at the borders with those at the far ones."""
    total = patches
    for axis in (0, 1):
        total = combine(combine(total, np.roll(total, 1, axis)), np.roll(total, -1, axis))
    return total


def planes_of(frame: av.VideoFrame, patch: int = 1) -> tuple[av.VideoFrame, list[Floats]]:
    """A frame and its planes in levels of 255, all of one size: means over patches.

    Conversion is linear, so that the mean of a patch may be converted instead of its pixels.
    """
    if frame.format.is_rgb:
        rgb = frame.to_ndarray(format="rgb24")
        return frame, [patch_means(rgb[..., channel], patch) for channel in range(3)]
    bits = frame.format.components[0].bits
    kind = np.dtype("<u2" if bits > 8 else "u1")
    planes = []
    for plane in frame.planes[:3]:
        levels = np.frombuffer(plane, kind).reshape(plane.height, -1)[:, : plane.width]
        down, right = -(-frame.height // plane.height), -(-frame.width // plane.width)
        if patch == 1:
            levels = levels.repeat(down, 0).repeat(right, 1)[: frame.height, : frame.width]
            planes.append(levels / 2 ** (bits - 8))
        else:
            planes.append(patch_means(levels, patch // down, patch // right) / 2 ** (bits - 8))
    return frame, planes


def patch_means(levels: npt.NDArray[Any], height: int, width: int | None = None) -> Floats:
    """Means over whole patches; row after row of them, so that no copy of the plane is made."""
    width = width or height
    columns = levels.shape[1] // width
    means = [
        levels[top : top + height, : columns * width].reshape(height, columns, width).mean((0, 2))
        for top in range(0, levels.shape[0] - height + 1, height)
    ]
    return np.array(means)


def exact_rgb(frame: av.VideoFrame, planes: list[Floats]) -> Floats:
    """R'G'B' in levels of 255 by the definition (H.273), of planes of one size."""
    if frame.format.is_rgb:
        return np.stack(planes, -1)
    y, cb, cr = planes
    full = int(frame.color_range) == 2 or frame.format.name.startswith("yuvj")
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


def test_every_error_pattern_is_one() -> None:
    for expected in ROBUST.values():
        if isinstance(expected, Refused):
            assert re.compile(expected.says).pattern
