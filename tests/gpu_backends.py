"""Backends for contract tests: the CPU always, GPU ones on a fake device, or really with -m gpu."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import pytest

from adcvsr.bundle import open_bundle
from adcvsr.bundle.graph_trial import FOLDER as TRIED
from adcvsr.errors import BackendUnavailableError, MissingPackageError
from adcvsr.runtime.nvidia import gpu
from adcvsr.runtime.processing.backends import choose_backend
from adcvsr.runtime.sessions.ort_cuda import CPU, CudaGraphs
from fake_cuda import FakeDriver
from fake_trt import make_module

CONTRACT = (
    "ort-cpu",
    "tensorrt on a fake GPU",
    "tensorrt on a fake Jetson",
    "ort-cuda's bindings on the CPU",
    *(
        pytest.param(name, marks=pytest.mark.gpu)
        for name in ("tensorrt", "tensorrt-rtx", "ort-cuda")
    ),
)
"""Parameters of the contract tests."""


class CpuGraphs(CudaGraphs):
    """The CUDA session's bindings and buffers, on the CPU."""

    provider, device = CPU, "cpu"


def fake_gpu(
    monkeypatch: pytest.MonkeyPatch,
    cache: Path,
    *,
    integrated: bool = False,
    version: str = "10.3.0",
) -> FakeDriver:
    """Put a fake GPU and TensorRT in place, with an engine cache of their own."""
    driver = FakeDriver(
        name="Orin" if integrated else "NVIDIA GeForce RTX 4060",
        sm=87 if integrated else 89,
        integrated=integrated,
    )
    monkeypatch.setitem(sys.modules, "tensorrt", make_module(driver, version))
    monkeypatch.setattr(gpu, "load_driver", lambda: driver)
    tried, own = Path(os.environ.get("ADCVSR_CACHE", ""), TRIED), cache / TRIED
    if tried.is_dir() and not own.exists():  # a graph is tried in one test, not in each
        cache.mkdir(parents=True, exist_ok=True)
        own.symlink_to(tried.resolve(), target_is_directory=True)
    monkeypatch.setenv("ADCVSR_CACHE", str(cache))
    return driver


def prepare_backend(name: str, monkeypatch: pytest.MonkeyPatch, cache: Path) -> str:
    """Make a parameter of `CONTRACT` runnable; returns the backend's name."""
    if name.startswith("tensorrt on"):
        fake_gpu(monkeypatch, cache, integrated="Jetson" in name)
        return "tensorrt"
    if name.startswith("ort-cuda's"):
        from adcvsr.runtime.sessions import ort_cpu as ort_session
        from adcvsr.runtime.sessions import ort_cuda as ort_cuda_session

        monkeypatch.setattr(gpu, "looks_like_gpu", lambda: True)

        monkeypatch.setattr(
            ort_cuda_session, "import_onnxruntime_gpu", ort_session.import_onnxruntime
        )
        monkeypatch.setattr(ort_cuda_session.OrtCudaSession, "graphs", CpuGraphs)
        monkeypatch.setattr(ort_cuda_session.OrtCudaClipSession, "graphs", CpuGraphs)
        return "ort-cuda"
    if name != "ort-cpu":
        try:
            choose_backend(open_bundle("nano"), backend=name)
        except (BackendUnavailableError, MissingPackageError) as error:
            pytest.skip(f"{name} does not run here: {error}")
        # One for all tests: on a board a build takes minutes.
        monkeypatch.setenv("ADCVSR_CACHE", str(Path(tempfile.gettempdir()) / "adcvsr-gpu-tests"))
    return name
