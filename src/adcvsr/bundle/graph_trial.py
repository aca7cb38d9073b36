"""A first run of a stranger's graph in a process of its own, with bounds on memory and time.

Constants of a few bytes can unfold to terabytes, and an engine computes them while it loads, in a
call that no signal ends. So a graph that did not come with the package, and was not exported or
tried on this machine before, first runs one small frame in a child that the system stops at its
bounds. A graph that passes is remembered by its hash in the user's cache folder. Without ONNX
Runtime there is nothing that could run it, and no trial.

    try_graph(graph, key=sha256, shapes={"frame": (1, 64, 64, 3)}, source="...", size_bytes=120_000)
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import BundleError
from ..files import cache_folder

FOLDER = "tried"

SPARE_BYTES, TIMES_SIZE = 2 << 30, 6
"""Memory of a trial: the first, and the second times the size of graph and weights."""

PROCESSOR_SECONDS, SECONDS_PER_GIB = 30, 60
"""Processor time of a trial: the first, and the second for each GiB of graph and weights."""

PATIENCE = 6
"""The trial is given up after so many times its processor seconds, on a machine that is busy."""

PASSED, REFUSED, FAILED, MEMORY, NO_ENGINE = "passed", "refused", "failed", "memory", "no engine"
"""What a trial says. An engine that refuses to load a graph harms nobody: it will say so to the
user; one that fails in the middle of a frame does."""

PR_SET_PDEATHSIG = 1
"""Of prctl(2)."""

_OUT_OF_MEMORY = ("bad_alloc", "bad alloc", "allocate", "memory", "length_error")


def try_graph(
    graph: bytes | Path,
    *,
    key: str,
    shapes: Mapping[str, tuple[int, ...]],
    source: str,
    size_bytes: int,
) -> None:
    """Run a graph once in a child, unless it was before.

    Args:
        graph: An ONNX file's content; its path where weights lie beside it.
        key: Hash of graph and weights, by which it is remembered.
        shapes: Of its inputs.
        source: How errors name it.
        size_bytes: Of graph and weights together.

    Raises:
        BundleError: It takes more memory or time than the trial gives, or crashes the engine.
    """
    if _mark(key).is_file():
        return
    memory = SPARE_BYTES + TIMES_SIZE * size_bytes
    seconds = PROCESSOR_SECONDS + SECONDS_PER_GIB * size_bytes // (1 << 30)
    request = {
        "path": str(graph.absolute()) if isinstance(graph, Path) else None,
        "shapes": {name: list(shape) for name, shape in shapes.items()},
        "memory": memory,
        "seconds": seconds,
    }
    data = json.dumps(request).encode() + b"\n" + (graph if isinstance(graph, bytes) else b"")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            [sys.executable, "-m", __name__],
            input=data,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=seconds * PATIENCE,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _refusal(source, f"was not done within {seconds * PATIENCE} s") from error
    said = done.stdout.decode(errors="replace").strip()
    if said == FAILED:
        raise _refusal(source, "fails in the engine")
    if said == MEMORY:
        raise _refusal(source, f"takes more than {memory >> 20:,} MiB of memory")
    if said == PASSED:
        remember(key)
    elif said not in (REFUSED, NO_ENGINE):
        raise _refusal(source, _how_it_ended(done.returncode, seconds))


def remember(key: str) -> None:
    """Note that a graph is known to run; a note that cannot be written costs a trial later."""
    with suppress(OSError):
        _mark(key).parent.mkdir(parents=True, exist_ok=True)
        _mark(key).touch()


def _mark(key: str) -> Path:
    return cache_folder() / FOLDER / key


def _refusal(source: str, what: str) -> BundleError:
    return BundleError(
        f"{source} {what} for one small frame, in a trial before it is used; it is damaged or made "
        "to do harm: get the bundle again from where you trust"
    )


def _how_it_ended(code: int, seconds: int) -> str:
    import signal

    if code == -getattr(signal, "SIGXCPU", 0) or code == -getattr(signal, "SIGKILL", 0):
        return f"was not done within {seconds} s of processor time"
    with suppress(ValueError):
        return f"crashes the engine ({signal.Signals(-code).name})"
    return f"ends the engine with exit code {code}"


def main() -> str:
    """Do what stdin asks for, within bounds; returns one of the words above."""
    _end_with_parent()
    try:
        import onnxruntime as ort
    except ImportError:
        return NO_ENGINE
    request = json.loads(sys.stdin.buffer.readline())
    _bound(request["memory"], request["seconds"])
    graph = request["path"] or sys.stdin.buffer.read()
    try:
        return _run(ort, graph, request["shapes"])
    except MemoryError:
        return MEMORY
    except Exception as error:  # onnxruntime raises its own untyped exceptions
        return MEMORY if any(word in str(error).lower() for word in _OUT_OF_MEMORY) else REFUSED


def _end_with_parent() -> None:
    """Die at once with the command that waits, however it ends: it may be killed outright."""
    if sys.platform != "linux":
        return
    import ctypes
    import signal

    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _run(ort: Any, graph: str | bytes, shapes: Mapping[str, list[int]]) -> str:
    import numpy as np

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.load_model_format", "ONNX")
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    kinds = {
        "tensor(uint8)": np.uint8,
        "tensor(float)": np.float32,
        "tensor(float16)": np.float16,
    }
    feeds = {
        each.name: np.zeros(shapes[each.name], kinds[each.type]) for each in session.get_inputs()
    }
    try:
        session.run(None, feeds)
    except Exception as error:
        if any(word in str(error).lower() for word in _OUT_OF_MEMORY):
            raise
        return FAILED
    return PASSED


def _bound(memory: int, seconds: int) -> None:
    """Let the system stop this process at its bounds, beyond what it has by now."""
    try:
        import resource
    except ImportError:  # not on Windows, where the parent's patience alone counts
        return
    has = 0
    with suppress(OSError, ValueError, IndexError):
        has = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    for what, value in ((resource.RLIMIT_AS, has + memory), (resource.RLIMIT_CPU, seconds)):
        _, hard = resource.getrlimit(what)
        limit = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(what, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    sys.stdout.write(main())
