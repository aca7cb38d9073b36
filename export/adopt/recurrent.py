"""An ONNX network of single frames that takes and gives its state itself.

What goes out of it as state comes in again with the next frame: inputs and outputs are paired by
name, or as the user says. Their sizes are found by trial, in pixels of the frame; a state that is
larger than the frame is folded into channels.

    found = recurrent(path, model, {"h": "h_next"})
    found.model, found.states
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from ...arrays import Floats
from ...bundle.schema import StateSpec
from ...config import MOST_CHANNELS
from ...errors import AdoptError
from ..graphs.replay import open_session

SIDES_OF_STATE = (
    *(Fraction(1), Fraction(1, 2), Fraction(1, 4), Fraction(1, 8), Fraction(1, 16)),
    *(Fraction(2), Fraction(3), Fraction(4)),
)
"""Sides of a state over those of the frame, as they are tried."""

TRIAL_FRAME = (32, 48)
"""Height and width of the frame that states' sizes are tried with, multiples of 16."""

MOST_TRIALS = 600
"""Ways to give several states sizes; they are tried with all alike first."""

_ROLES = frozenset(
    {
        *("in", "out", "input", "output", "prev", "previous", "next", "new", "old", "past"),
        *("present", "last", "cur", "current", "i", "o", "t", "t1"),
    }
)
"""Parts of names that say which way a state goes, not which one it is."""


@dataclass(frozen=True)
class CarriedState:
    """A state of the network as it is in its file."""

    taken: str
    """Input; `given` becomes it for the next frame."""

    given: str
    """Output, the picture among them; or the frame's own input, where it is the frame before."""

    channels: int

    sides: Fraction
    """Its sides over those of the frame."""

    @property
    def fold(self) -> int:
        """Pixels of a side that become channels; 1 where it is no larger than the frame."""
        return int(self.sides) if self.sides > 1 else 1

    def zeros(self, height: int, width: int) -> Floats:
        """What it is before the first frame of this size."""
        rows, columns = (int(side * self.sides) for side in (height, width))
        return np.zeros((1, self.channels, rows, columns), np.float32)

    def spec(self, index: int) -> StateSpec:
        """As a bundle describes it."""
        name = f"adopted.state_{index}"
        divisor = 1 if self.sides > 1 else self.sides.denominator
        return StateSpec(name, self.channels * self.fold**2, divisor, f"{name}_next")


@dataclass(frozen=True)
class Recurrent:
    """A network that carries state."""

    original: onnx.ModelProto
    """As it was read; its frame and states have any height and width."""

    carried: tuple[CarriedState, ...]

    picture: str
    """Output that is the picture."""

    model: onnx.ModelProto
    """With states named and shaped as bundles have them, behind the frame and the picture."""

    @property
    def states(self) -> tuple[StateSpec, ...]:
        """Of `model`."""
        return tuple(each.spec(index) for index, each in enumerate(self.carried))

    def line(self) -> str:
        """One line for people."""
        pairs = ", ".join(
            f"{each.taken} <- {each.given} ({each.channels} channels, {each.sides} of the sides)"
            for each in self.carried
        )
        return f"a network that carries its state: {pairs}"


