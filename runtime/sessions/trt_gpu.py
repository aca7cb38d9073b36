"""Runs of a TensorRT session whose pictures are in the GPU's memory and stay there.

Planes without padding are bound to the engine as they lie; others are copied once within the GPU.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...arrays import Levels
from ..nvidia.device import ALIGNMENT, Device, PinnedBuffer
from ..nvidia.gpu_picture import GpuPicture, Plane

GPU_LANE = -1
"""Of the runner: these runs have no copies of their own within their CUDA graphs."""

MOST_BOUND = 16
"""Sets of addresses that are bound, each with a CUDA graph: GStreamer's pools have a few buffers
that come again. Beyond them planes are copied within the GPU."""

Staged = tuple[PinnedBuffer, int]


class GpuEnds:
    """Where the pictures of one size of session are on their way.

    Args:
        device: Where.
        staged: The session's own buffers, by tensor: luma and chroma in, then out.
    """

    def __init__(self, device: Device, staged: dict[str, Staged]) -> None:
        self.device = device
        self._names = list(staged)
        self._own = [address for _, address in staged.values()]
        self._bound: set[tuple[int, ...]] = set()
        self._left: list[tuple[Plane, int]] = []  # planes that the run's pictures are copied to
        self.copies = 0
        """Of the latest frame within the GPU: 0 to 2, one for each picture that was copied."""

    def take(self, low: GpuPicture, big: GpuPicture) -> dict[str, int]:
        """Queue what is needed before a run.

        Returns:
            The address of each tensor of a picture.
        """
        for stream in dict.fromkeys((low.stream, big.stream)):
            if stream:
                self.device.wait_for_other(stream)
        planes = [*low.planes, *big.planes]
        binds = [_can_bind(*pair) for pair in (low.planes, big.planes) for _ in range(2)]
        places = [
            plane.address if bind else own
            for plane, bind, own in zip(planes, binds, self._own, strict=True)
        ]
        if tuple(places) not in self._bound and len(self._bound) >= MOST_BOUND:
            places, binds = list(self._own), [False] * 4
        self._bound.add(tuple(places))
        self.copies = 2 - binds[0] - binds[2]
        if not binds[0]:
            for plane, own in zip(low.planes, self._own, strict=False):
                size = (plane.row_bytes, plane.rows)
                self.device.copy_rows(own, plane.row_bytes, plane.address, plane.stride, size)
        self._left = [] if binds[2] else list(zip(big.planes, self._own[2:], strict=True))
        return dict(zip(self._names, places, strict=True))

    def give(self) -> None:
        """Queue what is needed after the run."""
        for plane, own in self._left:
            size = (plane.row_bytes, plane.rows)
            self.device.copy_rows(plane.address, plane.stride, own, plane.row_bytes, size)


def read_plane(device: Device, plane: Plane) -> Levels:
    """A plane copied to main memory, (rows, row_bytes) uint8; waits for it."""
    host = device.pin(plane.rows * plane.row_bytes, mapped=False)
    packed = device.allocate(host.array.nbytes)
    try:
        size = (plane.row_bytes, plane.rows)
        device.copy_rows(packed, plane.row_bytes, plane.address, plane.stride, size)
        device.download(host, packed, host.array.nbytes)
        device.synchronize()
        rows: Levels = host.array.reshape(plane.rows, plane.row_bytes).copy()
        return rows
    finally:
        device.free(packed)
        device.unpin(host)


def _can_bind(*planes: Plane) -> bool:
    return all(plane.is_dense and plane.address % ALIGNMENT == 0 for plane in planes)


def sizes_fit(low: Sequence[int], big: Sequence[int], scale: int, multiple: int) -> str:
    """Why an engine cannot run between pictures of these sizes (W, H); empty where it can."""
    if any(side % multiple for side in low):
        return f"{low[0]}x{low[1]} is padded to multiples of {multiple}"
    if tuple(big) != tuple(side * scale for side in low):
        return f"a picture of {big[0]}x{big[1]} for one of {low[0]}x{low[1]}, {scale} times"
    return ""
