"""SSIMULACRA2, FLIP and XPSNR: what they must see, and their authors' programs where installed."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from adcvsr.arrays import Levels
from adcvsr.metrics import XpsnrMeter, flip, luma, resize_bicubic, ssimulacra2
from adcvsr.pictures.clips import write_png
from adcvsr.pictures.synthetic import draw_clip

HEIGHT, WIDTH = 233, 257


@pytest.fixture(scope="module")
def truth() -> Levels:
    return draw_clip(1, HEIGHT, WIDTH)[0]


def changed(truth: Levels, kind: str) -> Levels:
    rng = np.random.default_rng(1)
    inner = truth
    if kind == "noise":
        inner = (inner + rng.normal(0, 12, inner.shape)).clip(0, 255).astype(np.uint8)
    elif kind == "blur":
        inner = resize_bicubic(resize_bicubic(inner, 60, 70), HEIGHT, WIDTH)
    elif kind == "tint":
        inner = (inner.astype(int) + np.array([8, 0, -8])).clip(0, 255).astype(np.uint8)
    return inner


def test_equal_pictures(truth: Levels) -> None:
    assert ssimulacra2(truth, truth) == 100
    assert flip(truth, truth) == 0
    with XpsnrMeter(64, 96) as meter:
        plane = luma(truth)[:64, :96]
        meter.add(plane, plane)
        assert meter.scores() == [math.inf]


@pytest.mark.parametrize("kind", ["noise", "blur", "tint"])
def test_more_of_it_is_worse(truth: Levels, kind: str) -> None:
    found = changed(truth, kind)
    half = ((found.astype(int) + truth) // 2).astype(np.uint8)
    assert ssimulacra2(found, truth) < ssimulacra2(half, truth) < 100
    assert flip(found, truth) > flip(half, truth) > 0


def test_farther_away_there_is_less_to_see(truth: Levels) -> None:
    found = changed(truth, "noise")
    assert flip(found, truth, 134) < flip(found, truth, 67) < flip(found, truth, 33)


def test_errors_that_texture_hides_weigh_less() -> None:
    """XPSNR of noise in noise against the same noise on a flat picture: PSNR sees one figure."""
    rng = np.random.default_rng(0)
    error = rng.normal(0, 3, (128, 128)).astype(np.float32)
    flat = np.full((128, 128), 120, np.float32)
    busy = flat + rng.normal(0, 30, flat.shape).astype(np.float32)
    figures = []
    for plane in (flat, busy):
        with XpsnrMeter(128, 128) as meter:
            for _ in range(3):
                meter.add(plane + error, plane)
            figures.append(np.mean(meter.scores()))
    assert figures[1] > figures[0] + 1


def test_sizes_they_cannot_take(truth: Levels) -> None:
    for measure, least in ((ssimulacra2, 225), (flip, 16)):
        with pytest.raises(ValueError, match=f"20x15 pixels, needs {least} a side"):
            measure(truth[:15, :20], truth[:15, :20])
        with pytest.raises(ValueError, match="shapes differ"):
            measure(truth[1:], truth)
    with pytest.raises(ValueError, match="33x64 pixels, XPSNR needs even sides"):
        XpsnrMeter(64, 33)


@pytest.mark.parametrize("kind", ["noise", "blur", "tint"])
def test_flip_is_the_authors(truth: Levels, kind: str) -> None:
    evaluator = pytest.importorskip("flip_evaluator", reason="pip install flip-evaluator")
    found = changed(truth, kind)
    pictures = [(each / 255).astype(np.float32) for each in (truth, found)]
    _, expected, _ = evaluator.evaluate(*pictures, "LDR")
    assert flip(found, truth) == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize("kind", ["noise", "blur", "tint"])
def test_ssimulacra2_is_another_implementation_s(
    truth: Levels, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond two sides the package repeats the picture, where the authors' program sees 0."""
    package = pytest.importorskip("ssimulacra2", reason="pip install ssimulacra2")
    ndimage = pytest.importorskip("scipy.ndimage")

    def blur_image(image: npt.NDArray[np.float64], sigma: float = 1.5) -> npt.NDArray[np.float64]:
        blurred: npt.NDArray[np.float64] = ndimage.gaussian_filter(
            image, sigma=sigma, truncate=3.33, mode="constant", axes=(0, 1)
        )
        return blurred

    monkeypatch.setattr(package.ssimulacra2, "blur_image", blur_image)
    found = changed(truth, kind)
    for name, picture in (("truth", truth), ("found", found)):
        write_png(tmp_path / f"{name}.png", picture)
    expected = package.compute_ssimulacra2(str(tmp_path / "truth.png"), str(tmp_path / "found.png"))
    assert ssimulacra2(found, truth) == pytest.approx(expected, abs=0.01)
