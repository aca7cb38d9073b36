"""The measures by name: what they are called, in which unit, which way is better, what they need.

The names are those of `adcvsr evaluate --metrics`, of its JSON and of precision budgets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ..arrays import Levels
from ..config import nearest
from ..errors import ConfigError, MissingPackageError, MissingProgramError
from .colour_shift import BLOCK_PX
from .contours import CONTOURS_LEAST_PX
from .fidelity import MS_SSIM_LEAST_PX, SSIM_LEAST_PX, finite_db
from .flip import FLIP_LEAST_PX
from .perceptual import PERCEPTUAL_LEAST_PX
from .ssimulacra2 import SSIMULACRA2_LEAST_PX
from .temporal import FLOW_LEAST_PX, require_opencv
from .vmaf import CAMBI_LEAST_PX, VMAF_LEAST_PX, find_vmaf_ffmpeg
from .xpsnr import XPSNR_LEAST_PX, require_xpsnr


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One measure of an output against the truth."""

    name: str
    """On the command line and in JSON."""

    title: str
    """In tables."""

    unit: str = ""
    """Empty for a bare number."""

    digits: int
    """Decimals that mean something."""

    higher_is_better: bool

    temporal: bool = False
    """Needs two consecutive frames."""

    least_px: int = 1
    """Least side of the compared pictures, the border taken off."""

    needs: str | None = None
    """What beside numpy: `opencv`, `ffmpeg` (with libvmaf), `xpsnr` (in PyAV), or nothing."""

    default: bool = True
    """Measured where nothing else is asked for: fast, and needs nothing."""

    def finite(self, value: float) -> float:
        """A value for means and JSON: of equal pictures `MOST_DB`, not infinity."""
        return finite_db(value) if self.unit == "dB" else value

    def gain(self, value: float, baseline: float) -> float:
        """How much better a value is than a baseline's, negative where it is worse."""
        return value - baseline if self.higher_is_better else baseline - value


METRICS = {
    metric.name: metric
    for metric in (
        Metric(name="psnr", title="PSNR-Y", unit="dB", digits=2, higher_is_better=True),
        Metric(
            name="psnr_rgb",
            title="PSNR-RGB",
            unit="dB",
            digits=2,
            higher_is_better=True,
            default=False,
        ),
        Metric(
            name="ssim", title="SSIM-Y", digits=4, higher_is_better=True, least_px=SSIM_LEAST_PX
        ),
        Metric(
            name="ssim_rgb",
            title="SSIM-RGB",
            digits=4,
            higher_is_better=True,
            least_px=SSIM_LEAST_PX,
            default=False,
        ),
        Metric(
            name="ms_ssim",
            title="MS-SSIM-Y",
            digits=4,
            higher_is_better=True,
            least_px=MS_SSIM_LEAST_PX,
            default=False,
        ),
        Metric(
            name="haarpsi",
            title="HaarPSI",
            digits=4,
            higher_is_better=True,
            least_px=PERCEPTUAL_LEAST_PX,
        ),
        Metric(
            name="gmsd",
            title="GMSD",
            digits=4,
            higher_is_better=False,
            least_px=PERCEPTUAL_LEAST_PX,
        ),
        Metric(
            name="vmaf",
            title="VMAF",
            digits=1,
            higher_is_better=True,
            least_px=VMAF_LEAST_PX,
            needs="ffmpeg",
            default=False,
        ),
        Metric(
            name="vmaf_neg",
            title="VMAF-NEG",
            digits=1,
            higher_is_better=True,
            least_px=VMAF_LEAST_PX,
            needs="ffmpeg",
            default=False,
        ),
        Metric(
            name="vmaf_v1",
            title="VMAF v1",
            digits=1,
            higher_is_better=True,
            least_px=CAMBI_LEAST_PX,
            needs="ffmpeg",
            default=False,
        ),
        Metric(
            name="cambi",
            title="CAMBI",
            digits=2,
            higher_is_better=False,
            least_px=CAMBI_LEAST_PX,
            needs="ffmpeg",
            default=False,
        ),
        Metric(
            name="xpsnr",
            title="XPSNR-Y",
            unit="dB",
            digits=2,
            higher_is_better=True,
            least_px=XPSNR_LEAST_PX,
            needs="xpsnr",
            default=False,
        ),
        Metric(
            name="ssimulacra2",
            title="SSIMULACRA2",
            digits=1,
            higher_is_better=True,
            least_px=SSIMULACRA2_LEAST_PX,
            default=False,
        ),
        Metric(
            name="flip",
            title="FLIP",
            digits=4,
            higher_is_better=False,
            least_px=FLIP_LEAST_PX,
            default=False,
        ),
        Metric(
            name="delta_e",
            title="colour shift",
            unit="dE00",
            digits=2,
            higher_is_better=False,
            least_px=BLOCK_PX,
            default=False,
        ),
        Metric(
            name="contours",
            title="contours",
            unit="%",
            digits=2,
            higher_is_better=False,
            least_px=CONTOURS_LEAST_PX,
            default=False,
        ),
        Metric(
            name="clipped",
            title="clipped",
            unit="%",
            digits=2,
            higher_is_better=False,
            default=False,
        ),
        Metric(
            name="frame_diff",
            title="frame diff.",
            unit="levels",
            digits=3,
            higher_is_better=False,
            temporal=True,
        ),
        Metric(
            name="warp",
            title="warp",
            unit="1e-3",
            digits=3,
            higher_is_better=False,
            temporal=True,
            least_px=2 * FLOW_LEAST_PX,
            needs="opencv",
            default=False,
        ),
        Metric(
            name="jitter",
            title="jitter",
            unit="px",
            digits=3,
            higher_is_better=False,
            temporal=True,
            least_px=2 * FLOW_LEAST_PX,
            needs="opencv",
            default=False,
        ),
        Metric(
            name="tof",
            title="tOF",
            unit="px",
            digits=3,
            higher_is_better=False,
            temporal=True,
            least_px=2 * FLOW_LEAST_PX,
            needs="opencv",
            default=False,
        ),
    )
}
"""Every measure, in the order of tables."""


