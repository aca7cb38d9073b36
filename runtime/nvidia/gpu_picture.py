"""Pictures of others in the GPU's memory: one interface for whatever GStreamer hands over.

A handle says where a picture is. Opened on a device it becomes addresses with strides, which a
session reads or writes without a copy through main memory; at the end of the block all is let go of
in order, after the GPU is done with it.

    with handle.on(device, write=False) as picture:
        picture.luma.address, picture.luma.stride

What cannot be opened says so (`CannotImportError`), and the caller goes through main memory.
**No real hardware has run this**: it is held to the driver's documented rules over a fake of it.
"""

from __future__ import annotations

import ctypes
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

from ...errors import BackendUnavailableError
from . import nvbufsurface as nv
from .device import Device
from .gpu import checked


class CannotImportError(BackendUnavailableError):
    """The GPU does not reach this memory as it is; the message is the reason."""


@dataclass(frozen=True)
class Plane:
    """Rows of bytes in the GPU's memory."""

    address: int
    stride: int
    """Bytes from row to row."""
    row_bytes: int
    rows: int

    @property
    def is_dense(self) -> bool:
        """Whether row follows row without padding."""
        return self.stride == self.row_bytes


@dataclass(frozen=True)
class GpuPicture:
    """NV12 in the GPU's memory."""

    luma: Plane
    chroma: Plane
    stream: int = 0
    """CUDA stream whose queued work is still to write or read it; 0 where there is none."""

    @property
    def planes(self) -> tuple[Plane, Plane]:
        """Luma and chroma."""
        return self.luma, self.chroma


