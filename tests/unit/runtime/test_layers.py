"""Layer lists: real ones read, counted, written by `build`, shown by `inspect`."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from adcvsr.bundle import open_bundle
from adcvsr.cli.commands import cli
from adcvsr.graph.cost import count_bundle_cost
from adcvsr.graph.file import read_graph
from adcvsr.graph.yuv_ends import YuvEnds
from adcvsr.plan.roofline import predict
from adcvsr.runtime.engine.build import build_plan
from adcvsr.runtime.engine.engine_cache import EngineCache
from adcvsr.runtime.engine.engines import graph_products, order_for
from adcvsr.runtime.engine.layers import products_of, read_inspector, read_log, summarise
from adcvsr.runtime.engine.order import SizeRange
from adcvsr.runtime.nvidia.flavour import load_flavour
from adcvsr.targets import target
from gpu_backends import fake_gpu

LISTS = Path(__file__).parents[2] / "layer_lists"
COUNTED_WITH = "1.7.1"
"""The TensorRT-RTX that the exact counts are of; of others a tenth more is allowed."""

COUNTS = {"nano": (14, 1, 266_112_000), "small": (37, 1, 1_136_102_400)}
"""Kernels, those that only move data, bytes: in FP16 at 640x360, compute capability 8.9."""


def products(name: str, variant: str) -> dict[str, bool]:
    bundle = open_bundle(name)
    return products_of(read_graph(bundle.read(bundle.variant(variant).file)))


def test_a_real_list_is_read() -> None:
    layers = read_log((LISTS / "nano-fp16-640x360.txt").read_text())
    summary = summarise(layers, products("nano", "fp16-trt"))
    assert (summary.kernels, summary.moves, summary.bytes) == COUNTS["nano"]
    assert set(summary.convolutions.values()) == {"fp16"}
    assert summary.counts() == {"fp16": 12}
    assert summary.text() == (
        "14 kernels (1 of them only move data), 266 MB of activations moved; of 12 convolutions "
        "12 in fp16"
    )
    # State lies as the kernels around it have it; what is not a convolution is not taken for one.
    states = {
        tensor.name: tensor.layout
        for layer in layers
        for tensor in (*layer.inputs, *layer.outputs)
        if tensor.name.startswith("state_")
    }
    assert {name.split(".")[0].removesuffix("_next") for name in states} == {
        "state_down_blocks_0_resnets_0_conv1"
    }
    assert not any("Row major" in layout for layout in states.values())
    kinds = {layer.kind for layer in layers if layer.is_product}
    assert kinds == {"correlation", "runtime_fusion"}


def test_state_and_tail_in_planes_cost_kernels() -> None:
    """FP32 has no such layout: its list shows what would come back."""
    layers = read_log((LISTS / "nano-fp32-640x360.txt").read_text())
    summary = summarise(layers, products("nano", "fp32-onnx"))
    assert (summary.kernels, summary.moves) == (17, 3)
    assert summary.counts() == {"fp32": 12}


def test_what_a_list_does_not_say() -> None:
    """Several sizes have no bytes, a log without a list no layers, a lost node no type."""
    text = (LISTS / "nano-fp16-640x360.txt").read_text()
    wanted = products("nano", "fp16-trt")
    layers = read_log(text.replace("[1,360,640,3]", "[1,-1,-1,3]"))
    assert summarise(layers, wanted).bytes is None
    assert read_log("Layers:\nnothing that is known\n") == []
    assert summarise([], wanted).counts() == {"not said": 12}


def test_the_inspector_s_words() -> None:
    """By contract: TensorRT names types with layouts, and has weights beside the inputs."""
    layer = {
        "Name": "a/Conv + PWN(a/Relu)",
        "LayerType": "CaskConvolution",
        "Inputs": [
            {
                "Name": "x",
                "Dimensions": [1, 32, 4, 8],
                "Format/Datatype": "Thirty-two wide channel vectorized row major Int8 format",
            }
        ],
        "Outputs": [{"Name": "y", "Dimensions": [1, 32, 4, 8], "Format/Datatype": "linear FP16"}],
        "Weights": {"Type": "Half", "Count": 9216},
        "TacticName": "sm80_xmma",
    }
    (read,) = read_inspector(json.dumps({"Layers": [layer]}))
    assert (read.nodes, read.element, read.bytes) == (("a/Conv", "a/Relu"), "fp16", 3 * 1024)
    layer["Weights"] = {"Type": "Int8", "Count": 9216}
    assert read_inspector(json.dumps({"Layers": [layer]}))[0].element == "int8"
    assert read_inspector("no JSON") == []


def build(*arguments: str) -> Any:
    done = CliRunner().invoke(cli, ["build", *arguments, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", ["nano", "small"])
def test_kernels_and_bytes_of_what_is_shipped(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A graph that costs a kernel more is a slower graph: this fails before a GPU shows it."""
    rtx = pytest.importorskip("tensorrt_rtx", reason="not installed: pip install 'adcvsr[rtx]'")
    monkeypatch.setenv("ADCVSR_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "layers.json"
    options = ["--backend", "tensorrt-rtx", "--target", "rtx-40", "--size", "640x360"]
    options += ["--precision", "fp16", "--layers", str(path)]
    (engine,) = build(name, *options)["engines"]
    summary = engine["layers"]
    (listed,) = json.loads(path.read_text())["engines"]
    assert listed["summary"] == summary
    assert (
        len([e for e in listed["layers"] if e["kind"] not in ("signal", "wait")])
        == (summary["kernels"])
    )
    assert set(summary["convolutions"].values()) == {"fp16"}
    found = (summary["kernels"], summary["moves"], summary["bytes"])
    if rtx.__version__.startswith(COUNTED_WITH):
        assert found == COUNTS[name]
    assert all(a <= 1.1 * b + 1 for a, b in zip(found, COUNTS[name], strict=True))
    # From the cache the same.
    path.unlink()
    (again,) = build(name, *options)["engines"]
    assert again["hit"]
    assert json.loads(path.read_text())["engines"] == [listed]
    shown = CliRunner().invoke(cli, ["inspect", name]).stdout
    assert f"{COUNTS[name][0]} kernels" in shown or not rtx.__version__.startswith(COUNTED_WITH)
    facts = json.loads(CliRunner().invoke(cli, ["inspect", name, "--json"]).stdout)
    assert facts["engines"][0]["layers"] == summary


def test_an_engine_from_before_there_were_lists(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("tensorrt_rtx", reason="not installed: pip install 'adcvsr[rtx]'")
    monkeypatch.setenv("ADCVSR_CACHE", str(tmp_path / "cache"))
    options = ["nano", "--backend", "tensorrt-rtx", "--target", "rtx-40", "--size", "32x24"]
    build(*options)
    (entry,) = EngineCache().entries()
    (entry.folder / "layers.json").unlink()
    path = tmp_path / "layers.json"
    path.write_text("mine")
    done = CliRunner().invoke(cli, ["build", *options, "--layers", str(path)])
    assert done.exit_code == 1
    assert f"build it again: adcvsr cache clear {entry.key}" in str(done.exception)
    assert path.read_text() == "mine"


@pytest.mark.usefixtures("nano_in_fp32")
def test_tensorrt_s_inspector_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It prints no list while it builds, and builds on the GPU that can load the engine."""
    fake_gpu(monkeypatch, tmp_path / "cache")
    path = tmp_path / "layers.json"
    (engine,) = build("nano", "--size", "32x24", "--layers", str(path))["engines"]
    assert "layers" not in engine
    (listed,) = json.loads(path.read_text())["engines"]
    assert listed["summary"]["convolutions_in"] == {"fp32": 12}
    assert (listed["what"], listed["compiler"]) == (engine["what"], "10.3.0")


def test_fp8_is_planned_as_it_is_compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """TensorRT-RTX lets each FP8 convolution write FP32, which a second kernel rescales."""
    pytest.importorskip("tensorrt_rtx", reason="not installed: pip install 'adcvsr[rtx]'")
    monkeypatch.setenv("ADCVSR_CACHE", str(tmp_path / "cache"))
    size = ["--backend", "tensorrt-rtx", "--target", "rtx-40", "--size", "320x180"]
    compiled, planned, milliseconds = {}, {}, {}
    for precision in ("fp16", "fp8"):
        (engine,) = build("small", *size, "--precision", precision)["engines"]
        compiled[precision] = engine["layers"]["bytes"]
        cost = count_bundle_cost(open_bundle("small"), f"{precision}-trt", height=180, width=320)
        prediction = predict(cost.nodes, target("rtx-40"), "tensorrt-rtx")
        planned[precision] = prediction.memory_seconds
        milliseconds[precision] = prediction.seconds
    assert engine["layers"]["convolutions_in"] == {"fp16": 2, "fp8": 32}
    more = compiled["fp8"] / compiled["fp16"]
    assert more > 1.5
    assert planned["fp8"] / planned["fp16"] == pytest.approx(more, rel=0.1)
    assert milliseconds["fp8"] > 0.95 * milliseconds["fp16"]


def test_yuv_leaves_the_gpu_in_half_the_bytes() -> None:
    """And moves no more within: the last convolution has half the channels."""
    pytest.importorskip("tensorrt_rtx", reason="not installed: pip install 'adcvsr[rtx]'")
    bundle, flavour = open_bundle("nano"), load_flavour("tensorrt-rtx")
    variant = bundle.variant("fp16-trt")
    left, moved = [], []
    for yuv in (None, YuvEnds(1, full_range=False)):
        size = SizeRange.fixed(360, 640)
        order = order_for(bundle, variant, variant.file, flavour, None, size, sms=(89,), yuv=yuv)
        printed: list[str] = []
        with bundle.graph(variant, variant.file) as graph:
            build_plan(flavour, order, order.ended(graph), on_layers=printed.append)
        layers = read_log(printed[0])
        moved.append(summarise(layers, graph_products(order)).to_json()["bytes"])
        outputs = {each.name: each for layer in layers for each in layer.outputs}
        names = ("upscaled", "upscaled_chroma")
        left.append(sum(math.prod(outputs[name].shape) for name in names if name in outputs))
    assert left == [1440 * 2560 * 3, 1440 * 2560 * 3 // 2]
    assert moved[1] < 0.95 * moved[0]
