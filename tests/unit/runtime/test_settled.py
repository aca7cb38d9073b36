"""What is settled in a network before it is compiled, over the real compiler and a stand-in."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from adcvsr.bundle import Bundle, open_bundle
from adcvsr.graph.file import read_graph
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.runtime.engine.build_list import order_engines
from adcvsr.runtime.engine.engine_cache import EngineCache
from adcvsr.runtime.engine.engines import find_engine
from adcvsr.runtime.engine.order import SizeRange
from adcvsr.runtime.engine.settled import settle_network
from adcvsr.runtime.nvidia.flavour import error_log, load_flavour
from adcvsr.runtime.nvidia.gpu import current_gpu
from adcvsr.runtime.processing.backends import create_session
from gpu_backends import fake_gpu

UINT8 = 2
RANGE = SizeRange((8, 8), (16, 16), (32, 32))


def graphs(bundle: Bundle) -> list[str]:
    return [name for name in bundle.files if name.endswith(".onnx")]


@pytest.mark.parametrize("name", ["nano", "nano-camera", "small"])
def test_shipped_graphs_take_uint8_into_casts_alone(name: str) -> None:
    """But for those of ONNX Runtime, whose first node rearranges bytes."""
    bundle = open_bundle(name)
    assert len(graphs(bundle)) >= 3
    for file in graphs(bundle):
        graph = read_graph(bundle.read(file)).graph
        (frame,) = (value.name for value in graph.input if value.element == UINT8)
        readers = {node.op_type for node in graph.node if frame in node.input}
        assert readers == ({"Transpose", "Shape"} if "-ort" in file else {"Cast"}), file


def old_bundle(folder: Path) -> Bundle:
    """`nano` with an FP32 graph as exported before: its Shape reads the frame."""
    onnx = pytest.importorskip("onnx", reason="changing graphs needs onnx")
    source = open_bundle("nano")
    shutil.copytree(source.path, folder)
    path = folder / "fp32-onnx.onnx"
    model = onnx.load(path)
    cast = next(n for n in model.graph.node if n.op_type == "Cast" and "frame" in n.input)
    (asking,) = (
        n for n in model.graph.node if n.op_type == "Shape" and n.input[0] == cast.output[0]
    )
    asking.input[0] = "frame"
    onnx.save(model, path)
    manifest = json.loads((folder / "manifest.json").read_text())
    data = path.read_bytes()
    manifest["files"][path.name] = {
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return open_bundle(folder)


def test_an_old_graph_is_mended_before_it_is_compiled(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The stand-in refuses uint8 that meets anything but a Cast, as TensorRT 10.3 may."""
    fake_gpu(monkeypatch, tmp_path / "cache")
    frames = draw_clip(3, 12, 16)
    pictures = []
    for bundle in (old_bundle(tmp_path / "old"), open_bundle("nano")):
        with create_session(bundle, backend="tensorrt", variant="fp32-onnx") as session:
            pictures.append([session.infer(frame) for frame in frames])  # type: ignore[attr-defined]
    np.testing.assert_array_equal(*pictures)


@pytest.mark.parametrize("sizes", [SizeRange.fixed(16, 24), RANGE], ids=["fixed", "range"])
def test_what_the_real_compiler_gets(sizes: SizeRange, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="not installed: pip install 'adcvsr[rtx]'")
    flavour = load_flavour("tensorrt-rtx")
    trt = flavour.trt
    bundle = old_bundle(tmp_path / "old")
    (order,) = order_engines(
        bundle, backend="tensorrt-rtx", targets=["rtx-40"], precision="fp32", sizes=sizes
    )
    builder = flavour.builder()
    network = flavour.create_network(builder)
    assert trt.OnnxParser(network, error_log(trt).logger).parse(bundle.read(order.graph_file))

    def read() -> set[object]:
        layers = [network.get_layer(index) for index in range(network.num_layers)]
        asking = [layer for layer in layers if layer.type == trt.LayerType.SHAPE]
        return {layer.get_input(0).dtype for layer in asking}

    assert trt.DataType.UINT8 in read()
    settle_network(flavour, network, order)
    assert trt.DataType.UINT8 not in read()
    shape = tuple(network.get_input(0).shape)
    assert shape == ((1, 16, 24, 3) if sizes.is_fixed else (1, -1, -1, 3))


def test_state_lies_as_kernels_have_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The session never looks into it; engines built before are not taken for such."""
    pytest.importorskip("onnx", reason="the fake reads its layers from the graph")
    fake_gpu(monkeypatch, tmp_path / "cache")
    bundle, frames = open_bundle("nano"), draw_clip(3, 12, 16)
    pictures = []
    for backend in ("tensorrt", "ort-cpu"):
        with create_session(bundle, backend=backend, variant="fp16-trt") as session:
            pictures.append([session.infer(frame) for frame in frames])  # type: ignore[attr-defined]
    np.testing.assert_array_equal(*pictures)
    (entry,) = EngineCache().entries()
    state = "state_down_blocks_0_resnets_0_conv1"
    assert entry.identity["hwc8"] == [state, f"{state}_next"]
    assert json.loads(entry.plan.read_bytes())["hwc8"] == entry.identity["hwc8"]
    (order,) = order_engines(bundle, precision="fp16", sizes=SizeRange.fixed(12, 16))
    assert find_engine(order, current_gpu(), 12, 16, EngineCache()) == entry
    older = {key: value for key, value in entry.identity.items() if key != "hwc8"}
    facts = {**entry.facts, "identity": older}
    (entry.folder / "engine.json").write_text(json.dumps(facts))
    assert find_engine(order, current_gpu(), 12, 16, EngineCache()) is None
    (order,) = order_engines(bundle, precision="fp32", sizes=SizeRange.fixed(12, 16))
    assert "hwc8" not in order.identity()
