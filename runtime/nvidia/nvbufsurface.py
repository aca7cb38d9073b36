"""NVIDIA's `NvBufSurface`, which memory of the kind NVMM holds: read by its public header's layout.

It comes with Jetson Linux and DeepStream (`libnvbufsurface.so`); nothing is loaded before a surface
is mapped.
"""

from __future__ import annotations

import ctypes
from typing import Any

from ...errors import BackendUnavailableError

LIBRARY = "libnvbufsurface.so"

MOST_PLANES = PADDING = 4

NV12 = (6, 7, 33, 34)
"""Colour formats of 8 bits: BT.601 and BT.709, each in limited and full range."""

PITCH = 0
"""Of layouts the one whose rows follow each other; 1 is block linear."""

CUDA_DEVICE, CUDA_UNIFIED, SURFACE_ARRAY = 2, 3, 4
"""Kinds of memory a GPU reaches: the last one through EGL, on a Jetson."""

_FOUR = ctypes.c_uint32 * MOST_PLANES


class PlaneParams(ctypes.Structure):
    """Where the planes of a surface lie."""

    _fields_ = (
        ("num_planes", ctypes.c_uint32),
        ("width", _FOUR),
        ("height", _FOUR),
        ("pitch", _FOUR),
        ("offset", _FOUR),
        ("psize", _FOUR),
        ("bytesPerPix", _FOUR),
        ("reserved", ctypes.c_void_p * (PADDING * MOST_PLANES)),
    )


class MappedAddress(ctypes.Structure):
    """Where a surface is mapped."""

    _fields_ = (
        ("addr", ctypes.c_void_p * MOST_PLANES),
        ("eglImage", ctypes.c_void_p),
        ("reserved", ctypes.c_void_p * PADDING),
    )


class SurfaceParams(ctypes.Structure):
    """One picture of a batch."""

    _fields_ = (
        ("width", ctypes.c_uint32),
        ("height", ctypes.c_uint32),
        ("pitch", ctypes.c_uint32),
        ("colorFormat", ctypes.c_int),
        ("layout", ctypes.c_int),
        ("bufferDesc", ctypes.c_uint64),
        ("dataSize", ctypes.c_uint32),
        ("dataPtr", ctypes.c_void_p),
        ("planeParams", PlaneParams),
        ("mappedAddr", MappedAddress),
        ("paramex", ctypes.c_void_p),
        ("reserved", ctypes.c_void_p * (PADDING - 1)),
    )


class Surface(ctypes.Structure):
    """`NvBufSurface`: a batch of pictures, of which a camera's or decoder's buffer has one."""

    _fields_ = (
        ("gpuId", ctypes.c_uint32),
        ("batchSize", ctypes.c_uint32),
        ("numFilled", ctypes.c_uint32),
        ("isContiguous", ctypes.c_bool),
        ("memType", ctypes.c_int),
        ("surfaceList", ctypes.POINTER(SurfaceParams)),
        ("reserved", ctypes.c_void_p * PADDING),
    )


def load_library() -> Any:
    """Load NVIDIA's library.

    Raises:
        BackendUnavailableError: It is not here.
    """
    try:
        return ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise BackendUnavailableError(
            f"{LIBRARY} does not load ({error}); Jetson Linux and DeepStream have it"
        ) from error
