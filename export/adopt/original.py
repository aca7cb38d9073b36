"""A network of others as one ONNX model in float32: read, and refused where it is no upscaler.

original = read_original(Path("model.onnx"))  # or model.param, with model.bin beside it
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, numpy_helper

from ...bundle.graph_guard import OPERATORS, STANDARD_DOMAINS
from ...bundle.onnx_locations import scan_graph
from ...bundle.schema import StateSpec, Window
from ...config import SHOWN_LENGTH
from ...errors import AdoptError
from ...given import similar, what_is
from ..graphs.onnx_file import OPSET
from ..graphs.replay import open_session
from .centred import one_of_several
from .clips import Framed, clip_axis, frame_by_frame
from .luma import scale_of_luma, with_chroma
from .ncnn_graph import ncnn_to_onnx
from .recurrent import Recurrent, pair_states, recurrent
from .torch_file import torch_to_onnx
from .windows import Windowed, single, window_of

MOST_BYTES = 2 << 30
"""Of a graph with its weights; one ONNX file holds no more."""

COLOURS = 3

LAYOUTS = {"NCHW": 1, "NHWC": 3}
"""Where the colours are, by layout."""

MIX_SIDE, MIX_TOLERANCE = 64, 1e-3
"""Pixels of a side of the pictures by which a batch or a layout is tried, and a share of the
largest value."""

TORCH_SUFFIXES = (".pth", ".pt", ".safetensors", ".ckpt")

TAKEN = (
    "a network's file: ONNX (.onnx), ncnn (.param, with its .bin beside it) or PyTorch "
    f"({', '.join(TORCH_SUFFIXES)}, with the extra 'spandrel')"
)
"""What can be adopted, for messages."""

_CONVERTED = frozenset({"Upsample"})
"""Operators of older opsets that become others as a file is converted."""

_WIDENED = (TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)


@dataclass(frozen=True)
class Original:
    """What is adopted."""

    adopted: str
    """One of `adopted_network.KINDS`."""

    files: tuple[Path, ...]

    model: onnx.ModelProto
    """In float32, opset `OPSET`, with dynamic height and width."""

    layout: str
    """`NCHW` or `NHWC`, of pictures in and out."""

    declared: tuple[int, int] | None
    """Height and width where the file fixes them."""

    notes: tuple[str, ...] = ()
    """What was changed in reading, a line each."""

    clip: onnx.ModelProto | None = None
    """Of a network over clips the model as it was, of which `model` is derived."""

    framed: Framed | None = None
    """Of the same, what was derived."""

    windowed: Windowed | None = None
    """Of the same, where it is run in windows; then `model` is of a clip that stands still."""

    luma: bool = False
    """Whether it takes and gives luma alone; `model` then has chroma beside it, in YUV."""

    recurrent: Recurrent | None = None
    """Of a network that takes and gives its state itself, what is carried."""

    @property
    def states(self) -> tuple[StateSpec, ...]:
        """What is carried from frame to frame; zero before the first."""
        if self.recurrent is not None:
            return self.recurrent.states
        return self.framed.states if self.framed else ()

    @property
    def sha256(self) -> str:
        """Of all files, one after the other."""
        digest = hashlib.sha256()
        for path in self.files:
            with path.open("rb") as file:
                while block := file.read(1 << 24):
                    digest.update(block)
        return digest.hexdigest()

    @property
    def input_name(self) -> str:
        """Of the picture that comes in."""
        return str(self.model.graph.input[0].name)

    @property
    def output_name(self) -> str:
        """Of the picture that goes out."""
        return str(self.model.graph.output[0].name)

    @property
    def parameters(self) -> int:
        """Weights of all nodes."""
        return sum(int(np.prod(tensor.dims)) for tensor in self.model.graph.initializer)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a user says of how a network is read."""

    layout: str | None = None
    """One of `LAYOUTS`; None to tell from the shapes."""

    states: Mapping[str, str] = field(default_factory=dict)
    """Inputs of an ONNX file that carry state, and what becomes each for the next frame; those that
    are not in it are paired by their names."""

    lookahead: int = 0
    """Frames that pictures of a network over clips may come late."""

    window: Window | None = None
    """Windows in which a network over clips is run; None streams it. Of 0 frames it is as long as
    the file says, and of an overlap below 0 a third of it is shared."""