def pair_states(
    path: Path,
    taken: Mapping[str, Sequence[int | None]],
    given: Mapping[str, Sequence[int | None]],
    said: Mapping[str, str],
) -> tuple[str, str, dict[str, str]]:
    """Find the frame, the picture, and which output becomes which input.

    Args:
        path: For errors.
        taken: Inputs with their shapes.
        given: Outputs likewise.
        said: Pairs that the user named, input to output; the output may be the frame's input.

    Returns:
        The frame's input, the picture's output, and the pairs.

    Raises:
        AdoptError: Names do not tell; all inputs and outputs are named.
    """
    for one, other in said.items():
        if one not in taken or (other not in given and other not in taken):
            raise AdoptError(
                f"'{path}': --state {one}={other} names no input and output of it; it has "
                f"{_listed(taken, given)}"
            )
    pairs = dict(said)
    left_in = [name for name in taken if name not in pairs]
    left_out = [name for name in given if name not in pairs.values()]
    for name in list(left_in):
        alike = [each for each in left_out if _stem(each) == _stem(name)]
        same_stem = [each for each in left_in if _stem(each) == _stem(name)]
        if len(alike) == 1 and len(same_stem) == 1 and _fits(taken[name], given[alike[0]]):
            pairs[name] = alike[0]
            left_in.remove(name)
            left_out.remove(alike[0])
    if len(left_in) == 2 and len(left_out) == 2:
        _pair_by_shape(taken, given, left_in, left_out, pairs)
    if not left_out and len(left_in) == 1 and said:
        # The picture itself is what comes in again.
        left_out = [name for name in dict.fromkeys(said.values()) if name in given][:1]
    if len(left_in) != 1 or len(left_out) != 1:
        raise AdoptError(
            f"'{path}' has {len(taken)} inputs and {len(given)} outputs, and their names do not "
            f"tell which are the picture and which state that comes in again: "
            f"{_listed(taken, given)}; say it with --state INPUT=OUTPUT for each state (OUTPUT may "
            "be the frame's input, where a state is the frame before)"
        )
    return left_in[0], left_out[0], {name: pairs[name] for name in taken if name in pairs}


def _pair_by_shape(
    taken: Mapping[str, Sequence[int | None]],
    given: Mapping[str, Sequence[int | None]],
    left_in: list[str],
    left_out: list[str],
    pairs: dict[str, str],
) -> None:
    """One picture and one state are left: the state is what has not three channels."""
    states = [name for name in left_in if list(taken[name])[1:2] != [3]]
    nexts = [name for name in left_out if list(given[name])[1:2] not in ([3], [None])]
    if len(states) == len(nexts) == 1 and _fits(taken[states[0]], given[nexts[0]]):
        pairs[states[0]] = nexts[0]
        left_in.remove(states[0])
        left_out.remove(nexts[0])


def recurrent(
    path: Path, model: onnx.ModelProto, frame: str, picture: str, pairs: Mapping[str, str]
) -> Recurrent:
    """Find the states' sizes and give them a bundle's names and shapes.

    Args:
        path: For errors.
        model: In float32, with dynamic height and width of the frame.
        frame: Its input, (1, 3, H, W).
        picture: Its output.
        pairs: Of `pair_states`.

    Raises:
        AdoptError: A state has no fixed number of channels, or no size that was tried fits.
    """
    original = onnx.ModelProto()
    original.CopyFrom(model)
    channels = {}
    for value in original.graph.input:
        if value.name in pairs:
            channels[value.name] = _open_sides(path, value)
    for value in original.graph.output:
        if value.name in pairs.values():
            value.type.tensor_type.ClearField("shape")
    del original.graph.value_info[:]
    sides = _find_sides(path, original, frame, pairs, channels)
    carried = tuple(
        CarriedState(one, other, channels[one], sides[one]) for one, other in pairs.items()
    )
    return Recurrent(original, carried, picture, _with_states(original, frame, picture, carried))


def _open_sides(path: Path, value: onnx.ValueInfoProto) -> int:
    """Give a state any height and width; returns its channels."""
    kind, dims = value.type.tensor_type.elem_type, value.type.tensor_type.shape.dim
    count = dims[1].dim_value if len(dims) == 4 else 0
    if kind != TensorProto.FLOAT or not 1 <= count <= MOST_CHANNELS:
        shown = [d.dim_value or None for d in dims]
        raise AdoptError(
            f"'{path}': state '{value.name}' is {TensorProto.DataType.Name(kind)} of shape "
            f"{tuple(shown)}, expected floats (1, channels, height, width) with channels fixed"
        )
    for at, name in ((0, None), (2, f"{value.name}_rows"), (3, f"{value.name}_columns")):
        dims[at].Clear()
        if name is None:
            dims[at].dim_value = 1
        else:
            dims[at].dim_param = name
    return int(count)


