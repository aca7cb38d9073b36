"""What nodes do with time: rules by operator, each giving a node's outputs as frames.

A rule gives None where the node does the same with every frame.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import onnx

from .borders import Frame
from .unrolled import Clip, Rule, Unrolled, attributes, ours, zero


def _conv(graph: Unrolled, node: onnx.NodeProto) -> list[Clip] | None:
    """Over time: a sum of convolutions of single frames."""
    clip, weight = graph.clip(node.input[0]), graph.constant(node.input[1])
    if clip.axis is None or weight is None or clip.axis == 0:
        return None
    found = attributes(node)
    rank = weight.ndim - 2
    place = clip.axis - 2
    if place < 0 or rank != 3:
        raise graph.refuse(node, "convolves with time among the channels")
    ones = [1] * rank
    strides, dilations = found.get("strides", ones), found.get("dilations", ones)
    pads = list(found.get("pads", [0] * 2 * rank))
    if found.get("auto_pad", b"NOTSET") != b"NOTSET" or strides[place] != 1:
        raise graph.refuse(node, "skips frames, or pads by the size")
    before, after = pads[place], pads[place + rank]
    taps, step = weight.shape[2 + place], dilations[place]
    pads[place] = pads[place + rank] = 0
    how = {
        "kernel_shape": [1 if i == place else k for i, k in enumerate(weight.shape[2:])],
        "pads": pads,
        "strides": list(strides),
        "dilations": [1 if i == place else d for i, d in enumerate(dilations)],
        "group": found.get("group", 1),
    }
    own = ours(node, "Conv", **how)
    kernels = [
        graph.made(None, (), f"{node.input[1]}.{tap}", value=np.take(weight, [tap], 2 + place))
        for tap in range(taps)
    ]
    bias = graph.clip(node.input[2]).frames[0] if len(node.input) > 2 else None
    total = len(clip.frames)
    shape = graph.single(node.output[0], clip.axis)
    frames = []
    for at in range(total + before + after - step * (taps - 1)):
        terms: list[Frame] = []
        for tap, kernel in enumerate(kernels):
            source = at - before + step * tap
            given = clip.frames[source] if 0 <= source < total else zero()
            terms.append(graph.made(own, (given, kernel), node.name, shape=shape))
        if bias is not None:
            last = terms[-1]
            terms[-1] = graph.made(own, (*last.inputs, bias), node.name, shape=shape)
        graph.taps |= {id(term) for term in terms}
        frames.append(_sum(graph, node, terms))
    return [Clip(tuple(frames), clip.axis)]


def _sum(graph: Unrolled, node: onnx.NodeProto, terms: Sequence[Frame]) -> Frame:
    """All terms, those of zeros too, so that the ends of a clip are built like its middle."""
    total = terms[-1]
    for term in reversed(terms[:-1]):
        total = graph.made(ours(node, "Add"), (total, term), node.name, shape=total.shape)
    return total


def _slice(graph: Unrolled, node: onnx.NodeProto) -> list[Clip] | None:
    clip = graph.clip(node.input[0])
    if clip.axis is None:
        return None
    rank = len(graph.shape(node.input[0]))
    values = [graph.constant(name) for name in node.input[1:]]
    if any(value is None for value in values):
        raise graph.refuse(node, "cuts at places that depend on the size")
    starts, ends = (list(map(int, v)) for v in values[:2] if v is not None)
    axes = list(map(int, values[2])) if len(values) > 2 else list(range(len(starts)))  # type: ignore[arg-type]
    steps = list(map(int, values[3])) if len(values) > 3 else [1] * len(starts)  # type: ignore[arg-type]
    axes = [axis % rank for axis in axes]
    frames = clip.frames
    rest = []
    for limits in zip(starts, ends, axes, steps, strict=True):
        start, end, axis, step = limits
        if axis == clip.axis:
            stop: int | None = end if end > -(1 << 31) else None
            frames = frames[slice(start, stop, step)]
        else:
            rest.append(limits)
    if rest:
        parts = [graph.place(*part) for part in zip(*rest, strict=True)]
        own, shape = ours(node, "Slice"), graph.single(node.output[0], clip.axis)
        frames = tuple(
            frame if frame.is_zero else graph.made(own, (frame, *parts), node.name, shape=shape)
            for frame in frames
        )
    return [Clip(tuple(frames), clip.axis)]


def _gather(graph: Unrolled, node: onnx.NodeProto) -> list[Clip] | None:
    clip, places = graph.clip(node.input[0]), graph.constant(node.input[1])
    rank = len(graph.shape(node.input[0]))
    axis = attributes(node).get("axis", 0) % rank
    if clip.axis is None:
        return None
    if axis != clip.axis:
        if places is not None and places.ndim == 1:
            return None
        raise graph.refuse(node, "takes a place of an axis that is not time")
    if places is None:
        raise graph.refuse(node, "takes frames that depend on the size")
    if places.ndim == 1:
        return [Clip(tuple(clip.frames[int(at)] for at in places), axis)]
    return [Clip((_squeezed(graph, node, clip.frames[int(places)], [axis]),), None)]


def _squeezed(graph: Unrolled, node: onnx.NodeProto, frame: Frame, axes: list[int]) -> Frame:
    if frame.is_zero:
        return frame
    shape = tuple(side for i, side in enumerate(frame.shape) if i not in axes)
    own = ours(node, "Squeeze")
    return graph.made(own, (frame, graph.place(*axes)), node.name, shape=shape)


def _unsqueezed(graph: Unrolled, node: onnx.NodeProto, frame: Frame, axes: list[int]) -> Frame:
    if frame.is_zero:
        return frame
    rank = len(frame.shape) + len(axes)
    rest = iter(frame.shape)
    shape = tuple(1 if i in axes else next(rest) for i in range(rank))
    own = ours(node, "Unsqueeze")
    return graph.made(own, (frame, graph.place(*axes)), node.name, shape=shape)


def _squeeze(graph: Unrolled, node: onnx.NodeProto) -> list[Clip] | None:
    clip = graph.clip(node.input[0])
    shape = graph.shape(node.input[0])
    given = graph.constant(node.input[1]) if len(node.input) > 1 else None
    axes = (
        [int(a) % len(shape) for a in given]
        if given is not None
        else [i for i, side in enumerate(shape) if side == 1]
    )
    axis = clip.axis
    if axis is not None and axis in axes:
        if len(clip.frames) != 1:
            raise graph.refuse(node, "leaves time out")
        axis = None
    frames = tuple(_squeezed(graph, node, frame, axes) for frame in clip.frames)
    moved = None if axis is None else axis - sum(a < axis for a in axes)
    return [Clip(frames, moved)]


def _unsqueeze(graph: Unrolled, node: onnx.NodeProto) -> list[Clip] | None:
    clip = graph.clip(node.input[0])
    given = graph.constant(node.input[1])
    rank = len(graph.shape(node.output[0]))
    axes = sorted(int(a) % rank for a in (given if given is not None else ()))
    kept = [i for i in range(rank) if i not in axes]
    moved = None if clip.axis is None else kept[clip.axis]
    frames = tuple(_unsqueezed(graph, node, frame, axes) for frame in clip.frames)
    return [Clip(frames, moved)]


def _transpose(graph: Unrolled, node: onnx.NodeProto) -> list[Clip] | None:
    clip = graph.clip(node.input[0])
    if clip.axis is None:
        return None
    rank = len(graph.shape(node.input[0]))
    order = list(attributes(node).get("perm", range(rank)[::-1]))
    moved = order.index(clip.axis)
    shape = graph.single(node.output[0], moved)
    frames = tuple(
        frame if frame.is_zero else graph.made(node, (frame,), node.name, shape=shape)
        for frame in clip.frames
    )
    return [Clip(frames, moved)]


def _concat(graph: Unrolled, node: onnx.NodeProto) -> list[Clip] | None:
    rank = len(graph.shape(node.output[0]))
    axis = attributes(node)["axis"] % rank
    clips = [graph.clip(name) for name in node.input]
    places = {clip.axis for clip in clips if clip.axis is not None}
    shapes = [graph.shape(name) for name in node.input]
    over_time = places == {axis} or (
        # Single frames put beside each other, on an axis that they are 1 long on.
        not places
        and len(clips) == graph.count
        and (rank == 5 or axis == 0)
        and all(shape[axis] == 1 for shape in shapes)
    )
    if not over_time:
        return None
    frames: list[Frame] = []
    for clip, shape in zip(clips, shapes, strict=True):
        if clip.axis is None and clip.frames[0].is_zero:
            frames += [zero()] * shape[axis]
        elif clip.axis is None and shape[axis] != 1:
            raise graph.refuse(node, "joins frames and a constant over time")
        else:
            frames += clip.frames
    return [Clip(tuple(frames), axis)]


def _split(graph: Unrolled, node: onnx.NodeProto) -> list[Clip] | None:
    clip = graph.clip(node.input[0])
    rank = len(graph.shape(node.input[0]))
    axis = attributes(node).get("axis", 0) % rank
    if clip.axis is None or axis != clip.axis:
        return None
    lengths = [graph.shape(name)[axis] for name in node.output]
    edges = np.cumsum([0, *lengths])
    return [Clip(clip.frames[a:b], axis) for a, b in itertools.pairwise(edges)]


def _pad(graph: Unrolled, node: onnx.NodeProto) -> list[Clip] | None:
    clip = graph.clip(node.input[0])
    if clip.axis is None:
        return None
    pads = graph.constant(node.input[1])
    rank = len(graph.shape(node.input[0]))
    if pads is None or (len(node.input) > 3 and node.input[3]):
        raise graph.refuse(node, "pads by the size")
    before, after = int(pads[clip.axis]), int(pads[clip.axis + rank])
    frames = clip.frames
    if min(before, after) < 0:
        frames = frames[max(-before, 0) : len(frames) + min(after, 0)]
    if max(before, after) > 0 and attributes(node).get("mode", b"constant") != b"constant":
        raise graph.refuse(node, "repeats frames before or after the clip")
    others = pads.copy()
    others[clip.axis] = others[clip.axis + rank] = 0
    if others.any():
        rest = tuple(graph.clip(n).frames[0] if n else None for n in node.input[2:3])
        inputs = (graph.place(*others), *rest)
        shape = graph.single(node.output[0], clip.axis)
        frames = tuple(
            f if f.is_zero else graph.made(node, (f, *inputs), node.name, shape=shape)
            for f in frames
        )
    frames = (*[zero()] * max(before, 0), *frames, *[zero()] * max(after, 0))
    return [Clip(frames, clip.axis)]


def _reshape(graph: Unrolled, node: onnx.NodeProto) -> list[Clip] | None:
    """Time to another axis, or frames to channels and back; ones come and go."""
    clip = graph.clip(node.input[0])
    before, after = graph.shape(node.input[0]), graph.shape(node.output[0])
    count = len(clip.frames)
    if clip.axis is not None:
        single = [1 if i == clip.axis else side for i, side in enumerate(before)]
        for axis, side in enumerate(after):
            target = [1 if i == axis else each for i, each in enumerate(after)]
            if side == count and [s for s in target if s != 1] == [s for s in single if s != 1]:
                frames = tuple(_reformed(graph, node, f, single, target) for f in clip.frames)
                return [Clip(frames, axis)]
        joined = [count * single[1], *single[2:]] if clip.axis == 0 else None
        if clip.axis == 1 and len(single) > 3:
            joined = [count * single[2], *single[3:]]
        if joined is not None and [s for s in after if s != 1] == [s for s in joined if s != 1]:
            wide = [1, *joined]
            target = [1, single[1], *single[2:]] if clip.axis == 0 else [1, *single[2:]]
            parts = tuple(_reformed(graph, node, f, single, target) for f in clip.frames)
            together = graph.made(ours(node, "Concat", axis=1), parts, node.name, shape=tuple(wide))
            return [Clip((_reformed(graph, node, together, wide, list(after)),), None)]
    else:
        apart = _apart(graph, node, clip.frames[0], list(before), list(after))
        if apart is not None:
            return [apart]
    raise graph.refuse(node, f"reshapes {before} to {after}")


def _apart(
    graph: Unrolled, node: onnx.NodeProto, frame: Frame, before: list[int], after: list[int]
) -> Clip | None:
    """(1, T * C, H, W) to (T, C, H, W) or (1, T, C, H, W); or ones that come and go."""
    if [s for s in before if s != 1] == [s for s in after if s != 1]:
        return Clip((_reformed(graph, node, frame, before, after),), None)
    if len(before) != 4 or before[0] != 1 or before[1] % graph.count:
        return None
    each = before[1] // graph.count
    axis = {4: 0, 5: 1}.get(len(after))
    if axis is None or after[axis] != graph.count or after[axis + 1] != each:
        return None
    frames = []
    for at in range(graph.count):
        parts = [graph.place(limit) for limit in (at * each, (at + 1) * each, 1, 1)]
        shape = (1, each, *before[2:])
        cut = graph.made(ours(node, "Slice"), (frame, *parts), node.name, shape=shape)
        target = [1 if i == axis else side for i, side in enumerate(after)]
        frames.append(_reformed(graph, node, cut, [1, each, *before[2:]], target))
    return Clip(tuple(frames), axis)


def _reformed(
    graph: Unrolled, node: onnx.NodeProto, frame: Frame, before: list[int], after: list[int]
) -> Frame:
    """Take ones out and put ones in."""
    if before == after:
        return frame
    gone = [i for i, side in enumerate(before) if side == 1]
    come = [i for i, side in enumerate(after) if side == 1]
    while gone and come and gone[0] == come[0]:
        gone.pop(0), come.pop(0)
    bare = _squeezed(graph, node, frame, gone) if gone else frame
    return _unsqueezed(graph, node, bare, come) if come else bare


TIME_RULES: dict[str, Rule] = {
    "Concat": _concat,
    "Conv": _conv,
    "Gather": _gather,
    "Pad": _pad,
    "Reshape": _reshape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
