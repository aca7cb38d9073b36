"""Colour match: the published formula, without pumping, the same however a frame was made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from adcvsr.bundle.schema import ColourMatch
from adcvsr.errors import ConfigError
from adcvsr.pictures.clips import read_clip
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.runtime.processing.colour_match import ColourMatcher, statistics
from adcvsr.runtime.upscaler import Upscaler
from changed_manifest import with_manifest
from video_facts import VideoMaker

Levels = npt.NDArray[np.uint8]


def published(
    low: npt.NDArray[np.float64], high: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """AdcSR's test.py in levels; torch's std divides by n - 1."""
    mean, deviation = (f(high, axis=(0, 1)) for f in (np.mean, _std))
    return (high - mean) / deviation * _std(low, axis=(0, 1)) + low.mean((0, 1))


def _std(x: npt.NDArray[np.float64], axis: tuple[int, int]) -> npt.NDArray[np.float64]:
    return x.std(axis, ddof=1)


def matched(mode: str, low: Levels, high: Levels, matcher: ColourMatcher | None = None) -> Levels:
    out = high.copy()
    (matcher or ColourMatcher(ColourMatch(mode))).match(statistics(low), out)
    return out


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 5), (33, 40), (200, 300)])
def test_statistics_are_exact(rng: np.random.Generator, size: tuple[int, int]) -> None:
    frame = rng.integers(0, 256, (*size, 3), np.uint8)
    found = statistics(frame)
    np.testing.assert_allclose(found.mean, frame.mean((0, 1)), rtol=1e-12)
    if frame.shape[:2] != (1, 1):
        wide = frame.astype(np.float64)
        np.testing.assert_allclose(found.deviation, _std(wide, axis=(0, 1)), rtol=1e-9)
    bright = statistics(np.full((4096, 64, 3), 255, np.uint8))
    assert np.array_equal(bright.mean, [255] * 3)
    assert not bright.deviation.any()


def test_frame_is_the_published_formula(rng: np.random.Generator) -> None:
    """From the rounded and clamped picture, within a level of the formula on its floats."""
    low = (draw_clip(1, 45, 80)[0] * 0.7 + 30).astype(np.uint8)
    floats = np.kron(low, np.ones((4, 4, 1))) * [0.8, 1.05, 1.15] + [20.3, -4.2, 6.1]
    floats += rng.normal(0, 3, floats.shape)
    expected = published(low.astype(float), floats)
    inside = (floats >= 0) & (floats <= 255)
    assert inside.mean() > 0.99
    found = matched("frame", low, (floats + 0.5).clip(0, 255.5).astype(np.uint8))
    assert np.abs(found - expected.clip(0, 255))[inside].max() < 1.5  # half of it final rounding
    clamped = (expected + 0.5).clip(0, 255.5).astype(np.uint8)
    assert np.abs(found.astype(int) - clamped)[inside].max() <= 1


def test_the_golden_vectors_of_the_public_script(data: Path) -> None:
    """A tenth of their `sr` is outside black and white, so it is shrunk: the match undoes that."""
    vectors = data.parent / "golden" / "adcsr_64x64.npz"
    if not vectors.is_file():
        pytest.skip(f"no golden vectors at '{vectors}'")
    with np.load(vectors) as golden:
        low, high, expected = (
            golden[name][0].transpose(1, 2, 0).astype(np.float64) * 127.5 + 127.5
            for name in ("lr", "sr", "sr_matched")
        )
    np.testing.assert_allclose(published(low, high), expected, atol=0.2)  # float16
    shrunk = 0.3 * (high - 127.5) + 127.5
    found = matched("frame", *((x + 0.5).astype(np.uint8) for x in (low, shrunk)))
    gain = (_std(low, axis=(0, 1)) / _std(shrunk, axis=(0, 1))).max()
    # Half a level of rounding before the gain and half after it; the statistics are rounded, too.
    assert np.abs(found - expected.clip(0, 255)).max() < 0.5 * gain + 0.5 + 0.1


def test_what_is_equal_stays(rng: np.random.Generator) -> None:
    picture = rng.integers(0, 256, (40, 50, 3), np.uint8)
    assert np.array_equal(matched("frame", picture, picture), picture)
    assert np.array_equal(matched("ema", picture, picture), picture)


def test_constant_frames() -> None:
    grey, dark = np.full((8, 8, 3), 130, np.uint8), np.full((32, 32, 3), 90, np.uint8)
    assert np.all(matched("frame", grey, dark) == 130)
    nearly = dark.copy()
    nearly[3, 3] = 91  # rounding is all that deviates: it is not blown up
    textured = draw_clip(1, 8, 8)[0]
    assert np.ptp(matched("frame", textured, nearly), (0, 1)).max() <= 1
    assert np.all(matched("frame", grey[:1, :1], dark) == 130)


def test_ema_does_not_pump() -> None:
    """A lamp flickers in the picture; the wall beside it must not change with it."""
    rng = np.random.default_rng(1)
    wall = draw_clip(1, 48, 64)[0].astype(float) * 0.3 + 60
    frames, walls = [], {"frame": [], "ema": []}
    matchers = {mode: ColourMatcher(ColourMatch(mode, 15)) for mode in walls}
    for index in range(80):
        low = wall.copy()
        low[10:30, 10:30] = 250 if rng.random() < 0.5 else 60
        high = np.kron(low, np.ones((4, 4, 1)))
        high[40:120, 40:120] = high[40:120, 40:120] * 0.5 + 30  # the network dims the lamp
        high += 6  # and everything is too bright
        frames.append((low.astype(np.uint8), high.clip(0, 255).astype(np.uint8)))
        for mode, matcher in matchers.items():
            out = matched(mode, *frames[-1], matcher)
            if index >= 15:
                walls[mode].append(out[150:, 150:].mean())
    steps = {mode: np.abs(np.diff(values)).mean() for mode, values in walls.items()}
    assert steps["frame"] > 1  # the published way does pump
    assert steps["ema"] < 0.1 * steps["frame"]


def test_ema_takes_a_cast_away() -> None:
    """What the network gets wrong in every frame is corrected in full."""
    matcher = ColourMatcher(ColourMatch("ema", 15))
    for low in (draw_clip(10, 48, 64) * 0.7 + 30).astype(np.uint8):
        high = np.kron(low, np.ones((4, 4, 1))) * 0.9 + [20, 4, -6]
        out = matched("ema", low, high.astype(np.uint8), matcher)
        np.testing.assert_allclose(out.mean((0, 1)), low.mean((0, 1)), atol=0.5)
        np.testing.assert_allclose(out.std((0, 1)), low.std((0, 1)), rtol=0.02)


def test_ema_weights_and_reset() -> None:
    """A frame counts half after the half-life; the first of a stream alone; reset forgets."""
    matcher = ColourMatcher(ColourMatch("ema", half_life_frames=2))
    high = np.full((8, 8, 3), 100, np.uint8)
    lows = [np.full((2, 2, 3), level, np.uint8) for level in (40, 120, 200)]
    found = [int(matched("ema", low, high, matcher)[0, 0, 0]) for low in lows]
    keep = 0.5**0.5
    weights = np.array([keep**2, keep, 1])
    expected = [np.average([40, 120, 200][:n], weights=weights[3 - n :]) for n in (1, 2, 3)]
    assert np.abs(np.array(found) - expected).max() <= 0.5
    other_size = np.full((12, 12, 3), 100, np.uint8)
    assert np.all(matched("ema", lows[2], other_size, matcher) == 200)
    matched("ema", lows[0], high, matcher)
    matcher.reset()
    assert np.all(matched("ema", lows[2], high, matcher) == 200)


@pytest.mark.parametrize("mode", ["frame", "ema"])
def test_the_same_tiled_or_not(clip_bundle: Path, tmp_path: Path, mode: str) -> None:
    """Matched after windows are blended and tiles put together, with the bundle's own setting."""
    path = with_manifest(
        clip_bundle, tmp_path / "m", colour_match={"mode": mode, "half_life_frames": 4}
    )
    clip = draw_clip(12, 71, 75)
    with Upscaler(path, colour_match="none") as upscaler:
        plain = list(upscaler.upscale_clip(clip))
    matcher = ColourMatcher(ColourMatch(mode, 4))
    expected = [matched(mode, low, high, matcher) for low, high in zip(clip, plain, strict=True)]
    assert np.abs(np.stack(expected).astype(int) - np.stack(plain)).max() > 2
    for tile in (None, 67):
        with Upscaler(path, tile=tile) as upscaler:
            found = np.stack(list(upscaler.upscale_clip(clip)))
        assert np.abs(found.astype(int) - np.stack(expected)).max() <= 2 * (tile is not None)