def _find_sides(
    path: Path,
    model: onnx.ModelProto,
    frame: str,
    pairs: Mapping[str, str],
    channels: Mapping[str, int],
) -> dict[str, Fraction]:
    """What sides go in and come out alike."""
    try:
        session = open_session(model.SerializeToString())
    except Exception as error:
        raise AdoptError(
            f"'{path}' is not loaded by ONNX Runtime: {str(error).splitlines()[0]}"
        ) from error
    picture = np.full((1, 3, *TRIAL_FRAME), 0.5, np.float32)
    wanted = [pairs[name] for name in pairs if pairs[name] != frame]
    why = ""
    ways = itertools.chain(
        ((each,) * len(pairs) for each in SIDES_OF_STATE),
        (way for way in itertools.product(SIDES_OF_STATE, repeat=len(pairs)) if len({*way}) > 1),
    )
    for way in itertools.islice(ways, MOST_TRIALS):
        feeds: dict[str, Any] = {frame: picture}
        for name, sides in zip(pairs, way, strict=True):
            feeds[name] = CarriedState(name, "", channels[name], sides).zeros(*TRIAL_FRAME)
        try:
            found = dict(zip(wanted, session.run(wanted, feeds), strict=True))
        except Exception as error:  # ONNX Runtime's own, of several kinds
            why = why or str(error).splitlines()[0]
            continue
        found[frame] = picture
        unlike = {
            n: found[pairs[n]].shape for n in pairs if found[pairs[n]].shape != feeds[n].shape
        }
        if not unlike:
            return dict(zip(pairs, way, strict=True))
        name, shape = next(iter(unlike.items()))
        why = f"state '{name}' goes in as {feeds[name].shape} and '{pairs[name]}' is {shape}"
    raise AdoptError(
        f"'{path}': no size of its states fits a frame of {TRIAL_FRAME[1]}x{TRIAL_FRAME[0]} "
        f"({why}); sides that are a whole share of the frame's, or 2 to 4 times as long, are tried"
    )


def _with_states(
    original: onnx.ModelProto, frame: str, picture: str, carried: Sequence[CarriedState]
) -> onnx.ModelProto:
    model = onnx.ModelProto()
    model.CopyFrom(original)
    graph = model.graph
    values = {value.name: value for value in (*graph.input, *graph.output)}
    del graph.input[:], graph.output[:]
    graph.input.append(values[frame])
    graph.output.append(values[picture])
    first, last = list[onnx.NodeProto](), list[onnx.NodeProto]()
    for index, state in enumerate(carried):
        spec, block = state.spec(index), state.fold
        shape = [1, spec.channels, None, None]
        for ends, name in ((graph.input, spec.name), (graph.output, spec.next_name)):
            ends.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        unfold, fold = ("DepthToSpace", "SpaceToDepth") if block > 1 else ("Identity", "Identity")
        how: dict[str, Any] = {"blocksize": block} if block > 1 else {}
        ways = ((first, unfold, spec.name, state.taken), (last, fold, state.given, spec.next_name))
        for nodes, op_type, source, target in ways:
            called = f"{spec.name}/{'in' if nodes is first else 'out'}"
            nodes.append(helper.make_node(op_type, [source], [target], called, **how))
    ordered = [*first, *graph.node, *last]
    del graph.node[:]
    graph.node.extend(ordered)
    return model


def _stem(name: str) -> tuple[str, ...]:
    """What of a name says which tensor it is."""
    parts = re.split(
        r"[^a-z0-9]+|(?<=[a-z])(?=[0-9])", re.sub("(?<=[a-z])(?=[A-Z])", "_", name).lower()
    )
    return tuple(part for part in parts if part and part not in _ROLES)


def _fits(one: Sequence[int | None], other: Sequence[int | None]) -> bool:
    return (
        len(one) in (0, len(other))
        or not other
        or (
            len(one) == len(other)
            and all(a == b or a is None or b is None for a, b in zip(one, other, strict=True))
        )
    )


def _listed(
    taken: Mapping[str, Sequence[int | None]], given: Mapping[str, Sequence[int | None]]
) -> str:
    def shown(values: Mapping[str, Sequence[int | None]]) -> str:
        return ", ".join(f"'{name}' {tuple(shape)}" for name, shape in values.items())

    return f"inputs {shown(taken)}; outputs {shown(given)}"