def read_original(path: Path, asked: Asked | None = None) -> Original:
    """Read a network.

    Args:
        path: `.onnx`, or `.param` with its `.bin` beside it.
        asked: What is not to be found.

    Raises:
        AdoptError: It is not there, damaged, or no network that takes a picture and gives one; the
            node or tensor in the way is named.
    """
    asked = asked or Asked()
    suffix = path.suffix.lower()
    if suffix == ".bin":
        path, suffix = path.with_suffix(".param"), ".param"
    if not path.is_file():
        what = f"'{path}' is a folder" if path.is_dir() else f"no file '{path}'{similar(path)}"
        raise AdoptError(f"{what}; expected {TAKEN}")
    if asked.states and suffix != ".onnx":
        raise AdoptError(f"'{path}': --state is for ONNX files, which can have several inputs")
    if suffix == ".param":
        model = ncnn_to_onnx(path)
        _require_finite(path, model)
        return Original("ncnn", (path, path.with_suffix(".bin")), model, "NCHW", None)
    if suffix in TORCH_SUFFIXES:
        return _understood("pytorch", (path,), torch_to_onnx(path), asked)
    if suffix != ".onnx":
        found = f", it is a {kind}" if (kind := what_is(path)) else ""
        raise AdoptError(f"'{path}' is no network that can be adopted{found}; expected {TAKEN}")
    return _read_onnx(path, asked)


def _read_onnx(path: Path, asked: Asked) -> Original:
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise AdoptError(f"'{path}' has {size:,} bytes; at most {MOST_BYTES:,} are adopted")
    data = path.read_bytes()
    try:
        locations = scan_graph(data).locations
        model = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf raises errors of its own
        raise AdoptError(f"'{path}' is no ONNX file: {error}") from error
    if not (model.graph.node and model.graph.input and model.graph.output):
        raise AdoptError(f"'{path}' has no network in it ({size:,} bytes): get the file again")
    files = [path, *(_beside(path, name, model) for name in sorted(locations))]
    total = sum(file.stat().st_size for file in files)
    if total > MOST_BYTES:
        raise AdoptError(
            f"'{path}' has {total:,} bytes with the weights beside it; at most {MOST_BYTES:,} are "
            "adopted"
        )
    _require_operators(path, model)
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
    except (ValueError, OSError, onnx.checker.ValidationError) as error:
        raise AdoptError(
            f"'{path}': the weights beside it cannot be read: {str(error).splitlines()[0]}; it and "
            "its files do not belong together, or one is cut off"
        ) from error
    _require_whole(path, model)
    return _understood("onnx", tuple(files), model, asked)


def _understood(
    adopted: str, files: tuple[Path, ...], model: onnx.ModelProto, asked: Asked
) -> Original:
    """What a model takes and gives, in float32 and with every node named."""
    path = files[0]
    _require_operators(path, model)
    notes = []
    if half := _widen(model):
        notes.append(f"{half} tensors in half or double became float32")
    _name_nodes(model)
    _lift_constants(model)
    _require_finite(path, model)
    model = _of_opset(path, model)
    _name_nodes(model)
    _lift_constants(model)
    _require_operators(path, model, of_old=False)
    _drop_weight_inputs(model)
    taken, given = ({v.name: _dims(v) for v in e} for e in (model.graph.input, model.graph.output))
    found = Original(adopted, files, model, "NCHW", None)
    if len(taken) > 1 or len(given) > 1 or asked.states:
        return _recurrent(found, asked, taken, given, notes)
    dims = _dims(model.graph.input[0])
    scale = scale_of_luma(model, (dims[2], dims[3])) if _is_luma(dims) else None
    if scale is not None:
        model = with_chroma(model, scale)
        found, dims = replace(found, model=model, luma=True), _dims(model.graph.input[0])
        notes.append("a network of luma alone: chroma is enlarged beside it, bicubic")
    axis = clip_axis(dims)
    if axis is None and len(dims) == 4 and dims[0] is None and _mixes(model, dims):
        axis = 0
    if axis is not None or _stacked(dims):
        over = _over_clip(found, dims, axis, asked)
        return replace(over, notes=(*notes, *over.notes))
    if asked.window or asked.lookahead:
        raise AdoptError(f"'{path}' takes one picture: --window and --lookahead are for clips")
    layout, declared = _shapes(path, model, asked.layout)
    return replace(found, layout=layout, declared=declared, notes=tuple(notes))


