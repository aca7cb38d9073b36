"""What a network of others takes and makes, found by running it on a picture.

An upscaler's output, reduced, resembles its input. One that is given the wrong range, colours or
layout does not: so each range is tried, and what is told is held to the same.

    facts = find_facts(original, Wanted())
    facts.scale, facts.range, facts.line()
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import lcm
from typing import Any

import numpy as np
import onnx

from ...adopted_network import MOST_SCALE
from ...arrays import Floats, Levels
from ...bundle.schema import delay_of
from ...errors import AdoptError
from ...pictures.synthetic import draw_clip
from ..graphs.graph_edit import with_outputs
from ..graphs.replay import open_session
from .centred import arranged
from .clips import Framed
from .original import Original, nodes_with_sizes
from .pixels import COLOUR_ORDERS, FOUND_ORDERS, RANGES, levels_of, planes_of
from .recurrent import Recurrent

MULTIPLES = (1, 2, 4, 8, 16, 32, 64)
"""Sizes may have to be multiples of one of these."""

TRIAL_SIDES = (41, 47)
"""Least height and width of a picture whose size is tried, made odd multiples."""

PICTURE_SIDES = (96, 128)
"""Least height and width of the picture that ranges are tried on."""

MOST_DISTANCE = 12.0
"""Root mean square in levels between a picture and its output, both reduced; nearer is an
upscaler."""

AREA_PX = 4
"""Both are compared as means over squares of so many input pixels a side: networks that restore
change what is finer."""

TIED = 0.05
"""Levels by which two ranges must differ for one to be found rather than assumed."""

STILL_FRAMES = 8
"""Of a clip that stands still, by which a start from zero is judged."""

MOST_SETTLING = 4.0
"""Levels that the first picture of such a clip may be farther from its input than the last one: a
network that begins with something else than zero needs frames to find its picture."""

CLEARLY, LEAST_GAIN = 0.8, 0.5
"""Another way is taken for right where its distance is less than the first times that of what was
taken so far, and by so many levels."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a user says of a network; None each for what is found."""

    scale: int | None = None
    range: str | None = None
    """One of `pixels.RANGES`."""

    colour: str | None = None
    """One of `pixels.COLOUR_ORDERS`."""

    known: bool = False
    """Whether range and colours are those of a known file or format: nothing is tried beside."""


@dataclass(frozen=True)
class Facts:
    """What was found."""

    scale: int
    size_multiple: int
    range: str
    colour: str
    layout: str
    distance: float
    """Of the output, reduced, from the input: root mean square in levels."""

    tried: dict[str, float] = field(default_factory=dict)
    """Distances of all that was tried, by `range colour`."""

    settled: float | None = None
    """Of a network that takes its own state, `distance` after a clip of the same picture."""

    nearer: str | None = None
    """Of `tried`, what is clearly nearer than the range and colours that were said."""

    def doubt(self) -> str | None:
        """One line for people where another way than the one that was said seems meant."""
        if self.nearer is None:
            return self._tied()
        range_, colour = self.nearer.split()
        return (
            f"with --range {range_} --colour {colour} the output is nearer to the input, "
            f"{self.tried[self.nearer]:.1f} levels; {self.range} and {self.colour}, as was said, "
            f"give {self.distance:.1f}: look at a picture before you rely on them"
        )

    def _tied(self) -> str | None:
        others = [
            name.removesuffix(f" {self.colour}")
            for name, distance in self.tried.items()
            if name.endswith(f" {self.colour}") and abs(distance - self.distance) <= TIED
        ]
        others = [each for each in others if each != self.range]
        if not others:
            return None
        return (
            f"the picture does not tell the range {self.range}, which was taken, from "
            f"{' and '.join(others)}: give --range as the network was trained, which for most "
            "networks in PyTorch is 0-1"
        )

    def line(self) -> str:
        """One line for people."""
        others = [
            f"{name} {_shown(distance)}"
            for name, distance in self.tried.items()
            if name != f"{self.range} {self.colour}"
        ]
        beside = f" ({', '.join(others)})" if others else ""
        return (
            f"x{self.scale}, sizes in multiples of {self.size_multiple}, {self.layout}, range "
            f"{self.range}, {self.colour}: the output, reduced, is {self.distance:.1f} levels from "
            f"the input{beside}{self._start()}"
        )

    def _start(self) -> str:
        if self.settled is None:
            return ""
        return (
            f"; from states of zero, and {self.settled:.1f} in the {STILL_FRAMES}th frame of a "
            "still clip: it starts from zero"
        )


