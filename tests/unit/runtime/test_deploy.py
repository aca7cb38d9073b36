"""First-boot acceptance over a fake GPU: what passes becomes current, nothing else does."""

from __future__ import annotations

import json
import types
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import fake_trt
from adcvsr.bundle import Bundle, open_bundle
from adcvsr.cli.commands import cli
from adcvsr.errors import BackendUnavailableError, ConfigError, EngineError
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.plan.measured import read_measurements
from adcvsr.runtime.deploy import census
from adcvsr.runtime.deploy.census import Census, count_layers
from adcvsr.runtime.deploy.deploy import deploy_bundle
from adcvsr.runtime.engine.build_list import order_engines
from adcvsr.runtime.engine.current import CurrentEngines
from adcvsr.runtime.engine.engine_cache import EngineCache
from adcvsr.runtime.engine.engines import BuiltEngine, ensure_engine
from adcvsr.runtime.engine.layers import Layer, LayerTensor, read_inspector, read_log
from adcvsr.runtime.engine.order import BuildOptions, SizeRange
from adcvsr.runtime.nvidia.flavour import Flavour
from adcvsr.runtime.nvidia.gpu import current_gpu
from adcvsr.runtime.processing.backends import create_session
from fake_cuda import FakeDriver
from fake_trt import Builder
from gpu_backends import fake_gpu

pytestmark = pytest.mark.usefixtures("nano_in_fp32", "few_colours")

SMALL = SizeRange.fixed(24, 32)
LISTS = Path(__file__).parents[2] / "layer_lists"


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeDriver:
    return fake_gpu(monkeypatch, tmp_path / "cache")


def current(driver: FakeDriver) -> CurrentEngines:
    return CurrentEngines(EngineCache(), "nano", current_gpu(driver))


def deploy(**options: object) -> object:
    return deploy_bundle(open_bundle("nano"), frames=10, **options)  # type: ignore[arg-type]


def test_a_good_engine_becomes_current(driver: FakeDriver) -> None:
    report = deploy(sizes=SMALL, budget_ms=1e6)
    assert report.changed
    (candidate,) = report.candidates
    found = candidate.acceptance
    assert found.p99_ms >= found.p50_ms > 0
    # The golden frames are larger than this engine: what its seam does not reach is compared.
    assert found.golden.startswith("level error")
    assert "over 22x14 on the engine itself" in found.golden
    assert current(driver).current["keys"] == candidate.keys
    assert EngineCache().current_keys() == set(candidate.keys)
    (measured,) = read_measurements(EngineCache().folder / "measured", print)
    assert (measured.target, measured.width, measured.height) == ("rtx-40", 32, 24)
    assert driver.left()["memory"] == 0


def test_a_slow_engine_does_not(driver: FakeDriver) -> None:
    first = deploy(sizes=SMALL)
    report = deploy(sizes=SizeRange.fixed(32, 32), budget_ms=1e-6)
    assert not report.changed
    assert "over the budget" in report.candidates[0].reasons[0]
    assert report.current["keys"] == first.candidates[0].keys


