"""The cost model's figures as fitted: what they are, how sure, and which class a device is in.

`fitted.json` is made by `python benchmarks/fit_costs.py` from `benchmarks/ledger.json`, whose hash
it carries; a test fits again and compares.

    fit = fit_for(target("orin-nano"), "tensorrt")
    fit.compute, fit.half_channels, fit.rows
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import NormalDist
from typing import Any

from ..errors import ConfigError
from ..reading import Item, read_json
from ..targets.facts import Target

TABLE = Path(__file__).with_name("fitted.json")
COMMAND = "python benchmarks/fit_costs.py"

SHARE = 0.9
"""Of cases that an interval is to hold."""

SIGMAS = NormalDist().inv_cdf((1 + SHARE) / 2)
"""Half an interval, in spreads."""

FIGURES = ("compute", "half_channels", "bandwidth", "kernel_seconds")
"""In the order of every vector of them."""


@dataclass(frozen=True)
class Guess:
    """What is thought of a figure before any measurement."""

    value: float
    factor: float
    """Within which it is thought to be, two times in three."""


_GPU = (Guess(0.8, 1.2), Guess(24, 1.6), Guess(0.65, 1.3), Guess(4e-6, 2.0))

CLASSES: Mapping[str, tuple[Guess, Guess, Guess, Guess]] = {
    "jetson": _GPU,
    "geforce": _GPU,
    "cpu": (Guess(0.55, 1.5), Guess(1e-6, 1.0001), Guess(0.6, 1.4), Guess(2e-5, 2.0)),
}
"""First guesses of each class's `FIGURES`; a CPU takes few channels as well as many."""

NEAREST = {"jetson": "jetson", "geforce": "geforce", "datacenter": "geforce", "cpu": "cpu"}
"""Whose figures a kind of device gets."""


@dataclass(frozen=True)
class Fit:
    """One class's figures."""

    name: str
    values: tuple[float, ...]
    """`FIGURES`."""
    covariance: tuple[tuple[float, ...], ...]
    """Of their logarithms."""
    spread: float
    """Of a measurement around the model, standard deviation of the logarithm."""
    rows: int
    devices: tuple[str, ...]
    """Targets with rows."""
    networks: int
    precisions: tuple[str, ...]
    left_out: Mapping[str, tuple[float, float]]
    """Median and worst factor between prediction and measurement when each row, each device or each
    network is predicted from the others."""
    device_spread: float | None
    """Of devices left out; None where there is but one."""
    covered: float
    """Share of rows that, left out, lie within the interval that is to hold nine in ten."""


@dataclass(frozen=True)
class Fitted:
    """All classes."""

    ledger_sha256: str
    classes: Mapping[str, Fit]

    @property
    def device_spread(self) -> float:
        """What a device without rows may be off by: the largest seen between devices."""
        seen = [fit.device_spread for fit in self.classes.values() if fit.device_spread is not None]
        return max(seen)


def class_of(target: Target, backend: str) -> str:
    """The class whose figures hold for a target; every backend of a GPU is in its kind's."""
    del backend  # no public figure tells TensorRT-RTX or ONNX Runtime's CUDA from TensorRT
    return NEAREST[target.kind]


def fit_for(target: Target, backend: str) -> Fit:
    """Figures for a target.

    Raises:
        ConfigError: The table that comes with the package is damaged.
    """
    return read_fitted().classes[class_of(target, backend)]


@cache
def read_fitted(path: Path = TABLE) -> Fitted:
    """Read the table.

    Raises:
        ConfigError: It is damaged.
    """
    document = read_json(path, error=ConfigError, advice=f"make it again: {COMMAND}")
    classes = {name: _read(name, each) for name, each in document["classes"].fields()}
    return Fitted(document["ledger_sha256"].text(), classes)


def as_table(fit: Fit) -> dict[str, Any]:
    """A class for the table; six digits, which is more than is known."""
    return {
        "figures": {key: _short(v) for key, v in zip(FIGURES, fit.values, strict=True)},
        "covariance": [[_short(each) for each in line] for line in fit.covariance],
        "spread": _short(fit.spread),
        "rows": fit.rows,
        "devices": list(fit.devices),
        "networks": fit.networks,
        "precisions": list(fit.precisions),
        "left_out": {k: [_short(each) for each in pair] for k, pair in fit.left_out.items()},
        "device_spread": None if fit.device_spread is None else _short(fit.device_spread),
        "covered": _short(fit.covered),
    }


def _read(name: str, each: Item) -> Fit:
    size = len(FIGURES)
    between = each.get("device_spread")
    return Fit(
        name=name,
        values=tuple(each["figures"][key].number(0) for key in FIGURES),
        covariance=tuple(
            tuple(value.number() for value in line.items(least=size, most=size))
            for line in each["covariance"].items(least=size, most=size)
        ),
        spread=each["spread"].number(0),
        rows=each["rows"].integer(1),
        devices=tuple(value.text() for value in each["devices"].items()),
        networks=each["networks"].integer(1),
        precisions=tuple(value.text() for value in each["precisions"].items()),
        left_out={
            key: (pair.items(least=2, most=2)[0].number(1), pair.items()[1].number(1))
            for key, pair in each["left_out"].fields()
        },
        device_spread=None if between is None else between.number(0),
        covered=each["covered"].number(0, 1),
    )


def _short(value: float) -> float:
    return float(f"{value:.6g}")
