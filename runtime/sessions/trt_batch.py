"""Frames of several streams in one run of a TensorRT engine that was built for so many.

A block is such an engine with the state of its streams side by side in two arrays that change roles
with each frame. A stream that has no frame in time is computed along with whatever is in its place:
what comes out is written where nobody reads, so its state waits for its own next frame.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np

from ...arrays import Frame
from ...bundle import Bundle
from ...bundle.schema import Variant
from ..nvidia.device import ALIGNMENT, Device
from .trt_parts import EngineSource, stage_in, stage_out, staging
from .trt_runner import EngineRunner

LOGGER = logging.getLogger("adcvsr")


class TrtBlock:
    """One engine and the slots of the streams that it runs at once.

    Args:
        bundle: The opened bundle, of kind `stream`.
        variant: Of it.
        device: Where; it owns the memory.
        runner: The engine.
        streams: How many it takes.
        size: Padded height and width.
    """

    def __init__(
        self,
        bundle: Bundle,
        variant: Variant,
        device: Device,
        runner: EngineRunner,
        streams: int,
        size: tuple[int, int],
    ) -> None:
        self.runner, self.streams = runner, streams
        self._bundle, self._device, (self._height, self._width) = bundle, device, size
        self._taken: set[int] = set()
        shapes = {spec.name: spec.shape(*size, streams) for spec in bundle.state}
        runner.set_shapes({bundle.input_name: (streams, *size, 3), **shapes})
        self._sizes = state_bytes(bundle, variant, size)
        pixels = streams * size[0] * size[1] * 3
        self._frame, self._picture = (
            staging(device, pixels),
            staging(device, pixels * bundle.scale**2),
        )
        self._frame[0].array[:] = 0
        self._sets = [[device.allocate(streams * each) for each in self._sizes] for _ in range(2)]
        for addresses in self._sets:
            for address, each in zip(addresses, self._sizes, strict=True):
                device.zero(address, streams * each)
        device.synchronize()

    def take(self) -> int | None:
        """A free slot; None where all are taken."""
        slot = next((each for each in range(self.streams) if each not in self._taken), None)
        if slot is not None:
            self._taken.add(slot)
        return slot

    def give(self, slot: int) -> None:
        """Free a slot."""
        self._taken.discard(slot)

    def views(self, role: int, slot: int) -> list[int]:
        """Addresses of a slot's state tensors in one of the two roles."""
        pairs = zip(self._sets[role], self._sizes, strict=True)
        return [address + slot * size for address, size in pairs]

    def copy(self, slot: int, source: int, target: int) -> None:
        """Bring a slot's state from one role to the other, before the next run."""
        self._device.activate()
        views = zip(self.views(source, slot), self.views(target, slot), self._sizes, strict=True)
        for old, new, size in views:
            self._device.copy(new, old, size)

    def run(self, frames: Mapping[int, Frame], role: int) -> dict[int, Frame]:
        """Run frames with the state of one role; the next state is written into the other.

        Args:
            frames: (H, W, 3) uint8 of the padded size, by slot.
            role: 0 or 1.

        Returns:
            (4H, 4W, 3) uint8 by slot, owned by the caller.

        Raises:
            EngineError: The engine refused.
        """
        device = self._device
        device.activate()
        (given, given_at), (made, made_at) = self._frame, self._picture
        places = given.array.reshape(self.streams, self._height, self._width, 3)
        for slot, frame in frames.items():
            places[slot] = frame
        addresses = {self._bundle.input_name: given_at, self._bundle.output_name: made_at}
        for index, spec in enumerate(self._bundle.state):
            addresses[spec.name] = self._sets[role][index]
            addresses[spec.next_name] = self._sets[1 - role][index]
        self.runner.run(
            addresses,
            before=lambda: stage_in(device, given, given_at),
            after=lambda: stage_out(device, made, made_at),
        )
        device.synchronize()
        scale = self._bundle.scale
        shape = (self.streams, self._height * scale, self._width * scale, 3)
        pictures = made.array.reshape(shape)
        return {slot: pictures[slot].copy() for slot in frames}


class TrtBatches:
    """Blocks of one network, by size; they live as long as the session that lends them.

    Args:
        bundle: The opened bundle, of kind `stream`.
        variant: Of it.
        device: Where.
        engines: Where engines come from.
    """

    def __init__(
        self, bundle: Bundle, variant: Variant, device: Device, engines: EngineSource
    ) -> None:
        self._bundle, self._variant, self._device = bundle, variant, device
        self._engines = engines
        self._blocks: dict[tuple[int, int], list[TrtBlock]] = {}
        self._without: set[tuple[int, int]] = set()  # sizes that run one by one

    @property
    def runners(self) -> list[EngineRunner]:
        """Engines in use."""
        return [block.runner for blocks in self._blocks.values() for block in blocks]

    def take(self, height: int, width: int) -> tuple[TrtBlock, int] | None:
        """A slot for a stream of a padded size; None where it has to run by itself.

        Raises:
            EngineError: An engine is damaged, or does not load.
        """
        size = (height, width)
        if size in self._without:
            return None
        for block in self._blocks.setdefault(size, []):
            if (slot := block.take()) is not None:
                return block, slot
        self._device.activate()
        found = None
        if not any(each % ALIGNMENT for each in state_bytes(self._bundle, self._variant, size)):
            found = self._engines.load_batch(self._variant.file, height, width)
        if found is None:
            self._without.add(size)
            LOGGER.warning(
                "streams of %dx%d run one by one: the cache has no engine for several of them "
                "('adcvsr build --streams'), or their state does not lie on %d bytes",
                width,
                height,
                ALIGNMENT,
            )
            return None
        streams, runner = found
        block = TrtBlock(self._bundle, self._variant, self._device, runner, streams, size)
        self._blocks[size].append(block)
        slot = block.take()
        assert slot is not None
        return block, slot


def state_bytes(bundle: Bundle, variant: Variant, size: tuple[int, int]) -> list[int]:
    """Bytes of one stream's state tensors at a padded size."""
    itemsize = np.dtype(variant.state_dtype).itemsize
    return [int(np.prod(spec.shape(*size))) * itemsize for spec in bundle.state]
