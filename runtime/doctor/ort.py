"""ONNX Runtime: which build is installed, and which of its providers really compute.

`get_available_providers()` lists what a build was compiled with. A provider counts here when it ran
a one-convolution graph and the numbers were right: a missing cuDNN, a GPU without kernels in the
build, or a silent move to the CPU all show at that point and no earlier.
"""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import struct
from collections.abc import Mapping
from pathlib import Path

from ...host.machine import Host
from .children import Outcome
from .findings import Finding
from .fixes import NUMPY_1, install_onnxruntime, install_onnxruntime_gpu, reinstall_one_onnxruntime
from .gpu import Emit

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"

LIBRARY_OF_PROVIDER = {
    CUDA: "onnxruntime_providers_cuda",
    "TensorrtExecutionProvider": "onnxruntime_providers_tensorrt",
    "NvTensorRTRTXExecutionProvider": "onnxruntime_providers_nv_tensorrt_rtx",
}
"""Providers that live in a library of their own beside onnxruntime, tried each in its own child."""

DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino")
"""Packages that all install the same files; only one may be there."""

SIZE = 4
"""Side of the test picture."""


def tiny_model() -> bytes:
    """An ONNX model y = Conv(x, w), x (1, 1, 4, 4) float32, w = [[2]]; made without onnx."""
    weight = _field(1, 1) * 4 + _field(2, 1) + _field(8, b"w") + _field(9, struct.pack("<f", 2.0))
    node = _field(1, b"x") + _field(1, b"w") + _field(2, b"y") + _field(4, b"Conv")
    graph = (
        _field(1, node)
        + _field(2, b"doctor")
        + _field(5, weight)
        + _field(11, _value(b"x"))
        + _field(12, _value(b"y"))
    )
    return _field(1, 8) + _field(7, graph) + _field(8, _field(2, 13))  # IR 8, opset 13


def _value(name: bytes) -> bytes:
    """A ValueInfoProto: float32 of shape (1, 1, SIZE, SIZE)."""
    shape = b"".join(_field(1, _field(1, size)) for size in (1, 1, SIZE, SIZE))
    return _field(1, name) + _field(2, _field(1, _field(1, 1) + _field(2, shape)))


def _field(number: int, value: int | bytes) -> bytes:
    """One protobuf field below number 16: a varint below 128, or bytes shorter than 16384."""
    if isinstance(value, int):
        return bytes([number << 3, value])
    size = len(value)
    length = bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])
    return bytes([number << 3 | 2]) + length + value


def probe_onnxruntime(emit: Emit) -> None:
    """Print version and providers, and run the CPU provider; runs as a child."""
    import onnxruntime as ort

    emit(version=ort.__version__, file=ort.__file__)
    emit(available=ort.get_available_providers())
    probe_provider(emit, CPU)


def probe_provider(emit: Emit, provider: str) -> None:
    """Run the tiny model with one provider and check its numbers; runs as a child."""
    import numpy as np
    import onnxruntime as ort

    if provider == CUDA and hasattr(ort, "preload_dlls"):
        ort.preload_dlls()  # CUDA and cuDNN installed by pip are found no other way
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if provider != CPU:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    session = ort.InferenceSession(tiny_model(), options, providers=[provider])
    used = session.get_providers()
    if provider not in used:
        emit(provider=provider, runs=False, reason=f"the session took {used[0]} instead")
        return
    picture = np.arange(SIZE * SIZE, dtype=np.float32).reshape(1, 1, SIZE, SIZE)
    right = bool(np.array_equal(session.run(None, {"x": picture})[0], 2 * picture))
    emit(provider=provider, runs=right, reason="" if right else "it computed wrong numbers")


def providers_to_try() -> list[str]:
    """Providers with a library beside the installed onnxruntime; looks at files only."""
    folder = package_folder("onnxruntime")
    if folder is None:
        return []
    names = [path.name for path in (folder / "capi").glob("*onnxruntime_providers_*")]
    return [p for p, library in LIBRARY_OF_PROVIDER.items() if any(library in n for n in names)]


