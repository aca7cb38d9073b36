"""Budgets of a precision search: how far pictures may be from FP32's, in measures of `evaluate`.

budget = read_budget("psnr>=42,haarpsi>=0.995,warp<=1.05x")
budget.holds({"psnr": 43.0, "haarpsi": 0.997, "warp": 0.31, "warp_fp32": 0.30})
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from ...config import nearest
from ...errors import ConfigError
from ...metrics import METRICS

REFERENCE_SUFFIX = "_fp32"
"""Of the same measure on FP32's own pictures."""

_LIMIT = re.compile(r"\s*([a-z_]+)\s*(>=|<=)\s*(\d+(?:\.\d+)?)(x?)\s*")


@dataclass(frozen=True)
class Limit:
    """One limit of a budget."""

    measure: str
    """A name of `adcvsr.metrics.METRICS`."""

    at_least: bool
    """Whether the value is the least; else the most."""

    value: float
    """In the measure's unit, or times FP32's own figure."""

    relative: bool
    """Whether it is times FP32's own figure."""

    def __str__(self) -> str:
        sign, suffix = ">=" if self.at_least else "<=", "x" if self.relative else ""
        return f"{self.measure}{sign}{self.value:g}{suffix}"

    def holds(self, figures: Mapping[str, float]) -> bool:
        """Whether it is kept; a figure that could not be measured keeps no limit."""
        value = figures.get(self.measure, math.nan)
        bound = self.value
        if self.relative:
            bound *= figures.get(self.measure + REFERENCE_SUFFIX, math.nan)
        return value >= bound if self.at_least else value <= bound


@dataclass(frozen=True)
class Budget:
    """Limits that have to hold together."""

    limits: tuple[Limit, ...]

    @property
    def measures(self) -> list[str]:
        """What has to be measured, in order."""
        return list(dict.fromkeys(limit.measure for limit in self.limits))

    def broken(self, figures: Mapping[str, float]) -> list[str]:
        """Limits that are not kept, with the figures."""
        return [
            f"{limit} ({limit.measure} {figures.get(limit.measure, math.nan):.4g})"
            for limit in self.limits
            if not limit.holds(figures)
        ]

    def holds(self, figures: Mapping[str, float]) -> bool:
        """Whether all limits are kept."""
        return not self.broken(figures)

    def __str__(self) -> str:
        return ",".join(map(str, self.limits))


def read_budget(text: str) -> Budget:
    """Read limits with commas between them, such as `psnr>=42,warp<=1.05x`.

    A number with `x` is times the figure of FP32's own pictures, which only measures of one stream
    have: `warp`.

    Raises:
        ConfigError: It is no budget, or a limit that cannot be meant.
    """
    return Budget(tuple(map(_limit, text.split(","))))


def _limit(text: str) -> Limit:
    match = _LIMIT.fullmatch(text)
    if match is None:
        raise ConfigError(
            f"'{text}' is no limit; expected a measure, >= or <=, and a number, such as psnr>=42"
        )
    name, sign, value, relative = match.groups()
    metric = METRICS.get(name)
    if metric is None or name == "vmaf":
        raise ConfigError(f"no measure '{name}' for a budget{nearest(name, METRICS)}")
    if (sign == ">=") != metric.higher_is_better:
        better = "higher" if metric.higher_is_better else "lower"
        raise ConfigError(f"'{text}' limits the wrong side: {better} {name} is better")
    if bool(relative) and name != "warp":
        raise ConfigError(
            f"'{text}': FP32's pictures are the truth here, so 'x' has a meaning for warp alone"
        )
    return Limit(name, sign == ">=", float(value), bool(relative))
