"""TensorRT and TensorRT-RTX behind the sessions' contract.

State stays on the device in buffers that swap; frames go through pinned memory, or are read in
place where CPU and GPU share memory. A size without an engine in the cache is built, with a line.
"""

from __future__ import annotations

import logging
from typing import Any, ClassVar

import numpy as np

from ..bundle import Bundle
from ..bundle_schema import Variant
from ..config import SCALE
from ..errors import BackendUnavailableError, EngineError
from ..targets import why_not
from .device import Device, PinnedBuffer
from .engine_cache import CacheEntry, EngineCache
from .engine_order import EngineOrder, SizeRange
from .engines import ensure_engine, find_engine, order_for
from .gpu import load_driver
from .session import ClipSession, Frame, StreamSession
from .trt_flavour import Flavour, load_flavour
from .trt_runner import EngineRunner

LOGGER = logging.getLogger("adcvsr")


class EngineSource:
    """Where a session gets its engines: the cache, or a build.

    Args:
        bundle: The opened bundle.
        variant: Which of its variants.
        flavour: The module.
        device: Where it runs.
        cache: None for the user's.

    Raises:
        BackendUnavailableError: The GPU does not run this precision.
    """

    def __init__(
        self,
        bundle: Bundle,
        variant: Variant,
        flavour: Flavour,
        device: Device,
        cache: EngineCache | None,
    ) -> None:
        precision = variant.id.split("-")[0]
        if reason := why_not(device.gpu.sm, flavour.backend, precision):
            raise BackendUnavailableError(f"{device.gpu.name}, {flavour.backend}: {reason}")
        self.bundle, self.variant, self.flavour, self.device = bundle, variant, flavour, device
        self.cache = cache or EngineCache()
        self.only: set[str] | None = None
        """Keys that may be used; None for all. `adcvsr deploy` tries one engine."""

    def load(self, file: str, height: int, width: int, frames: int = 1) -> EngineRunner:
        """Load the engine of a graph that takes a (padded) size.

        Raises:
            EngineError: It cannot be built, is damaged, or does not load.
        """
        order = order_for(
            self.bundle,
            self.variant,
            file,
            self.flavour,
            self.device.gpu,
            SizeRange.fixed(height, width),
            frames=frames,
        )
        entry = find_engine(order, self.device.gpu, height, width, self.cache, only=self.only)
        if entry is None:
            entry = self._build(order, "there is none for it")
        try:
            plan = entry.read_plan()
        except EngineError as error:
            self.cache.clear(entry.key)
            entry = self._build(order, str(error))
            plan = entry.read_plan()
        entry.touch()
        return EngineRunner(
            self.flavour,
            self.device,
            plan,
            version_compatible=entry.identity["options"]["version_compatible"],
        )

    def _build(self, order: EngineOrder, why: str) -> CacheEntry:
        if self.only is not None:
            raise EngineError(f"{order.describe()} may not be built here, and {why}")
        LOGGER.warning(
            "engine of %s: %s; building it now, which can take minutes ('adcvsr build' does it "
            "beforehand)",
            order.describe(),
            why,
        )
        return ensure_engine(order, cache=self.cache, report=LOGGER.warning).entry


