"""The doctor: what this machine is, what runs on it, what to do about what does not.

Every probe is on its own: one that fails, hangs or crashes becomes a line of the report. Whatever
loads a foreign library runs in a child process, all of them at once (`children`).

    report = examine()
    report.verdict.target  # "orin-nano"
"""

from __future__ import annotations

import importlib.machinery
import time
from collections.abc import Callable
from typing import Any

from ...host.machine import Host
from ...targets import recognise
from ...version import __version__
from .backend_verdict import give_verdict
from .children import Children, Outcome
from .findings import GROUPS, Finding, Report, Verdict
from .gpu import driver_failure, gpu_findings, merge_gpus
from .ort import ort_findings, package_folder, providers_to_try
from .packages import package_findings
from .platform import platform_findings, python_findings
from .power import power_findings
from .tensorrt import modules_to_try, tensorrt_findings
from .video import video_findings

WAIT_S = 1.2
"""How long children may take by default; the command stays under two seconds with it."""


def examine(host: Host | None = None, *, wait_s: float = WAIT_S) -> Report:
    """Look at a machine. Never raises; takes little more than `wait_s`.

    Args:
        host: The machine; None for this one.
        wait_s: Seconds the probes that load libraries may take. A board that loads CUDA from an SD
            card may need 30; a probe that is cut short is reported as unknown.
    """
    began = time.monotonic()
    host = host or Host()
    findings: list[Finding] = []

    def look(group: str, name: str, probe: Callable[[], list[Finding]]) -> None:
        try:
            findings.extend(probe())
        except Exception as error:  # one broken probe must not cost the others
            value = f"this probe failed: {type(error).__name__}: {' '.join(str(error).split())}"
            findings.append(Finding(group, name, "unknown", value))

    with Children() as children:
        look("platform", "probes", lambda: _start(children))
        look("platform", "system", lambda: platform_findings(host))
        look("python", "Python", lambda: python_findings(host))
        outcomes = children.collect(began + wait_s)
    verdict = Verdict(None, "the verdict failed, its line says how", ())

    def judge() -> list[Finding]:
        nonlocal verdict
        gpus = merge_gpus(outcomes.get("cuda"), outcomes.get("nvml"))
        recognised = recognise(host, gpus, driver_failure(outcomes.get("cuda")))
        _interpret(host, outcomes, gpus, recognised[0], look)
        verdict = give_verdict(host, gpus, findings, recognised)
        return []

    look("platform", "verdict", judge)
    ordered = sorted(findings, key=lambda each: GROUPS.index(each.group))
    return Report(__version__, round(time.monotonic() - began, 3), verdict, tuple(ordered))


def _start(children: Children) -> list[Finding]:
    """Start every child whose package is there: the driver decides most, the rest by slowness."""
    children.start("cuda")
    if package_folder("onnxruntime") is not None:
        children.start("onnxruntime")
        for provider in providers_to_try():
            children.start("provider", provider)
    for module in modules_to_try():
        children.start("tensorrt", module)
    if package_folder("av") is not None:
        children.start("video")
    if importlib.machinery.PathFinder.find_spec("pynvml") is not None:
        children.start("nvml")
    children.start("adcvsr")
    return []


def _interpret(
    host: Host,
    outcomes: dict[str, Outcome],
    gpus: list[dict[str, Any]],
    target: str | None,
    look: Callable[[str, str, Callable[[], list[Finding]]], None],
) -> None:
    """Turn what the children left behind into findings."""
    cuda, nvml = outcomes.get("cuda"), outcomes.get("nvml")
    has_gpu = bool(gpus)
    look("gpu", "GPU", lambda: gpu_findings(host, gpus, cuda, nvml))
    look("inference", "TensorRT", lambda: tensorrt_findings(host, outcomes, has_gpu, target))
    look("inference", "ONNX Runtime", lambda: ort_findings(host, outcomes, has_gpu))
    look("video", "codecs", lambda: video_findings(host, outcomes.get("video"), target, has_gpu))
    look("power", "power", lambda: power_findings(host, gpus))
    look("packages", "adcvsr", lambda: package_findings(host, outcomes.get("adcvsr")))
