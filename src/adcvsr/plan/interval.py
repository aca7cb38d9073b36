"""How sure a plan is: an interval that holds nine times in ten, and what would narrow it most.

A prediction's spread, as a logarithm, adds up from what a measurement strays from the fitted model,
how well the ledger decides the model's figures for this graph, what devices differ by where this
one has no rows, and an assumption where nobody has measured the backend or the precision.

    spread = network_spread(fit, target, "tensorrt", ("fp16",), seconds_under)
    judge(network_ms, spread, codecs_ms, codec_spread(target), 33.3, together=False)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from ..targets import Target
from .fitted import FIGURES, SHARE, SIGMAS, Fit, read_fitted
from .roofline import Shares

UNSEEN = math.log(1.5)
"""Spread of a backend or a precision without rows in the ledger, each; an assumption."""

MEASURED = 0.08
"""Spread of what was measured on the device at another size: as far as the rows of one network on
one RTX 5090 stray around the model, from 480x360 to 1920x1080."""

SEEN_BACKENDS = ("tensorrt", "ort-cpu")
"""Whose rows the ledger has."""

CODEC_FACTOR = {"cpu": 1.25, "jetson": 1.5}
"""Within which codecs take what is said, nine times in ten: measured on the target `cpu`; on a
Jetson "one to two cores" are two thirds to four thirds of what is taken; decoding is assumed."""

STRATA = 64


@dataclass(frozen=True)
class Interval:
    """What a plan may be off by."""

    low_ms: float
    """Of a frame through the whole pipeline: one case in twenty is quicker."""
    high_ms: float
    """One in twenty is slower."""
    probability: float
    """Of keeping up, 0 to 1."""
    network_factor: float
    """The network alone takes its prediction's time times or over this."""
    narrowed_by: str
    """What single measurement would narrow it most: `network` or `codecs`."""
    narrowed_ms: tuple[float, float]
    """The interval after it, if it said what is predicted."""

    @property
    def verdict(self) -> str:
        """`feasible`, `uncertain` or `infeasible`."""
        rest = (1 - SHARE) / 2
        if self.probability >= 1 - rest:
            return "feasible"
        return "infeasible" if self.probability <= rest else "uncertain"


def fps_range(low_ms: float, high_ms: float) -> str:
    """Frames a second between two times, the fewer first, as closely as they are known."""
    both = (1000 / high_ms, 1000 / low_ms)
    return " to ".join(f"{fps:.0f}" if fps >= 10 else f"{fps:.1f}" for fps in both)


def network_spread(
    fit: Fit,
    target: Target,
    backend: str,
    precisions: Sequence[str],
    seconds: Callable[[Shares], float],
    *,
    measured: str = "",
) -> float:
    """Spread of a network's predicted time, standard deviation of its logarithm.

    Args:
        fit: Of the target's class.
        target: Where.
        backend: What runs it.
        precisions: Of its products, the most used first.
        seconds: Predicted time under given shares.
        measured: `graph` where the same network was measured there, `device` where another was.
    """
    if measured == "graph":
        return MEASURED
    step = 1e-3
    base = math.log(seconds(Shares.under(fit.values)))
    slope = np.zeros(len(FIGURES))
    for index in range(len(FIGURES)):
        nudged = list(fit.values)
        nudged[index] *= math.exp(step)
        slope[index] = (math.log(seconds(Shares.under(nudged))) - base) / step
    variance = fit.spread**2 + float(slope @ np.array(fit.covariance) @ slope)
    if target.name not in fit.devices and measured != "device":
        variance += read_fitted().device_spread ** 2
    if backend not in SEEN_BACKENDS:
        variance += UNSEEN**2
    if precisions and precisions[0] not in fit.precisions:
        variance += UNSEEN**2
    return math.sqrt(variance)


def codec_spread(target: Target) -> float:
    """Spread of the codecs' time; 0 where they are not judged."""
    return math.log(CODEC_FACTOR.get(target.kind, 1.0)) / SIGMAS


def judge(
    network_ms: float,
    network: float,
    codecs_ms: float,
    codecs: float,
    budget_ms: float,
    *,
    together: bool,
) -> Interval:
    """Put a pipeline's spread together.

    Args:
        network_ms: Of a frame.
        network: Its spread.
        codecs_ms: Of a frame; 0 where they are not judged.
        codecs: Their spread.
        budget_ms: Between two frames of the source.
        together: Whether both take turns on the same cores, and their times add up.
    """

    def cases(first: float, second: float) -> npt.NDArray[np.float64]:
        left = network_ms * np.exp(first * _NORMAL)[:, None]
        right = codecs_ms * np.exp(second * _NORMAL)[None, :]
        return np.asarray(left + right if together else np.maximum(left, right)).ravel()

    def ends(found: npt.NDArray[np.float64]) -> tuple[float, float]:
        low, high = np.quantile(found, [(1 - SHARE) / 2, (1 + SHARE) / 2])
        return float(low), float(high)

    found = cases(network, codecs)
    after = {"network": ends(cases(min(network, MEASURED), codecs))}
    if codecs_ms:
        after["codecs"] = ends(cases(network, min(codecs, MEASURED)))
    best = min(after, key=lambda name: after[name][1] / after[name][0])
    low, high = ends(found)
    return Interval(
        low_ms=low,
        high_ms=high,
        probability=float((found <= budget_ms).mean()),
        network_factor=math.exp(SIGMAS * network),
        narrowed_by=best,
        narrowed_ms=after[best],
    )


_NORMAL = np.array([NormalDist().inv_cdf((i + 0.5) / STRATA) for i in range(STRATA)])
"""Middles of equally probable cases of a normal distribution."""
