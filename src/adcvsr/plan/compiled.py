"""What a compiler made of a graph, in the figures a prediction counts: bytes moved and kernels.

Read from engines' layer lists (`adcvsr.runtime.engine.compiled`), which TensorRT-RTX prints without
a GPU. They decide where there are any; `roofline` counts the graph elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class CompiledGraph:
    """One engine's layers in figures."""

    key: str
    """The engine's, in the cache."""

    onnx: str
    """SHA-256 of the graph."""

    backend: str
    sms: tuple[int, ...]
    """Compute capabilities it was built for."""

    width: int
    height: int
    bytes: float
    """Activations read and written for a frame."""

    kernels: int


def compiled_graph(
    compiled: Iterable[CompiledGraph],
    *,
    onnx: str,
    backend: str,
    sm: int | None,
    width: int,
    height: int,
) -> CompiledGraph | None:
    """The list that tells most of a graph at a size, its bytes brought to that size.

    Args:
        compiled: All there are.
        onnx: SHA-256 of the graph.
        backend: What runs it.
        sm: Compute capability of the target.
        width: Of a frame.
        height: Likewise.

    Returns:
        None where no engine of the graph, backend and GPU has one. Kernels of other sizes are
        taken as they are: bytes grow with the pixels, kernels hardly ever change.
    """
    pixels = width * height
    found = [
        each for each in compiled if (each.onnx, each.backend) == (onnx, backend) and sm in each.sms
    ]
    if not found:
        return None
    nearest = min(found, key=lambda each: (abs(each.width * each.height - pixels), each.key))
    return replace(nearest, bytes=nearest.bytes * pixels / (nearest.width * nearest.height))