class TensorRtSession(StreamSession):
    """A stream graph on TensorRT.

    Args:
        bundle: The opened bundle, of kind `stream`.
        variant: Which of its variants to run.
        tile: See `Session`.
        cache: Where engines are; None for the user's.
    """

    backend: ClassVar[str] = "tensorrt"

    def __init__(
        self,
        bundle: Bundle,
        variant: Variant,
        *,
        tile: int | None = None,
        cache: EngineCache | None = None,
    ) -> None:
        super().__init__(bundle, variant, tile=tile)
        self._cache = cache
        self._device: Device | None = None
        self.engines: EngineSource | None = None
        self.runner: EngineRunner | None = None
        self._forget()

    def _open(self) -> None:
        flavour = load_flavour(self.backend)
        self._device = Device(load_driver())
        self.engines = EngineSource(self.bundle, self.variant, flavour, self._device, self._cache)

    def _close(self) -> None:
        if self._device is not None:
            self._device.activate()
            if self.runner is not None:
                self.runner.close()
            self._device.close()
        self._device = self.engines = self.runner = None
        self._forget()

    @property
    def runners(self) -> list[EngineRunner]:
        """Engines in use, for the census."""
        return [self.runner] if self.runner else []

    def _forget(self) -> None:
        self._frame: tuple[PinnedBuffer, int] | None = None
        self._picture: tuple[PinnedBuffer, int] | None = None
        self._sets: list[list[int]] = []
        self._sizes: list[int] = []
        self._slots: list[int] = []
        self._spare = 0

    def _resize(self, height: int, width: int, slots: int) -> None:
        device, engines = self._device, self.engines
        assert device is not None
        assert engines is not None
        device.activate()
        device.synchronize()
        self._free()
        self.runner = engines.load(self.variant.file, height, width)
        bundle = self.bundle
        require_tensors(
            self.runner,
            inputs={bundle.input_name, *(spec.name for spec in bundle.state)},
            outputs={bundle.output_name, *(spec.next_name for spec in bundle.state)},
        )
        shapes = {bundle.input_name: (1, height, width, 3)}
        shapes |= {spec.name: spec.shape(height, width) for spec in bundle.state}
        self.runner.set_shapes(shapes)
        self._frame = staging(device, height * width * 3)
        self._picture = staging(device, height * width * 3 * SCALE * SCALE)
        itemsize = np.dtype(self.variant.state_dtype).itemsize
        self._sizes = [int(np.prod(spec.shape(height, width))) * itemsize for spec in bundle.state]
        # One set more than slots: the new state is written there, then the sets change places.
        self._sets = [[device.allocate(size) for size in self._sizes] for _ in range(slots + 1)]
        self._slots, self._spare = list(range(slots)), slots

    def _free(self) -> None:
        """Free what belongs to the former size: engine first, then its buffers."""
        device = self._device
        assert device is not None
        if self.runner is not None:
            self.runner.close()
            self.runner = None
        for address in (address for each in self._sets for address in each):
            device.free(address)
        for pair in (self._frame, self._picture):
            if pair is not None:
                unstage(device, *pair)
        self._forget()

    def _reset(self) -> None:
        assert self._device is not None
        self._device.activate()
        for slot in self._slots:
            for address, size in zip(self._sets[slot], self._sizes, strict=True):
                self._device.zero(address, size)

    def _infer(self, frame: Frame, slot: int) -> Frame:
        device, runner = self._device, self.runner
        assert device is not None
        assert runner is not None
        assert self._frame is not None
        assert self._picture is not None
        device.activate()
        (frame_host, frame_address), (picture_host, picture_address) = self._frame, self._picture
        frame_host.array[:] = frame.reshape(-1)
        current, following = self._slots[slot], self._spare
        addresses = {
            self.bundle.input_name: frame_address,
            self.bundle.output_name: picture_address,
        }
        for index, spec in enumerate(self.bundle.state):
            addresses[spec.name] = self._sets[current][index]
            addresses[spec.next_name] = self._sets[following][index]
        runner.run(
            addresses,
            before=lambda: stage_in(device, frame_host, frame_address),
            after=lambda: stage_out(device, picture_host, picture_address),
        )
        device.synchronize()
        self._slots[slot], self._spare = following, current
        height, width = frame.shape[:2]
        return picture_of(picture_host, height, width)


class TensorRtRtxSession(TensorRtSession):
    """A stream graph on TensorRT-RTX; see `TensorRtSession`."""

    backend: ClassVar[str] = "tensorrt-rtx"


