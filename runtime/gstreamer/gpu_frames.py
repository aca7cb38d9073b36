"""Buffers of GStreamer that lie in the GPU's memory, as handles that a session takes.

The element uses it; modules of GStreamer are given, so that nothing of it is imported here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import av
import numpy as np

from ...arrays import Levels
from ...errors import ConfigError
from ...pictures.scene_cuts import small_luma
from ..nvidia.gpu_picture import CannotImportError, CudaHandle, GpuHandle, NvmmHandle
from ..processing.cut_reset import SceneWatch
from .layout import Layout

NVMM, CUDA = NvmmHandle.kind, CudaHandle.kind
KINDS = (NVMM, CUDA)
"""Of memory, as caps name them."""

SYSTEM_MEMORY = "SystemMemory"
"""What GStreamer calls main memory. Read as one of NVIDIA's surfaces it would be addresses of
nothing."""

MAP_CUDA = 1 << 17
"""`GST_MAP_CUDA`: mapping gives the GPU's address, and nothing is copied."""


def kind_of(caps: Any) -> str:
    """Which kind of the GPU's memory frames of these caps have; empty for main memory."""
    features = caps.get_features(0)
    return next((kind for kind in KINDS if features is not None and features.contains(kind)), "")


@contextmanager
def handle_of(
    gst: Any, buffer: Any, kind: str, layout: Layout, *, write: bool
) -> Iterator[GpuHandle]:
    """Where a buffer's picture is, while the block lasts.

    Args:
        gst: The module Gst.
        buffer: Of NV12.
        kind: Of `KINDS`.
        layout: Of its frames.
        write: Whether it is written.

    Raises:
        CannotImportError: It is empty, or of odd sides.
        ConfigError: Its memory is the host's, whatever its caps say: a neighbour has no buffers of
            this kind to give.
    """
    if buffer.peek_memory(0).is_type(SYSTEM_MEMORY):
        end = "next" if write else "previous"
        raise ConfigError(
            f"{kind}: the {end} element gives buffers of main memory for it; put one beside adcvsr "
            "that has such buffers (nvvidconv, on a desktop cudaconvert or a codec of nvcodec), or "
            "leave gpu-memory out"
        )
    flags = int(gst.MapFlags.WRITE if write and kind == CUDA else gst.MapFlags.READ)
    with buffer.map(gst.MapFlags(flags | (MAP_CUDA if kind == CUDA else 0))) as mapped:
        # The address alone: of CUDA's memory no byte may be looked at.
        address = int(np.frombuffer(mapped.data, np.uint8).ctypes.data)
        if kind == NVMM:  # mapping gives NVIDIA's description of the surface
            yield NvmmHandle(address, layout.width, layout.height)
            return
        if len(layout.strides) < 2:
            raise CannotImportError(f"{kind}: {layout.format}, expected NV12")
        strides = (layout.strides[0], layout.strides[1])
        offsets = (layout.offsets[0], layout.offsets[1])
        yield CudaHandle(address, layout.width, layout.height, strides, offsets, stream=None)


def why_main_memory(kind: str, error: CannotImportError) -> str:
    """The line for people where a stream goes through main memory after all.

    Raises:
        CannotImportError: It cannot: a surface of NVIDIA's is no picture there.
    """
    if kind == NVMM:
        raise CannotImportError(
            f"{error}; put 'nvvidconv ! video/x-raw,format=NV12' before it (a copy a way)"
        ) from error
    return f"{error}: frames go through main memory, a copy down and a copy up"


def looks_for_cuts(watch: SceneWatch) -> Callable[[Levels], bool]:
    """What `infer_gpu` calls with a frame's luma to have the past forgotten at cuts."""
    return lambda luma: watch.is_cut(small_luma(av.VideoFrame.from_ndarray(luma, format="gray")))
