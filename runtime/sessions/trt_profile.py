"""What an engine's layers are and how long each takes, as TensorRT's profiler tells it.

TensorRT reports durations, layer after layer, and no points in time; layers are laid one after the
other from the start of their run.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from ..engine.layers import read_inspector
from .layer_profile import NODE_TIME, RUN, Profile

Event = dict[str, Any]

MOST_EVENTS = 1_000_000
"""What comes later is not noted, as in ONNX Runtime's profiles: memory stays bounded."""


class LayerProfiler:
    """Collects one engine's layer times, run by run.

    Args:
        trt: The engine's module.
        engine: Loaded.
        context: Of that engine; nothing of it is captured into CUDA graphs.
        events: Where they go, as Chrome's trace has them, `ts` in nanoseconds since the epoch.
    """

    def __init__(self, trt: Any, engine: Any, context: Any, events: list[Event]) -> None:
        self._facts = layer_facts(engine, trt)
        self._context, self._events = context, events
        self._times: list[tuple[str, float]] = []
        times = self._times

        class Profiler(trt.IProfiler):  # type: ignore[misc]
            def __init__(self) -> None:
                trt.IProfiler.__init__(self)

            def report_layer_time(self, layer_name: str, ms: float) -> None:
                times.append((layer_name, ms))

        self._profiler = Profiler()  # must outlive the context
        context.profiler = self._profiler
        # Otherwise each enqueue waits for its own end and reports by itself.
        context.enqueue_emits_profile = False

    def begin(self) -> int:
        """Nanoseconds since the epoch, for `end`."""
        return time.time_ns()

    def end(self, began_ns: int) -> None:
        """Take over the times of a run that is over: the stream has been waited for."""
        ended_ns = time.time_ns()
        self._times.clear()
        if len(self._events) >= MOST_EVENTS:
            return
        if not self._context.report_to_profiler():
            return
        run_ms = (ended_ns - began_ns) / 1e6
        self._events.append(_event(RUN, "Session", began_ns, run_ms, {}))
        # Layers on streams beside each other add up to more than the run; each begins within it.
        squeezed = min(1.0, run_ms / max(sum(ms for _, ms in self._times), 1e-9))
        passed_ms = 0.0
        for name, ms in self._times:
            at_ns = began_ns + int(passed_ms * squeezed * 1e6)  # whole: floats are too coarse
            facts = self._facts.get(name, {})
            self._events.append(_event(f"{name}{NODE_TIME}", "Node", at_ns, ms, facts))
            passed_ms += ms


def write_profile(events: list[Event], prefix: Path | None) -> list[Profile]:
    """Write collected events as a profile; none without a prefix or without a run."""
    if prefix is None or not events:
        return []
    began = min(event["ts"] for event in events)
    path = prefix.with_name(f"{prefix.name}.json")
    shifted = [{**event, "ts": (event["ts"] - began) / 1000} for event in events]
    path.write_text(json.dumps(shifted), encoding="utf-8")
    return [Profile(path, began)]


def layer_facts(engine: Any, trt: Any) -> dict[str, dict[str, Any]]:
    """By layer of an engine its type and the graph's nodes it computes, from the inspector."""
    inspector = engine.create_engine_inspector()
    layers = read_inspector(inspector.get_engine_information(trt.LayerInformationFormat.JSON))
    return {layer.name: {"op_name": layer.kind, "nodes": list(layer.nodes)} for layer in layers}


def _event(name: str, category: str, at_ns: int, ms: float, facts: dict[str, Any]) -> Event:
    return {"ph": "X", "cat": category, "name": name, "ts": at_ns, "dur": 1000 * ms, "args": facts}
