"""First-boot acceptance over a fake GPU: what passes becomes current, nothing else does."""

from __future__ import annotations

import json
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import fake_trt
from adcvsr.bundle import open_bundle
from adcvsr.cli import cli
from adcvsr.errors import EngineError
from adcvsr.measured import read_measurements
from adcvsr.runtime.backends import create_session
from adcvsr.runtime.engine.cache import EngineCache
from adcvsr.runtime.engine.census import count_layers
from adcvsr.runtime.engine.deploy import CurrentEngines, deploy_bundle
from adcvsr.runtime.engine.order import SizeRange
from adcvsr.runtime.sessions.gpu import current_gpu
from fake_cuda import FakeDriver
from gpu_backends import fake_gpu

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
        def __init__(self, plan: dict[str, object], driver: FakeDriver) -> None:
            super().__init__(plan, driver)
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
                {"Format/Datatype": "Thirty-two wide channel vectorized row major INT8 format"}
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
    names_only = count_layers(json.dumps({"Layers": ["a", "b"]}))
    assert not names_only.known
    assert names_only.layers == 2
