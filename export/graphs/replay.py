"""Running a variant's graphs in ONNX Runtime over clips, as a runtime would, to compare them.

(run,) = replay(files, state, [clip])
run.picture  # (T, 4H, 4W, 3) uint8
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from ...arrays import AnyFloats, Levels
from ...bundle.schema import StateSpec, delay_of
from ...errors import missing_package
from ...host.processors import thread_limit
from ...runtime.sessions.ort_precision import products_saturate
from .traced import CLIP_NAME, FEATURES_NAME, INPUT_NAME, LEVELS_NODE, OUTPUT_NAME
from .variant_files import VariantFiles

PACKED = "packed_levels"
"""Output of a probed graph: the picture in levels plus one half, packed, not clamped."""


@dataclass(frozen=True)
class Run:
    """What the graphs gave for one clip."""

    picture: npt.NDArray[Any]
    """(T, 4H, 4W, 3) uint8; of a probed graph (T, 3*s*s, 4H/s, 4W/s) floats, see `PACKED`."""

    beside: dict[str, list[AnyFloats]]
    """Features, or each next state, by name; one array a frame, without the batch axis."""


def replay(
    files: VariantFiles,
    state: Sequence[StateSpec],
    clips: Sequence[Levels],
    *,
    probe: bool = False,
) -> list[Run]:
    """Run clips of (T, H, W, 3) uint8 through a variant on the CPU, each from the zero state.

    Args:
        files: The variant.
        state: Its carried state; empty for a clip network.
        clips: Of sizes that are multiples of the network's.
        probe: Take the picture before it is clamped and rounded, from the same graph with one more
            output.
    """
    picture = PACKED if probe else OUTPUT_NAME
    if files.decoder is None:
        with _session(files.graph, probe=probe) as session:
            return [run_stream(session, clip, state, picture) for clip in clips]
    with _session(files.graph, probe=False) as session:
        features = [session.run([FEATURES_NAME], {CLIP_NAME: clip})[0] for clip in clips]
    with _session(files.decoder, probe=probe) as session:
        return [
            Run(
                np.concatenate([session.run([picture], {FEATURES_NAME: f[None]})[0] for f in each]),
                {FEATURES_NAME: list(each)},
            )
            for each in features
        ]


def zero_state(
    state: Sequence[StateSpec], clip: Levels, dtype: npt.DTypeLike
) -> dict[str, npt.NDArray[Any]]:
    """State before the first frame of a clip of (T, H, W, 3)."""
    return {spec.name: np.zeros(spec.shape(*clip.shape[1:3]), dtype) for spec in state}


def open_session(graph: Path | bytes, *, early: bool = False) -> Any:
    """Open an ONNX Runtime session on the CPU.

    Args:
        graph: An ONNX file, or its content.
        early: Run nodes as soon as they can be, in the graph's order. By default ONNX Runtime goes
            back from the outputs, and keeps what only a further output needs until the end.

    Raises:
        MissingPackageError: `onnxruntime` is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise missing_package("onnxruntime", "export", "running exported graphs") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = thread_limit()
    # Threads that spin for work take as much again: between short runs, from the program itself.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # errors are raised; a log of them holds names of the graph
    if products_saturate():
        options.add_session_config_entry("session.x64quantprecision", "1")
    if early:
        options.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def run_stream(
    session: Any, clip: Levels, state: Sequence[StateSpec], picture: str = OUTPUT_NAME
) -> Run:
    """Run a clip of (T, H, W, 3) uint8 through a stream graph's session, from the zero state.

    Of a network that looks ahead the pictures are taken as late as they come, one a frame.
    """
    half = "tensor(float16)" in (tensor.type for tensor in session.get_inputs())
    carried = zero_state(state, clip, np.float16 if half else np.float32)
    names = [picture, *(spec.next_name for spec in state)]
    pictures, beside = [], {spec.next_name: [] for spec in state}  # type: ignore[var-annotated]
    late, ends = delay_of(state), next((spec for spec in state if spec.ends), None)
    for at in range(len(clip) + late):
        frame = clip[min(at, len(clip) - 1)]
        if ends is not None and at >= len(clip):
            carried[ends.name] = np.ones_like(carried[ends.name])
        upscaled, *following = session.run(names, {INPUT_NAME: frame[None], **carried})
        if at >= late:
            pictures.append(upscaled)
        for spec, tensor in zip(state, following, strict=True):
            carried[spec.name] = tensor
            if at < len(clip):
                beside[spec.next_name].append(tensor[0])
    return Run(np.concatenate(pictures), beside)


@contextmanager
def _session(graph: Path, *, probe: bool) -> Iterator[Any]:
    """A session of a graph.

    A probed graph is written beside the original, whose weights it shares, and removed afterwards.
    """
    path = graph.with_name(f"probe-{graph.name}") if probe else graph
    try:
        if probe:
            path.write_bytes(_with_packed_output(graph).SerializeToString())
        yield open_session(path)
    finally:
        if probe:
            path.unlink(missing_ok=True)


def _with_packed_output(graph: Path) -> onnx.ModelProto:
    """The graph with the picture before clamping as a further output."""
    model = onnx.load(graph, load_external_data=False)
    node = next(node for node in model.graph.node if node.name == LEVELS_NODE)
    tensor = node.output[0]
    cast = onnx.helper.make_node("Cast", [tensor], [PACKED], name=PACKED, to=onnx.TensorProto.FLOAT)
    model.graph.node.append(cast)
    model.graph.output.append(
        onnx.helper.make_tensor_value_info(PACKED, onnx.TensorProto.FLOAT, None)
    )
    return model
