"""ONNX Runtime's two layouts on a GPU: both tried, the faster one kept and taken by sessions."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from adcvsr.bundle import open_bundle
from adcvsr.cli.commands import cli
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.runtime.deploy import acceptance
from adcvsr.runtime.deploy.deploy import deploy_bundle
from adcvsr.runtime.engine.current import CurrentEngines
from adcvsr.runtime.engine.engine_cache import EngineCache
from adcvsr.runtime.engine.order import SizeRange
from adcvsr.runtime.nvidia.gpu import current_gpu
from adcvsr.runtime.processing.backends import create_session
from adcvsr.runtime.sessions.ort_cuda import OrtCudaSession
from fake_cuda import FakeDriver
from gpu_backends import CpuGraphs, fake_gpu, prepare_backend

pytestmark = pytest.mark.usefixtures("nano_in_fp32")

SMALL = SizeRange.fixed(12, 16)


class Layouts(CpuGraphs):
    """Both layouts compute the same; one is slow, and one may give another picture."""

    slow: bool | None = None
    wrong: bool | None = None
    opened: list[bool]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.opened.append(self.nhwc)

    def run(self, direction: int, inputs: Any, outputs: Any) -> None:
        super().run(direction, inputs, outputs)
        if self.nhwc is self.slow:
            time.sleep(0.01)

    def fetch(self, value: Any) -> Any:
        picture = super().fetch(value)
        return 255 - picture if self.nhwc is self.wrong else picture


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeDriver:
    driver = fake_gpu(monkeypatch, tmp_path / "cache")
    prepare_backend("ort-cuda's bindings on the CPU", monkeypatch, tmp_path)
    monkeypatch.setattr(OrtCudaSession, "graphs", Layouts)
    monkeypatch.setattr(Layouts, "opened", [], raising=False)
    monkeypatch.setattr(acceptance, "WARM_UP_FRAMES", 1)
    return driver


def deploy() -> Any:
    return deploy_bundle(open_bundle("nano"), backend="ort-cuda", sizes=SMALL, frames=10)


@pytest.mark.parametrize("slow", [False, True])
def test_the_faster_layout_is_kept_and_taken(
    driver: FakeDriver, monkeypatch: pytest.MonkeyPatch, slow: bool
) -> None:
    monkeypatch.setattr(Layouts, "slow", slow)
    report = deploy()
    assert set(Layouts.opened) == {False, True}
    kept, left = sorted(report.candidates, key=lambda each: each.nhwc is slow)
    assert report.changed
    assert not kept.reasons
    assert kept.nhwc is not slow
    assert "slower: p50" in left.reasons[0]
    assert kept.acceptance.p50_ms < left.acceptance.p50_ms
    assert report.current["nhwc"] is not slow
    Layouts.opened.clear()
    with create_session(open_bundle("nano"), backend="ort-cuda") as session:
        session.infer(draw_clip(1, 12, 16)[0])
    assert Layouts.opened == [not slow]


def test_a_layout_with_wrong_pictures_is_not_kept_however_fast(
    driver: FakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Layouts, "slow", False)
    monkeypatch.setattr(Layouts, "wrong", True)
    report = deploy()
    assert report.current["nhwc"] is False
    (bad,) = (each for each in report.candidates if each.nhwc)
    assert "golden vectors: 255 levels off" in bad.reasons[0]
    monkeypatch.setattr(Layouts, "wrong", False)
    monkeypatch.setattr(Layouts, "slow", True)
    report = deploy()
    assert [each.nhwc for each in report.candidates if each.reasons] == [False]
    assert report.current["nhwc"] is True  # the slow one, as it alone is right


def test_without_a_deployment_convolutions_are_in_planes(driver: FakeDriver) -> None:
    clip = draw_clip(2, 12, 16)
    with create_session(open_bundle("nano"), backend="ort-cpu", threads=1) as session:
        expected = [session.infer(frame) for frame in clip]
    with create_session(open_bundle("nano"), backend="ort-cuda") as session:
        found = [session.infer(frame) for frame in clip]
    assert Layouts.opened == [False]
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


def test_engines_and_layouts_are_current_beside_each_other(
    driver: FakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnx", reason="the fake reads its layers from the graph")
    engine = deploy_bundle(open_bundle("nano"), sizes=SMALL, frames=10)
    monkeypatch.setattr(Layouts, "slow", False)
    done = CliRunner().invoke(
        cli,
        ["deploy", "nano", "--backend", "ort-cuda", "--size", "16x12", "--frames", "10", "--json"],
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["current"]["nhwc"] is True
    gpu = current_gpu(driver)
    assert CurrentEngines(EngineCache(), "nano", gpu).current == engine.current
    monkeypatch.setattr(Layouts, "slow", True)
    assert deploy().current["nhwc"] is False
    done = CliRunner().invoke(cli, ["deploy", "nano", "--backend", "ort-cuda", "--rollback"])
    assert done.exit_code == 0, done.output
    assert CurrentEngines(EngineCache(), "nano", gpu, "ort-cuda").current["nhwc"] is True


def test_the_provider_is_told(driver: FakeDriver) -> None:
    """ONNX Runtime's own name of the option, only where it is asked for."""
    asked: list[Any] = []

    class Ort:
        __version__ = "1.26"
        SessionOptions = type("SessionOptions", (), {"add_session_config_entry": lambda *_: None})

        @staticmethod
        def InferenceSession(source: Any, options: Any, providers: Any) -> Any:  # noqa: N802
            asked.append(providers[0][1])
            return type("Loaded", (), {"get_providers": lambda self: ["CUDAExecutionProvider"]})()

    for nhwc in (False, True):
        graphs = CpuGraphs.__new__(CpuGraphs)
        graphs.ort, graphs.captures, graphs.nhwc = Ort, True, nhwc
        graphs.provider = "CUDAExecutionProvider"  # type: ignore[misc]
        graphs._dimensions = lambda source, sizes: {}  # type: ignore[method-assign]
        graphs._load(b"", {}, "it", tf32=False)
    assert [each.get("prefer_nhwc") for each in asked] == [None, "1"]
    assert all(each["enable_cuda_graph"] == "1" for each in asked)
