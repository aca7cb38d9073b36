"""What an owner of a board sends in one file: our own commands, run one after the other.

Each step is a process of its own, so that one that crashes or hangs costs its own figures alone.
They share a cache of engines that is thrown away: what is current on the machine stays so, and
every build is timed from the beginning.

    steps = plan_report(ReportOptions())
    write_report(Path("report.zip"), steps)
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...bundle import open_bundle
from ...errors import AdcVsrError
from ...files import CACHE_VARIABLE, replace_file
from ...leftovers import part_folder
from ...variants import ENGINE_BACKENDS, VariantName
from ...version import __version__
from ..processing.variant_pick import pick_variants
from .anonymous import Anonymous

SCHEMA = 1
"""Of `steps.json` in the archive."""

BUNDLES = ("nano", "nano-camera", "small")
"""What is measured: the shipped ones that run live."""

SIZES = ((320, 180), (640, 360))
"""Width and height measured at unless others are named."""

DOCTOR_WAIT_S = 30
DOCTOR_LIMIT_S, BENCH_LIMIT_S, DEPLOY_LIMIT_S = 120.0, 900.0, 1800.0
"""How long a step may take before it is ended; what it said until then is kept."""

_LOG_BYTES = 200_000
_END_S = 5.0


@dataclass(frozen=True)
class Step:
    """One command."""

    name: str
    """Of its files in the archive."""

    arguments: tuple[str, ...]
    """Of `adcvsr`."""

    limit_s: float
    files: tuple[str, ...] = ()
    """Further files it writes, which are arguments, too."""

    @property
    def command(self) -> str:
        """As a person would type it."""
        return " ".join(("adcvsr", *self.arguments))


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """What is measured."""

    bundles: Sequence[str] = BUNDLES
    sizes: Sequence[tuple[int, int]] = SIZES
    """Width and height."""

    seconds: float = 10.0
    """Of measuring, for each bundle, size and backend."""

    frames: int = 300
    """Timed by `deploy`."""

    backends: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """That run here, each with the precisions it computes in; see `backends_here`."""


def plan_report(options: ReportOptions) -> list[Step]:
    """List what is run on this machine.

    Args:
        options: What is measured.

    Raises:
        BundleError: No such bundle.
    """
    doctor = ("doctor", "--wait", str(DOCTOR_WAIT_S), "--json")
    steps = [Step("doctor", doctor, DOCTOR_LIMIT_S)]
    frames, seconds = ("--frames", str(options.frames)), ("--duration", f"{options.seconds:g}")
    for name in options.bundles:
        bundle = open_bundle(name)
        where = str(Path(name).resolve()) if Path(name).exists() else name
        for width, height in options.sizes:
            size = f"{width}x{height}"
            for backend, precisions in options.backends.items():
                try:
                    variants = pick_variants(bundle, backend)
                except AdcVsrError:  # none of its variants is for this backend
                    continue
                label = f"{bundle.name}-{size}-{backend}"
                common = (where, "--backend", backend, "--size", size)
                if backend in ENGINE_BACKENDS:
                    steps += [
                        Step(
                            f"deploy-{label}-{precision}",
                            ("deploy", *common, "--precision", precision, *frames, "--json"),
                            DEPLOY_LIMIT_S,
                        )
                        for precision in _precisions(variants)
                        if precision in precisions
                    ]
                trace = f"layers-{label}.json"
                steps.append(
                    Step(
                        f"bench-{label}",
                        ("bench", *common, *seconds, "--trace", trace, "--json"),
                        BENCH_LIMIT_S,
                        (trace,),
                    )
                )
    return [*steps, Step("doctor-after", doctor, DOCTOR_LIMIT_S)]


def backends_here() -> dict[str, tuple[str, ...]]:
    """Backends that the doctor sees to run on this machine, and their precisions."""
    from ..doctor.doctor import examine

    verdict = examine(wait_s=DOCTOR_WAIT_S).verdict
    return {each.name: each.precisions for each in verdict.backends if each.runs == "yes"}


def write_report(
    path: Path,
    steps: Sequence[Step],
    *,
    note: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Run the steps and put what they gave into one archive.

    Args:
        path: The zip file to write.
        steps: From `plan_report`.
        note: Called with a line before each step.

    Returns:
        What is in `steps.json`.

    Raises:
        OutputNotWritableError: The archive cannot be written; nothing is left half-written.
    """
    clean = Anonymous.of_this_machine()
    done = []
    with part_folder() as folder:
        texts: dict[str, str] = {}
        for number, step in enumerate(steps, 1):
            note(f"{number} of {len(steps)}: {step.command}")
            done.append(_run(step, folder, texts))
        index = {"schema": SCHEMA, "adcvsr": __version__, "steps": done}
        texts["steps.json"] = json.dumps(index, indent=1) + "\n"
        found = {
            name: clean.clean_json(text) if name.endswith(".json") else clean(text)
            for name, text in sorted(texts.items())
        }
        found["README.txt"] = _readme(done, found)

        def write(part: Path) -> None:
            with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
                for name, text in found.items():
                    # A date of ours: the archive tells no time zone.
                    archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), text, 8)

        replace_file(path, write)
    return index