def test_a_stream_is_matched_too(tiny_bundle: Path, make_video: VideoMaker, tmp_path: Path) -> None:
    path = with_manifest(tiny_bundle, tmp_path / "m", colour_match={"mode": "frame"})
    clip = draw_clip(3, 40, 48)
    with Upscaler(path) as upscaler, Upscaler(tiny_bundle) as plain:
        for frame in clip:
            picture = upscaler(frame)
            assert np.array_equal(picture, matched("frame", frame, plain(frame)))
            np.testing.assert_allclose(picture.mean((0, 1)), frame.mean((0, 1)), atol=0.5)
        with pytest.raises(ValueError, match="expected"):
            upscaler(clip[0].astype(float))
        report = upscaler.upscale_file(make_video(), tmp_path / "out.mp4")
        assert report.colour_match == {"mode": "frame", "half_life_frames": 15.0}
        assert "colours are matched to the input, each frame by itself" in report.notes
        upscaler.reset()
        found = list(read_clip(tmp_path / "out.mp4"))
        assert len(found) == 8
        assert plain.upscale_file(make_video(), tmp_path / "b.mp4").colour_match is None


def test_an_error_ends_the_stream(clip_bundle: Path, tmp_path: Path) -> None:
    """The input whose picture never came must not be taken for that of the next one."""
    path = with_manifest(clip_bundle, tmp_path / "m", colour_match={"mode": "frame"})
    clip = draw_clip(8, 24, 32)
    with Upscaler(path) as upscaler:
        expected = list(upscaler.upscale_clip(255 - clip))
        processor, session = upscaler._processor, upscaler.session
        encode, session._encode = session._encode, _fail
        for frame in clip[:7]:
            assert not list(processor.push(frame))
        with pytest.raises(MemoryError):
            list(processor.push(clip[7]))
        session._encode = encode
        again = [p for frame in 255 - clip for p in processor.push(frame)]
        again += processor.finish()
    assert np.array_equal(np.stack(again), np.stack(expected))


def _fail(clip: Levels) -> None:
    raise MemoryError


def test_unknown_colour_match() -> None:
    with pytest.raises(ConfigError, match="no colour match 'emma', did you mean 'ema'"):
        Upscaler("nano", colour_match="emma")
