"""The figures of a live run: how long frames took, what was dropped, what was forgotten and why.

Memory is constant: times go into histograms of fixed width. Thread-safe.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

STAGES = ("queue", "infer", "encode", "present")
"""Waiting for the network; conversion to RGB and the network; waiting for the encoder, conversion
and encoding; writing or sending. Together they are `latency`, from capture to presentation."""

FIGURES = (*STAGES, "latency", "glass")
"""`glass` is the age of the picture at the far end, read from the picture (docs/live.md)."""

PERCENTILES = (50, 95, 99)

_LOWEST_MS, _STEP, _BUCKETS = 0.01, 1.02, 1000  # to 4,000 seconds


class Histogram:
    """Milliseconds in buckets that grow by 2 %: percentiles are right within 2 %."""

    def __init__(self) -> None:
        self.count = 0
        self.sum_ms = 0.0
        self.max_ms = 0.0
        self._buckets: Counter[int] = Counter()

    def add(self, ms: float) -> None:
        """Count a time; negative ones count as 0."""
        ms = max(ms, 0.0)
        index = math.ceil(math.log(ms / _LOWEST_MS, _STEP)) if ms > _LOWEST_MS else 0
        self._buckets[min(index, _BUCKETS)] += 1
        self.count += 1
        self.sum_ms += ms
        self.max_ms = max(self.max_ms, ms)

    def percentile(self, percent: float) -> float | None:
        """The time that `percent` of all do not exceed; None where there are none."""
        wanted = math.ceil(self.count * percent / 100)
        seen = 0
        for index in sorted(self._buckets):
            seen += self._buckets[index]
            if seen >= wanted:
                return min(_LOWEST_MS * _STEP**index, self.max_ms)
        return None

    def summary(self) -> dict[str, float | None]:
        """JSON-ready p50, p95, p99 and max in milliseconds; None without a time."""
        found = {f"p{percent}": _rounded(self.percentile(percent)) for percent in PERCENTILES}
        return found | {"max": _rounded(self.max_ms) if self.count else None}


def _rounded(ms: float | None) -> float | None:
    return None if ms is None else round(ms, 2)


@dataclass
class FrameTimes:
    """When a frame passed each point, in seconds of the run's clock."""

    captured: float
    taken: float = 0.0
    inferred: float = 0.0
    encoded: float = 0.0
    presented: float = 0.0

    def stages_ms(self) -> dict[str, float]:
        """Milliseconds of each stage, and of all as `latency`."""
        points = (self.captured, self.taken, self.inferred, self.encoded, self.presented)
        spans = [1000 * (b - a) for a, b in itertools.pairwise(points)]
        return dict(zip(STAGES, spans, strict=True)) | {"latency": 1000 * (points[-1] - points[0])}


class Accounting:
    """Counts everything twice: for the whole run, and for the latest interval."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.captured = 0
        self.presented = 0
        self.resets: Counter[str] = Counter()
        self._whole = {name: Histogram() for name in FIGURES}
        self._latest = {name: Histogram() for name in FIGURES}
        self._ahead: dict[str, float] = {}

    def frame_captured(self) -> None:
        """A frame came from the source."""
        with self._lock:
            self.captured += 1

    def frame_presented(self, times: FrameTimes) -> None:
        """A frame is out."""
        with self._lock:
            self.presented += 1
            for name, ms in times.stages_ms().items():
                self._add(name, ms)

    def picture_seen(self, age_ms: float) -> None:
        """A picture was seen at the far end."""
        with self._lock:
            self._add("glass", age_ms)

    def reset(self, reason: str) -> None:
        """The network's past was forgotten."""
        with self._lock:
            self.resets[reason] += 1

    def ahead_seconds(self) -> float:
        """What the network and all behind it lately took: a running mean over some ten frames."""
        with self._lock:
            return sum(self._ahead.values()) / 1000

    def percentiles(self) -> dict[str, dict[str, float | None]]:
        """Of the whole run, JSON-ready; see `Histogram.summary`."""
        with self._lock:
            return {name: histogram.summary() for name, histogram in self._whole.items()}

    def sums(self) -> dict[str, tuple[float, int]]:
        """Seconds and number of times of the whole run, by figure."""
        with self._lock:
            return {name: (h.sum_ms / 1000, h.count) for name, h in self._whole.items()}

    def end_interval(self) -> dict[str, dict[str, float | None]]:
        """Percentiles of the interval that ends now."""
        with self._lock:
            latest, self._latest = self._latest, {name: Histogram() for name in FIGURES}
        return {name: histogram.summary() for name, histogram in latest.items()}

    def _add(self, name: str, ms: float) -> None:
        self._whole[name].add(ms)
        self._latest[name].add(ms)
        if name in STAGES[1:]:
            self._ahead[name] = 0.9 * self._ahead.get(name, ms) + 0.1 * ms


def prometheus_text(record: Mapping[str, Any], accounting: Accounting) -> str:
    """The figures in Prometheus' text format, version 0.0.4.

    Args:
        record: Of `LiveRun.record`.
        accounting: Of the run.
    """
    lines: list[str] = []

    def family(name: str, kind: str, text: str, samples: Mapping[str, object]) -> None:
        rows = [f"adcvsr_{name}{labels} {value}" for labels, value in samples.items()]
        if rows:
            lines.extend([f"# HELP adcvsr_{name} {text}", f"# TYPE adcvsr_{name} {kind}", *rows])

    family("frames_captured_total", "counter", "Frames from the source.", {"": record["captured"]})
    family("frames_presented_total", "counter", "Frames out.", {"": record["presented"]})
    family(
        "frames_dropped_total", "counter", "Frames dropped.", _labelled("reason", record["drops"])
    )
    family(
        "resets_total",
        "counter",
        "Times the past was forgotten.",
        _labelled("reason", record["resets"]),
    )
    family("reconnects_total", "counter", "Times the source came back.", {"": record["reconnects"]})
    running = {key: record[key] for key in ("model", "variant", "backend")}
    labels = ",".join(f'{key}="{_escaped(value)}"' for key, value in running.items())
    family("running_info", "gauge", "What upscales.", {f"{{{labels}}}": 1})
    family("fps", "gauge", "Frames out a second, latest interval.", {"": record["fps"]})
    family("resident_bytes", "gauge", "Memory of the process.", {"": record["rss_bytes"]})
    family("cpu_seconds_total", "counter", "Processor time.", {"": record["cpu_seconds"]})
    device = {f'{{figure="{name}"}}': value for name, value in record["device"].items()}
    family("device", "gauge", "Power (W), temperature (C) and load of the device.", device)
    quantiles: dict[str, object] = {}
    for name, summary in accounting.percentiles().items():
        for percent in PERCENTILES:
            if (ms := summary[f"p{percent}"]) is not None:
                label = f'{{stage="{name}",quantile="{percent / 100:g}"}}'
                quantiles[label] = f"{ms / 1000:.6f}"
    family("seconds", "summary", "Time a frame takes, by stage.", quantiles)
    for name, (seconds, count) in accounting.sums().items():
        if count:
            lines.append(f'adcvsr_seconds_sum{{stage="{name}"}} {seconds:.6f}')
            lines.append(f'adcvsr_seconds_count{{stage="{name}"}} {count}')
    return "\n".join(lines) + "\n"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _labelled(label: str, counts: Mapping[str, int]) -> dict[str, object]:
    return {f'{{{label}="{name}"}}': count for name, count in sorted(counts.items())}
