"""What a network takes of a machine's memory, counted from its graph.

memory_of(bundle, "fp32-onnx").activation_bytes  # of an input pixel
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from ..bundle import Bundle
from ..errors import GraphError, MissingPackageError
from ..pictures.limits import ACTIVATION_BYTES, check_memory
from .cost import count_bundle_cost

COUNTED_SIDE = 128
"""Pixels of a side of the frame that is counted."""

ENGINE_SHARE = 1.6
"""Bytes that ONNX Runtime takes for each byte of tensors alive at once, with some to spare: 1.0 to
1.45 were measured (docs/windows-and-tiles.md)."""


@dataclass(frozen=True)
class NetworkMemory:
    """Of one variant."""

    activation_bytes: int
    """Of a pixel of the input that the network is given at once."""

    weight_bytes: int

    scale: int
    """Times the input's size that it makes."""

    note: str | None = None
    """Where the figures are not the network's own: why, and what stands for them."""

    def check(
        self,
        path: Path,
        width: int,
        height: int,
        *,
        tile: int | None = None,
        output: tuple[int, int] | None = None,
        deep: bool = False,
    ) -> None:
        """Refuse frames that are beyond the limits or this machine's memory, see `check_memory`.

        Raises:
            UnsupportedVideoError: With the estimate and what is there.
        """
        check_memory(
            path,
            width,
            height,
            tile=tile,
            output=output,
            deep=deep,
            scale=self.scale,
            activation_bytes=self.activation_bytes,
            weight_bytes=self.weight_bytes,
        )


@functools.lru_cache(maxsize=16)
def memory_of(bundle: Bundle, variant: str) -> NetworkMemory:
    """Count a variant, for one frame; of windows each frame takes as much.

    Where a graph cannot be counted, `nano`'s, the least of all, stands for it, and `note` says so.

    Raises:
        BundleError: A damaged file.
    """
    frames = bundle.window.frames if bundle.window else 1
    try:
        cost = count_bundle_cost(
            bundle, variant, height=COUNTED_SIDE, width=COUNTED_SIDE, frames=frames
        )
    except (GraphError, MissingPackageError) as error:
        note = (
            f"memory is checked with {ACTIVATION_BYTES} bytes an input pixel, the least a network "
            f"takes: what '{bundle.name}' takes cannot be counted ({error})"
        )
        return NetworkMemory(ACTIVATION_BYTES, 0, bundle.scale, note)
    each = (cost.peak_activation_bytes + cost.state_bytes) / COUNTED_SIDE**2
    return NetworkMemory(max(int(ENGINE_SHARE * each), 1), cost.weight_bytes, bundle.scale)
