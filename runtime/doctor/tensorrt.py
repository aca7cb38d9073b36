"""TensorRT and TensorRT-RTX: importable, which version, whether they run on this GPU, and DLA.

TensorRT's runtime and builder fail at once where library, driver and GPU do not fit. TensorRT-RTX
is made to build without a GPU, so a network of one layer is built and loaded, which takes 0.1 s.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from typing import Any

from ...host.machine import Host
from ...targets import TARGETS
from ..nvidia import modules as trt_modules
from .children import Outcome
from .findings import Finding
from .fixes import (
    DLA_COMPILER,
    JETSON_DOCS,
    NUMPY_1,
    bring_dla_compiler,
    install_bindings,
    install_tensorrt,
    install_tensorrt_rtx,
)
from .gpu import Emit
from .ort import package_folder

MODULES = {module: backend for backend, module in trt_modules.MODULES.items()}
"""Module and the backend it serves."""

NAMES = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT-RTX"}

DRIVER_FIX = "update NVIDIA's driver to one that serves the CUDA this TensorRT was built for"


def probe_tensorrt(emit: Emit, module: str) -> None:
    """Import one flavour, ask its version, let it find the GPU; runs as a child."""
    trt = importlib.import_module(module)
    emit(version=trt.__version__, bindings=_has_bindings())
    logger = trt.Logger(trt.Logger.ERROR)
    if module == "tensorrt_rtx":
        emit(sees_gpu=_loads_a_plan(trt, logger))
        return
    emit(sees_gpu=trt.Runtime(logger) is not None)
    emit(dla_cores=getattr(trt.Builder(logger), "num_DLA_cores", 0))


def _has_bindings() -> bool:
    """Whether cuda-python's bindings are there, through which sessions reach the GPU."""
    try:
        return importlib.util.find_spec("cuda.bindings") is not None
    except ModuleNotFoundError:  # not even its parent
        return False


def _loads_a_plan(trt: Any, logger: Any) -> bool:
    """Build y = -x and load it onto the GPU."""
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    source = network.add_input("x", trt.float32, (1, 4))
    network.mark_output(network.add_unary(source, trt.UnaryOperation.NEG).get_output(0))
    plan = builder.build_serialized_network(network, builder.create_builder_config())
    return plan is not None and trt.Runtime(logger).deserialize_cuda_engine(plan) is not None


def modules_to_try() -> list[str]:
    """Flavours whose package is there; looks at files only."""
    return [module for module in MODULES if package_folder(module) is not None]


def tensorrt_findings(
    host: Host, outcomes: Mapping[str, Outcome], has_gpu: bool, target: str | None
) -> list[Finding]:
    """Lines about both flavours and the accelerators beside the GPU."""
    found = [_system_library(host)] if host.is_jetson else []
    for module in MODULES:
        outcome = outcomes.get(f"tensorrt:{module}")
        found.append(
            _absent(host, module, has_gpu)
            if outcome is None
            else _present(host, module, outcome, has_gpu)
        )
    return [*found, *_dla(host, outcomes.get("tensorrt:tensorrt"), target)]


def _system_library(host: Host) -> Finding:
    """The TensorRT JetPack installed, which Python may or may not see."""
    version = next((v for name, v in host.packages.items() if name.startswith("libnvinfer1")), None)
    if version is None:
        value = "no libnvinfer package"
        fix = "" if host.container else "sudo apt-get install nvidia-tensorrt"
        return Finding("inference", "JetPack's TensorRT", "missing", value, fix)
    value = version.split("-")[0]
    return Finding("inference", "JetPack's TensorRT", "ok", value, data={"version": value})


def _absent(host: Host, module: str, has_gpu: bool) -> Finding:
    name, data = NAMES[module], {"module": module}
    rtx = module == "tensorrt_rtx"
    fix = install_tensorrt_rtx(host) if rtx else install_tensorrt(host)
    if rtx and not fix:
        value = f"does not exist for {'Jetson' if host.is_jetson else host.machine}"
        return Finding("inference", name, "info", value, data=data)
    if not (has_gpu or host.is_jetson):
        value = "not installed; it needs an NVIDIA GPU to run"
        if rtx:
            value += f" (but builds engines without: {fix})"
        return Finding("inference", name, "info", value, data=data)
    value = "not installed"
    if host.is_jetson:
        value = "Python {}.{} does not see it".format(*host.python)
    return Finding("inference", name, "missing", value, fix, data)


def _present(host: Host, module: str, outcome: Outcome, has_gpu: bool) -> Finding:
    name, version = NAMES[module], outcome.get("version")
    data = {"module": module, "version": version, "sees_gpu": outcome.get("sees_gpu")}
    data["bindings"] = outcome.get("bindings")
    if outcome.get("sees_gpu") and data["bindings"] is False:
        value = f"{version} sees the GPU; adcvsr reaches it through 'cuda-bindings', not installed"
        return Finding("inference", name, "missing", value, install_bindings(module), data)
    if outcome.get("sees_gpu"):
        return Finding("inference", name, "ok", f"{version}, loads and sees the GPU", data=data)
    if outcome.late:
        value = f"{version or 'the library'} was still loading when the time was over"
        return Finding("inference", name, "unknown", value, data=data)
    reason = _logged(outcome.stderr) or outcome.reason
    if version is None:
        fix = NUMPY_1 if outcome.wants_numpy_1 else install_tensorrt(host)
        if host.is_jetson and DLA_COMPILER in reason:
            fix = bring_dla_compiler(host)
        return Finding("inference", name, "missing", f"does not load: {reason}", fix, data)
    if not has_gpu:
        return Finding("inference", name, "info", f"{version}; no GPU to run on", data=data)
    fix = f"driver and TensorRT do not fit: {JETSON_DOCS}" if host.is_jetson else DRIVER_FIX
    return Finding("inference", name, "missing", f"{version}, does not start: {reason}", fix, data)


def _logged(stderr: str) -> str:
    """TensorRT logs why, then raises 'factory function returned nullptr'."""
    lines = [line.strip() for line in stderr.splitlines() if "[E]" in line]
    return lines[0].partition("[E]")[2].strip()[:200] if lines else ""


def _dla(host: Host, outcome: Outcome | None, target: str | None) -> list[Finding]:
    """Whether the board has DLA engines, and whether this TensorRT can use them."""
    if not host.is_jetson or target is None:
        return []
    dla = TARGETS[target].dla
    if dla is None:
        return [Finding("inference", "DLA", "info", "this board has none", data={"engines": 0})]
    data = {"engines": dla.engines, "usable": outcome.get("dla_cores") if outcome else None}
    if data["usable"]:
        value = f"{data['usable']} engines, for static 2D convolutions in INT8 or FP16"
        return [Finding("inference", "DLA", "ok", value, data=data)]
    value = f"the board has {dla.engines}, this TensorRT does not use them"
    if data["usable"] is None:
        value = f"the board has {dla.engines}; whether TensorRT uses them is not known"
    value += " (10.3 to 10.7 do; 11.4 on AGX Orin with JetPack 7.2.2)"
    return [Finding("inference", "DLA", "info", value, data=data)]
