"""What the doctor writes down: findings, the verdict over them, the report of both.

Used by every other doctor module; nothing here looks at the machine.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

SCHEMA = 1
"""Version of the report's JSON, docs/doctor.md."""

Mark = Literal["ok", "info", "warning", "missing", "unknown"]
"""Good; a plain fact; works but costs or will bite; not there; could not be found out."""

GROUPS = ("platform", "python", "gpu", "inference", "video", "power", "packages")
"""Headings of the report, in its order."""


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    group: str
    """One of `GROUPS`."""

    name: str
    """What was looked at, a few words."""

    mark: Mark
    """How it stands."""

    value: str
    """What was found, one line."""

    fix: str = ""
    """Command or step that mends it on this platform; empty where nothing is to be done."""

    data: dict[str, Any] = field(default_factory=dict)
    """The same for programs, JSON types only."""


@dataclass(frozen=True)
class BackendVerdict:
    """Whether one backend runs on this machine."""

    name: str
    """One of `adcvsr.variants.BACKENDS`."""

    runs: Literal["yes", "no", "unknown"]
    """`yes` was proven by running it or loading it with the GPU; `unknown` was not finished."""

    precisions: tuple[str, ...]
    """What this GPU runs with it, proven or not."""

    in_this_version: bool | None
    """Whether this version of adcvsr has the backend; None where that could not be asked."""

    why: str = ""
    """Why not, or what is not known."""

    fix: str = ""
    """What makes it run here."""


@dataclass(frozen=True)
class Verdict:
    """The answer on top: which target this is, and what runs."""

    target: str | None
    """Name in `adcvsr.targets.TARGETS`; None for a GPU the table does not know."""

    target_note: str
    """How it was recognised, or what it was taken for."""

    backends: tuple[BackendVerdict, ...]
    """In the order of `adcvsr.variants.BACKENDS`."""


@dataclass(frozen=True)
class Report:
    """Everything the doctor found."""

    version: str
    """Version of adcvsr."""

    seconds: float
    """How long it took."""

    verdict: Verdict
    """The answer."""

    findings: tuple[Finding, ...]
    """What it rests on, by group."""

    def to_dict(self) -> dict[str, Any]:
        """Return the report for JSON."""
        return {"schema": SCHEMA, **dataclasses.asdict(self)}