class Runner:
    """Runs a network on pictures of levels.

    Args:
        original: The network.
    """

    def __init__(self, original: Original) -> None:
        self.original = original
        try:
            self._session: Any = open_session(original.model.SerializeToString())
        except Exception as error:
            raise AdoptError(
                f"'{original.files[0]}' is not loaded by ONNX Runtime: {str(error).splitlines()[0]}"
            ) from error

    def run(self, values: Floats) -> Any:
        """Run (1, 3, H, W) in the network's own range and order, as a clip of one frame."""
        states, feeds = self.original.states, self.feeds(values)
        names = [self.original.output_name, *(s.next_name for s in states)]
        found, *following = self._session.run(names, feeds)
        for _ in range(delay_of(states)):
            feeds |= {s.name: each for s, each in zip(states, following, strict=True)}
            feeds |= {s.name: np.ones_like(feeds[s.name]) for s in states if s.ends}
            found, *following = self._session.run(names, feeds)
        if self.original.layout == "NHWC" and found.ndim == 4:
            found = found.transpose(0, 3, 1, 2)
        return found

    def feeds(self, values: Floats) -> dict[str, Floats]:
        """What goes in with the first frame of a clip, (1, 3, H, W), and states of zero."""
        given = values if self.original.layout == "NCHW" else values.transpose(0, 2, 3, 1)
        state = {
            s.name: np.zeros(s.shape(*values.shape[2:]), np.float32) for s in self.original.states
        }
        return {self.original.input_name: np.ascontiguousarray(given), **state}

    def levels(self, picture: Levels, range_: str, colour: str) -> Floats:
        """Upscale a picture.

        Args:
            picture: (H, W, 3) RGB.
            range_: One of `pixels.RANGES`.
            colour: One of `pixels.COLOUR_ORDERS`.

        Returns:
            (sH, sW, 3) RGB in levels, not clipped or rounded.
        """
        found = self.run(planes_of(picture, range_, colour)[None])
        return levels_of(found[0], range_, colour)


def whole_clip(original: Original, clip: Levels, range_: str, colour: str) -> list[Floats]:
    """What a network makes of a clip (T, H, W, 3), over clips as it was, as `Runner.levels` gives.

    Raises:
        AdoptError: The clip is not of the size and length that the file fixes.
    """
    if original.recurrent is not None:
        return _carried_clip(original, original.recurrent, clip, range_, colour)
    if original.clip is None:
        runner = Runner(original)
        return [runner.levels(frame, range_, colour) for frame in clip]
    planes = planes_of(clip, range_, colour)
    framed, windowed = original.framed, original.windowed
    if framed is not None and framed.shown is not None:
        found = _slid(original.clip, framed, planes)
        return [levels_of(each, range_, colour) for each in found]
    assert framed is not None or windowed is not None
    axis = framed.axis if framed is not None else windowed.axis  # type: ignore[union-attr]
    given = planes if axis == 0 else np.moveaxis(planes, 0, axis - 1)[None]
    session = open_session(original.clip.SerializeToString())
    name = original.clip.graph.input[0].name
    found = session.run(None, {name: np.ascontiguousarray(given)})[0]
    made = found if axis == 0 else np.moveaxis(found[0], axis - 1, 0)
    return list(levels_of(made, range_, colour))


def _slid(model: onnx.ModelProto, framed: Framed, planes: Floats) -> list[Floats]:
    """What a network makes that takes T frames and gives one picture, frame after frame.

    Args:
        model: As it was.
        framed: Of it.
        planes: (T, 3, H, W) in its range; beyond the ends the first and last one stand in.

    Returns:
        (3, sH, sW) each.
    """
    assert framed.frames is not None
    assert framed.shown is not None
    session, source = open_session(model.SerializeToString()), model.graph.input[0]
    rank, last = len(source.type.tensor_type.shape.dim), len(planes) - 1
    made = []
    for at in range(len(planes)):
        seen = [min(max(at + k - framed.shown, 0), last) for k in range(framed.frames)]
        clip = arranged([planes[k : k + 1] for k in seen], framed.axis, rank)
        found = session.run(None, {source.name: np.ascontiguousarray(clip)})[0]
        made.append(found.squeeze(framed.axis)[0] if found.ndim == 5 else found[0])
    return made


def _carried_clip(
    original: Original, network: Recurrent, clip: Levels, range_: str, colour: str
) -> list[Floats]:
    """The network as it was in its file, from zeros, with its own state from frame to frame."""
    session = open_session(network.original.SerializeToString())
    state = {each.taken: each.zeros(*clip.shape[1:3]) for each in network.carried}
    names = [network.picture, *(e.given for e in network.carried if e.given != original.input_name)]
    pictures = []
    for frame in clip:
        given = planes_of(frame, range_, colour)[None]
        feeds = {original.input_name: given, **state}
        found = {original.input_name: given}
        found |= dict(zip(names, session.run(names, feeds), strict=True))
        state = {each.taken: found[each.given] for each in network.carried}
        pictures.append(levels_of(found[network.picture][0], range_, colour))
    return pictures