def _is_luma(dims: Sequence[int | None]) -> bool:
    return len(dims) == 4 and dims[1] == 1 and dims[3] != COLOURS


def _stacked(dims: Sequence[int | None]) -> int:
    """Frames that lie in the channels of an input; 0 where it is no such one."""
    if len(dims) != 4 or dims[0] not in (1, None) or dims[3] == COLOURS:
        return 0
    channels = dims[1]
    return channels // COLOURS if channels and channels > COLOURS and channels % COLOURS == 0 else 0


def _over_clip(
    found: Original, dims: Sequence[int | None], axis: int | None, asked: Asked
) -> Original:
    """A network over clips: as a stream, or in windows."""
    if axis == 1 and len(dims) == 5 and dims[1] == dims[2] == COLOURS:
        # Three frames of three colours: which is which is told by what can be understood at all.
        anything = replace(asked, lookahead=COLOURS, window=None)
        for each in (1, 2):
            try:
                _laid_out(found, dims, each, anything)
            except AdoptError:
                continue
            return _laid_out(found, dims, each, asked)
    return _laid_out(found, dims, axis, asked)


def _laid_out(
    found: Original, dims: Sequence[int | None], axis: int | None, asked: Asked
) -> Original:
    """The same, time on a known axis; None for frames as channels."""
    path, model = found.files[0], found.model
    sides = dims[-2:]
    found = replace(
        found,
        clip=model,
        declared=(sides[0], sides[1]) if sides[0] and sides[1] else None,
    )
    frames = _stacked(dims) if axis is None else dims[axis]
    if asked.window is not None and frames:
        _require_clip_out(path, model, axis, frames)
    if asked.window is not None and axis is not None:
        windowed = window_of(path, dims, axis, asked.window)
        return replace(
            found, model=single(model, windowed), windowed=windowed, notes=(windowed.line(),)
        )
    framed = None
    if frames:
        framed = one_of_several(path, model, 1 if axis is None else axis, frames, asked.lookahead)
    if framed is None and axis is None:
        _shapes(path, model, asked.layout)  # says what is wrong with it
    if framed is None:
        assert axis is not None
        framed = frame_by_frame(path, model, axis, asked.lookahead)
    return replace(found, model=framed.model, framed=framed, notes=(_framed_line(framed),))


def _require_clip_out(path: Path, model: onnx.ModelProto, axis: int | None, frames: int) -> None:
    """Refuse windows for a network that makes one picture of its frames."""
    single_out = one_of_several(path, model, 1 if axis is None else axis, frames, frames)
    if single_out is not None:
        assert single_out.shown is not None
        raise AdoptError(
            f"'{path}' makes the picture of frame {single_out.shown + 1} of {frames} alone, and a "
            f"window has a picture of each of its frames: --lookahead {single_out.ahead} in place "
            "of --window runs it once a frame, over the frames around it"
        )


def _mixes(model: onnx.ModelProto, dims: Sequence[int | None]) -> bool:
    """Whether pictures of a batch depend on each other: then the batch is time."""
    pair = np.random.default_rng(0).uniform(0, 1, [2, *(dim or MIX_SIDE for dim in dims[1:])])
    name = model.graph.input[0].name
    try:
        session = open_session(model.SerializeToString())
        both, *each = (
            session.run(None, {name: values.astype(np.float32)})[0]
            for values in (pair, pair[:1], pair[1:])
        )
    except Exception:  # of several kinds; what does not run is told where it is to run
        return False
    alone = np.concatenate(each)
    limit = MIX_TOLERANCE * max(float(np.abs(alone).max()), 1e-6)
    return both.shape != alone.shape or float(np.abs(both - alone).max()) > limit