def package_folder(name: str) -> Path | None:
    """Folder of an installed package, without importing it."""
    spec = importlib.machinery.PathFinder.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def installed_version(distribution: str) -> str | None:
    """Version of an installed distribution, or None."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def ort_findings(host: Host, outcomes: Mapping[str, Outcome], has_gpu: bool) -> list[Finding]:
    """Lines about ONNX Runtime and each provider."""
    builds = {name: v for name in DISTRIBUTIONS if (v := installed_version(name)) is not None}
    found = [_conflict(host, builds)] if len(builds) > 1 else []
    base = outcomes.get("onnxruntime")
    if base is None:
        return [*found, _absent(host, builds)]
    if (version := base.get("version")) is None:
        return [*found, _broken(base, builds)]
    text = f"{version} ({', '.join(builds) or 'not from pip'})"
    found.append(Finding("inference", "ONNX Runtime", "ok", text, data={"version": version}))
    found.append(_provider(host, CPU, base, has_gpu))
    tried = {key.partition(":")[2]: o for key, o in outcomes.items() if key.startswith("provider:")}
    found += [_provider(host, provider, outcome, has_gpu) for provider, outcome in tried.items()]
    others = sorted(set(base.get("available") or ()) - {CPU, *tried})
    if others:
        value = f"{', '.join(others)}: not used by adcvsr, not tried"
        found.append(Finding("inference", "other providers", "info", value))
    return found


def _conflict(host: Host, builds: Mapping[str, str]) -> Finding:
    both = " and ".join(f"{name} {version}" for name, version in builds.items())
    return Finding(
        "inference",
        "ONNX Runtime",
        "warning",
        f"{both} are installed at once; they overwrite each other's files",
        reinstall_one_onnxruntime(host),
        {"installed": dict(builds)},
    )


def _absent(host: Host, builds: Mapping[str, str]) -> Finding:
    if builds:
        value = f"{', '.join(builds)} is listed as installed, its files are gone"
        return Finding(
            "inference", "ONNX Runtime", "missing", value, reinstall_one_onnxruntime(host)
        )
    return Finding("inference", "ONNX Runtime", "missing", "not installed", install_onnxruntime())


def _broken(base: Outcome, builds: Mapping[str, str]) -> Finding:
    names = ", ".join(f"{name} {version}" for name, version in builds.items()) or "not from pip"
    if base.late:
        value = f"{names}; was still loading when the time was over"
        return Finding("inference", "ONNX Runtime", "unknown", value, data={"installed": names})
    if base.wants_numpy_1:
        value = f"{names} was built for numpy 1 and cannot be used with numpy 2"
        return Finding("inference", "ONNX Runtime", "missing", value, NUMPY_1)
    fix = f"pip install --force-reinstall {next(iter(builds), 'onnxruntime')}"
    return Finding("inference", "ONNX Runtime", "missing", f"does not load: {base.reason}", fix)


def _provider(host: Host, provider: str, outcome: Outcome, has_gpu: bool) -> Finding:
    name = provider.removesuffix("ExecutionProvider") + " provider"
    line = next((each for each in outcome.lines if each.get("provider") == provider), {})
    data = {"provider": provider, "runs": line.get("runs")}
    if line.get("runs"):
        return Finding("inference", name, "ok", "ran a convolution", data=data)
    if outcome.late:
        value = "was still loading when the time was over"
        return Finding("inference", name, "unknown", value, data=data)
    if provider != CPU and not has_gpu:
        return Finding("inference", name, "info", "in this build; no GPU to run on", data=data)
    reason = str(line.get("reason") or outcome.reason)
    if "fallback to CPU EP has been explicitly disabled" in reason:
        reason = "the session would have run on the CPU"
    detail = _library_error(outcome.stderr)
    value = f"listed, but does not run: {reason}" + (f" ({detail})" if detail else "")
    if provider not in {CPU, CUDA}:
        value += "; adcvsr does not use it"
        return Finding("inference", name, "info", value, data=data)
    return Finding("inference", name, "missing", value, _provider_fix(host, provider, detail), data)


def _library_error(stderr: str) -> str:
    """The part of ONNX Runtime's message that names what is missing."""
    for line in stderr.splitlines():
        for sign in ("cannot open shared object file", "no kernel image", "CUDA failure", "cudnn"):
            if sign in line:
                start = max(0, line.find("error:"), line.find("with error:"))
                return line[start:].strip()[:200]
    return ""


def _provider_fix(host: Host, provider: str, detail: str) -> str:
    if provider == CPU:
        return "pip install --force-reinstall onnxruntime"
    if "no kernel image" in detail and host.is_jetson:
        return f"this build has no code for the board's GPU; {install_onnxruntime_gpu(host)}"
    if "cannot open shared object file" in detail and not host.is_jetson:
        return "pip install 'onnxruntime-gpu[cuda,cudnn]'"
    return install_onnxruntime_gpu(host)
