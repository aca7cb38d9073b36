"""Clip networks on TensorRT and TensorRT-RTX: a window to features, which stay on the device."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ...arrays import Frame
from ...bundle.schema import TensorSpec
from ..nvidia.device import PinnedBuffer
from .clip_session import ClipSession
from .trt_base import TensorRtBase
from .trt_parts import (
    picture_of,
    require_tensors,
    stage_in,
    stage_out,
    staging,
    unstage,
)
from .trt_runner import EngineRunner


class TensorRtClipSession(TensorRtBase, ClipSession):
    """The two graphs of a clip network on TensorRT; features stay on the device.

    Args:
        bundle: The opened bundle, of kind `clip`.
        variant: Which of its variants to run.
        tile: See `Session`.
        cache: Where engines are; None for the user's.
    """

    backend: ClassVar[str] = "tensorrt"

    @property
    def _spec(self) -> TensorSpec:
        assert self.bundle.features is not None
        return self.bundle.features

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
        self.engine_bytes = sum(engines.plan_bytes.values())
        bundle, spec = self.bundle, self._spec
        require_tensors(encoder, inputs={bundle.input_name}, outputs={spec.name})
        require_tensors(decoder, inputs={spec.name}, outputs={bundle.output_name})
        encoder.set_shapes({bundle.input_name: (frames, height, width, 3)})
        decoder.set_shapes({spec.name: spec.shape(height, width)})
        itemsize = np.dtype(variant.state_dtype).itemsize
        self._feature_bytes = int(np.prod(spec.shape(height, width))) * itemsize
        self._clip = staging(device, frames * height * width * 3)
        self._picture = staging(device, height * width * 3 * bundle.scale**2)
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
        self._wait(device)
        height, width = self._input_size
        return picture_of(host, height, width, self.bundle.scale)


class TensorRtRtxClipSession(TensorRtClipSession):
    """The two graphs of a clip network on TensorRT-RTX; see `TensorRtClipSession`."""

    backend: ClassVar[str] = "tensorrt-rtx"