def find_facts(original: Original, wanted: Wanted) -> Facts:
    """Try a network on pictures.

    Raises:
        AdoptError: It is no upscaler by a whole number up to `MOST_SCALE`, sizes are fixed in it,
            or its output does not resemble its input.
    """
    runner = Runner(original)
    scale, multiple = _scale_and_multiple(runner, wanted.scale)
    height, width = (_up(side, multiple) for side in PICTURE_SIDES)
    picture = draw_clip(3, height, width)[1]
    ranges = [wanted.range] if wanted.range else list(RANGES)
    orders = [wanted.colour] if wanted.colour else list(FOUND_ORDERS)
    tried: dict[tuple[str, str], float] = {}

    def nearest(ways: Sequence[tuple[str, str]]) -> tuple[str, str]:
        for each in ways:
            if each not in tried:
                tried[each] = _distance(runner, picture, *each, scale)
        return _clearly_best(tried, ways)

    best, _ = nearest([(each, orders[0]) for each in ranges])
    _, colour = nearest([(best, each) for each in orders])
    distance = tried[best, colour]
    if not distance <= MOST_DISTANCE:
        _refuse(runner, picture, scale, distance, best, colour)
    nearer = None
    if (beside := _beside(wanted, best, colour)) and (found := nearest(beside)) != (best, colour):
        nearer = " ".join(found)
    settled = None
    if original.recurrent is not None:
        settled = _settled(original, picture, best, colour, scale, distance)
    return Facts(
        scale=scale,
        size_multiple=multiple,
        range=best,
        colour=colour,
        layout=original.layout,
        distance=round(distance, 2),
        tried={f"{r} {c}": round(d, 2) for (r, c), d in tried.items()},
        settled=settled,
        nearer=nearer,
    )


def _beside(wanted: Wanted, range_: str, colour: str) -> list[tuple[str, str]]:
    """What a user says, and before it is believed what could have been meant."""
    if wanted.known or not (wanted.range or wanted.colour):
        return []
    ranges = RANGES if wanted.range else (range_,)
    orders = (colour, *FOUND_ORDERS) if wanted.colour else (colour,)
    ways = [(range_, each) for each in orders] + [(each, colour) for each in ranges]
    return list(dict.fromkeys(ways))


def _settled(
    original: Original, picture: Levels, range_: str, colour: str, scale: int, first: float
) -> float:
    """Distance of the last picture of a clip that stands still.

    Raises:
        AdoptError: The first one was much farther: the network does not start from zero.
    """
    clip = np.repeat(picture[None], STILL_FRAMES, 0)
    last = _apart(whole_clip(original, clip, range_, colour)[-1], picture, scale)
    if not first - last <= MOST_SETTLING:
        raise AdoptError(
            f"'{original.files[0]}': from states of zero its first picture, reduced, is "
            f"{first:.1f} levels from the input, and the {STILL_FRAMES}th of a clip that stands "
            f"still {last:.1f}: its state begins with something else than zero, which a bundle's "
            "does; export it so that a state of zero means that there is no past"
        )
    return round(last, 2)


def _refuse(
    runner: Runner, picture: Levels, scale: int, distance: float, range_: str, colour: str
) -> None:
    """Say that the output does not resemble the input, and what would."""
    others = {
        (r, c): _distance(runner, picture, r, c, scale) for r in RANGES for c in COLOUR_ORDERS
    }
    if not np.isfinite(list(others.values())).any():
        raise AdoptError(
            f"'{runner.original.files[0]}': its output has values that are not finite, in every "
            f"range and order of colours; {_not_finite(runner, picture, range_, colour)}"
        )
    nearest = min(others, key=lambda each: others[each])
    better = others[nearest] <= MOST_DISTANCE
    advice = (
        f"with --range {nearest[0]} --colour {nearest[1]} it is {_shown(others[nearest])}"
        if better
        else "no range, order of colours or layout gives a picture ("
        + ", ".join(f"{r} {c} {_shown(d)}" for (r, c), d in others.items())
        + ")"
    )
    start = (
        "; its state began with zeros, as a bundle's does: where it has to begin with something "
        "else, export it so that a state of zero means that there is no past"
        if runner.original.recurrent is not None and not better
        else ""
    )
    raise AdoptError(
        f"'{runner.original.files[0]}': its output, reduced, is {_shown(distance)} from the input "
        f"with range {range_} and {colour}, at most {MOST_DISTANCE:g} expected of an upscaler; "
        f"{advice}{start}"
    )


