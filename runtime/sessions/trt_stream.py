"""Stream networks on TensorRT and TensorRT-RTX.

State stays on the device in buffers that swap; frames go through pinned memory, or are read in
place where CPU and GPU share memory. A size without an engine in the cache is built, with a line.
Where pictures may come a frame later (`infer_behind`), copies run beside the engine: see `Lanes`.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ...arrays import Frame
from ..nvidia.device import PinnedBuffer
from .session import StreamSession
from .state_ring import StateRing
from .trt_base import TensorRtBase
from .trt_lanes import Lane, Lanes
from .trt_parts import (
    picture_of,
    require_tensors,
    stage_in,
    stage_out,
    staging,
    unstage,
)
from .trt_runner import EngineRunner


class TensorRtSession(TensorRtBase, StreamSession):
    """A stream graph on TensorRT.

    Args:
        bundle: The opened bundle, of kind `stream`.
        variant: Which of its variants to run.
        tile: See `Session`.
        cache: Where engines are; None for the user's.
    """

    backend: ClassVar[str] = "tensorrt"
    overlaps = True

    mapped: bool | None = None
    """Set before opening: whether the GPU reads frames and writes pictures in the host's memory;
    None for what `adcvsr deploy` measured to be faster, and else where both share memory."""

    @property
    def runners(self) -> list[EngineRunner]:
        """Engines in use, for the census."""
        return [self.runner] if self.runner else []

    def _beside(self) -> TensorRtSession:
        return type(self)(self.bundle, self.variant, tile=self.tiling.side, cache=self._cache)

    def _forget(self) -> None:
        self.runner: EngineRunner | None = None
        self._frame: tuple[PinnedBuffer, int] | None = None
        self._picture: tuple[PinnedBuffer, int] | None = None
        self._ring: StateRing[list[int]] = StateRing()
        self._sizes: list[int] = []
        self._lanes: Lanes | None = None
        self._mapped: bool | None = None

    def _resize(self, height: int, width: int, slots: int) -> None:
        device, engines = self._device, self.engines
        assert device is not None
        assert engines is not None
        device.activate()
        device.synchronize()
        self._free()
        self.runner = engines.load(self.variant.file, height, width)
        self.engine_bytes = sum(engines.plan_bytes.values())
        bundle = self.bundle
        require_tensors(
            self.runner,
            inputs={bundle.input_name, *(spec.name for spec in bundle.state)},
            outputs={bundle.output_name, *(spec.next_name for spec in bundle.state)},
        )
        shapes = {bundle.input_name: (1, height, width, 3)}
        shapes |= {spec.name: spec.shape(height, width) for spec in bundle.state}
        self.runner.set_shapes(shapes)
        self._mapped = engines.deployed_mapped if self.mapped is None else self.mapped
        self._frame = staging(device, height * width * 3, mapped=self._mapped)
        picture_bytes = height * width * 3 * bundle.scale**2
        self._picture = staging(device, picture_bytes, mapped=self._mapped)
        itemsize = np.dtype(self.variant.state_dtype).itemsize
        self._sizes = [int(np.prod(spec.shape(height, width))) * itemsize for spec in bundle.state]
        self._ring.fill(slots, lambda: [device.allocate(size) for size in self._sizes])

    def _free(self) -> None:
        """Free what belongs to the former size: engine first, then its buffers."""
        device = self._device
        assert device is not None
        if self.runner is not None:
            self.runner.close()
            self.runner = None
        for address in (address for each in self._ring.sets for address in each):
            device.free(address)
        if self._lanes is not None:
            self._lanes.free()
        for pair in (self._frame, self._picture):
            if pair is not None:
                unstage(device, *pair)
        self._forget()

    def _reset(self) -> None:
        assert self._device is not None
        self._device.activate()
        for state in self._ring.current():
            for address, size in zip(state, self._sizes, strict=True):
                self._device.zero(address, size)

    def _addresses(self, slot: int, frame: int, picture: int) -> dict[str, int]:
        """Of every tensor of the engine, for a run of a slot."""
        current, following = self._ring.places(slot)
        addresses = {self.bundle.input_name: frame, self.bundle.output_name: picture}
        for index, spec in enumerate(self.bundle.state):
            addresses[spec.name] = self._ring.sets[current][index]
            addresses[spec.next_name] = self._ring.sets[following][index]
        return addresses

    def _infer(self, frame: Frame, slot: int) -> Frame:
        device, runner = self._device, self.runner
        assert device is not None
        assert runner is not None
        assert self._frame is not None
        assert self._picture is not None
        device.activate()
        (frame_host, frame_address), (picture_host, picture_address) = self._frame, self._picture
        frame_host.array[:] = frame.reshape(-1)
        runner.run(
            self._addresses(slot, frame_address, picture_address),
            before=lambda: stage_in(device, frame_host, frame_address),
            after=lambda: stage_out(device, picture_host, picture_address),
        )
        self._wait(device)
        self._ring.advance(slot)
        height, width = frame.shape[:2]
        return picture_of(picture_host, height, width, self.bundle.scale)

    def _begin(self, frame: Frame) -> None:
        device, runner = self._device, self.runner
        assert device is not None
        assert runner is not None
        assert self._frame is not None
        assert self._picture is not None
        device.activate()
        if self._lanes is None:
            first = (self._frame, self._picture)
            sizes = (host.array.nbytes for host, _ in first)
            self._lanes = Lanes(device, *sizes, first=first, mapped=self._mapped)

        def compute(lane: Lane) -> None:
            addresses = self._addresses(0, lane.frame[1], lane.picture[1])
            runner.run(addresses, lane=lane.number)

        self._lanes.begin(frame, compute)
        self._ring.advance(0)

    def _take(self, height: int, width: int) -> Frame:
        assert self._device is not None
        assert self._lanes is not None
        assert self.runner is not None
        self._device.activate()
        lane = self._lanes.take()
        taken = self.runner.take_seconds(lane.number)
        self.engine_seconds = (self.engine_seconds or 0.0) + taken
        return picture_of(lane.picture[0], height, width, self.bundle.scale)


class TensorRtRtxSession(TensorRtSession):
    """A stream graph on TensorRT-RTX; see `TensorRtSession`."""

    backend: ClassVar[str] = "tensorrt-rtx"