def _framed_line(framed: Framed) -> str:
    names = ", ".join(
        f"{state.channels} channels of 1/{state.divisor} of the sides" for state in framed.states
    )
    late = f", {framed.ahead} ahead: pictures come so many frames late" if framed.ahead else ""
    if framed.shown is not None:
        return (
            f"a network that makes the picture of frame {framed.shown + 1} of {framed.frames}, "
            f"streamed: {framed.shown} frames of past{late}; where a clip has no frame, its first "
            "or last one stands in"
        )
    if not framed.states:
        return (
            f"a network of {framed.frames or 'any number of'} pictures at once that do not depend "
            "on each other: it is given one"
        )
    return (
        f"a network over clips, streamed: {len(framed.states)} states ({names}), {framed.past} "
        f"frames of past{late}; frame by frame it is {framed.difference:.1g} from the whole clip"
    )


def _beside(path: Path, name: str, model: onnx.ModelProto) -> Path:
    """A file of weights, which must lie in the folder of the graph."""
    if Path(name).name != name or "\\" in name or not (path.parent / name).is_file():
        tensor = next(
            (
                t.name
                for t in model.graph.initializer
                if any(e.key == "location" and e.value == name for e in t.external_data)
            ),
            "?",
        )
        shown = ascii(name[:SHOWN_LENGTH])
        raise AdoptError(
            f"'{path}': the weights of tensor '{tensor}' are said to be in {shown}, expected a "
            "file that lies in the graph's folder"
        )
    return path.parent / name


def _require_operators(path: Path, model: onnx.ModelProto, *, of_old: bool = True) -> None:
    """Refuse nodes that bundles have not; `of_old` lets pass what a conversion will replace."""
    functions = {(each.domain, each.name) for each in model.functions}
    for node in model.graph.node:
        called = f"node '{node.name or node.output[0]}' ({node.op_type})"
        if (node.domain, node.op_type) in functions:
            raise AdoptError(
                f"'{path}': {called} is a function that the file defines; export it with its "
                "functions inlined"
            )
        if any(a.HasField("g") or a.graphs for a in node.attribute):
            raise AdoptError(
                f"'{path}': {called} is control flow; engines of devices run none: unroll it, or "
                "export the branch that is taken"
            )
        known = node.op_type in OPERATORS or (of_old and node.op_type in _CONVERTED)
        if node.domain not in STANDARD_DOMAINS or not known:
            raise AdoptError(
                f"'{path}': {called} of the domain '{node.domain or 'ai.onnx'}' is no operator "
                "that bundles have; export the network with standard operators alone"
            )


def _require_whole(path: Path, model: onnx.ModelProto) -> None:
    """Refuse tensors whose values are not as many as their shape says."""
    constants = ((n.name or n.output[0], a.t) for n in model.graph.node for a in n.attribute)
    weights = ((_reader(model, tensor.name), tensor) for tensor in model.graph.initializer)
    for node, tensor in (*weights, *constants):
        if not tensor.data_type:
            continue  # an attribute that holds something else
        try:
            numpy_helper.to_array(tensor)
        except Exception as error:  # of several kinds, by what is wrong with it
            raise AdoptError(
                f"'{path}': tensor '{tensor.name}' of node '{node}' has not the values that its "
                f"shape {tuple(tensor.dims)} asks for ({str(error).splitlines()[0]}): the file is "
                "damaged, get it again"
            ) from error


def _reader(model: onnx.ModelProto, tensor: str) -> str:
    """Name of the first node that reads a tensor."""
    node = next((n for n in model.graph.node if tensor in n.input), None)
    return str(node.name or node.output[0]) if node else "?"


def _require_finite(path: Path, model: onnx.ModelProto) -> None:
    """Refuse weights that are no numbers in float32; a bound, one value alone, may be infinite."""
    for tensor in model.graph.initializer:
        value = numpy_helper.to_array(tensor)
        if value.dtype.kind != "f" or (value.size == 1 and not np.isnan(value).any()):
            continue
        if not np.isfinite(value).all():
            raise AdoptError(
                f"'{path}': weight '{tensor.name}' of node '{_reader(model, tensor.name)}' has "
                f"{int((~np.isfinite(value)).sum())} values that are not finite in float32"
            )


