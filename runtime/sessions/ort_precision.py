"""What ONNX Runtime's arithmetic is worth here: exact 8-bit products, and what it cannot judge."""

from __future__ import annotations

from ...host.machine import this_host

VNNI_FLAGS = frozenset({"avx512_vnni", "avx_vnni", "avxvnni"})

FP16_ROUNDS = (1, 31)
"""ONNX Runtime from which QuantizeLinear rounds float16."""


def packs_channels() -> bool:
    """Whether ONNX Runtime computes float32 convolutions on blocks of channels: x86.

    On other processors `graph.blocked_prelu` was never measured.
    """
    return this_host().machine.lower() in ("x86_64", "amd64")


def products_saturate() -> bool:
    """Whether uint8 times int8 is summed in 16 bits, which saturates: x86 without VNNI.

    ONNX Runtime's `session.x64quantprecision` takes exact kernels instead. They are slow (0.4x on a
    processor with VNNI, which does not need them), so they are asked for only where needed, and
    where the system does not tell.
    """
    if not packs_channels():
        return False
    flags = this_host().processor_flags
    return flags is None or not VNNI_FLAGS & flags


def why_not_judged(precision: str, high_precision: str, ort_version: str) -> str | None:
    """Say why ONNX Runtime on this machine cannot tell a variant's figures, or None when it can.

    Args:
        precision: Of the variant: `int8`, `fp8`, or one without Q/DQ nodes.
        high_precision: Type of the rest of the graph.
        ort_version: ONNX Runtime's.
    """
    if precision == "fp8":
        return (
            "ONNX Runtime's CPU kernels do not compute in fp8 as a GPU does, and refuse some fp8 "
            "graphs; run 'adcvsr verify' on the target"
        )
    version = tuple(int(part) for part in ort_version.split(".")[:2])
    if precision == "int8" and high_precision == "float16" and version < FP16_ROUNDS:
        return (
            f"ONNX Runtime {ort_version} truncates where float16 is quantized (26 dB instead of 36 "
            "on one graph); 1.31 and later round; upgrade it, or run 'adcvsr verify' on the target"
        )
    return None