def _run(step: Step, folder: Path, texts: dict[str, str]) -> dict[str, Any]:
    """Run a step in a folder; its output goes into `texts`, how it ended is returned."""
    environment = {**os.environ, CACHE_VARIABLE: str(folder / "cache"), "PYTHONUNBUFFERED": "1"}
    environment.pop("NOTIFY_SOCKET", None)
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "adcvsr", *step.arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    late = False
    try:
        try:
            out, log = process.communicate(timeout=step.limit_s)
        except subprocess.TimeoutExpired:
            late = True
            process.terminate()
            try:
                out, log = process.communicate(timeout=_END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                out, log = process.communicate()
    except BaseException:
        process.kill()
        process.wait()
        raise
    if out.strip():
        texts[f"{step.name}.json"] = out
    if log.strip():
        texts[f"logs/{step.name}.txt"] = log[-_LOG_BYTES:]
    for name in step.files:
        if (folder / name).is_file():
            texts[name] = (folder / name).read_text(errors="replace")
    return {
        "name": step.name,
        "command": step.command,
        "exit": process.returncode,
        "too_slow": late,
        "seconds": round(time.monotonic() - began, 1),
    }


def _precisions(variants: Sequence[str]) -> list[str]:
    """Of variants, each once; narrow ones first, as a person would try them."""
    return list(dict.fromkeys(VariantName.parse(each).precision for each in reversed(variants)))


def _readme(done: Sequence[dict[str, Any]], texts: dict[str, str]) -> str:
    """What is in the archive, for whoever sends it and whoever reads it."""
    failed = [each["name"] for each in done if each["exit"] != 0]
    lines = [
        f"A report of `adcvsr report`, adcvsr {__version__}.",
        "",
        "In it: what this machine is (board, processor, GPU, memory, versions of system, driver,",
        "libraries and packages, power mode, clocks, temperatures before and after), how fast the",
        "networks that come with adcvsr run on it, which layers that takes, and what the commands",
        "said. All pictures were drawn by the program.",
        "",
        "Not in it: names of users and of the machine, paths below the home folder, network",
        "addresses, serial numbers, passwords, files or pictures of yours. All of it is text:",
        "look before you send it.",
        "",
        "steps.json          each command, how it ended and how long it took",
        "doctor*.json        the machine, before and after: docs/doctor.md",
        "deploy-*.json       an engine built and tried out: docs/engines.md",
        "bench-*.json        speed: docs/bench.md",
        "layers-*.json       times of layers, for ui.perfetto.dev: docs/profile.md",
        "logs/*.txt          what each command said beside that",
        "",
        f"{len(done)} commands, {len(failed)} failed: {', '.join(failed) or 'none'}.",
        "",
        *(f"{name} ({len(text)} characters)" for name, text in texts.items()),
    ]
    return "\n".join(lines) + "\n"
