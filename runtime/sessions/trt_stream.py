"""Stream networks on TensorRT and TensorRT-RTX.

State stays on the device in buffers that swap; frames go through pinned memory, or are read in
place where CPU and GPU share memory. A size without an engine in the cache is built, with a line.
Where pictures may come a frame later (`infer_behind`), copies run beside the engine: see `Lanes`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, cast

import numpy as np

from ...arrays import Frame, Levels
from ...graph.yuv_ends import CHROMA, YuvEnds
from ...pictures.yuv_picture import AnyPicture, YuvPicture
from ..engine.order import Shape
from ..nvidia.device import Device, PinnedBuffer
from ..nvidia.gpu_picture import CannotImportError, GpuHandle, GpuPicture
from .frames import crop, pad_to_multiple
from .state_ring import StateRing
from .stream_session import StreamSession
from .trt_base import TensorRtBase
from .trt_batch import TrtBatches, TrtBlock, state_bytes
from .trt_gpu import GPU_LANE, GpuEnds, read_plane, sizes_fit
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

MORE_THAN_NOUGHT = 0x3C
"""A byte that repeated is a number of more than 0, in float32 as in float16."""


class TensorRtSession(TensorRtBase, StreamSession):
    """A stream graph on TensorRT.

    Args:
        bundle: The opened bundle, of kind `stream`.
        variant: Which of its variants to run.
        tile: See `Session`.
        cache: Where engines are; None for the user's.
    """

    backend: ClassVar[str] = "tensorrt"
    takes_yuv = True
    yuv_unasked = False
    overlaps = True

    mapped: bool | None = None
    """Set before opening: whether the GPU reads frames and writes pictures in the host's memory;
    None for what `adcvsr deploy` measured to be faster, and else where both share memory."""

    @property
    def runners(self) -> list[EngineRunner]:
        """Engines in use, for the census."""
        mine = [self.runner] if self.runner else []
        return mine + (self._batches.runners if self._lends and self._batches else [])

    @property
    def gpu_copies(self) -> tuple[int, int] | None:
        """See `Session`: into pinned memory, and from there to the GPU unless both share it."""
        if not self._staged:
            return None
        host, _ = next(iter(self._staged.values()))
        each = 2 if host.device is None else 1
        return each, each

    _batches: TrtBatches | None = None  # of all streams of one network
    _lends: bool = False  # whether they are this one's
    _slot: tuple[TrtBlock, int] | None = None

    def of_yuv(self, ends: YuvEnds) -> TensorRtSession:
        """See `StreamSession`."""
        other = type(self)(self.bundle, self.variant, tile=self.tiling.side, cache=self._cache)
        other.yuv, other.mapped = ends, self.mapped
        other.variant_reason, other.reasons = self.variant_reason, self.reasons
        return other

    def _beside(self) -> TensorRtSession:
        other = type(self)(self.bundle, self.variant, tile=self.tiling.side, cache=self._cache)
        other.yuv, other.mapped = self.yuv, self.mapped
        other._batches = self._batches
        return other

    def prepare_batches(self) -> str:
        """See `StreamSession`; takes engines of `adcvsr build --streams` out of the cache."""
        assert self._device is not None
        assert self.engines is not None
        if not self.engines.batches():
            return (
                "no engine in the cache takes several streams ('adcvsr build --streams 4' with "
                "their size makes one)"
            )
        self._batches = TrtBatches(self.bundle, self.variant, self._device, self.engines)
        self._lends = True
        return ""

    def batch_family(self, frame: AnyPicture) -> object | None:
        """See `StreamSession`."""
        fits = frame.shape[:2] == self._shape and self._ahead is None
        return self._slot[0] if self._slot is not None and fits else None

    def run_batch(self, pairs: Sequence[tuple[StreamSession, AnyPicture]]) -> list[int]:
        """See `StreamSession`."""
        members = [
            (session, cast("Frame", frame))  # of YUV each has an engine of its own
            for session, frame in pairs
            if isinstance(session, type(self))
        ]
        assert self._slot is not None
        block = self._slot[0]
        if 2 * len(members) <= block.streams:
            return []  # most of the engine's work would be for nobody
        role = self._ring.places(0)[0]
        multiple = self.bundle.size_multiple
        frames = {}
        for session, frame in members:
            assert session._slot is not None
            current, spare = session._ring.places(0)
            if current != role:  # it missed a turn
                block.copy(session._slot[1], current, spare)
                session._ring.advance(0)
            frames[session._slot[1]] = np.ascontiguousarray(pad_to_multiple(frame, multiple))
        pictures = block.run(frames, role)
        for session, frame in members:
            assert session._slot is not None
            session._ring.advance(0)
            session._ahead = (
                frame,
                crop(pictures[session._slot[1]], frame.shape, self.bundle.scale),
            )
        self.engine_seconds = (self.engine_seconds or 0.0) + block.runner.take_seconds()
        return [len(members)]

    def _forget(self) -> None:
        if self._slot is not None:
            block, slot = self._slot
            block.give(slot)
            self._slot, self.batches = None, False
        self.runner: EngineRunner | None = None
        self._staged: dict[str, tuple[PinnedBuffer, int]] = {}
        self._ring: StateRing[list[int]] = StateRing()
        self._sizes: list[int] = []
        self._lanes: Lanes | None = None
        self._gpu_ends: GpuEnds | None = None
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
        taken, made = self._pictures(height, width)
        require_tensors(
            self.runner,
            inputs={*taken, *(spec.name for spec in bundle.state)},
            outputs={*made, *(spec.next_name for spec in bundle.state)},
        )
        shapes = taken | {spec.name: spec.shape(height, width) for spec in bundle.state}
        self.runner.set_shapes(shapes)
        self._mapped = engines.deployed_mapped if self.mapped is None else self.mapped
        for name, shape in (taken | made).items():
            self._staged[name] = staging(device, math.prod(shape), mapped=self._mapped)
        self._sizes = state_bytes(bundle, self.variant, (height, width))
        if self._batches is not None and not self._lends and slots == 1:
            self._slot = self._batches.take(height, width)
        if self._slot is not None:
            self.batches = True
            block, slot = self._slot
            views = iter([block.views(role, slot) for role in range(2)])
            self._ring.fill(1, lambda: next(views))
        else:
            self._ring.fill(slots, lambda: [device.allocate(size) for size in self._sizes])

    def _free(self) -> None:
        """Free what belongs to the former size: engine first, then its buffers."""
        device = self._device
        assert device is not None
        if self.runner is not None:
            self.runner.close()
            self.runner = None
        if self._slot is None:  # else they are the block's
            for address in (address for each in self._ring.sets for address in each):
                device.free(address)
        if self._lanes is not None:
            self._lanes.free()
        for pair in self._staged.values():
            unstage(device, *pair)
        self._forget()

    def _reset(self) -> None:
        assert self._device is not None
        self._device.activate()
        for state in self._ring.current():
            for address, size in zip(state, self._sizes, strict=True):
                self._device.zero(address, size)
        if self._slot is not None:
            self._device.synchronize()  # a batch runs on another stream

    def _fill(self, index: int) -> None:
        assert self._device is not None
        self._device.activate()
        for state in self._ring.current():
            self._device.set_bytes(state[index], MORE_THAN_NOUGHT, self._sizes[index])
        if self._slot is not None:
            self._device.synchronize()  # a batch runs on another stream

    def _pictures(self, height: int, width: int) -> tuple[dict[str, Shape], dict[str, Shape]]:
        """Shapes of what is taken and made, by name; all uint8."""
        name_in, name_out = self.bundle.input_name, self.bundle.output_name
        if self.yuv is None:
            picture = (1, height * self.bundle.scale, width * self.bundle.scale, 3)
            return {name_in: (1, height, width, 3)}, {name_out: picture}
        pairs = (1, (height + 1) // 2, (width + 1) // 2, 2)
        columns = width * self.bundle.scale
        return (
            {name_in: (1, height, width, 1), CHROMA.format(name_in): pairs},
            {
                name_out: (1, height, self.bundle.scale, columns),
                CHROMA.format(name_out): (1, height, self.bundle.scale // 2, columns),
            },
        )

    def _addresses(self, slot: int, pictures: Mapping[str, int]) -> dict[str, int]:
        """Of every tensor of the engine, for a run of a slot, with those of its pictures."""
        current, following = self._ring.places(slot)
        addresses = dict(pictures)
        for index, spec in enumerate(self.bundle.state):
            addresses[spec.name] = self._ring.sets[current][index]
            addresses[spec.next_name] = self._ring.sets[following][index]
        return addresses

    def _infer(self, frame: Frame, slot: int) -> Frame:
        (made,) = self._run_staged([frame], slot)
        height, width, _ = frame.shape
        return picture_of(made, height, width, self.bundle.scale)

    def _infer_yuv(self, picture: YuvPicture) -> YuvPicture:
        planes = self._run_staged([picture.luma, picture.chroma], 0)
        height, width = (self.bundle.scale * side for side in picture.shape)
        out = YuvPicture.empty(height, width, picture.colours)
        for plane, host in zip((out.luma, out.chroma), planes, strict=True):
            plane.reshape(-1)[:] = host.array
        return out

    def infer_gpu(
        self,
        given: GpuHandle,
        target: GpuHandle,
        look: Callable[[Levels], bool] | None = None,
    ) -> int:
        """See `StreamSession`."""
        if not self._active or self.yuv is None or self._device is None:
            raise RuntimeError("the session is not open, or of RGB")
        low, big = (given.width, given.height), (target.width, target.height)
        if why := sizes_fit(low, big, self.bundle.scale, self.bundle.size_multiple):
            raise CannotImportError(why)
        if self.tiling.side is not None:
            raise CannotImportError("pictures of YUV are not tiled")
        device = self._device
        device.activate()
        with given.on(device, write=False) as source, target.on(device, write=True) as sink:
            if look is not None and look(self._luma_of(device, source)):
                self.reset()
            return self._sized(low[::-1], lambda: self._run_gpu(device, source, sink))

    def _luma_of(self, device: Device, source: GpuPicture) -> Levels:
        if source.stream:
            device.wait_for_other(source.stream)
        return read_plane(device, source.luma)

    def _run_gpu(self, device: Device, source: GpuPicture, sink: GpuPicture) -> int:
        assert self.runner is not None
        if self._gpu_ends is None:
            self._gpu_ends = GpuEnds(device, self._staged)
        places = self._gpu_ends.take(source, sink)
        self.runner.run(self._addresses(0, places), lane=GPU_LANE)
        self._gpu_ends.give()
        device.synchronize()
        taken = self.runner.take_seconds(GPU_LANE)
        self.engine_seconds = (self.engine_seconds or 0.0) + taken
        self._ring.advance(0)
        return self._gpu_ends.copies

    def _run_staged(self, given: Sequence[Levels], slot: int) -> list[PinnedBuffer]:
        """Run the engine on pictures or planes; gives where those that it made lie."""
        device, runner = self._device, self.runner
        assert device is not None
        assert runner is not None
        device.activate()
        staged = list(self._staged.values())
        taken, made = staged[: len(given)], staged[len(given) :]
        for (host, _), plane in zip(taken, given, strict=True):
            host.array[:] = plane.reshape(-1)
        addresses = {name: address for name, (_, address) in self._staged.items()}
        runner.run(
            self._addresses(slot, addresses),
            before=lambda: _each(stage_in, device, taken),
            after=lambda: _each(stage_out, device, made),
        )
        self._wait(device)
        self._ring.advance(slot)
        return [host for host, _ in made]

    def _begin(self, frame: Frame) -> None:
        device, runner = self._device, self.runner
        assert device is not None
        assert runner is not None
        name_in, name_out = self.bundle.input_name, self.bundle.output_name
        device.activate()
        if self._lanes is None:
            first = (self._staged[name_in], self._staged[name_out])
            sizes = (host.array.nbytes for host, _ in first)
            self._lanes = Lanes(device, *sizes, first=first, mapped=self._mapped)

        def compute(lane: Lane) -> None:
            pictures = {name_in: lane.frame[1], name_out: lane.picture[1]}
            runner.run(self._addresses(0, pictures), lane=lane.number)

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


def _each(
    stage: Callable[[Device, PinnedBuffer, int], None],
    device: Device,
    staged: Sequence[tuple[PinnedBuffer, int]],
) -> None:
    """Queue the copies of several pictures or planes."""
    for host, address in staged:
        stage(device, host, address)


class TensorRtRtxSession(TensorRtSession):
    """A stream graph on TensorRT-RTX; see `TensorRtSession`."""

    backend: ClassVar[str] = "tensorrt-rtx"
