"""Fits the cost model's few figures to the ledger, and says how well a row left out is predicted.

Of each class of devices: the share of peak arithmetic, how it falls with few channels, the share of
bandwidth and the time to start a kernel. All are fitted as logarithms against the logarithm of the
measured time, each held near a first guess as far as the ledger says nothing else; with six rows
of one network that is what keeps four figures apart. `benchmarks/fit_costs.py` is the command.

    fits = fit_classes(read_ledger(path).rows)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import ConfigError
from ..targets import target as find_target
from .fitted import CLASSES, SIGMAS, Fit, class_of
from .ledger import Row
from .work import Work, count_work

Vector = npt.NDArray[np.float64]

STEPS = 20
OWN_CLOCKS = 0.9
"""Of a target's peak arithmetic: rows of a power mode with less tell of another device."""

NUDGE = 1e-4
LEAST_SPREAD = 0.03
"""Of one measurement, as a logarithm: nobody measures closer than 3 %."""


PEAK = np.array([1.0, 0.0, 1.0, 0.0])
"""`fitted.FIGURES` of a device that loses nothing: each node at its peak, kernels at once."""

LEAST_OF_PEAK, MOST_OF_PEAK = 0.5, 50.0
"""Times the time at peak: no measurement is quicker, or slower, without a slip of the unit. Rows of
the ledger take 1.1 to 4.1 times."""


@dataclass(frozen=True)
class Sample:
    """A row, counted."""

    row: Row
    work: Work


def fit_classes(rows: Sequence[Row]) -> dict[str, Fit]:
    """Fit every class that has rows.

    Returns:
        By the class's name.

    Raises:
        ConfigError: A row cannot be true of its device: quicker than its peak, or far too slow.
    """
    samples: dict[str, list[Sample]] = {}
    for row in rows:
        if not row.fitted:
            continue
        assert row.target is not None
        where = find_target(row.target)
        of_floats = row.precision if row.precision in {"fp32", "tf32"} else "fp32"
        work = count_work(row.nodes, where, row.backend, of_floats).slowed(row.compute_share)
        _require_possible(row, 1e3 * float(work.seconds(PEAK).sum()))
        samples.setdefault(class_of(where, row.backend), []).append(Sample(row, work))
    return {name: _fit_class(name, found) for name, found in sorted(samples.items())}


def _require_possible(row: Row, peak_ms: float) -> None:
    """Refuse what a slip of the unit gives: milliseconds for frames a second, or another device.

    Raises:
        ConfigError: It is such a row.
    """
    share = row.ms / peak_ms
    if LEAST_OF_PEAK <= share <= MOST_OF_PEAK:
        return
    how = f"{1 / share:.3g} times as fast as" if share < 1 else f"{share:.3g} times slower than"
    raise ConfigError(
        f"'{row.source}': {row.network} at {row.width}x{row.height} on {row.device}: {row.ms:.4g} "
        f"ms a frame is {how} the peaks of target '{row.target}' allow ({peak_ms:.3g} ms); "
        "expected fps in frames a second, and target, precision and compute_share of that device"
    )


def _fit_class(name: str, samples: list[Sample]) -> Fit:
    pack = Pack.of(samples)
    values, covariance, spread = fit_pack(name, pack)
    groups = {
        "row": [str(index) for index in range(len(samples))],
        "device": [sample.row.device for sample in samples],
        "network": [sample.row.network for sample in samples],
    }
    left_out = {key: _left_out(name, pack, labels) for key, labels in groups.items()}
    devices = sorted({s.row.target or "" for s in samples if s.row.compute_share >= OWN_CLOCKS})
    return Fit(
        name=name,
        values=tuple(float(value) for value in np.exp(values)),
        covariance=tuple(tuple(float(each) for each in line) for line in covariance),
        spread=spread,
        rows=len(samples),
        devices=tuple(devices),
        networks=len({sample.row.network for sample in samples}),
        precisions=tuple(sorted({sample.row.precision for sample in samples})),
        left_out={key: _summary(errors) for key, errors in left_out.items() if errors},
        device_spread=_rms(left_out["device"]) if left_out["device"] else None,
        covered=float(np.mean(np.abs(left_out["row"]) <= SIGMAS * spread)),
    )


