"""How many frames a stream graph looks back, from the graph itself.

A picture depends on the states that come in; a state on those that came in a frame before. Where
that chain ends, frames further back cannot change the picture: a stream that begins so many frames
earlier, with no past, gives the very same bits.

    frames_of_past(read_graph(data), {"state_a": "state_a_next"}, "upscaled")  # 1
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..adopted_network import AdoptedNetwork
from ..bundle.schema import StateSpec, delay_of
from ..config import AdcVsrConfig
from ..errors import GraphError
from .file import Model, read_graph
from .receptive import temporal_reach

WITH_BODIES = frozenset({"If", "Loop", "Scan"})
"""Nodes with graphs of their own, which may read any tensor."""


def past_of(
    data: bytes, state: Sequence[StateSpec], output: str, config: AdcVsrConfig | AdoptedNetwork
) -> int | None:
    """Frames before a frame that its picture can depend on.

    A state of several frames is a register that each frame moves on by one, so that it depends on
    itself and the graph alone does not tell how long it is: there the config does.

    Args:
        data: A stream graph's file.
        state: Of the stream. What says that it is over is none of its past, and where pictures come
            late the frames after a picture's own are not either.
        output: See `frames_of_past`.
        config: Of the network.

    Returns:
        None where the past never ends, or nothing tells.

    Raises:
        GraphError: It is damaged, or lacks one of the outputs.
    """
    carried = {spec.name: spec.next_name for spec in state if not spec.ends}
    found = frames_of_past(read_graph(data), carried, output)
    if isinstance(config, AdoptedNetwork):
        return None if found is None else max(found - delay_of(state), 0)
    if found is None and config.causal and config.temporal_kernel > 2:
        return temporal_reach(config)[0]
    return found


def frames_of_past(model: Model, state: Mapping[str, str], output: str) -> int | None:
    """Frames before a frame that its picture can depend on.

    Args:
        model: A stream graph.
        state: Of each state's input the output that becomes it for the next frame.
        output: The picture's name.

    Returns:
        The length of the longest chain of states; None where a state depends on itself, so that
        the past never ends, or where the graph cannot tell.

    Raises:
        GraphError: The graph lacks one of the outputs.
    """
    if any(node.op_type in WITH_BODIES for node in model.graph.node):
        return None
    seen: dict[str, frozenset[str]] = {name: frozenset([name]) for name in state}
    for node in model.graph.node:
        inputs = frozenset().union(*(seen.get(name, frozenset()) for name in node.input))
        seen |= dict.fromkeys(node.output, inputs)
    made = {name for node in model.graph.node for name in node.output} | set(state)
    if missing := sorted({output, *state.values()} - made):
        raise GraphError(f"the graph has no output '{missing[0]}'; get the bundle again")
    return _longest(seen[output], {name: seen[following] for name, following in state.items()})


def _longest(
    begin: frozenset[str], before: Mapping[str, frozenset[str]], above: frozenset[str] = frozenset()
) -> int | None:
    """Length of the longest chain of states from some of them back; None where one is a circle."""
    if begin & above:
        return None
    lengths = [_longest(before[name], before, above | {name}) for name in sorted(begin)]
    if None in lengths:
        return None
    return max((length + 1 for length in lengths if length is not None), default=0)
