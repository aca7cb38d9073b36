"""Two frames under way at once: copies of one beside the computation of the other.

Each lane has buffers of its own for a frame and its picture. Copies run on streams beside the
engine's, and events hold them in order: an engine starts when its frame has come, a picture leaves
when it is computed. The host waits for a lane's picture before it gives the lane another frame, so
no buffer is written while anything reads it.

    lanes = Lanes(device, frame_bytes, picture_bytes, first=(frame, picture))
    lane = lanes.begin(frame, compute)      # returns at once
    lanes.begin(next_frame, compute)
    lanes.take()                            # the first one's picture; the second goes on
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...arrays import Frame
from ..nvidia.device import Device, PinnedBuffer
from .trt_parts import staging, unstage

Staged = tuple[PinnedBuffer, int]
"""Host memory, and the address that goes with it on the device."""

LANES = 2


@dataclass(frozen=True)
class Lane:
    """Buffers of one frame under way."""

    number: int
    """1 and 2: 0 is that of frames which are waited for at once."""
    frame: Staged
    picture: Staged
    uploaded: Any
    computed: Any
    downloaded: Any


class Lanes:
    """Both lanes, which take turns.

    Args:
        device: Where.
        frame_bytes: Of a frame.
        picture_bytes: Of its picture.
        first: Buffers that are there already, for the first lane; whoever made them frees them.
        mapped: Of the second lane's, see `Device.pin`.
    """

    def __init__(
        self,
        device: Device,
        frame_bytes: int,
        picture_bytes: int,
        *,
        first: tuple[Staged, Staged],
        mapped: bool | None,
    ) -> None:
        self._device = device
        self._copies = first[0][0].device is None
        self._in = device.another_stream() if self._copies else None
        self._out = device.another_stream() if self._copies else None
        own = (
            staging(device, frame_bytes, mapped=mapped),
            staging(device, picture_bytes, mapped=mapped),
        )
        self._own = own
        self._lanes = [
            Lane(index + 1, frame, picture, device.event(), device.event(), device.event())
            for index, (frame, picture) in enumerate((first, own))
        ]
        self._under_way: deque[Lane] = deque()
        self._turn = 0

    def begin(self, frame: Frame, compute: Callable[[Lane], None]) -> None:
        """Queue a frame's way up, through the engine and down.

        Args:
            frame: (H, W, 3), C-contiguous; it may be changed afterwards.
            compute: Queues the engine's run on the device's first stream, with a lane's buffers.
        """
        assert len(self._under_way) < LANES, "take a picture first"
        device, lane = self._device, self._lanes[self._turn]
        host, address = lane.frame
        host.array[:] = frame.reshape(-1).view(np.uint8)
        if self._copies:
            device.upload(address, host, host.array.nbytes, self._in)
            device.record(lane.uploaded, self._in)
            device.wait_for(lane.uploaded)
        compute(lane)
        device.record(lane.computed)
        if self._copies:
            host, address = lane.picture
            device.wait_for(lane.computed, self._out)
            device.download(host, address, host.array.nbytes, self._out)
            device.record(lane.downloaded, self._out)
        self._under_way.append(lane)
        self._turn = (self._turn + 1) % LANES

    def take(self) -> Lane:
        """Wait for the picture of the frame that began first; what came after it goes on."""
        lane = self._under_way.popleft()
        self._device.synchronize_event(lane.downloaded if self._copies else lane.computed)
        return lane

    def free(self) -> None:
        """Free what is the lanes' own; nothing is under way any more."""
        device = self._device
        for staged in self._own:
            unstage(device, *staged)
        for lane in self._lanes:
            for event in (lane.uploaded, lane.computed, lane.downloaded):
                device.drop_event(event)
        for stream in (self._in, self._out):
            if stream is not None:
                device.drop_stream(stream)