@dataclass(frozen=True)
class Pack:
    """Samples of a class one behind the other, so that all are predicted at once."""

    work: Work
    starts: npt.NDArray[np.int64]
    """Where each sample's nodes begin, shape (S,)."""
    measured: Vector
    """Logarithms of milliseconds, shape (S,)."""

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> Pack:
        """Put samples together."""
        sizes = [len(sample.work.count) for sample in samples]
        starts = np.cumsum([0, *sizes[:-1]]).astype(np.int64)
        return cls(
            Work.joined([sample.work for sample in samples]),
            starts,
            np.log([sample.row.ms for sample in samples]),
        )

    def log_ms(self, figures: Vector) -> Vector:
        """What the model says of each, shape (S,)."""
        return np.log(1e3 * np.add.reduceat(self.work.seconds(figures), self.starts))


def fit_pack(
    name: str, pack: Pack, used: npt.NDArray[np.bool_] | None = None
) -> tuple[Vector, Vector, float]:
    """Find the most probable figures: Gauss-Newton steps, shortened where they lead uphill.

    Args:
        name: Of the class, for its first guesses.
        pack: Samples.
        used: Which of them count, shape (S,); None for all.

    Returns:
        Logarithms of the figures, shape (4,); their covariance, (4, 4); the spread of a measurement
        around the model, as a logarithm.
    """
    kept = np.ones(len(pack.measured), bool) if used is None else used
    middle = np.log([guess.value for guess in CLASSES[name]])
    width = np.log([guess.factor for guess in CLASSES[name]])
    values, spread = middle.copy(), 0.2

    def misses(at: Vector) -> Vector:
        return np.asarray((pack.log_ms(np.exp(at)) - pack.measured)[kept])

    def loss(at: Vector) -> float:
        return float(((misses(at) / spread) ** 2).sum() + (((at - middle) / width) ** 2).sum())

    precision = np.diag(1 / width**2)
    for _ in range(STEPS):
        now = misses(values)
        nudges = NUDGE * np.eye(len(middle))
        slope = np.stack([(misses(values + each) - now) / NUDGE for each in nudges], axis=1)
        told = slope.T @ slope / spread**2
        precision = told + np.diag(1 / width**2)
        pull = -slope.T @ now / spread**2 - (values - middle) / width**2
        move = np.linalg.solve(precision, pull)
        before, length = loss(values), 1.0
        while length > 1e-3 and loss(values + length * move) > before:
            length /= 2
        if length > 1e-3:
            values = values + length * move
        # The spread follows the misses; figures that the samples decide have used some of them up.
        freedom = max(int(kept.sum()) - float(np.trace(told @ np.linalg.inv(precision))), 1.0)
        spread = max(float(np.sqrt((misses(values) ** 2).sum() / freedom)), LEAST_SPREAD)
    return values, np.asarray(np.linalg.inv(precision), np.float64), spread


def _left_out(name: str, pack: Pack, labels: Sequence[str]) -> list[float]:
    """Logarithms of prediction over measurement, each group predicted from the others."""
    errors: list[float] = []
    which = np.array(labels)
    if len(set(labels)) < 2:
        return errors
    for label in dict.fromkeys(labels):
        held = which == label
        values = np.exp(fit_pack(name, pack, ~held)[0])
        errors += [float(each) for each in (pack.log_ms(values) - pack.measured)[held]]
    return errors


def _rms(errors: Sequence[float]) -> float:
    return float(np.sqrt(np.mean(np.square(errors))))


def _summary(errors: Sequence[float]) -> tuple[float, float]:
    factors = np.exp(np.abs(errors))
    return float(np.median(factors)), float(np.max(factors))
