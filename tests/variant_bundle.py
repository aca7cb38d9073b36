"""Bundles with more variants than shipped: quantized by ONNX Runtime, and broken on purpose."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from adcvsr.bundle import PACKAGED, Bundle, open_bundle
from adcvsr.calibration.sets.parallel import open_graph
from adcvsr.pictures.synthetic import draw_clip

NANO = PACKAGED / "nano"


def copy_of_nano(target: Path) -> Path:
    """The shipped bundle with nothing but its FP32 variant."""
    shutil.copytree(NANO, target)
    manifest = json.loads((target / "manifest.json").read_text())
    others = tuple(name for name in manifest["variants"] if name != "fp32-onnx")
    manifest["variants"] = {"fp32-onnx": manifest["variants"]["fp32-onnx"]}
    for file in [name for name in manifest["files"] if name.startswith(others)]:
        del manifest["files"][file]
        (target / file).unlink()
    (target / "manifest.json").write_text(json.dumps(manifest))
    return target


def add_variant(bundle: Path, name: str, model: onnx.ModelProto) -> None:
    """Put a graph into a bundle."""
    data = model.SerializeToString()
    (bundle / f"{name}.onnx").write_bytes(data)
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["variants"][name] = {"file": f"{name}.onnx", "opset": 20, "state_dtype": "float32"}
    digest = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    manifest["files"][f"{name}.onnx"] = digest
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def load(bundle: Path, name: str = "fp32-onnx") -> onnx.ModelProto:
    """A variant's graph."""
    opened = open_bundle(bundle)
    return onnx.load_model_from_string(opened.read(opened.variant(name).file))


def quantize(bundle: Path, work: Path) -> onnx.ModelProto:
    """Static INT8 of the convolutions, by ONNX Runtime's own tool."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    opened = open_bundle(bundle)

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.feeds = feeds(opened)

        def get_next(self) -> dict[str, Any] | None:
            return next(self.feeds, None)

    source, target = work / "fp32.onnx", work / "int8.onnx"
    onnx.save(load(bundle), source)
    quantize_static(
        source,
        target,
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["Conv"],
    )
    return onnx.load(target)


def feeds(bundle: Bundle, count: int = 6) -> Iterator[dict[str, Any]]:
    """Drawn frames with the states the FP32 variant carries."""
    graph = open_graph(bundle.read(bundle.variant("fp32-onnx").file))
    state = {s.name: np.zeros(s.shape(40, 48), np.float32) for s in bundle.state}
    for frame in draw_clip(count, 40, 48):
        feed = {bundle.input_name: frame[None], **state}
        yield feed
        following = graph.run([s.next_name for s in bundle.state], feed)
        state = {s.name: value for s, value in zip(bundle.state, following, strict=True)}


def break_layer(model: onnx.ModelProto, node: str, factor: float) -> onnx.ModelProto:
    """Multiply the scale of one convolution's weight: what a wrong scale in a file does."""
    broken = onnx.ModelProto()
    broken.CopyFrom(model)
    nodes = {n.name: n for n in broken.graph.node}
    producers = {out: n for n in broken.graph.node for out in n.output}
    weight = producers[nodes[node].input[1]]
    assert weight.op_type == "DequantizeLinear"
    for tensor in broken.graph.initializer:
        if tensor.name == weight.input[1]:
            tensor.CopyFrom(
                numpy_helper.from_array(numpy_helper.to_array(tensor) * factor, tensor.name)
            )
            return broken
    raise AssertionError(f"no scale of {node}")
