"""The program as a process of its own, forked from one that has imported what it imports.

Its imports are most of what a short command costs, and the same every time. Descriptors,
environment, exit status and end are those of any process. Tests of the start itself
(`test_start`, `test_imports`, `test_without_extras`), of signals and of a first upscale start it
anew.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import socket
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import IO

IMPORTED = (
    "onnx",
    "adcvsr.calibration.evaluate.report",
    "adcvsr.calibration.evaluate.truth",
    "adcvsr.cli._scores",
    "adcvsr.runtime.upscaler",
    "adcvsr.runtime.sessions.ort_cpu",
)
"""What commands import while they run: neither torch, which few need, nor ONNX Runtime, whose
thread no fork would have. A package that is missing is passed over."""

PATIENCE_S = 600
"""A program that takes longer is taken to hang."""


def run_program(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `adcvsr` with these arguments, and these variables beside those of the test."""
    words = [str(each) for each in arguments]
    variables = {**os.environ, **environment}
    if sys.platform != "linux" or any(name.startswith("PYTHON") for name in environment):
        command = [sys.executable, "-m", "adcvsr", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=variables)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        request = {"words": words, "environment": variables, "folder": os.getcwd()}
        server = _server()
        socket.send_fds(server, [json.dumps(request).encode()], [out.fileno(), err.fileno()])
        try:
            answer = server.recv(64)
        except TimeoutError:
            server.close()  # its answer would be taken for that of the next program
            _server.cache_clear()
            raise
        assert answer, "the program's process ended"
        return subprocess.CompletedProcess(words, int(answer), _text(out), _text(err))


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


@cache
def _server() -> socket.socket:
    """The process that forks, started when it is first asked for, and ended with this one."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(PATIENCE_S)
    number = theirs.fileno()
    command = [sys.executable, str(Path(__file__).resolve()), str(number)]
    process = subprocess.Popen(command, pass_fds=[number], stdin=subprocess.DEVNULL)
    theirs.close()

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


def _serve(number: int) -> list[str] | None:
    """Answer requests; returns in a fork of this process, with the words of one."""
    for name in IMPORTED:
        try:
            importlib.import_module(name)
        except ImportError:
            continue
    threads = len(os.listdir("/proc/self/task"))
    assert threads == 1, f"{threads} threads: a fork would have one of them alone"
    with socket.socket(fileno=number) as client:
        while True:
            request, files, *_ = socket.recv_fds(client, 1 << 20, 2)
            if not request:
                return None
            child = os.fork()
            if not child:
                break
            for each in files:
                os.close(each)
            client.send(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())
    for place, each in enumerate(files, start=1):
        os.dup2(each, place)
        os.close(each)
    asked = json.loads(request)
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])
    words: list[str] = asked["words"]
    return words


if __name__ == "__main__" and (given := _serve(int(sys.argv[1]))) is not None:
    from adcvsr.cli.start import main

    sys.argv[:] = ["adcvsr", *given]
    main()
