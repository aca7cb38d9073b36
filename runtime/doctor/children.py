"""Probes that may crash, hang or take long run as processes of their own, all at once.

A child prints one JSON object a line as it goes, so what it found before it died is kept. A crash
or a deadline is a result like any other.

    with Children() as children:
        children.start("cuda")
        outcomes = children.collect(deadline)
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Any

from ...errors import AdcVsrError
from ...reading import parse_json

POLL_S = 0.01
"""How often running children are looked at."""

REAP_S = 0.2
"""How long a killed child may take to go; one stuck in a driver is left behind."""

STDERR_LIMIT_BYTES = 64 << 10
"""Of a child's error stream, the end that is kept."""


@dataclass(frozen=True)
class Outcome:
    """What a child left behind."""

    lines: tuple[dict[str, Any], ...]
    """The objects it printed, in order."""

    ended: str
    """Empty for a proper end; otherwise what happened: `crashed with SIGSEGV`, `did not finish`."""

    late: bool
    """Whether it was stopped at the deadline."""

    stderr: str
    """The end of what it wrote to its error stream."""

    def get(self, key: str) -> Any:
        """The last value printed under a key, or None."""
        return next((line[key] for line in reversed(self.lines) if key in line), None)

    @property
    def reason(self) -> str:
        """Why it failed, in a line."""
        return str(self.get("error") or self.ended or "it ended without an answer")

    @property
    def wants_numpy_1(self) -> bool:
        """Whether what it loaded was compiled for numpy 1 and met numpy 2."""
        signs = ("compiled using NumPy 1", "_ARRAY_API not found", "multiarray failed to import")
        return any(sign in self.stderr + self.reason for sign in signs)


class Children:
    """Starts probes and collects what they printed; leaves no process behind."""

    def __init__(self) -> None:
        self._running: dict[str, tuple[subprocess.Popen[bytes], IO[bytes], IO[bytes]]] = {}
        self._failed: dict[str, Outcome] = {}

    def __enter__(self) -> Children:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for process, out, err in self._running.values():
            _kill(process)
            out.close()
            err.close()

    def start(self, probe: str, *arguments: str) -> None:
        """Start one probe of `child.PROBES`; a failure to start becomes its outcome."""
        name = ":".join((probe, *arguments))
        command = [sys.executable, "-m", "adcvsr.runtime.doctor.child", probe, *arguments]
        # A folder that happens to hold an 'av' or 'onnxruntime' must not shadow the real one.
        environment = {**os.environ, "PYTHONSAFEPATH": "1", "CUDA_MODULE_LOADING": "LAZY"}
        files = contextlib.ExitStack()
        try:
            out, err = files.enter_context(_scratch()), files.enter_context(_scratch())
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=environment,
                start_new_session=os.name == "posix",
            )
        except OSError as error:
            files.close()
            self._failed[name] = Outcome((), f"could not be started: {error}", False, "")
        else:
            self._running[name] = (process, out, err)

    def collect(self, deadline: float) -> dict[str, Outcome]:
        """Wait for all until a time of `time.monotonic`, stop the rest, return every outcome."""
        while any(each[0].poll() is None for each in self._running.values()):
            if time.monotonic() >= deadline:
                break
            time.sleep(POLL_S)
        outcomes = dict(self._failed)
        for name, (process, out, err) in self._running.items():
            late = process.poll() is None
            if late:
                _kill(process)
            ended = "did not finish in time" if late else _how_it_ended(process.returncode)
            outcomes[name] = Outcome(_parse(_text(out)), ended, late, _text(err))
            out.close()
            err.close()
        self._running.clear()
        return outcomes


def _scratch() -> IO[bytes]:
    """A file for a child's output: in memory where that exists, so a full disk does not matter."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("adcvsr-doctor"), "w+b")
    return tempfile.TemporaryFile()


def _text(file: IO[bytes]) -> str:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - STDERR_LIMIT_BYTES))
    return file.read().decode(errors="replace")


def _parse(text: str) -> tuple[dict[str, Any], ...]:
    """Objects of the lines that are JSON; libraries print to the same stream."""
    found = []
    for line in text.splitlines():
        with contextlib.suppress(AdcVsrError):
            found.append(parse_json(line, source="a probe", error=AdcVsrError).mapping())
    return tuple(found)


def _how_it_ended(code: int) -> str:
    if code == 0:
        return ""
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"crashed with {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a child with everything it started."""
    if process.poll() is not None:
        return
    with contextlib.suppress(OSError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(REAP_S)
