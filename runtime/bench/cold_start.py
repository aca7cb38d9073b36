"""A variant alone in a fresh process: time to load, first frame, and memory at its highest.

Run as a child by `bench.bench`, because a process that has loaded several variants cannot
tell what each of them takes:

    python -m adcvsr.runtime.bench.cold_start BUNDLE BACKEND VARIANT WIDTH HEIGHT THREADS
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ...errors import BenchError
from ...reading import parse_json

FRAMES = 4
"""The state and all buffers are in place after them."""

PATIENCE_SECONDS = 600.0
"""A network that needs longer to load and run four frames is measured without this part."""


def measure_start(
    path: Path, backend: str, variant: str, size: tuple[int, int], threads: int
) -> dict[str, Any]:
    """Run a variant in a process of its own.

    Args:
        path: The bundle.
        backend: What runs it.
        variant: Its id.
        size: Width and height of a frame in pixels.
        threads: Of a CPU backend.

    Returns:
        `load_seconds`, `first_frame_ms`, `memory_bytes` (the process at its highest, None where the
        system does not tell); or `error` with the reason.
    """
    arguments = [str(path.absolute()), backend, variant, *map(str, (*size, threads))]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "adcvsr.runtime.bench.cold_start", *arguments],
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"no answer within {PATIENCE_SECONDS:.0f} s"}
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit {done.returncode}"]
        return {"error": last[0]}
    answer = (done.stdout.strip().splitlines() or [""])[-1]
    try:
        return parse_json(answer, source="the measuring process", error=BenchError).mapping()
    except BenchError as error:
        return {"error": str(error)}


def main(arguments: list[str]) -> None:
    """Load, run, and print what it took as JSON."""
    import numpy as np

    from ...bundle import open_bundle
    from ..upscaler import Upscaler

    path, backend, variant, width, height, threads = arguments
    frame = np.full((int(height), int(width), 3), 128, np.uint8)
    began = time.perf_counter()
    with Upscaler(
        open_bundle(Path(path)),
        backend=backend,
        variant=variant,
        threads=int(threads),
        allow_untrained=True,
    ) as upscaler:
        loaded = time.perf_counter()
        window = upscaler.bundle.window
        pictures = upscaler.upscale_clip([frame] * max(FRAMES, window.frames if window else 0))
        next(pictures)
        first = time.perf_counter()
        for _ in pictures:
            pass
    values = {
        "load_seconds": round(loaded - began, 4),
        "first_frame_ms": round(1000 * (first - loaded), 3),
        "memory_bytes": _peak_bytes(),
    }
    sys.stdout.write(json.dumps(values) + "\n")


def _peak_bytes() -> int | None:
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else None


if __name__ == "__main__":
    main(sys.argv[1:])
