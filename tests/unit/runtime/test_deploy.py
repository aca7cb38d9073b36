"""First-boot acceptance over a fake GPU: what passes becomes current, nothing else does."""

from __future__ import annotations

import json
import types
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
from adcvsr.runtime.engine.order import BuildOptions, SizeRange
from adcvsr.runtime.nvidia.flavour import Flavour
from adcvsr.runtime.nvidia.gpu import current_gpu
from adcvsr.runtime.processing.backends import create_session
from fake_cuda import FakeDriver
from fake_trt import Builder
from gpu_backends import fake_gpu

pytestmark = pytest.mark.usefixtures("nano_in_fp32")

SMALL = SizeRange.fixed(24, 32)


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
    monkeypatch.setattr(Census, "uses", lambda census, precision: True)
    report = deploy_bundle(bundle, precisions=("fp16",), sizes=SMALL, options=options, frames=10)
    assert report.changed, report.candidates[0].reasons
    assert "1 on the DLA" in report.candidates[0].acceptance.census[0]
    monkeypatch.setattr(census, "count_layers", lambda text: Census({"fp16": 1}, {}, 1, 0))
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
    assert "is damaged and is made anew" in caplog.messages[-1]
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


def test_census_reads_both_schemas() -> None:
    layers = [
        {
            "Name": "a",
            "LayerType": "CaskConvolution",
            "Inputs": [
                {"Format/Datatype": "Thirty-two wide channel vectorized row major Int8 format."}
            ],
            "Outputs": [{"Format/Datatype": "Row major linear FP16 format"}],
        },
        {"Name": "b", "LayerType": "gemm", "Inputs": [{"Format": "x", "DataType": "Half"}]},
        {"Name": "c", "LayerType": "Reformat", "Inputs": [{"Format/Datatype": "linear FP32"}]},
        {"Name": "d", "LayerType": "NoOp"},
    ]
    census = count_layers(json.dumps({"Layers": layers, "I/O Tensors": []}))
    assert census.products == {"int8": 1, "fp16": 1}
    assert (census.others, census.reformats, census.layers) == ({"fp32": 1}, 1, 4)
    assert census.uses("int8")
    assert not census.uses("fp8")
    for said, name in (
        ("Int8", "int8"),
        ("UInt8", "uint8"),
        ("FP8E4M3", "fp8"),
        ("Fp8", "fp8"),
        ("BFloat16", "bf16"),
        ("Float", "fp32"),
        ("Channel major FP16 format where C % 8 == 0", "fp16"),
    ):
        layer = {"Name": "a", "LayerType": "conv", "Inputs": [{"Format/Datatype": said}]}
        assert count_layers(json.dumps({"Layers": [layer]})).products == {name: 1}
    names_only = count_layers(json.dumps({"Layers": ["a", "b"]}))
    assert not names_only.known
    assert names_only.layers == 2