def test_wrong_pictures_do_not(driver: FakeDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    real = fake_trt.Engine

    class Wrong(real):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            session, inputs = self.session, self.inputs

            def run(names: list[str], feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
                state = {k: v * 0 if k.startswith("state") else v for k, v in feeds.items()}
                return session.run(names, state)

            self.session, self.inputs = types.SimpleNamespace(run=run), inputs

    monkeypatch.setattr(fake_trt, "Engine", Wrong)
    report = deploy(sizes=SMALL)
    assert not report.changed
    assert "golden vectors: level error" in report.candidates[0].reasons[0]
    assert report.current is None


def test_the_next_precision_is_tried(driver: FakeDriver) -> None:
    report = deploy(sizes=SMALL, precisions=("int8", "fp32"))
    assert [bool(each.reasons) for each in report.candidates] == [True, False]
    assert "no precision 'int8'" in report.candidates[0].reasons[0]
    assert report.current["variant"] == "fp32-onnx"


def test_a_precision_that_is_not_used_is_found_out(
    driver: FakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bundle says int8, the engine computes in FP32: the census tells."""
    bundle = open_bundle("nano")
    fp32 = bundle.variants["fp32-onnx"]
    monkeypatch.setitem(bundle.variants, "int8-trt", replace(fp32, id="int8-trt"))
    report = deploy_bundle(bundle, sizes=SMALL, precisions=("int8",), frames=10)
    assert not report.changed
    assert "no product is computed in int8" in report.candidates[0].reasons[0]


def dla_bundle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cores: int = 2) -> Bundle:
    """An AGX Orin with TensorRT 11.4.1, and a bundle with a variant DLA computes in."""
    pytest.importorskip("onnx", reason="the fake reads its layers from the graph")
    fake_gpu(monkeypatch, tmp_path / "cache", integrated=True, version="11.4.1")
    monkeypatch.setattr(Builder, "num_DLA_cores", cores)
    bundle = open_bundle("nano")
    fp16 = replace(bundle.variants["fp32-onnx"], id="fp16-trt")
    monkeypatch.setitem(bundle.variants, "fp16-trt", fp16)
    return bundle


def test_dla_is_used_or_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bundle = dla_bundle(monkeypatch, tmp_path)

    def build(said: list[str] | None = None, **options: Any) -> BuiltEngine:
        (order,) = order_engines(
            bundle, precision="fp16", sizes=SMALL, options=BuildOptions(**options)
        )
        return ensure_engine(order, report=(said if said is not None else []).append)

    with pytest.raises(EngineError, match=r"of 42 layers cannot run there: '.*--dla-fallback"):
        build(dla=1)
    said: list[str] = []
    built = build(said, dla=1, dla_fallback=True)
    assert "the GPU runs them" in said[0]
    assert built.entry.identity["options"]["dla"] == 1
    with pytest.raises(BackendUnavailableError, match="no DLA core 2: TensorRT 11.4.1 sees 2"):
        build(dla=2, dla_fallback=True)
    # A session that did not ask for it builds its own for the GPU.
    with create_session(bundle, backend="tensorrt", variant="fp16-trt") as session:
        session.infer(draw_clip(1, *SMALL.best)[0])
    assert len(EngineCache().entries()) == 2


def test_dla_is_deployed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bundle = dla_bundle(monkeypatch, tmp_path)
    options = BuildOptions(dla=0, dla_fallback=True)
    # The stand-in computes the FP32 graph under another name, so FP16 is not what it finds.
    monkeypatch.setattr(Census, "why_not", lambda census, precision: None)
    report = deploy_bundle(bundle, precisions=("fp16",), sizes=SMALL, options=options, frames=10)
    assert report.changed, report.candidates[0].reasons
    assert "1 on the DLA" in report.candidates[0].acceptance.census[0]
    monkeypatch.setattr(census, "count_layers", lambda *_: Census(1, 0, products={"fp16": 1}))
    report = deploy_bundle(bundle, precisions=("fp16",), sizes=SMALL, options=options, frames=10)
    assert not report.changed
    assert "nothing runs on the DLA" in report.candidates[0].reasons[0]


def test_dla_where_there_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bundle = dla_bundle(monkeypatch, tmp_path)
    dla = BuildOptions(dla=0)
    with pytest.raises(BackendUnavailableError, match="fp16 and int8, 'fp32-onnx' is neither"):
        order_engines(bundle, precision="fp32", options=dla)
    span = SizeRange((8, 8), (16, 16), (32, 32))
    with pytest.raises(BackendUnavailableError, match=r"one size, not 8x8\.\.16x16\.\.32x32"):
        order_engines(bundle, precision="fp16", sizes=span, options=dla)
    fake_gpu(monkeypatch, tmp_path / "cache", integrated=True)  # JetPack 6
    with pytest.raises(BackendUnavailableError, match="TensorRT 10.3.0 does not build strongly"):
        order_engines(bundle, precision="fp16", options=dla)
    with pytest.raises(BackendUnavailableError, match="TensorRT-RTX has no DLA"):
        Flavour("tensorrt-rtx", None).require_dla()
    with pytest.raises(ConfigError, match="give --dla CORE"):
        BuildOptions(dla_fallback=True)


def test_golden_vectors_on_a_twin_where_nothing_is_left(driver: FakeDriver) -> None:
    report = deploy(sizes=SizeRange.fixed(12, 16))
    assert report.changed
    assert "on a twin for 64x48" in report.candidates[0].acceptance.golden


def test_clips_are_deployed_too(driver: FakeDriver, clip_bundle: Path) -> None:
    bundle = open_bundle(clip_bundle)
    if not bundle.manifest.get("golden"):
        pytest.skip("the test bundle of a clip network has no golden vectors")
    report = deploy_bundle(bundle, sizes=SMALL, frames=10)
    assert report.changed, report.candidates[0].reasons
    assert len(report.candidates[0].keys) == 2


def test_rollback(driver: FakeDriver) -> None:
    with pytest.raises(EngineError, match="nothing to go back to"):
        current(driver).roll_back()
    first = deploy(sizes=SMALL).current
    second = deploy(sizes=SizeRange.fixed(32, 32)).current
    deploy(sizes=SizeRange.fixed(32, 32))  # the same once more: the way back stays open
    assert current(driver).roll_back() == first
    assert current(driver).current == first
    assert current(driver).roll_back()["keys"] == second["keys"]
    EngineCache().clear(first["keys"][0])
    with pytest.raises(EngineError, match="gone or damaged"):
        current(driver).roll_back()


def test_a_damaged_file_of_what_is_current(
    driver: FakeDriver, caplog: pytest.LogCaptureFixture
) -> None:
    """The engine that took minutes is deployed, and the file lies beside the new one."""
    deploy(sizes=SMALL)
    pointer = current(driver)
    pointer.path.write_text('{"current": {"keys": 7}}')
    assert EngineCache().current_keys() == set()
    assert "is damaged and is made again" in caplog.messages[-1]
    found = deploy(sizes=SMALL).current
    assert pointer.current == found
    assert pointer.path.with_name(f"{pointer.path.name}.damaged").is_file()
    pointer.path.write_text("{")
    with pytest.raises(EngineError, match="nothing to go back to"):
        pointer.roll_back()


def test_sessions_take_what_is_current(driver: FakeDriver) -> None:
    wide = deploy(sizes=SizeRange((16, 16), (24, 32), (48, 64))).current
    deploy_key = wide["keys"][0]
    create_session(open_bundle("nano"), backend="tensorrt")
    with create_session(open_bundle("nano"), backend="tensorrt") as session:
        session.infer(np.zeros((24, 32, 3), np.uint8))
    assert EngineCache().entries()[0].key == deploy_key
    assert len(EngineCache().entries()) == 1


def test_command(driver: FakeDriver) -> None:
    run = CliRunner().invoke
    done = run(cli, ["deploy", "nano", "--size", "32x24", "--frames", "10", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["current"]["variant"] == "fp32-onnx"
    done = run(cli, ["deploy", "nano", "--size", "32x24", "--frames", "10", "--budget", "0.01"])
    assert done.exit_code == 1
    assert "over the budget" in done.stdout
    assert "still current is fp32-onnx 32x24 (tensorrt 10.3.0)" in done.stdout


WANTED = {f"{name}/Conv": "int8" for name in "abc"} | {"first/Conv": "fp16"}


def layer_of(name: str, said: str, **more: Any) -> dict[str, Any]:
    """A convolution as TensorRT's inspector gives it; by contract, from its public output."""
    return {
        "Name": f"{name}/Conv + {name}/Relu",
        "LayerType": "CaskConvolution",
        "ParameterType": "Convolution",
        "Inputs": [{"Name": "x", "Dimensions": [1, 16, 8, 8], "Format/Datatype": said}],
        "Outputs": [{"Format/Datatype": "Row major linear FP16 format"}],
        "Metadata": f"[ONNX Layer: {name}/Conv]\x1e[ONNX Layer: {name}/Relu]",
        **more,
    }


def census_in(layers: Sequence[Any], wanted: dict[str, str] | None = None) -> Census:
    text = json.dumps({"Layers": list(layers), "I/O Tensors": []})
    return count_layers(read_inspector(text), WANTED if wanted is None else wanted)


def test_census_of_tensorrt_s_spelling() -> None:
    """Each convolution of the graph by name, whatever the schema calls layers and types."""
    int8 = "Thirty-two wide channel vectorized row major Int8 format."
    layers = [
        layer_of("first", "Channel major FP16 format where C % 8 == 0"),
        layer_of("a", int8, Weights={"Type": "Int8", "Count": 2304}),
        layer_of("b", int8),
        {
            "Name": "c/Conv_myl0_5",
            "LayerType": "correlation",
            "Inputs": [{"Datatype": "Int8", "Format": "x"}, {"Datatype": "Half", "Format": "x"}],
            "Metadata": "[ONNX Layer: c/Conv]",
        },
        {"Name": "r", "LayerType": "Reformat", "Inputs": [{"Format/Datatype": "linear FP32"}]},
        {"Name": "d", "LayerType": "NoOp"},
    ]
    good = census_in(layers)
    assert good.text() == (
        "5 layers; 3 of 4 convolutions and products in int8, 1 in fp16; 1 reformats"
    )
    assert good.why_not("int8") is None
    one_less = census_in([*layers[:2], layer_of("b", "Row major linear FP16 format"), *layers[3:]])
    assert str(one_less.why_not("int8")).startswith("2 of 3 convolutions and products of the graph")
    assert "'b/Conv' in fp16" in str(one_less.why_not("int8"))
    none = census_in([layer_of(name.split("/")[0], "linear FP32") for name in WANTED])
    assert str(none.why_not("int8")).startswith("no product is computed in int8: 4 layers; 4 of 4")


def test_census_without_names_of_nodes() -> None:
    """The share of layers has to be the graph's share."""
    layers = [layer_of("", said, Name=f"k{n}", Metadata="") for n, said in enumerate(["Int8"] * 3)]
    half = layer_of("", "Half", Name="k9", Metadata="")
    assert census_in([*layers, half]).why_not("int8") is None
    why = census_in([*layers[:1], half, half, half]).why_not("int8")
    assert str(why).startswith("1 of 4 layers with products are computed in int8, 3 were to be")


def test_census_reads_every_type() -> None:
    for said, name in (
        ("Int8", "int8"),
        ("UInt8", "uint8"),
        ("FP8E4M3", "fp8"),
        ("Fp8", "fp8"),
        ("BFloat16", "bf16"),
        ("Float", "fp32"),
        ("Channel major FP16 format where C % 8 == 0", "fp16"),
    ):
        assert census_in([layer_of("a", said)]).products == {name: 1}
    names_only = census_in(["a", "b"])
    assert not names_only.known
    assert names_only.layers == 2
    assert names_only.why_not("int8") is None


def as_inspected(layers: Sequence[Layer]) -> list[dict[str, Any]]:
    """A real layer list in the words of the inspector's JSON."""

    def tensors(each: Sequence[LayerTensor]) -> list[dict[str, Any]]:
        words = {"fp16": "Half", "fp32": "Float", "uint8": "UInt8"}
        return [
            {
                "Name": tensor.name,
                "Dimensions": list(tensor.shape),
                "Datatype": words[tensor.element],
                "Format": tensor.layout,
            }
            for tensor in each
        ]

    return [
        {
            "Name": layer.name,
            "LayerType": layer.kind,
            "Inputs": tensors(layer.inputs),
            "Constants": tensors(layer.constants),
            "Outputs": tensors(layer.outputs),
            "TacticName": layer.tactic,
            "StreamId": layer.stream,
            "Metadata": "".join(f"[ONNX Layer: {node}]" for node in layer.nodes),
        }
        for layer in layers
    ]


def in_fp32(layer: Layer) -> Layer:
    """The same layer, computed in FP32."""

    def wide(tensors: tuple[LayerTensor, ...]) -> tuple[LayerTensor, ...]:
        return tuple(replace(tensor, element="fp32") for tensor in tensors)

    return replace(layer, inputs=wide(layer.inputs), constants=wide(layer.constants))


@pytest.mark.parametrize("what", ["good", "all in FP32", "one in FP32"])
def test_verdicts_on_real_layer_lists(
    what: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`nano` in FP16: as TensorRT-RTX compiled it, as it compiled FP32, and with one layer wide."""
    monkeypatch.delenv("ADCVSR_MODELS")  # with all its variants
    fake_gpu(monkeypatch, tmp_path / "cache")
    name = "nano-fp32-640x360.txt" if what == "all in FP32" else "nano-fp16-640x360.txt"
    layers = read_log((LISTS / name).read_text())
    if what == "one in FP32":
        spoilt = next(n for n, each in enumerate(layers) if "resnets.2.conv1/Conv_" in each.name)
        layers[spoilt] = in_fp32(layers[spoilt])
    monkeypatch.setattr(fake_trt, "fused_layers", lambda graph: as_inspected(layers))
    report = deploy_bundle(open_bundle("nano"), precisions=("fp16",), sizes=SMALL, frames=10)
    (candidate,) = report.candidates
    assert candidate.variant == "fp16-trt"
    reasons = {
        "good": [],
        "all in FP32": ["no product is computed in fp16: 17 layers; 12 of 12 convolutions"],
        "one in FP32": [
            "11 of 12 convolutions and products of the graph in fp16 are computed so, all were to "
            "be: 'unet.down_blocks.0.resnets.2.conv1/Conv' in fp32"
        ],
    }[what]
    assert [said[: len(start)] for said, start in zip(candidate.reasons, reasons, strict=True)] == (
        reasons
    )
    assert report.changed == (what == "good")
    if what == "good":
        assert candidate.acceptance is not None
        assert candidate.acceptance.census == [
            "14 layers; 12 of 12 convolutions and products in fp16; 1 reformats"
        ]