GivenMeasure = Callable[[Levels, Levels], float]
"""Output and truth, (H, W, 3) uint8 RGB both, to a figure: a network with weights of its own."""


@dataclass(frozen=True)
class UsableMetrics:
    """Metrics that can be measured on this machine."""

    metrics: tuple[Metric, ...]

    ffmpeg: str | None = None
    """For what libvmaf measures, where any of it is among them."""

    left_out: dict[str, str] = field(default_factory=dict)
    """Metrics of `all` that cannot be measured here, and why."""

    given: Mapping[str, GivenMeasure] = field(default_factory=dict)
    """What computes those of the metrics that the caller brought, by name."""


def usable_metrics(text: str, ffmpeg: str | None = None) -> UsableMetrics:
    """Choose metrics and find what they need.

    Args:
        text: See `choose_metrics`.
        ffmpeg: See `find_vmaf_ffmpeg`.

    Raises:
        ConfigError: A name is unknown.
        MissingPackageError, MissingProgramError: A metric asked for by its name cannot be measured
            here. One that only `all` brought in is left out instead, with the reason.
    """
    named = set(names_of(text))
    metrics, program, left_out = [], None, {}
    for metric in choose_metrics(text):
        try:
            if metric.needs == "opencv":
                require_opencv()
            elif metric.needs == "ffmpeg":
                program = find_vmaf_ffmpeg(ffmpeg, metric.name)
            elif metric.needs == "xpsnr":
                require_xpsnr()
            metrics.append(metric)
        except (MissingPackageError, MissingProgramError) as error:
            if metric.name in named:
                raise
            left_out[metric.name] = str(error)
    return UsableMetrics(tuple(metrics), program, left_out)


def choose_metrics(text: str) -> list[Metric]:
    """Read a comma-separated list of names.

    Args:
        text: Names, or `default`, or `all`, also mixed (`default,warp`).

    Returns:
        The metrics in the order of `METRICS`, each once. `warp` brings `haarpsi` along: blur lowers
        it, so it says nothing without a measure of detail.

    Raises:
        ConfigError: A name is unknown; the message has the nearest.
    """
    chosen: set[str] = set()
    groups = {
        "all": set(METRICS),
        "default": {name for name, metric in METRICS.items() if metric.default},
    }
    for name in names_of(text):
        if name not in METRICS and name not in groups:
            raise ConfigError(f"no metric '{name}'{nearest(name, {**METRICS, **groups})}")
        chosen |= groups.get(name, {name, "haarpsi"} if name == "warp" else {name})
    return [metric for key, metric in METRICS.items() if key in chosen]


def names_of(text: str) -> list[str]:
    """The names in a list with commas, as the catalogue spells them."""
    return [part.strip().lower().replace("-", "_") for part in text.split(",")]
