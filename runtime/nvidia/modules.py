"""The Python modules behind the engine backends, and loading one while other work goes on."""

from __future__ import annotations

import importlib
import os
import sys
import threading
from pathlib import Path

MODULES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
"""Backend and the Python module that serves it."""


def preload(backend: str) -> None:
    """Begin to load a backend's module in a thread; `load_flavour` waits for it.

    Its library of 230 MB takes as long to load as a command's own modules. A module that is missing
    or broken is `load_flavour`'s to report.
    """
    threading.Thread(target=_load, args=(MODULES[backend],), name="compiler-load").start()


def _load(module: str) -> None:
    try:
        if os.name == "posix" and module not in sys.modules:
            _load_libraries(f"{module}_libs")
        importlib.import_module(module)
    except Exception:  # tried again, and said, where it is needed
        return


def _load_libraries(package: str) -> None:
    """Load the libraries of a package as it does itself, but without holding the interpreter.

    `ctypes.CDLL`, which the package calls, holds it until Python 3.12; a call through ctypes does
    not. The package then finds them loaded.
    """
    import ctypes

    folder = next((p for p in (Path(path, package) for path in sys.path) if p.is_dir()), None)
    for library in sorted(folder.glob("*.so*")) if folder else ():
        dlopen = ctypes.CDLL(None).dlopen
        dlopen.restype = ctypes.c_void_p
        dlopen(os.fsencode(library), os.RTLD_NOW)
