"""adcvsr itself: does its runtime load, and which packages of which extra are missing."""

from __future__ import annotations

import importlib.metadata
import re
from dataclasses import dataclass

from ...host.machine import Host
from .children import Outcome
from .findings import Finding
from .gpu import Emit
from .ort import installed_version

EXTRAS = ("cpu", "cuda", "rtx", "tensorrt", "export", "train")
"""Extras users choose between; the rest is for development."""


@dataclass(frozen=True)
class Requirement:
    """One line of the distribution's requirements."""

    package: str
    """Name on the package index."""

    least: tuple[int, ...]
    """Oldest version that will do; empty for any."""

    extra: str
    """Extra that brings it; empty for the base install."""


def probe_adcvsr(emit: Emit) -> None:
    """Load what upscaling needs and name the backends of this version; runs as a child."""
    import numpy as np

    emit(numpy=np.__version__)
    from ...variants import BACKENDS

    emit(backends=list(BACKENDS))


def package_findings(host: Host, outcome: Outcome | None) -> list[Finding]:
    """Lines about adcvsr's runtime and its extras."""
    found = [_runtime(outcome)]
    requirements = read_requirements(host)
    if not requirements:
        value = "adcvsr is not installed as a distribution; its requirements are not known"
        return [*found, Finding("packages", "extras", "unknown", value)]
    found += _base(requirements)
    return [*found, _extras(requirements)]


def _runtime(outcome: Outcome | None) -> Finding:
    fix = "pip install --force-reinstall 'numpy>=1.26' 'av>=17'"
    if outcome is None or outcome.late:
        return Finding("packages", "adcvsr", "unknown", "was still loading when the time was over")
    if backends := outcome.get("backends"):
        value = f"loads; this version's backends: {', '.join(backends)}"
        return Finding("packages", "adcvsr", "ok", value, data={"backends": backends})
    value = f"its runtime does not load: {outcome.reason}"
    return Finding("packages", "adcvsr", "missing", value, fix)


def read_requirements(host: Host) -> list[Requirement]:
    """What adcvsr asks for on this machine and Python, from its own metadata."""
    try:
        lines = importlib.metadata.requires("adcvsr") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    found = []
    for line in lines:
        text, _, marker = line.partition(";")
        name = re.match(r"\s*([A-Za-z0-9._-]+)", text)
        if name is None or name[1] == "adcvsr" or not _applies(marker, host):
            continue
        least = re.search(r">=\s*([\d.]+)", text)
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)", marker)
        version = _numbers(least[1]) if least else ()
        found.append(Requirement(name[1], version, extra[1] if extra else ""))
    return found


def _applies(marker: str, host: Host) -> bool:
    """Evaluate the two markers pyproject.toml uses; `packaging` is not always there to ask."""
    machine = re.search(r"platform_machine\s*==\s*['\"]([^'\"]+)", marker)
    python = re.search(r"python_version\s*<\s*['\"]([\d.]+)", marker)
    if machine and machine[1] != host.machine:
        return False
    return not (python and host.python >= _numbers(python[1])[:2])


def _numbers(version: str) -> tuple[int, ...]:
    """Leading numbers of a version: `1.31.0rc1` as (1, 31, 0)."""
    return tuple(int(part) for part in re.findall(r"\d+", re.split(r"[^\d.]", version)[0]))


def _state(requirement: Requirement) -> str:
    """Empty when met, else what is wrong."""
    version = installed_version(requirement.package)
    if version is None:
        return f"{requirement.package} missing"
    if _numbers(version) < requirement.least:
        wanted = ".".join(map(str, requirement.least))
        return f"{requirement.package} {version} older than {wanted}"
    return ""


def _base(requirements: list[Requirement]) -> list[Finding]:
    wrong = [state for each in requirements if not each.extra and (state := _state(each))]
    if not wrong:
        return []
    fix = "pip install adcvsr"
    return [Finding("packages", "requirements", "missing", ", ".join(wrong), fix)]


def _extras(requirements: list[Requirement]) -> Finding:
    """One line: complete extras, what those begun lack, and the rest."""
    complete, begun, absent = [], [], []
    for extra in EXTRAS:
        wanted = [each for each in requirements if each.extra == extra]
        wrong = [state for each in wanted if (state := _state(each))]
        if wanted and not wrong:
            complete.append(extra)
        elif len(wrong) < len(wanted):
            begun.append(f"{extra} ({', '.join(wrong)})")
        elif wanted:
            absent.append(extra)
    parts = {"complete": complete, "in part": begun, "not installed": absent}
    text = "; ".join(f"{key}: {', '.join(names)}" for key, names in parts.items() if names)
    return Finding("packages", "extras", "info", text, data=parts)