class GpuHandle(ABC):
    """Where a picture of NV12 is.

    Args:
        width: Pixels, even.
        height: Likewise.

    Raises:
        CannotImportError: A side is odd: NV12 has no half pairs.
    """

    kind: ClassVar[str]
    """As GStreamer calls it, for messages."""

    def __init__(self, width: int, height: int) -> None:
        if width % 2 or height % 2:
            raise CannotImportError(f"{width}x{height} of NV12: both sides have to be even")
        self.width, self.height = width, height

    @contextmanager
    def on(self, device: Device, *, write: bool) -> Iterator[GpuPicture]:
        """Give the picture's addresses on a device, current in this thread, while the block lasts.

        Args:
            device: Where it is read or written.
            write: Whether it is written; else it is read alone.

        Raises:
            CannotImportError: The GPU does not reach it; nothing is held then.
        """
        with ExitStack() as held:
            try:
                picture = self._open(device, held, write=write)
            except CannotImportError:
                raise
            except BackendUnavailableError as error:
                raise CannotImportError(f"{self.kind}: {error}") from error
            for plane in picture.planes:
                if plane.stride < plane.row_bytes:
                    raise CannotImportError(
                        f"{self.kind}: rows of {plane.row_bytes} bytes every {plane.stride}"
                    )
            held.callback(device.settle)  # the first that runs: the GPU is done with what goes next
            yield picture

    @abstractmethod
    def _open(self, device: Device, held: ExitStack, *, write: bool) -> GpuPicture:
        """Find the addresses; what has to be undone goes to `held`, in the order it was done."""

    def _picture(
        self, base: int, strides: tuple[int, int], offsets: tuple[int, int], stream: int = 0
    ) -> GpuPicture:
        luma = Plane(base + offsets[0], strides[0], self.width, self.height)
        chroma = Plane(base + offsets[1], strides[1], self.width, self.height // 2)
        return GpuPicture(luma, chroma, stream)


class CudaHandle(GpuHandle):
    """Memory of CUDA itself, as GStreamer's `memory:CUDAMemory` is on a desktop.

    Args:
        address: Of the device, as mapping with `GST_MAP_CUDA` gives it.
        width: Pixels.
        height: Pixels.
        strides: Bytes from row to row, of luma and chroma.
        offsets: Of both planes, in bytes.
        stream: GStreamer's, on which its elements queued what makes the picture; 0 for none, None
            where it is not known: then all work of the context is waited for.
    """

    kind = "memory:CUDAMemory"

    def __init__(
        self,
        address: int,
        width: int,
        height: int,
        strides: tuple[int, int],
        offsets: tuple[int, int],
        stream: int | None = 0,
    ) -> None:
        super().__init__(width, height)
        self.address, self.strides, self.offsets = address, strides, offsets
        self.stream = stream

    def _open(self, device: Device, held: ExitStack, *, write: bool) -> GpuPicture:
        if not device.owns_context_of(self.address):
            raise CannotImportError(
                f"{self.kind}: it belongs to another CUDA context (elements of GStreamer make one "
                "of their own where the program gives none)"
            )
        if self.stream is None:
            checked(device.driver.cuCtxSynchronize())
        return self._picture(self.address, self.strides, self.offsets, self.stream or 0)


class NvmmHandle(GpuHandle):
    """A surface of NVIDIA's, as `memory:NVMM` holds one.

    Args:
        address: Of the `NvBufSurface` in main memory: what mapping the buffer gives.
        width: Pixels.
        height: Pixels.
        library: `libnvbufsurface.so`; None to load it.
    """

    kind = "memory:NVMM"

    def __init__(self, address: int, width: int, height: int, library: Any = None) -> None:
        super().__init__(width, height)
        self.address, self._library = address, library

    def _open(self, device: Device, held: ExitStack, *, write: bool) -> GpuPicture:
        surface = nv.Surface.from_address(self.address)
        one = surface.surfaceList[0] if surface.numFilled or surface.batchSize else None
        if one is None:
            raise CannotImportError(f"{self.kind}: the surface is empty")
        if one.colorFormat not in nv.NV12 or one.planeParams.num_planes != 2:
            raise CannotImportError(
                f"{self.kind}: colour format {one.colorFormat} of {one.planeParams.num_planes} "
                "planes, expected NV12"
            )
        if (one.width, one.height) != (self.width, self.height):
            raise CannotImportError(
                f"{self.kind}: a surface of {one.width}x{one.height} for a picture of "
                f"{self.width}x{self.height}"
            )
        pitch, offset = tuple(one.planeParams.pitch[:2]), tuple(one.planeParams.offset[:2])
        if surface.memType in (nv.CUDA_DEVICE, nv.CUDA_UNIFIED):
            self._require_pitch(one.layout)
            return self._picture(int(one.dataPtr or 0), pitch, offset)
        if surface.memType not in (0, nv.SURFACE_ARRAY):
            raise CannotImportError(f"{self.kind}: memory of type {surface.memType}")
        return self._through_egl(device, held, surface, pitch, write=write)

    def _require_pitch(self, layout: int) -> None:
        if layout != nv.PITCH:
            raise CannotImportError(
                f"{self.kind}: its layout is block linear, expected rows: put 'nvvidconv "
                "bl-output=false' before it"
            )

    def _through_egl(
        self,
        device: Device,
        held: ExitStack,
        surface: nv.Surface,
        pitch: tuple[int, ...],
        *,
        write: bool,
    ) -> GpuPicture:
        library = self._library or nv.load_library()
        if library.NvBufSurfaceMapEglImage(ctypes.byref(surface), 0):
            raise CannotImportError(
                f"{self.kind}: NvBufSurfaceMapEglImage failed; without a screen, unset DISPLAY"
            )
        held.callback(library.NvBufSurfaceUnMapEglImage, ctypes.byref(surface), 0)
        image = surface.surfaceList[0].mappedAddr.eglImage
        driver = device.driver
        known = driver.CUgraphicsRegisterFlags
        flags = (
            known.CU_GRAPHICS_REGISTER_FLAGS_WRITE_DISCARD
            if write
            else known.CU_GRAPHICS_REGISTER_FLAGS_READ_ONLY
        )
        resource = checked(driver.cuGraphicsEGLRegisterImage(image, int(flags)))
        held.callback(lambda: checked(driver.cuGraphicsUnregisterResource(resource)))
        frame = checked(driver.cuGraphicsResourceGetMappedEglFrame(resource, 0, 0))
        if frame.frameType != driver.CUeglFrameType.CU_EGL_FRAME_TYPE_PITCH:
            self._require_pitch(1)  # as CUDA sees it, whatever the surface says of itself
        if frame.planeCount != 2:
            raise CannotImportError(f"{self.kind}: {frame.planeCount} planes, expected NV12's 2")
        luma, chroma = (int(each) for each in frame.frame.pPitch[:2])
        return GpuPicture(
            Plane(luma, int(frame.pitch), self.width, self.height),
            Plane(chroma, int(pitch[1]), self.width, self.height // 2),
        )


class DmabufHandle(GpuHandle):
    """A file descriptor of Linux, as `memory:DMABuf` holds one.

    On a Jetson it is one of NVIDIA's surfaces. Elsewhere CUDA takes it as external memory where the
    driver exported it; a buffer of a camera's or another GPU's driver it refuses.

    Args:
        fd: Stays the caller's.
        size: Bytes of the memory.
        width: Pixels.
        height: Pixels.
        strides: Bytes from row to row, of luma and chroma.
        offsets: Of both planes, in bytes.
        modifier: DRM's, of how rows lie; 0 is linear.
        library: See `NvmmHandle`.
    """

    kind = "memory:DMABuf"

    def __init__(
        self,
        fd: int,
        size: int,
        width: int,
        height: int,
        strides: tuple[int, int],
        offsets: tuple[int, int],
        *,
        modifier: int = 0,
        library: Any = None,
    ) -> None:
        super().__init__(width, height)
        self.fd, self.size, self.strides, self.offsets = fd, size, strides, offsets
        self.modifier, self._library = modifier, library

    def _open(self, device: Device, held: ExitStack, *, write: bool) -> GpuPicture:
        if self.modifier:
            raise CannotImportError(
                f"{self.kind}: its rows are tiled (modifier {self.modifier:#x}), expected linear"
            )
        if device.gpu.integrated:
            return self._as_surface(device, held, write=write)
        needed = self.offsets[1] + self.strides[1] * (self.height // 2 - 1) + self.width
        if needed > self.size:
            raise CannotImportError(f"{self.kind}: {self.size} bytes, the picture has {needed}")
        driver = device.driver
        what = driver.CUDA_EXTERNAL_MEMORY_HANDLE_DESC()
        what.type = driver.CUexternalMemoryHandleType.CU_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD
        what.size = self.size
        what.handle.fd = os.dup(self.fd)  # CUDA's own from here on, where it takes it
        try:
            memory = checked(driver.cuImportExternalMemory(what))
        except BaseException:
            os.close(what.handle.fd)
            raise
        held.callback(lambda: checked(driver.cuDestroyExternalMemory(memory)))
        part = driver.CUDA_EXTERNAL_MEMORY_BUFFER_DESC()
        part.offset, part.size = 0, self.size
        base = int(checked(driver.cuExternalMemoryGetMappedBuffer(memory, part)))
        held.callback(lambda: checked(driver.cuMemFree(base)))
        return self._picture(base, self.strides, self.offsets)

    def _as_surface(self, device: Device, held: ExitStack, *, write: bool) -> GpuPicture:
        library = self._library or nv.load_library()
        found = ctypes.c_void_p()
        if library.NvBufSurfaceFromFd(self.fd, ctypes.byref(found)) or not found.value:
            raise CannotImportError(f"{self.kind}: no surface of NVIDIA's (NvBufSurfaceFromFd)")
        handle = NvmmHandle(found.value, self.width, self.height, library)
        return handle._open(device, held, write=write)