def _widen(model: onnx.ModelProto) -> int:
    """Let a network in half precision compute in float32; returns how many tensors changed."""
    changed = 0
    for tensor in model.graph.initializer:
        if tensor.data_type in _WIDENED:
            tensor.CopyFrom(numpy_helper.from_array(_in_float32(tensor), tensor.name))
            changed += 1
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "to" and attribute.i in _WIDENED:
                attribute.i = TensorProto.FLOAT
                changed += 1
            if attribute.HasField("t") and attribute.t.data_type in _WIDENED:
                widened = numpy_helper.from_array(_in_float32(attribute.t), attribute.t.name)
                attribute.t.CopyFrom(widened)
                changed += 1
    for each in (*model.graph.input, *model.graph.output):
        if each.type.tensor_type.elem_type in _WIDENED:
            each.type.tensor_type.elem_type = TensorProto.FLOAT
            changed += 1
    del model.graph.value_info[:]
    return changed


def _in_float32(tensor: onnx.TensorProto) -> npt.NDArray[np.float32]:
    with np.errstate(over="ignore"):  # what is beyond it is refused as not finite
        return numpy_helper.to_array(tensor).astype(np.float32)


def _name_nodes(model: onnx.ModelProto) -> None:
    """Give every node a name of its own, after its first output where it has none."""
    taken: set[str] = set()
    for node in model.graph.node:
        name = node.name or f"{node.output[0]}/{node.op_type}"
        while name in taken:
            name += "'"
        taken.add(name)
        node.name = name


def _lift_constants(model: onnx.ModelProto) -> None:
    """Make initializers of Constant nodes."""
    for node in [n for n in model.graph.node if n.op_type == "Constant"]:
        (attribute,) = node.attribute
        value: Any = onnx.helper.get_attribute_value(attribute)
        if attribute.name == "value":
            value = numpy_helper.to_array(value)
        elif attribute.name in ("value_float", "value_floats"):
            value = np.array(value, np.float32)
        elif attribute.name in ("value_int", "value_ints"):
            value = np.array(value, np.int64)
        else:
            continue
        model.graph.initializer.append(numpy_helper.from_array(value, node.output[0]))
        model.graph.node.remove(node)


def _of_opset(path: Path, model: onnx.ModelProto) -> onnx.ModelProto:
    versions = {entry.domain: entry.version for entry in model.opset_import}
    own = versions.get("", versions.get("ai.onnx", 0))
    if own == OPSET:
        return model
    if own > (newest := onnx.defs.onnx_opset_version()):
        raise AdoptError(
            f"'{path}' has opset {own}, newer than the {newest} that onnx {onnx.__version__} here "
            f"reads; export it with opset {OPSET}"
        )
    try:
        return onnx.version_converter.convert_version(model, OPSET)
    except Exception as error:  # of several kinds, raised from C++
        raise AdoptError(
            f"'{path}' has opset {own} and cannot be converted to {OPSET}: "
            f"{str(error).splitlines()[0]}; export it with opset {OPSET}"
        ) from error


