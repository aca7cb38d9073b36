"""A pipeline of GStreamer in a process of its own: started, spoken with, ended.

The process runs the Python that has PyGObject, which is the system's where ours is a virtual
environment. Pipelines go there through a pipe, so that passwords are not in the list of processes.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ...errors import MissingProgramError
from ...redaction import without_secrets

CHILD = Path(__file__).with_name("child.py")

SYSTEM_PYTHON = "/usr/bin/python3"

PACKAGES = (
    "sudo apt-get install python3-gst-1.0 gir1.2-gst-plugins-base-1.0 gstreamer1.0-plugins-base "
    "gstreamer1.0-plugins-good gstreamer1.0-plugins-bad"
)
"""What Debian, Ubuntu and JetPack call what is needed."""

END_S = 3.0
"""How long the process may take to end before it is killed."""

MESSAGE_BYTES = 4096
"""Read at once while a message is waited for: little, so that frames are read where they stay."""

POLL_S = 0.2
"""How often a wait looks whether the run stops."""


class PipelineError(Exception):
    """What GStreamer said; the caller makes an error of its own kind of it.

    Args:
        words: For people, without secrets.
        stage: `parse`, `caps`, `run`, or `silent` where nothing came in time.
    """

    def __init__(self, words: str, stage: str) -> None:
        super().__init__(words)
        self.stage = stage


class PipelineProcess:
    """One pipeline in a process of its own.

    Args:
        address: For messages.
        job: What it is to do, see `child`.
        packages: How to install what is missing.

    Raises:
        MissingProgramError: There is no Python that has PyGObject.
    """

    def __init__(self, address: str, job: Mapping[str, Any], packages: str = PACKAGES) -> None:
        self._address, self._packages = address, packages
        job_read, self._job = os.pipe()
        self._answers, answers_write = os.pipe()
        try:
            self._process = subprocess.Popen(
                [gst_python(address), "-u", str(CHILD), str(job_read), str(answers_write)],
                pass_fds=(job_read, answers_write),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "LC_ALL": "C.UTF-8"},
            )
        except BaseException:
            for each in (self._job, self._answers):
                os.close(each)
            raise
        finally:
            os.close(job_read)
            os.close(answers_write)
        self._waiting = bytearray()
        self.send(json.dumps(job).encode() + b"\n")

    def send(self, *pieces: bytes | memoryview) -> None:
        """Write bytes to the process; waits while its pipeline is full.

        Raises:
            BrokenPipeError: It has ended; `read` says why.
        """
        for piece in pieces:
            rest = memoryview(piece).cast("B")
            while rest:
                rest = rest[os.write(self._job, rest) :]

    def read(self, timeout_s: float, stopped: Callable[[], bool]) -> dict[str, Any] | None:
        """The next message; None where the run stops.

        Args:
            timeout_s: How long it may take.
            stopped: Whether the run stops.

        Raises:
            PipelineError: It says that it failed, or says nothing for that long.
            MissingProgramError: Its Python has no PyGObject or no GStreamer, or not all of it.
        """
        line = self._until(lambda: self._waiting.find(b"\n") + 1, timeout_s, stopped)
        if line is None:
            return None
        message: dict[str, Any] = json.loads(line)
        if "missing" in message:
            raise MissingProgramError(
                f"'{self._address}' needs GStreamer with its Python bindings "
                f"({message['missing']}): {self._packages}"
            )
        if "error" in message:
            raise PipelineError(_words(message), message["stage"])
        return message

    def read_bytes(
        self, count: int, timeout_s: float, stopped: Callable[[], bool]
    ) -> bytearray | None:
        """The bytes that follow a message; None where the run stops.

        Raises:
            PipelineError: They do not come.
        """
        data = self._waiting[:count]
        del self._waiting[:count]
        at = len(data)
        data.extend(bytes(count - at))
        with memoryview(data) as whole:
            while at < count:
                if not self._wait(timeout_s, stopped):
                    return None
                at += self._filled(os.readv(self._answers, [whole[at:]]))
        return data

    def _until(
        self, complete: Callable[[], int], timeout_s: float, stopped: Callable[[], bool]
    ) -> bytearray | None:
        """Read until as many bytes as `complete` says are there, and take them."""
        while not (size := complete()):
            if not self._wait(timeout_s, stopped):
                return None
            data = os.read(self._answers, MESSAGE_BYTES)
            self._filled(len(data))
            self._waiting += data
        taken = self._waiting[:size]
        del self._waiting[:size]
        return taken

    def _wait(self, timeout_s: float, stopped: Callable[[], bool]) -> bool:
        """Wait until there is something to read; whether the run goes on."""
        end = time.monotonic() + timeout_s
        while not stopped():
            if select.select([self._answers], [], [], POLL_S)[0]:
                return True
            if time.monotonic() > end:
                raise PipelineError(f"nothing came for {timeout_s:g} s", "silent")
        return False

    def _filled(self, count: int) -> int:
        """What a read gave; nothing is the end of the process."""
        if not count:
            raise PipelineError(self._how_it_ended(), "run")
        return count

    def _how_it_ended(self) -> str:
        try:
            status = self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            return "its process closed its pipe"
        if status < 0:
            return f"its process crashed (signal {-status}): an element or a driver has a fault"
        return f"its process ended with status {status}"

    def finish(self, timeout_s: float) -> None:
        """Say that no more frames come, and wait until the pipeline has finished its output.

        Raises:
            PipelineError: It did not.
        """
        os.close(self._job)
        self._job = -1
        message = self.read(timeout_s, lambda: False)
        while message is not None and "end" not in message:
            message = self.read(timeout_s, lambda: False)

    def close(self) -> None:
        """End the process; safe to call at any time, once."""
        if self._job >= 0:
            os.close(self._job)
            self._job = -1
        self._process.terminate()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._answers)


def gst_python(address: str) -> str:
    """The Python that has PyGObject: ours, or the system's.

    Raises:
        MissingProgramError: There is none.
    """
    if find_spec("gi") is not None:
        return sys.executable
    if Path(SYSTEM_PYTHON).exists():
        return SYSTEM_PYTHON
    raise MissingProgramError(
        f"'{address}' needs GStreamer with its Python bindings, and there is no {SYSTEM_PYTHON}: "
        f"{PACKAGES}"
    )


def _words(message: Mapping[str, Any]) -> str:
    """An error of GStreamer's in one line: what it says, and the last line of its details."""
    lines = [line.strip() for line in str(message.get("debug", "")).splitlines() if line.strip()]
    said = " ".join(str(message["error"]).split())
    # The first line is where in GStreamer's code it happened.
    return without_secrets(f"{said} ({lines[-1]})" if len(lines) > 1 else said)
