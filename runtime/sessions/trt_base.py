"""What both kinds of TensorRT session share: how they are opened and closed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from ...bundle import Bundle
from ...bundle.schema import Variant
from ..engine.engine_cache import EngineCache
from ..nvidia import gpu
from ..nvidia.device import Device
from ..nvidia.flavour import load_flavour
from .session import Session
from .trt_parts import EngineSource
from .trt_profile import write_profile
from .trt_runner import EngineRunner


class TensorRtBase(Session):
    """A session that owns a device and its engines; stands before the kind of session it is.

    Args:
        bundle: The opened bundle.
        variant: Which of its variants to run.
        tile: See `Session`.
        cache: Where engines are; None for the user's.
    """

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
        self._forget()

    @property
    @abstractmethod
    def runners(self) -> Sequence[EngineRunner]:
        """Engines in use, for the census."""

    @abstractmethod
    def _forget(self) -> None:
        """Hold no buffer and no engine."""

    def _wait(self, device: Device) -> None:
        """Wait for everything queued, and count what engines took."""
        device.synchronize()
        taken = sum(runner.take_seconds() for runner in self.runners)
        self.engine_seconds = (self.engine_seconds or 0.0) + taken

    def _open(self) -> None:
        self.engine_seconds = 0.0
        flavour = load_flavour(self.backend)
        self._device = Device(gpu.load_driver())
        self.engines = EngineSource(
            self.bundle,
            self.variant,
            flavour,
            self._device,
            self._cache,
            profiled=self.profile_prefix is not None,
            progress=self._tell_build,
            yuv=self.yuv,
        )

    def _close(self) -> None:
        # What is queued (a window nobody took pictures of, a run that failed) ends first.
        if self._device is not None and self._device.settle():
            try:
                for runner in self.runners:
                    runner.close()
            finally:
                self._device.close()
        if self.engines is not None and self.engines.events:
            self.profiles = write_profile(self.engines.events, self.profile_prefix)
        self._device = self.engines = None
        self._forget()
