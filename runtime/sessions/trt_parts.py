"""Parts of both kinds of TensorRT session: where engines come from, and how frames travel."""

from __future__ import annotations

import logging
from typing import Any

from ...arrays import Frame
from ...bundle import Bundle
from ...bundle.schema import Variant
from ...errors import BackendUnavailableError, EngineError
from ...graph.yuv_ends import YuvEnds
from ...variants import why_not
from ..engine.current import CurrentEngines
from ..engine.engine_cache import CacheEntry, EngineCache
from ..engine.engines import ensure_engine, find_engine, order_for
from ..engine.order import EngineOrder, SizeRange
from ..engine.progress import OnProgress
from ..nvidia.device import Device, PinnedBuffer
from ..nvidia.flavour import Flavour
from .trt_profile import Event
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
        profiled: Note the layers' times.
        progress: Called after each step of a build, and while another process builds.
        yuv: Of which YUV 4:2:0 pictures are; None for RGB.

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
        *,
        profiled: bool = False,
        progress: OnProgress | None = None,
        yuv: YuvEnds | None = None,
    ) -> None:
        self._progress, self._yuv = progress, yuv
        if reason := why_not(device.gpu.sm, flavour.backend, variant.precision):
            raise BackendUnavailableError(f"{device.gpu.name}, {flavour.backend}: {reason}")
        self.bundle, self.variant, self.flavour, self.device = bundle, variant, flavour, device
        self.cache = cache or EngineCache()
        self.plan_bytes: dict[str, int] = {}
        """Sizes of the engines in use, by graph file."""
        self.events: list[Event] | None = [] if profiled else None
        """Of all runs so far, see `trt_profile`."""
        self.only: set[str] | None = None
        """Keys that may be used; None for all. `adcvsr deploy` tries one engine."""
        self.deployed_mapped: bool | None = None
        """Of the latest engine: whether `adcvsr deploy` measured mapped memory to be the faster
        way for frames and pictures; None where it did not."""

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
            yuv=self._yuv,
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
        self.plan_bytes[file] = entry.size_bytes
        current = CurrentEngines(self.cache, self.bundle.name, self.device.gpu).current
        deployed = current is not None and entry.key in current["keys"]
        self.deployed_mapped = current.get("mapped") if current and deployed else None
        return self._start(entry, plan)

    def batches(self) -> list[int]:
        """Streams at once of engines in the cache, most first; of whichever networks."""
        found = {int(entry.identity.get("streams", 1)) for entry in self.cache.entries()}
        return sorted(found - {1}, reverse=True)

    def load_batch(self, file: str, height: int, width: int) -> tuple[int, EngineRunner] | None:
        """Load an engine for several streams of a (padded) size; None where the cache has none.

        None is built here: a compiler would hold up the streams that run.

        Returns:
            How many streams it takes at once, and the engine.

        Raises:
            EngineError: It is damaged, or does not load.
        """
        sizes = SizeRange.fixed(height, width)
        for streams in self.batches():
            order = order_for(
                self.bundle,
                self.variant,
                file,
                self.flavour,
                self.device.gpu,
                sizes,
                streams=streams,
            )
            entry = find_engine(order, self.device.gpu, height, width, self.cache, only=self.only)
            if entry is not None:
                return streams, self._start(entry, entry.read_plan())
        return None

    def _start(self, entry: CacheEntry, plan: bytes) -> EngineRunner:
        entry.touch()
        return EngineRunner(
            self.flavour,
            self.device,
            plan,
            version_compatible=entry.identity["options"]["version_compatible"],
            dla=entry.identity["options"].get("dla"),
            folder=entry.folder,
            events=self.events,
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
        return ensure_engine(
            order, cache=self.cache, progress=self._progress, report=LOGGER.warning
        ).entry


def staging(device: Device, size: int, *, mapped: bool | None = None) -> tuple[PinnedBuffer, int]:
    """Pinned memory and the device address that goes with it: the same where it is mapped.

    Args:
        device: Where.
        size: Bytes.
        mapped: See `Device.pin`.
    """
    host = device.pin(size, mapped=mapped)
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


def picture_of(host: PinnedBuffer, height: int, width: int, scale: int) -> Frame:
    """Copy a downloaded picture, for the caller to own."""
    picture: Frame = host.array.reshape(height * scale, width * scale, 3).copy()
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