class TensorRtClipSession(ClipSession):
    """The two graphs of a clip network on TensorRT; features stay on the device.

    Args:
        bundle: The opened bundle, of kind `clip`.
        variant: Which of its variants to run.
        tile: See `Session`.
        cache: Where engines are; None for the user's.
    """

    backend: ClassVar[str] = "tensorrt"

    def __init__(
        self,
        bundle: Bundle,
        variant: Variant,
        *,
        tile: int | None = None,
        cache: EngineCache | None = None,
    ) -> None:
        super().__init__(bundle, variant, tile=tile)
        assert bundle.features is not None
        self._spec, self._cache = bundle.features, cache
        self._device: Device | None = None
        self.engines: EngineSource | None = None
        self._forget()

    def _open(self) -> None:
        flavour = load_flavour(self.backend)
        self._device = Device(load_driver())
        self.engines = EngineSource(self.bundle, self.variant, flavour, self._device, self._cache)

    def _close(self) -> None:
        if self._device is not None:
            self._device.activate()
            for runner in self._runners:
                runner.close()
            self._device.close()
        self._device = self.engines = None
        self._forget()

    @property
    def runners(self) -> list[EngineRunner]:
        """Engines in use, for the census."""
        return list(self._runners)

    def _forget(self) -> None:
        self._runners: list[EngineRunner] = []
        self._clip: tuple[PinnedBuffer, int] | None = None
        self._picture: tuple[PinnedBuffer, int] | None = None
        self._features = self._one = 0
        self._feature_bytes = 0
        self._input_size = (0, 0)

    def _resize(self, height: int, width: int, frames: int) -> None:
        device, engines, variant = self._device, self.engines, self.variant
        assert device is not None
        assert engines is not None
        assert variant.decoder_file is not None
        device.activate()
        device.synchronize()
        self._free()
        encoder = engines.load(variant.file, height, width, frames)
        self._runners.append(encoder)
        decoder = engines.load(variant.decoder_file, height, width)
        self._runners.append(decoder)
        bundle, spec = self.bundle, self._spec
        require_tensors(encoder, inputs={bundle.input_name}, outputs={spec.name})
        require_tensors(decoder, inputs={spec.name}, outputs={bundle.output_name})
        encoder.set_shapes({bundle.input_name: (frames, height, width, 3)})
        decoder.set_shapes({spec.name: spec.shape(height, width)})
        itemsize = np.dtype(variant.state_dtype).itemsize
        self._feature_bytes = int(np.prod(spec.shape(height, width))) * itemsize
        self._clip = staging(device, frames * height * width * 3)
        self._picture = staging(device, height * width * 3 * SCALE * SCALE)
        self._features = device.allocate(frames * self._feature_bytes)
        # One frame's features at an address of their own: aligned, and the same for all frames, so
        # that one CUDA graph serves them.
        self._one = device.allocate(self._feature_bytes)
        self._input_size = (height, width)

    def _free(self) -> None:
        device = self._device
        assert device is not None
        for runner in self._runners:
            runner.close()
        for address in (self._features, self._one):
            if address:
                device.free(address)
        for pair in (self._clip, self._picture):
            if pair is not None:
                unstage(device, *pair)
        self._forget()

    def _encode(self, clip: Frame) -> None:
        device, pair = self._device, self._clip
        assert device is not None
        assert pair is not None
        device.activate()
        host, address = pair
        host.array[:] = clip.reshape(-1)
        self._runners[0].run(
            {self.bundle.input_name: address, self._spec.name: self._features},
            before=lambda: stage_in(device, host, address),
        )

    def _decode(self, index: int) -> Frame:
        device, pair = self._device, self._picture
        assert device is not None
        assert pair is not None
        device.activate()
        host, address = pair
        device.copy(self._one, self._features + index * self._feature_bytes, self._feature_bytes)
        self._runners[1].run(
            {self._spec.name: self._one, self.bundle.output_name: address},
            after=lambda: stage_out(device, host, address),
        )
        device.synchronize()
        height, width = self._input_size
        return picture_of(host, height, width)


class TensorRtRtxClipSession(TensorRtClipSession):
    """The two graphs of a clip network on TensorRT-RTX; see `TensorRtClipSession`."""

    backend: ClassVar[str] = "tensorrt-rtx"


def staging(device: Device, size: int) -> tuple[PinnedBuffer, int]:
    """Pinned memory and the device address that goes with it: the same where memory is shared."""
    host = device.pin(size)
    return host, device.allocate(size) if host.device is None else host.device


def unstage(device: Device, host: PinnedBuffer, address: int) -> None:
    """Free what `staging` gave."""
    if host.device is None:
        device.free(address)
    device.unpin(host)


def stage_in(device: Device, host: PinnedBuffer, address: int) -> None:
    """Queue the upload, where there is one."""
    if host.device is None:
        device.upload(address, host, host.array.nbytes)


def stage_out(device: Device, host: PinnedBuffer, address: int) -> None:
    """Queue the download, where there is one."""
    if host.device is None:
        device.download(host, address, host.array.nbytes)


def picture_of(host: PinnedBuffer, height: int, width: int) -> Frame:
    """Copy a downloaded picture, for the caller to own."""
    picture: Frame = host.array.reshape(height * SCALE, width * SCALE, 3).copy()
    return picture


def require_tensors(runner: EngineRunner, *, inputs: set[str], outputs: set[str]) -> None:
    """Compare an engine's tensors with the manifest's promises.

    Raises:
        EngineError: They differ.
    """
    found: Any = (set(runner.inputs), set(runner.outputs))
    if found != (inputs, outputs):
        raise EngineError(
            f"the engine has inputs {sorted(found[0])} and outputs {sorted(found[1])}, the "
            f"manifest says {sorted(inputs)} and {sorted(outputs)}; clear it and build again: "
            "adcvsr cache clear"
        )
