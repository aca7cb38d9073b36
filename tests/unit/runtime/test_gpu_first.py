"""The checks of the first hour on a GPU, over the fake one: each can pass, and each can fail."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fake_cuda import CUresult, FakeDriver
from gpu_backends import fake_gpu, prepare_backend

SCRIPT = Path(__file__).resolve().parents[3] / "benchmarks" / "gpu_first.py"


def load() -> Any:
    spec = importlib.util.spec_from_file_location("gpu_first", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["gpu_first"] = module
    spec.loader.exec_module(module)
    return module


gpu_first = load()


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeDriver:
    driver = fake_gpu(monkeypatch, tmp_path / "cache")

    def numpy_compute(bundle: Any) -> Callable[..., None]:
        def compute(addresses: Mapping[str, int], shapes: Mapping[str, Any], stream: int) -> None:
            def work() -> None:
                shape = shapes[bundle.input_name][1:]
                size = int(np.prod(shape))
                frame = driver.view(addresses[bundle.input_name], size).reshape(shape)
                picture = frame.repeat(4, 0).repeat(4, 1)
                for number, spec in enumerate(bundle.state):
                    count = int(np.prod(shapes[spec.name]))
                    state = driver.view(addresses[spec.name], 4 * count).view(np.float32)
                    if number == 0:
                        picture = picture + np.uint8(state[0])
                    following = driver.view(addresses[spec.next_name], 4 * count)
                    following.view(np.float32)[:] = state + 1
                driver.view(addresses[bundle.output_name], 16 * size)[:] = picture.reshape(-1)

            driver.streams[stream].queue(work)

        return compute

    monkeypatch.setattr(gpu_first, "torch_compute", numpy_compute)
    prepare_backend("ort-cuda's bindings on the CPU", monkeypatch, tmp_path / "cache")
    return driver


RTX = "tensorrt_rtx_runs"


@pytest.mark.usefixtures("nano_in_fp32")
@pytest.mark.parametrize("name", [name for name in gpu_first.CHECKS if name != RTX])
def test_each_check_holds_on_the_fake_gpu(driver: FakeDriver, name: str) -> None:
    said = gpu_first.line(name)
    assert said["result"] == "ok", said
    assert said["stage"] == gpu_first.CHECKS[name].stage
    json.dumps(said)
    assert driver.left()["faults"] == 0
    assert driver.left()["memory"] == 0


@pytest.mark.parametrize(
    ("name", "broken", "words"),
    [
        ("memory_holds_what_is_copied", "cuMemcpyDtoHAsync", "not what was sent"),
        ("a_graph_is_replayed", "cuGraphLaunch", "another value"),
        ("events_in_a_graph", "cuEventRecordWithFlags", "CUDA answered"),
        ("session_over_torch", "cuGraphLaunch", "is not what the engine computes"),
    ],
)
def test_a_driver_that_does_not_do_its_work_fails(
    driver: FakeDriver, monkeypatch: pytest.MonkeyPatch, name: str, broken: str, words: str
) -> None:
    """Which answers "success" and does nothing."""
    monkeypatch.setattr(driver, broken, lambda *arguments: (CUresult.CUDA_SUCCESS,))
    said = gpu_first.line(name)
    assert said["result"] == "failed"
    assert words in said["why"]


def test_without_gpu_and_pyav_each_check_is_a_line(tmp_path: Path) -> None:
    """A process a check; none imports PyAV, and what is missing is said."""
    (tmp_path / "av.py").write_text("raise SystemExit('PyAV was imported')\n")
    done = subprocess.run(
        [sys.executable, SCRIPT, "--stage", "1", "--limit", "20"],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin", "CUDA_VISIBLE_DEVICES": ""},
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["check"] for each in lines] == [
        name for name, each in gpu_first.CHECKS.items() if each.stage == 1
    ]
    assert "PyAV" not in done.stderr
    assert all(each["result"] in ("failed", "left out", "ok") for each in lines)
    assert done.returncode in (0, 1)
