"""Figures of an evaluation: by file, by method, and as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from ...metrics import Metric

Figures = dict[str, "float | None"]
"""Metric to value; None where it could not be measured, with a reason beside it."""


@dataclass(frozen=True)
class ClipScores:
    """Figures of one image or clip, means over its frames."""

    file: Path
    frames: int
    size: tuple[int, int]
    """Width and height of the truth in pixels."""

    figures: dict[str, Figures]
    """By method."""

    reasons: dict[str, str]
    """Why a metric has no value here."""

    cuts: int = 0
    """Scene cuts: there causal networks and measures of time start anew."""

    seed: int | None = None
    """Of the degradation, where each file was measured with several."""

    @property
    def name(self) -> str:
        """The file's, or its folder's where frames lie in one called `truth` or the like."""
        plain = self.file.name.lower() in ("truth", "original", "hr", "gt")
        name = self.file.parent.name if plain else self.file.name
        return name if self.seed is None else f"{name}, seed {self.seed}"

    def value(self, method: str, metric: str) -> float | None:
        """One figure, infinite for a PSNR without error; None where there is none."""
        return self.figures.get(method, {}).get(metric)

    def to_json(self, methods: Sequence[str], metrics: Sequence[Metric]) -> dict[str, Any]:
        """JSON-ready values; every metric of every method is there, as a number or null."""
        names = [metric.name for metric in metrics]
        shown = [*methods, *(key for key in self.figures if key not in methods)]
        values = {key: {name: self.value(key, name) for name in names} for key in shown}
        reasons = dict(self.reasons)
        for figures in values.values():
            for name, value in figures.items():
                if value is not None and not math.isfinite(value):
                    figures[name] = None
                    reasons.setdefault(name, "infinite: equal to the truth")
        return {
            "name": self.name,
            "file": str(self.file),
            **({} if self.seed is None else {"seed": self.seed}),
            "frames": self.frames,
            "size": list(self.size),
            "scene_cuts": self.cuts,
            "scores": values,
            "reasons": reasons,
        }


@dataclass(frozen=True)
class Comparison:
    """A method against another over all files that have the metric, each as often as degraded."""

    gain: float
    """Mean gain, positive where the method is better."""

    better: int
    """Files on which it is strictly better."""

    files: int

    error: float | None = None
    """Standard error of `gain`: how far it would be off with other draws of the degradation on the
    same files. None where there was one draw."""


@dataclass
class Evaluation:
    """All figures of one run."""

    methods: list[str]
    metrics: Sequence[Metric]
    clips: list[ClipScores] = field(default_factory=list)

    def mean(self, method: str, metric: Metric) -> float | None:
        """Mean over the files that have the figure, each counting the same."""
        values = self._values(method, metric)
        return math.fsum(values) / len(values) if values else None

    def compare(self, method: str, baseline: str, metric: Metric) -> Comparison | None:
        """How much better a method is than another; None without a file that tells."""
        gains: dict[int | None, list[float]] = {}
        for clip in self.clips:
            value, base = (_finite(clip.value(name, metric.name)) for name in (method, baseline))
            if value is not None and base is not None:
                gains.setdefault(clip.seed, []).append(metric.gain(value, base))
        if not gains:
            return None
        each = [gain for of_a_seed in gains.values() for gain in of_a_seed]
        means = [fmean(of_a_seed) for of_a_seed in gains.values()]
        error = stdev(means) / math.sqrt(len(means)) if len(means) > 1 else None
        return Comparison(fmean(each), sum(gain > 0 for gain in each), len(each), error)

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values: metrics, clips, means, and every method against the first."""
        baseline = self.methods[0]
        mean = {
            method: {metric.name: _finite(self.mean(method, metric)) for metric in self.metrics}
            for method in self.rows()
        }
        against = {
            method: {
                metric.name: vars(comparison)
                for metric in self.metrics
                if (comparison := self.compare(method, baseline, metric))
            }
            for method in self.methods[1:]
        }
        return {
            "metrics": {
                metric.name: {
                    "title": metric.title,
                    "unit": metric.unit,
                    "higher_is_better": metric.higher_is_better,
                }
                for metric in self.metrics
            },
            "clips": [clip.to_json(self.methods, self.metrics) for clip in self.clips],
            "mean": mean,
            f"against_{baseline}": against,
        }

    def rows(self) -> list[str]:
        """Methods, and the truth where a measure has a value for it."""
        extra = {
            key
            for clip in self.clips
            for key, figures in clip.figures.items()
            if key not in self.methods and any(value is not None for value in figures.values())
        }
        return [*self.methods, *sorted(extra)]

    def _values(self, method: str, metric: Metric) -> list[float]:
        values = (clip.value(method, metric.name) for clip in self.clips)
        return [value for value in values if value is not None]


def _finite(value: float | None) -> float | None:
    """JSON has no infinity: a PSNR without error is null."""
    return value if value is not None and math.isfinite(value) else None