def _not_finite(runner: Runner, picture: Levels, range_: str, colour: str) -> str:
    """The first node that makes such values of a picture."""
    model = runner.original.model
    made = [name for node in model.graph.node for name in node.output if name]
    session = open_session(with_outputs(model, made).SerializeToString())
    values = session.run(made, runner.feeds(planes_of(picture, range_, colour)[None]))
    for name, value in zip(made, values, strict=True):
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            node = next(each for each in model.graph.node if name in each.output)
            return f"node '{node.name}' ({node.op_type}) is the first that makes one"
    return "not with the first frame, where no node makes one"


def _shown(distance: float) -> str:
    return f"{distance:.1f} levels" if np.isfinite(distance) else "not finite"


def _clearly_best(
    tried: dict[tuple[str, str], float], among: Sequence[tuple[str, str]]
) -> tuple[str, str]:
    """The first, unless a later one is clearly nearer."""
    best = among[0]
    for each in among[1:]:
        nearer = min(CLEARLY * tried[best], tried[best] - LEAST_GAIN)
        if tried[each] < nearer or not np.isfinite(tried[best]):
            best = each
    return best


def _distance(runner: Runner, picture: Levels, range_: str, colour: str, scale: int) -> float:
    return _apart(runner.levels(picture, range_, colour), picture, scale)


def _apart(made: Floats, picture: Levels, scale: int) -> float:
    """Root mean square in levels between an output and its input, both reduced."""
    found = made.clip(-255, 510)
    coarse = _areas(found, scale * AREA_PX) - _areas(picture, AREA_PX)
    distance = float(np.sqrt(np.mean(coarse**2)))
    return distance if np.isfinite(distance) else float("inf")


def _areas(picture: Any, side: int) -> Any:
    """Means over squares of so many pixels a side; what is left at the border is left out."""
    rows, columns = (length // side for length in picture.shape[:2])
    cut = picture[: rows * side, : columns * side]
    return cut.reshape(rows, side, columns, side, 3).mean((1, 3), dtype=np.float64)


def _scale_and_multiple(runner: Runner, wanted: int | None) -> tuple[int, int]:
    original, why = runner.original, ""
    least = lcm(*(state.divisor for state in original.states))
    for multiple in (each for each in MULTIPLES if each % least == 0):
        height, width = (_odd_up(side, multiple) for side in TRIAL_SIDES)
        try:
            shape = runner.run(np.full((1, 3, height, width), 0.5, np.float32)).shape
        except Exception as error:  # ONNX Runtime's own, of several kinds
            why = why or str(error).splitlines()[0]
            continue
        _require_picture(original, shape)
        scale, wide = shape[2] / height, shape[3] / width
        if scale == wide and scale in range(1, MOST_SCALE + 1):
            if wanted not in (None, int(scale)):
                raise AdoptError(
                    f"'{original.files[0]}' makes {int(scale)} times the size, not {wanted}"
                )
            return int(scale), multiple
        if scale == wide and (scale > MOST_SCALE or not float(scale).is_integer()):
            node = next(n for n in original.model.graph.node if original.output_name in n.output)
            raise AdoptError(
                f"'{original.files[0]}' makes {scale:g} times the size: {shape[3]}x{shape[2]} of "
                f"{width}x{height}, by node '{node.name}' ({node.op_type}) at last; whole numbers "
                f"from 1 to {MOST_SCALE} are adopted"
            )
        if scale.is_integer() and wide.is_integer() and scale != wide:
            node = next(n for n in original.model.graph.node if original.output_name in n.output)
            raise AdoptError(
                f"'{original.files[0]}' makes {wide:g} times the width and {scale:g} times the "
                f"height, by node '{node.name}' ({node.op_type}) at last; both have to be alike"
            )
        why = why or f"{width}x{height} becomes {shape[3]}x{shape[2]}"
    fixed = next(nodes_with_sizes(original.model), None)
    size = (
        f"; the file is for {original.declared[1]}x{original.declared[0]} alone"
        if original.declared
        else ""
    )
    raise AdoptError(
        f"'{original.files[0]}' does not run at other sizes ({why}){size}"
        + (f"; node {fixed} has one in it" if fixed else "")
        + ": export it with dynamic height and width"
    )


def _require_picture(original: Original, shape: tuple[int, ...]) -> None:
    if len(shape) != 4 or shape[1] != 3:
        node = next(n for n in original.model.graph.node if original.output_name in n.output)
        raise AdoptError(
            f"'{original.files[0]}': output '{original.output_name}' of node '{node.name}' "
            f"({node.op_type}) has shape {tuple(shape)}, expected a picture of 3 colours: a "
            "network that classifies or measures is no upscaler"
        )


def _up(side: int, multiple: int) -> int:
    return side + -side % multiple


def _odd_up(side: int, multiple: int) -> int:
    """The least odd multiple that is not smaller."""
    times = -(-side // multiple)
    return (times + 1 - times % 2) * multiple