def _drop_weight_inputs(model: onnx.ModelProto) -> None:
    """Leave the inputs that are given from outside: older files list weights among them."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(inputs)


def _recurrent(
    found: Original,
    asked: Asked,
    taken: Mapping[str, Sequence[int | None]],
    given: Mapping[str, Sequence[int | None]],
    notes: list[str],
) -> Original:
    """A network with inputs and outputs of state."""
    path, model = found.files[0], found.model
    frame, picture, pairs = pair_states(path, taken, given, asked.states)
    for values, first in ((model.graph.input, frame), (model.graph.output, picture)):
        ordered = sorted(values, key=lambda value: value.name != first)
        del values[:]
        values.extend(ordered)
    layout, declared = _shapes(path, model, asked.layout)
    if layout != "NCHW":
        raise AdoptError(
            f"'{path}': frames are {layout} and there is state; expected NCHW, (1, 3, height, "
            "width)"
        )
    carried = recurrent(path, model, frame, picture, pairs)
    return replace(
        found,
        model=carried.model,
        recurrent=carried,
        declared=declared,
        notes=(*notes, carried.line()),
    )


def _shapes(
    path: Path, model: onnx.ModelProto, layout: str | None
) -> tuple[str, tuple[int, int] | None]:
    """The layout of pictures, and their size where it is fixed; both become dynamic."""
    picture = model.graph.input[0]
    dims = _dims(picture)
    if len(dims) != 4 or picture.type.tensor_type.elem_type != TensorProto.FLOAT:
        kind = TensorProto.DataType.Name(picture.type.tensor_type.elem_type)
        raise AdoptError(
            f"'{path}': input '{picture.name}' is {kind} of shape {dims}, expected one picture of "
            "floats with 3 colours, such as (1, 3, height, width)"
        )
    found = [name for name, axis in LAYOUTS.items() if dims[axis] == COLOURS]
    if not found and all(dims[axis] is None for axis in LAYOUTS.values()):
        found = _layouts_that_run(model) or list(LAYOUTS)  # no shape tells
    chosen = layout or (found or [""])[0]
    if chosen not in found:
        raise AdoptError(
            f"'{path}': input '{picture.name}' of shape {dims} has no 3 colours"
            + (
                f" in layout {layout}" + f", in {found[0]} it has" * bool(found)
                if layout
                else ", expected (1, 3, height, width), or one channel of luma and as many out"
            )
        )
    if dims[0] not in (1, None):
        raise AdoptError(
            f"'{path}': input '{picture.name}' of shape {dims} takes {dims[0]} pictures at once, "
            "expected one"
        )
    axes = (2, 3) if chosen == "NCHW" else (1, 2)
    height, width = (dims[axis] for axis in axes)
    _scales_of_sizes(model)
    for value, names in ((picture, ("H", "W")), (model.graph.output[0], ("high", "wide"))):
        shape = value.type.tensor_type.shape
        del shape.dim[:]
        one: int | str = 1 if dims[0] == 1 else "batch"
        sides = [one, COLOURS, *names] if chosen == "NCHW" else [one, *names, COLOURS]
        for side in sides:
            dim = shape.dim.add()
            if isinstance(side, int):
                dim.dim_value = side
            else:
                dim.dim_param = side
    del model.graph.value_info[:]
    return chosen, (height, width) if height and width else None


def _layouts_that_run(model: onnx.ModelProto) -> list[str]:
    """Layouts of a picture that a network of any shape takes."""
    try:
        session = open_session(model.SerializeToString())
    except Exception:  # of several kinds; what does not load is told where it is to run
        return []
    found = []
    for name, axis in LAYOUTS.items():
        shape = [1, MIX_SIDE, MIX_SIDE]
        shape.insert(axis, COLOURS)
        try:
            session.run(None, {model.graph.input[0].name: np.full(shape, 0.5, np.float32)})
        except Exception:  # ONNX Runtime's own, of several kinds
            continue
        found.append(name)
    return found


def _scales_of_sizes(model: onnx.ModelProto) -> None:
    """Let a Resize to a fixed size resize by what that was of its input, where that is known."""
    sized = [
        node
        for node in model.graph.node
        if node.op_type == "Resize" and len(node.input) > 3 and node.input[3]
    ]
    if not sized:
        return
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    known = onnx.shape_inference.infer_shapes(model).graph
    shapes = {v.name: _dims(v) for v in (*known.value_info, *known.input)}
    for node in sized:
        before, after = shapes.get(node.input[0]), weights.get(node.input[3])
        if before is None or after is None or not all(before):
            continue
        wanted = numpy_helper.to_array(after)
        scales = np.array([b / a for a, b in zip(before, wanted, strict=True)], np.float32)
        name = f"{node.name}/scales"
        model.graph.initializer.append(numpy_helper.from_array(scales, name))
        del node.input[2:]
        node.input.append(name)


def _dims(value: onnx.ValueInfoProto) -> tuple[int | None, ...]:
    dims = value.type.tensor_type.shape.dim
    return tuple(d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else None for d in dims)


def nodes_with_sizes(model: onnx.ModelProto) -> Iterator[str]:
    """Nodes in which a size may stand: reshapes to constants."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in ("Reshape", "Expand", "Tile") and node.input[1] in weights:
            target: Sequence[int] = numpy_helper.to_array(weights[node.input[1]]).tolist()
            yield f"'{node.name}' ({node.op_type} to {tuple(target)})"
