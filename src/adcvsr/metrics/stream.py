"""Measuring streams frame by frame: any number of outputs against one truth.

Nothing is held but a frame and the one before it.

    truth = TruthStream()
    meters = {"nano": StreamMeter(metrics), "bicubic": StreamMeter(metrics)}
    for image, outputs in clip:
        moment = truth.step(image)
        for name, output in outputs.items():
            meters[name].add(output, moment)
    figures = meters["nano"].means()
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property

from ..arrays import Levels
from ..config import SCALE
from .catalogue import GivenMeasure, Metric
from .colour_shift import clipped_share, colour_shift
from .contours import contours
from .fidelity import ms_ssim, psnr, ssim, ssim_rgb
from .flip import flip
from .no_reference import blockiness, flicker, noise_level, reduce_areas, sharpness
from .perceptual import gmsd, haarpsi
from .planes import Plane, chroma_420, cut_border, full_range, luma
from .ssimulacra2 import ssimulacra2
from .temporal import (
    Motion,
    flow_error,
    frame_difference_error,
    half_size,
    jitter,
    measure_motion,
    warping_error,
)
from .vmaf import VMAF_MEASURES, VmafProcess
from .xpsnr import XpsnrMeter


class Picture:
    """A frame without its border, and what the measures make of it, each once.

    Args:
        image: (H, W, 3) uint8 RGB.
        border_px: Left out on each side.
    """

    def __init__(self, image: Levels, border_px: int) -> None:
        self.image: Levels = cut_border(image, border_px)
        self._reduced: Plane | None = None

    @cached_property
    def luma(self) -> Plane:
        """Limited-range luma."""
        return luma(self.image)

    @cached_property
    def chroma(self) -> Plane:
        """Limited-range chroma at half size, (2, H / 2, W / 2)."""
        return chroma_420(self.image)

    @cached_property
    def full_luma(self) -> Plane:
        """Full-range luma."""
        return full_range(self.luma)

    def reduced(self, scale: int) -> Plane:
        """Full-range luma at the input's size, by means of areas."""
        if self._reduced is None:
            self._reduced = reduce_areas(self.full_luma, scale)
        return self._reduced

    @cached_property
    def half(self) -> Plane:
        """RGB at half size."""
        return half_size(self.image)


@dataclass(frozen=True)
class Moment:
    """A frame of the truth and the one before it, shared by all outputs."""

    truth: Picture
    before: Picture | None
    """None at the start of a clip, and of a scene."""

    border_px: int

    scale: int = SCALE
    """How many times smaller the input is."""

    @cached_property
    def motion(self) -> Motion | None:
        """Of the truth, from the frame before to this one; None where there is none."""
        return None if self.before is None else measure_motion(self.before.half, self.truth.half)


class TruthStream:
    """The truth's side of a clip.

    Args:
        border_px: Left out on each side of every picture; networks lack context there.
        scale: How many times smaller the input is.
    """

    def __init__(self, border_px: int = 4, scale: int = SCALE) -> None:
        self._border_px, self._scale = border_px, scale
        self._before: Picture | None = None

    def step(self, image: Levels) -> Moment:
        """Take the next frame, (H, W, 3) uint8 RGB, of one size throughout."""
        picture = Picture(image, self._border_px)
        moment = Moment(picture, self._before, self._border_px, self._scale)
        self._before = picture
        return moment

    def cut(self) -> None:
        """The next frame begins another scene: no measure of time spans the cut."""
        self._before = None


class StreamMeter:
    """One output's side of a clip: figures of every frame, added up.

    Args:
        metrics: What to measure; what libvmaf and XPSNR measure only where these are given.
        vmaf: A running process, owned by the caller.
        xpsnr: Likewise a filter.
        given: What computes the metrics that the caller brought.
    """

    def __init__(
        self,
        metrics: Iterable[Metric],
        vmaf: VmafProcess | None = None,
        xpsnr: XpsnrMeter | None = None,
        given: Mapping[str, GivenMeasure] | None = None,
    ) -> None:
        self._given = given or {}
        names = _MEASURES.keys() | self._given.keys()
        self._names = [metric.name for metric in metrics if metric.name in names]
        self.values: dict[str, list[float]] = {name: [] for name in self._names}
        """Figures of every frame; temporal ones have none of a scene's first."""
        self._before: Picture | None = None
        self._vmaf, self._xpsnr = vmaf, xpsnr

    def add(self, image: Levels, moment: Moment) -> None:
        """Measure the next frame, (H, W, 3) uint8 RGB, against the truth at that moment.

        Raises:
            ValueError: The shapes differ, or the picture is too small for a measure.
        """
        output = Picture(image, moment.border_px)
        for name in self._names:
            value = (
                self._given[name](output.image, moment.truth.image)
                if name in self._given
                else _MEASURES[name](output, self._before, moment)
            )
            if value is not None:
                self.values[name].append(value)
        if self._vmaf is not None:
            truth = moment.truth
            chroma = (output.chroma, truth.chroma) if self._vmaf.sees_chroma else None
            self._vmaf.add(output.luma, truth.luma, chroma)
        if self._xpsnr is not None:
            self._xpsnr.add(output.luma, moment.truth.luma)
        self._before = output

    def skip(self, image: Levels, moment: Moment) -> None:
        """Take a frame that does not count: measures of time see it as the one before."""
        self._before = Picture(image, moment.border_px)

    def means(self) -> dict[str, float | None]:
        """Means over the frames measured so far; None where no frame could be.

        Ends the VMAF process and the XPSNR filter where there are any.
        """
        if self._xpsnr is not None:
            self.values["xpsnr"] = self._xpsnr.scores()
        means = {
            name: math.fsum(values) / len(values) if values else None
            for name, values in self.values.items()
        }
        if self._vmaf is not None:
            means.update(self._vmaf.scores())
        return means


