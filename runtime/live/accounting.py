"""The figures of a live run: how long frames took, what was dropped, what was forgotten and why.

Memory is constant: times go into histograms of fixed width. Thread-safe.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

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
        self.lost = 0
        """Pictures that no sink sent."""
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

    def frame_lost(self) -> None:
        """A picture was made, and no sink sent it."""
        with self._lock:
            self.lost += 1

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


Samples: TypeAlias = "list[tuple[dict[str, str], object]]"
"""Labels and value of each sample of a family."""


def prometheus_text(records: Sequence[Mapping[str, Any]], accounts: Sequence[Accounting]) -> str:
    """The figures in Prometheus' text format, version 0.0.4.

    Args:
        records: Of `StreamRun.record`, one for each stream of the process; those with a name have
            a label `stream`.
        accounts: Of the same streams.
    """
    lines: list[str] = []
    named = [({"stream": r["stream"]} if "stream" in r else {}, r) for r in records]

    def family(name: str, kind: str, text: str, samples: Samples) -> None:
        rows = [f"adcvsr_{name}{_labels(labels)} {value}" for labels, value in samples]
        if rows:
            lines.extend([f"# HELP adcvsr_{name} {text}", f"# TYPE adcvsr_{name} {kind}", *rows])

    def each(key: str) -> Samples:
        return [(stream, record[key]) for stream, record in named]

    def each_by(label: str, key: str) -> Samples:
        return [
            (stream | {label: name}, count)
            for stream, record in named
            for name, count in sorted(record[key].items())
        ]

    sinks = [
        (stream | {"sink": sink["sink"]}, sink)
        for stream, record in named
        for sink in record.get("sinks", ())
    ]
    family("frames_captured_total", "counter", "Frames from the source.", each("captured"))
    family("frames_presented_total", "counter", "Frames out.", each("presented"))
    family("frames_dropped_total", "counter", "Frames dropped.", each_by("reason", "drops"))
    sent: Samples = [(labels, sink["presented"]) for labels, sink in sinks]
    family("sink_frames_presented_total", "counter", "Frames a sink sent.", sent)
    missed: Samples = [
        (labels | {"reason": reason}, count)
        for labels, sink in sinks
        for reason, count in sorted(sink["drops"].items())
    ]
    family("sink_frames_dropped_total", "counter", "Frames a sink did not send.", missed)
    family("resets_total", "counter", "Times the past was forgotten.", each_by("reason", "resets"))
    family("reconnects_total", "counter", "Times the source came back.", each("reconnects"))
    running: Samples = [
        (stream | {key: record[key] for key in ("model", "variant", "backend")}, 1)
        for stream, record in named
    ]
    family("running_info", "gauge", "What upscales.", running)
    watched: Samples = [
        (stream | {"trait": trait}, int(trait in content["outside"]))
        for stream, record in named
        if (content := record.get("content"))
        for trait in sorted({*content["traits"], *content["outside"]})
    ]
    family("content_outside", "gauge", "Unlike what the variant was proven on.", watched)
    family("fps", "gauge", "Frames out a second, latest interval.", each("fps"))
    for record in records[:1]:  # of the process and of the machine, the same in each
        family("resident_bytes", "gauge", "Memory of the process.", [({}, record["rss_bytes"])])
        family("cpu_seconds_total", "counter", "Processor time.", [({}, record["cpu_seconds"])])
        device: Samples = [({"figure": name}, v) for name, v in record["device"].items()]
        family("device", "gauge", "Power (W), temperature (C) and load of the device.", device)
    quantiles: Samples = []
    totals: list[str] = []
    for (stream, _), accounting in zip(named, accounts, strict=True):
        for name, summary in accounting.percentiles().items():
            quantiles += _quantiles(stream | {"stage": name}, summary)
        for name, (seconds, count) in accounting.sums().items():
            if count:
                labels = _labels(stream | {"stage": name})
                totals.append(f"adcvsr_seconds_sum{labels} {seconds:.6f}")
                totals.append(f"adcvsr_seconds_count{labels} {count}")
    family("seconds", "summary", "Time a frame takes, by stage.", quantiles)
    lines += totals
    slow = [
        sample
        for labels, sink in sinks
        for name, summary in sink["ms"].items()
        for sample in _quantiles(labels | {"stage": name}, summary)
    ]
    family("sink_seconds", "gauge", "Time a frame takes to a sink, by stage.", slow)
    return "\n".join(lines) + "\n"


def _quantiles(labels: dict[str, str], summary: Mapping[str, float | None]) -> Samples:
    """Percentiles in milliseconds as samples in seconds; none where there is no time yet."""
    return [
        (labels | {"quantile": f"{percent / 100:g}"}, f"{ms / 1000:.6f}")
        for percent in PERCENTILES
        if (ms := summary[f"p{percent}"]) is not None
    ]


def _labels(labels: Mapping[str, str]) -> str:
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{pairs}}}" if pairs else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
