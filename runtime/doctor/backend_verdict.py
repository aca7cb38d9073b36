"""The answer on top of the report: which target this is, which backends run in what precision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from ...host.machine import Host
from ...targets import TARGETS
from ...variants import BACKENDS, PRECISIONS, why_not
from .findings import BackendVerdict, Finding, Verdict
from .fixes import install_onnxruntime, install_onnxruntime_gpu
from .ort import CPU, CUDA
from .tensorrt import MODULES


def give_verdict(
    host: Host,
    gpus: Sequence[dict[str, Any]],
    findings: list[Finding],
    target: tuple[str | None, str],
) -> Verdict:
    """Judge every backend from what was found."""
    sm = gpus[0].get("sm") if gpus else None
    if sm is None and host.is_jetson and target[0]:  # the driver did not answer; the board did
        sm = TARGETS[target[0]].sm
    here = next((f.data.get("backends") for f in findings if f.name == "adcvsr"), None)
    no_gpu = None if gpus else next((f for f in findings if f.name == "GPU"), None)

    def judge(name: str) -> BackendVerdict:
        available = None if here is None else name in here
        refused = why_not(sm, name, "fp32")
        if refused and (sm is not None or target[0] is not None):
            return BackendVerdict(name, "no", (), available, refused)
        precisions = tuple(p for p in PRECISIONS if why_not(sm, name, p) is None)
        # Where no GPU answers, the reason for that decides about the backends that want one.
        finding = (no_gpu if name != "ort-cpu" else None) or _evidence(name, findings)
        runs, why = _proof(name, finding)
        fix = "" if runs != "no" else (finding.fix if finding else "") or _fix(host, name)
        return BackendVerdict(name, runs, precisions, available, why, fix)

    return Verdict(*target, tuple(judge(name) for name in BACKENDS))


def _evidence(name: str, findings: list[Finding]) -> Finding | None:
    """The finding that decides about a backend."""
    if name in {"ort-cpu", "ort-cuda"}:
        wanted = CPU if name == "ort-cpu" else CUDA
        tried = next((f for f in findings if f.data.get("provider") == wanted), None)
        return tried or next((f for f in findings if f.name == "ONNX Runtime"), None)
    module = next(module for module, backend in MODULES.items() if backend == name)
    return next((f for f in findings if f.data.get("module") == module), None)


def _proof(name: str, finding: Finding | None) -> tuple[Literal["yes", "no", "unknown"], str]:
    if finding is None:
        return "no", f"nothing was found to run {name}"
    if finding.mark == "unknown":
        return "unknown", finding.value
    proven = finding.data.get("runs") or finding.data.get("sees_gpu")
    proven = proven and finding.data.get("bindings") is not False
    return ("yes", "") if proven else ("no", finding.value)


def _fix(host: Host, name: str) -> str:
    if name == "ort-cuda":
        return install_onnxruntime_gpu(host)
    return install_onnxruntime() if name == "ort-cpu" else ""
