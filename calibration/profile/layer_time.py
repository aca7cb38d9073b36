"""How long every layer takes in the engine, from the profile the engine itself writes.

Engines fuse, rename and insert nodes. What they add around a layer (rounding, reordering, a fused
activation) is counted to the layer it serves; what serves none is named so.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import onnx

from ...arrays import Levels
from ...bundle import Bundle
from ...leftovers import part_folder
from ...runtime.bench.ratio import percentile
from ...runtime.processing.backends import create_session
from ...runtime.sessions.layer_profile import NODE_TIME, RUN, Profile
from ...runtime.sessions.session import Session
from ...runtime.sessions.stream_session import StreamSession
from ...runtime.trace import Trace
from .matched_graphs import layers_of, load_graph, owners, plain_name

ELSEWHERE = "(input, output and what belongs to no layer)"

WARM_UP_FRAMES = 3

_DECORATION = re.compile(
    r"(?:_kernel_time|_token_\d+|_nchwc|_quant|/duplicated|_(?:Q|Deq)uantizeLinear|_cast\w*)$"
)
"""What ONNX Runtime appends to the names of nodes that it changes."""

CONVERTED = "InsertedPrecisionFreeCast_"
"""What it prepends to tensors that it computes in FP32 instead of FP16, as on a CPU."""

Times = dict[str, float]


def measure_layer_times(
    bundle: Bundle,
    variant: str,
    frames: Sequence[Levels],
    *,
    backend: str = "auto",
    threads: int = 0,
    step: Callable[[], None] = lambda: None,
    trace: Trace | None = None,
) -> Times | None:
    """Profile one variant.

    Args:
        bundle: Of kind `stream`.
        variant: Its id.
        frames: Run one after the other.
        backend: What runs it.
        threads: Of a CPU backend.
        step: Called after every frame.
        trace: Gets the layers, too.

    Returns:
        Milliseconds a frame by layer, and of `ELSEWHERE`: the lower quartile over frames, which
        other work on the machine moves least. None where the backend writes no profile.
    """
    session = create_session(bundle, backend=backend, variant=variant, threads=threads)
    if not isinstance(session, StreamSession):
        return None
    with part_folder() as folder:
        _run(session, frames, folder / "layers", step)
        if not session.profiles:
            return None
        if trace is not None:
            trace.merge(session)
        runs, fused = read_runs(session.profiles[0])
    return layer_times(runs[WARM_UP_FRAMES:] or runs, load_graph(bundle, variant), fused)


def layer_times(
    runs: Sequence[Mapping[str, float]],
    model: onnx.ModelProto,
    fused: Mapping[str, Sequence[str]] | None = None,
) -> Times:
    """Sum an engine's nodes by layer.

    Args:
        runs: Of every frame, milliseconds by the engine's node name.
        model: The graph as it is in the bundle.
        fused: By the engine's node name the graph's nodes it computes, where the engine tells.
            Layers that are computed as one share its time evenly.
    """
    place = Placement(model)
    sums: list[Times] = []
    for run in runs:
        found: defaultdict[str, float] = defaultdict(float)
        for name, milliseconds in run.items():
            layers = place.all_of((fused or {}).get(name) or (name,))
            for layer in layers:
                found[layer] += milliseconds / len(layers)
        sums.append(dict(found))
    names = [*(layer.name for layer in layers_of(model)), ELSEWHERE]
    return {name: percentile([each.get(name, 0.0) for each in sums], 25) for name in names}


class Placement:
    """Finds the layer an engine's node works for.

    Args:
        model: The graph as it is in the bundle.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._layer_of_tensor = owners(model)
        self._layer_of_node = {
            node.name: self._layer_of_tensor.get(node.output[0], "") for node in model.graph.node
        }
        self._plain = {plain_name(t): layer for t, layer in self._layer_of_tensor.items() if layer}

    def __call__(self, name: str) -> str:
        """Return the layer, or `ELSEWHERE`."""
        for candidate in _undecorated(name):
            for table in (self._layer_of_node, self._layer_of_tensor, self._plain):
                if table.get(candidate):
                    return table[candidate]
        return ELSEWHERE

    def all_of(self, names: Iterable[str]) -> list[str]:
        """Return the layers of several nodes, each once; `ELSEWHERE` only where none has one."""
        places = list(dict.fromkeys(map(self, names)))
        return [each for each in places if each != ELSEWHERE] or [ELSEWHERE]


def _undecorated(name: str) -> Iterable[str]:
    """The name, and it with one more decoration taken off each time."""
    yield name
    name = name.removeprefix(CONVERTED)
    yield name
    while (shorter := _DECORATION.sub("", name)) != name:
        name = shorter
        yield name


def read_runs(profile: Profile) -> tuple[list[dict[str, float]], dict[str, list[str]]]:
    """Read a profile: milliseconds of every node in every run, and what fused nodes compute."""
    events = profile.events()
    starts = sorted((e["ts"], e["ts"] + e["dur"]) for e in events if e["name"] == RUN)
    runs: list[dict[str, float]] = [defaultdict(float) for _ in starts]
    fused: dict[str, list[str]] = {}
    for event in events:
        if event.get("cat") != "Node" or not event["name"].endswith(NODE_TIME):
            continue
        if nodes := event["args"].get("nodes"):
            fused[event["name"]] = nodes
        for index, (first, last) in enumerate(starts):
            if first <= event["ts"] <= last:
                runs[index][event["name"]] += event["dur"] / 1000
                break
    return [dict(run) for run in runs], fused


def _run(
    session: Session, frames: Sequence[Levels], prefix: Path, step: Callable[[], None]
) -> None:
    assert isinstance(session, StreamSession)
    session.profile_prefix = prefix
    with session:
        for frame in frames:
            session.infer(frame)
            step()