def open_meter(
    metrics: Sequence[Metric],
    ffmpeg: str | None,
    height: int,
    width: int,
    stack: ExitStack,
    given: Mapping[str, GivenMeasure] | None = None,
) -> StreamMeter:
    """Make a meter with what its metrics need.

    Args:
        metrics: What to measure.
        ffmpeg: For what libvmaf measures.
        height: Of the pictures without their border, pixels.
        width: Likewise.
        stack: Closes what is opened.
        given: See `StreamMeter`.
    """
    names = {metric.name for metric in metrics}
    vmaf = xpsnr = None
    if ffmpeg is not None and (measures := names & VMAF_MEASURES):
        vmaf = stack.enter_context(VmafProcess(ffmpeg, height, width, measures))
    if "xpsnr" in names:
        xpsnr = stack.enter_context(XpsnrMeter(height, width))
    return StreamMeter(metrics, vmaf, xpsnr, given)


Measure = Callable[[Picture, "Picture | None", Moment], "float | None"]


def _frame_diff(output: Picture, before: Picture | None, moment: Moment) -> float | None:
    if before is None or moment.before is None:
        return None
    return frame_difference_error(output.luma, before.luma, moment.truth.luma, moment.before.luma)


def _warp(output: Picture, before: Picture | None, moment: Moment) -> float | None:
    if before is None or moment.motion is None:
        return None
    return warping_error(before.half, output.half, moment.motion)


def _jitter(output: Picture, before: Picture | None, moment: Moment) -> float | None:
    if before is None or moment.motion is None:
        return None
    return jitter(before.half, output.half, moment.motion)


def _tof(output: Picture, before: Picture | None, moment: Moment) -> float | None:
    if before is None or moment.motion is None:
        return None
    return flow_error(before.half, output.half, moment.motion)


def _blockiness(output: Picture, _: Picture | None, moment: Moment) -> float | None:
    # The codec's grid begins where the input does, unless a border was cut off.
    return None if moment.border_px else blockiness(output.reduced(moment.scale))


def _noise(output: Picture, _: Picture | None, moment: Moment) -> float:
    return noise_level(output.reduced(moment.scale), moment.truth.reduced(moment.scale))


def _flicker(output: Picture, before: Picture | None, moment: Moment) -> float | None:
    if before is None or moment.before is None:
        return None
    still = (each.reduced(moment.scale) for each in (moment.truth, moment.before))
    return flicker(output.full_luma, before.full_luma, *still)


_MEASURES: dict[str, Measure] = {
    "psnr": lambda output, _, moment: psnr(output.luma, moment.truth.luma),
    "ssim_rgb": lambda output, _, moment: ssim_rgb(output.image, moment.truth.image),
    "contours": lambda output, _, moment: contours(output.image, moment.truth.image),
    "psnr_rgb": lambda output, _, moment: psnr(output.image, moment.truth.image),
    "ssim": lambda output, _, moment: ssim(output.luma, moment.truth.luma),
    "ms_ssim": lambda output, _, moment: ms_ssim(output.luma, moment.truth.luma),
    "ssimulacra2": lambda output, _, moment: ssimulacra2(output.image, moment.truth.image),
    "flip": lambda output, _, moment: flip(output.image, moment.truth.image),
    "delta_e": lambda output, _, moment: colour_shift(output.image, moment.truth.image),
    "clipped": lambda output, _, moment: clipped_share(output.image, moment.truth.image),
    "haarpsi": lambda output, _, moment: haarpsi(output.full_luma, moment.truth.full_luma),
    "gmsd": lambda output, _, moment: gmsd(output.full_luma, moment.truth.full_luma),
    "frame_diff": _frame_diff,
    "warp": _warp,
    "jitter": _jitter,
    "tof": _tof,
    "sharpness": lambda output, _, moment: sharpness(output.full_luma),
    "blockiness": _blockiness,
    "noise": _noise,
    "flicker": _flicker,
}
