"""What flows through a graph on calibration inputs: the range of each channel of its tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from ..calibration.reader import Feed
from ..errors import QuantizationError
from ..runtime.ort_session import import_onnxruntime

Floats = npt.NDArray[np.float32]


def observe(
    model: onnx.ModelProto, tensors: Sequence[str], feeds: Sequence[Feed]
) -> Iterator[dict[str, Floats]]:
    """Run a graph and yield some of its tensors, feed by feed.

    Args:
        model: A float graph; not changed.
        tensors: Graph inputs, outputs or what flows between them.
        feeds: Inputs of each run.
    """
    given = {value.name for value in model.graph.input}
    inner = [name for name in tensors if name not in given]
    session = _session(_with_outputs(model, inner))
    for feed in feeds:
        found = dict(zip(inner, session.run(inner, feed) if inner else [], strict=True))
        yield {name: feed[name] if name in given else found[name] for name in tensors}


def channel_ranges(
    model: onnx.ModelProto, tensors: Sequence[str], feeds: Sequence[Feed]
) -> dict[str, tuple[Floats, Floats]]:
    """Measure the lowest and highest value of each channel.

    Args:
        model: See `observe`.
        tensors: (1, C, H, W) each.
        feeds: See `observe`; at least one.

    Returns:
        (C,) twice by tensor.

    Raises:
        QuantizationError: A tensor is not finite.
    """
    ranges: dict[str, tuple[Floats, Floats]] = {}
    for found in observe(model, tensors, feeds):
        for name, values in found.items():
            if not np.isfinite(values).all():
                raise QuantizationError(
                    f"tensor '{name}' is not finite on the calibration set; the network itself is "
                    "at fault"
                )
            axes = (0, *range(2, values.ndim))
            low, high = values.min(axes), values.max(axes)
            if name in ranges:
                low, high = np.minimum(low, ranges[name][0]), np.maximum(high, ranges[name][1])
            ranges[name] = (low, high)
    return ranges


def tensor_ranges(
    channels: Mapping[str, tuple[Floats, Floats]], tied: Mapping[str, str]
) -> dict[str, tuple[float, float]]:
    """Ranges of whole tensors.

    Args:
        channels: By tensor, see `channel_ranges`.
        tied: Pairs of tensors that share one range: what is written as one is read as the other.
    """
    ranges = {name: (float(low.min()), float(high.max())) for name, (low, high) in channels.items()}
    for first, second in tied.items():
        if first in ranges and second in ranges:
            both = [ranges[first], ranges[second]]
            shared = (min(low for low, _ in both), max(high for _, high in both))
            ranges[first] = ranges[second] = shared
    return ranges


def _with_outputs(model: onnx.ModelProto, tensors: Sequence[str]) -> onnx.ModelProto:
    wider = onnx.ModelProto()
    wider.CopyFrom(model)
    present = {value.name for value in model.graph.output}
    wider.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        for name in tensors
        if name not in present
    )
    return wider


def _session(model: onnx.ModelProto) -> Any:
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.log_severity_level = 3  # errors; warnings are about graph clean-up
    return ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
