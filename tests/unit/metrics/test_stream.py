"""Streams measured frame by frame equal the measures called by hand."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from adcvsr.metrics import (
    METRICS,
    StreamMeter,
    TruthStream,
    clipped_share,
    colour_shift,
    flip,
    frame_difference_error,
    gmsd_y,
    haarpsi_y,
    half_size,
    luma,
    measure_motion,
    ms_ssim_y,
    psnr,
    psnr_y,
    resize_bicubic,
    ssim_y,
    ssimulacra2,
    warping_error,
)
from adcvsr.metrics.contours import contours
from adcvsr.metrics.fidelity import ssim_rgb
from adcvsr.metrics.stream import Moment
from adcvsr.metrics.temporal import flow_error, jitter
from adcvsr.pictures.synthetic import draw_clip

Levels = npt.NDArray[np.uint8]
BORDER = 4
HEIGHT, WIDTH = 240, 256


@pytest.fixture(scope="module")
def clip() -> tuple[list[Levels], list[Levels]]:
    truth = list(draw_clip(3, HEIGHT, WIDTH))
    small = [resize_bicubic(image, HEIGHT // 4, WIDTH // 4) for image in truth]
    return [resize_bicubic(image, HEIGHT, WIDTH) for image in small], truth


def measure(output: list[Levels], truth: list[Levels], *names: str) -> StreamMeter:
    stream, meter = TruthStream(BORDER), StreamMeter([METRICS[name] for name in names])
    for image, true in zip(output, truth, strict=True):
        meter.add(image, stream.step(true))
    return meter


def test_means_are_those_of_the_measures(clip: tuple[list[Levels], list[Levels]]) -> None:
    output, truth = clip
    outside = ("ffmpeg", "xpsnr")
    meter = measure(output, truth, *(n for n, m in METRICS.items() if m.needs not in outside))
    pairs = list(zip(output, truth, strict=True))
    expected = {
        "psnr": [psnr_y(x, y, BORDER) for x, y in pairs],
        "psnr_rgb": [psnr(x, y, BORDER) for x, y in pairs],
        "ssim": [ssim_y(x, y, BORDER) for x, y in pairs],
        "ms_ssim": [ms_ssim_y(x, y, BORDER) for x, y in pairs],
        "haarpsi": [haarpsi_y(x, y, BORDER) for x, y in pairs],
        "gmsd": [gmsd_y(x, y, BORDER) for x, y in pairs],
    }
    inner = slice(BORDER, -BORDER)
    inside = [(x[inner, inner], y[inner, inner]) for x, y in pairs]
    for name in ("ssimulacra2", "flip", "clipped"):
        by_hand = {"ssimulacra2": ssimulacra2, "flip": flip, "clipped": clipped_share}[name]
        expected[name] = [by_hand(x, y) for x, y in inside]
    expected["delta_e"] = [colour_shift(x, y) for x, y in inside]
    expected["ssim_rgb"] = [ssim_rgb(x, y) for x, y in inside]
    expected["contours"] = [value for x, y in inside if (value := contours(x, y)) is not None]
    x, y = ([luma(image[inner, inner]) for image in side] for side in clip)
    expected["frame_diff"] = [
        frame_difference_error(x[i], x[i - 1], y[i], y[i - 1]) for i in (1, 2)
    ]
    x, y = ([half_size(image[inner, inner]) for image in side] for side in clip)
    expected["warp"] = [
        warping_error(x[i - 1], x[i], measure_motion(y[i - 1], y[i])) or 0 for i in (1, 2)
    ]
    expected["jitter"] = [
        jitter(x[i - 1], x[i], measure_motion(y[i - 1], y[i])) or 0 for i in (1, 2)
    ]
    expected["tof"] = [
        flow_error(x[i - 1], x[i], measure_motion(y[i - 1], y[i])) or 0 for i in (1, 2)
    ]
    assert meter.values.keys() == expected.keys()
    for name, values in expected.items():
        assert meter.values[name] == pytest.approx(values, rel=1e-6), name
    assert meter.means() == pytest.approx(
        {k: np.mean(v) if v else None for k, v in expected.items()}, rel=1e-6
    )


def test_one_frame_has_no_temporal_figure(clip: tuple[list[Levels], list[Levels]]) -> None:
    output, truth = clip
    means = measure(output[:1], truth[:1], "psnr", "frame_diff", "warp").means()
    assert means["psnr"] is not None
    assert means["frame_diff"] is None
    assert means["warp"] is None


def test_motion_is_measured_once_for_all_outputs(
    clip: tuple[list[Levels], list[Levels]], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def counted(*frames: npt.NDArray[np.float32]) -> object:
        calls.append(1)
        return measure_motion(*frames)

    monkeypatch.setattr("adcvsr.metrics.stream.measure_motion", counted)
    output, truth = clip
    stream = TruthStream(BORDER)
    meters = [StreamMeter([METRICS["warp"]]) for _ in range(3)]
    for image, true in zip(output, truth, strict=True):
        moment: Moment = stream.step(true)
        for meter in meters:
            meter.add(image, moment)
    assert len(calls) == len(truth) - 1
    assert meters[0].means() == meters[2].means()


def test_the_example_of_the_docs_runs(clip: tuple[list[Levels], list[Levels]]) -> None:
    page = Path(__file__).resolve().parents[3] / "docs" / "metrics.md"
    (code,) = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    output, truth = clip
    names = {"output": output[0], "truth": truth[0], "frames": zip(truth, output, strict=True)}
    exec(code, names)
    meter = names["meter"]
    assert isinstance(meter, StreamMeter)
    assert len(meter.values["warp"]) == 2
