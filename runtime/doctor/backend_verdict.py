"""The answer on top of the report: which target this is, which backends run in what precision."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

from ...host.machine import Host
from ...targets import TARGETS
from ...variants import BACKENDS, PRECISIONS, sm_text, why_not
from .children import Outcome
from .findings import BackendVerdict, Finding, Verdict
from .fixes import install_onnxruntime, install_onnxruntime_gpu
from .gpu import driver_failure
from .ort import CPU, CUDA
from .tensorrt import MODULES

CLASS_OF_SM = {75: "rtx-20", 86: "rtx-30", 89: "rtx-40", 120: "rtx-50", 90: "h100", 110: "thor"}
"""Target whose limits hold for a GPU the table has no board for."""


def recognise(
    host: Host, gpus: Sequence[dict[str, Any]], cuda: Outcome | None = None
) -> tuple[str | None, str]:
    """Name the target this machine is, and say how that is known.

    A Jetson is known by its module's part number, a card by its name, any other GPU by its compute
    capability alone; the backends run on the first GPU, so that one decides.
    """
    if host.module:
        for target in TARGETS.values():
            if host.module in target.modules:
                return target.name, f"module {host.module}"
    if not gpus and host.is_jetson:
        return None, "a Jetson this table does not know"
    if not gpus:
        failure = driver_failure(cuda)
        return (None, failure) if failure else ("cpu", "no GPU")
    name, sm = str(gpus[0].get("name", "")), gpus[0].get("sm")
    board = re.sub(r"^(NVIDIA|GeForce|Tesla|\s)+", "", name)
    for target in TARGETS.values():
        if board in target.reports_as and target.sm == sm:
            return target.name, f"'{name}'"
    close = CLASS_OF_SM.get(sm) if sm is not None and not gpus[0].get("integrated") else None
    if close:
        return close, f"'{name}' is not in the table; taken by its SM {sm_text(sm or 0)}"
    return None, f"'{name}' is not in the table"


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
