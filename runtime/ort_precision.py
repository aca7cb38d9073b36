"""Whether this processor's 8-bit products are exact, as ONNX Runtime computes them."""

from __future__ import annotations

import platform
from pathlib import Path

VNNI_FLAGS = frozenset({"avx512_vnni", "avx_vnni", "avxvnni"})


def products_saturate() -> bool:
    """Whether uint8 times int8 is summed in 16 bits, which saturates: x86 without VNNI.

    ONNX Runtime's `session.x64quantprecision` takes exact kernels instead. They are slow (0.4x on a
    processor with VNNI, which does not need them), so they are asked for only where needed, and
    where the system does not tell.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return True
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return not VNNI_FLAGS & set(flags.split())
