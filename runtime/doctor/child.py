"""Runs one probe in a process of its own: `python -m adcvsr.runtime.doctor.child PROBE [ARGUMENT]`.

Started by `children`. A probe gets a function that prints one JSON object and flushes.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import Any

PROBES = {
    "cuda": ("gpu", "probe_cuda"),
    "nvml": ("gpu", "probe_nvml"),
    "tensorrt": ("tensorrt", "probe_tensorrt"),
    "onnxruntime": ("ort", "probe_onnxruntime"),
    "provider": ("ort", "probe_provider"),
    "video": ("video", "probe_video"),
    "adcvsr": ("packages", "probe_adcvsr"),
}
"""Module and function of every probe."""


def main() -> None:
    """Run the probe named on the command line."""
    name, *arguments = sys.argv[1:]
    module, function = PROBES[name]
    probe = getattr(importlib.import_module(f".{module}", __package__), function)
    # Libraries print to the output as they please; the findings go to a copy nobody else holds.
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def emit(**values: Any) -> None:
        out.write(json.dumps(values) + "\n")
        out.flush()

    try:
        probe(emit, *arguments)
    except Exception as error:  # whatever a broken library raises is the finding
        emit(error=f"{type(error).__name__}: {error}".splitlines()[0])
    out.flush()
    os._exit(0)  # some GPU libraries crash in their clean-up; the findings are out


if __name__ == "__main__":
    main()
