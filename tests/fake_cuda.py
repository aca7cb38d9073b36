"""CUDA's driver as the sessions see it, on host memory, with the rules a real one holds.

Device addresses are made up, so that host code touching them fails; memory freed once is gone;
calls need a current context in their thread; a capturing stream records instead of running. What
is queued happens when the stream is waited for, not before (or, of streams beside the first, as
soon as their own waits allow: `eager_copies`); nothing in use by it may be freed.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from enum import IntEnum
from types import SimpleNamespace
from typing import Any

import numpy as np


class CUresult(IntEnum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_INVALID_VALUE = 1
    CUDA_ERROR_OUT_OF_MEMORY = 2
    CUDA_ERROR_INVALID_CONTEXT = 201
    CUDA_ERROR_ILLEGAL_ADDRESS = 700
    CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED = 900
    CUDA_ERROR_STREAM_CAPTURE_INVALIDATED = 901


OK = CUresult.CUDA_SUCCESS
BASE = 0x7000_0000_0000
CONTEXT = 0xC0DE


class Stream:
    def __init__(self, handle: int) -> None:
        self.handle = handle
        self.recording: list[Callable[[], None]] | None = None
        self.queued: list[Callable[[], None]] = []
        self.broken = False
        self.blocked: Callable[[Any], bool] = lambda work: False
        """Whether the next work waits for another stream; set by the driver."""

    def __int__(self) -> int:
        return self.handle

    def queue(self, work: Callable[[], None]) -> None:
        """Keep for later, or record while capturing."""
        (self.queued if self.recording is None else self.recording).append(work)

    def finish(self, until: Callable[[], bool] = lambda: False) -> None:
        """What the GPU would have done by now, or up to some point."""
        while self.queued and not until():
            self.queued.pop(0)()

    def advance(self) -> None:
        """Run ahead, up to what waits for another stream."""
        while self.queued and not self.blocked(self.queued[0]):
            self.queued.pop(0)()


class FakeDriver:
    """Stands in for `cuda.bindings.driver`, after `cuInit`."""

    CU_MEMHOSTALLOC_DEVICEMAP = 2
    CUstream_flags = SimpleNamespace(CU_STREAM_NON_BLOCKING=1)
    CUstreamCaptureMode = SimpleNamespace(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL=1)
    CUevent_flags = SimpleNamespace(CU_EVENT_DEFAULT=0)
    CUevent_record_flags = SimpleNamespace(CU_EVENT_RECORD_DEFAULT=0, CU_EVENT_RECORD_EXTERNAL=1)
    CUdevice_attribute = SimpleNamespace(
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR="major",
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR="minor",
        CU_DEVICE_ATTRIBUTE_INTEGRATED="integrated",
    )
    CUmemorytype = SimpleNamespace(CU_MEMORYTYPE_DEVICE=2)
    CUpointer_attribute = SimpleNamespace(CU_POINTER_ATTRIBUTE_CONTEXT=1)
    CUgraphicsRegisterFlags = SimpleNamespace(
        CU_GRAPHICS_REGISTER_FLAGS_READ_ONLY=1, CU_GRAPHICS_REGISTER_FLAGS_WRITE_DISCARD=2
    )
    CUeglFrameType = SimpleNamespace(CU_EGL_FRAME_TYPE_ARRAY=0, CU_EGL_FRAME_TYPE_PITCH=1)
    CUexternalMemoryHandleType = SimpleNamespace(CU_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD=1)
    CUDA_MEMCPY2D = SimpleNamespace
    CUDA_EXTERNAL_MEMORY_BUFFER_DESC = SimpleNamespace

    @staticmethod
    def CUDA_EXTERNAL_MEMORY_HANDLE_DESC() -> SimpleNamespace:
        return SimpleNamespace(handle=SimpleNamespace())

    def __init__(self, *, name: str = "Fake GPU", sm: int = 89, integrated: bool = False) -> None:
        self.name, self.integrated = name, integrated
        self.attributes = {"major": sm // 10, "minor": sm % 10, "integrated": int(integrated)}
        self.memory: dict[int, np.ndarray] = {}
        self.pinned: dict[int, Any] = {}
        self.mapped: set[int] = set()
        self.streams: dict[int, Stream] = {}
        self.graphs: dict[int, list[Callable[[], None]]] = {}
        self.executables: dict[int, list[Callable[[], None]]] = {}
        self.events: dict[int, int | None] = {}
        self.recorded: dict[int, tuple[Stream, int]] = {}
        """Where each event was recorded last, and how often in all."""
        self.reached: dict[int, int] = {}
        """How many of an event's records the GPU has come to."""
        self.waits: dict[Any, tuple[int, int]] = {}
        """Queued waits, and what they wait for."""
        self.eager_copies = False
        """Streams beside the first run ahead as far as they can."""
        self.next = BASE
        self.created = 0
        self.retained = 0
        self.local = threading.local()
        self.time_us = 0
        """Of the GPU: each event is half a millisecond after what came before."""
        self.calls: list[str] = []
        self.faults: list[str] = []
        """Misuse that shows where nobody hears an exception."""
        self.failed = False
        """As after an illegal access: the GPU answers nothing else any more."""
        self.limit_bytes = 1 << 30
        self.images: dict[int, SimpleNamespace] = {}
        """EGL images by handle, and the frame that each is."""
        self.resources: dict[int, int] = {}
        self.exported: dict[int, np.ndarray] = {}
        """Memory behind a file descriptor, by the inode of its file."""
        self.external: dict[int, np.ndarray] = {}
        self.foreign: set[int] = set()
        """Addresses of another context."""

    # Devices and contexts

    def cuDeviceGet(self, ordinal: int) -> tuple[Any, ...]:
        return OK, ordinal

    def cuDeviceGetName(self, length: int, device: int) -> tuple[Any, ...]:
        return OK, self.name.encode().ljust(length, b"\0")

    def cuDeviceGetAttribute(self, attribute: str, device: int) -> tuple[Any, ...]:
        return OK, self.attributes[attribute]

    def cuDriverGetVersion(self) -> tuple[Any, ...]:
        return OK, 13000

    def cuDevicePrimaryCtxRetain(self, device: int) -> tuple[Any, ...]:
        self.retained += 1
        return OK, CONTEXT

    def cuDevicePrimaryCtxRelease(self, device: int) -> tuple[Any, ...]:
        self.retained -= 1
        return (OK,)

    def cuCtxSetCurrent(self, context: Any) -> tuple[Any, ...]:
        self.local.current = context
        return (OK,)

    # Memory

    def cuMemAlloc(self, size: int) -> tuple[Any, ...]:
        self._check_context()
        if getattr(self.local, "capturing", None) is not None:
            return CUresult.CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, 0
        if sum(a.nbytes for a in self.memory.values()) + size > self.limit_bytes:
            return CUresult.CUDA_ERROR_OUT_OF_MEMORY, 0
        address, self.next = self.next, self.next + -(-size // 512) * 512
        self.memory[address] = np.full(size, 0xCD, np.uint8)  # not zero: nothing promises that
        return OK, address

    def cuMemFree(self, address: int) -> tuple[Any, ...]:
        self._check_context()
        self._check_idle()
        return (OK if self.memory.pop(address, None) is not None else CUresult(1),)

    def cuMemHostAlloc(self, size: int, flags: int) -> tuple[Any, ...]:
        self._check_context()
        assert self.integrated or not flags & 2, "mapped only where memory is shared"
        block = (ctypes.c_uint8 * (size + 4096))()
        address = -(-ctypes.addressof(block) // 4096) * 4096
        self.pinned[address] = (block, size)
        if flags & 2:
            self.mapped.add(address)
        return OK, address

    def cuMemFreeHost(self, address: int) -> tuple[Any, ...]:
        self._check_context()
        self._check_idle()
        self.mapped.discard(address)
        return (OK if self.pinned.pop(address, None) is not None else CUresult(1),)

    def cuMemHostGetDevicePointer(self, address: int, flags: int) -> tuple[Any, ...]:
        assert address in self.pinned
        assert address in self.mapped
        return OK, address

    def view(self, address: int, size: int) -> np.ndarray:
        """Bytes the GPU sees at an address; fails on memory that is not there or too small."""
        for start, block in self.memory.items():
            if start <= address < start + block.nbytes:
                assert address - start + size <= block.nbytes, "beyond the end of its memory"
                return block[address - start : address - start + size]
        found = [at for at in self.mapped if at <= address < at + self.pinned[at][1]]
        assert found, f"no device memory at {address:#x} (freed, or the host's)"
        (start,) = found
        return self.host(start, address - start + size)[address - start :]

    def host(self, address: int, size: int) -> np.ndarray:
        assert address in self.pinned, "only pinned memory can be copied asynchronously"
        assert size <= self.pinned[address][1]
        return np.frombuffer((ctypes.c_uint8 * size).from_address(address), np.uint8)

    def cuMemcpyHtoDAsync(self, target: int, source: int, size: int, stream: Stream) -> Any:
        def work() -> None:
            self.calls.append("upload")
            self.view(target, size)[:] = self.host(source, size)

        return self._queue(stream, work)

    def cuMemcpyDtoHAsync(self, target: int, source: int, size: int, stream: Stream) -> Any:
        def work() -> None:
            self.calls.append("download")
            self.host(target, size)[:] = self.view(source, size)

        return self._queue(stream, work)

    def cuMemcpyDtoDAsync(self, target: int, source: int, size: int, stream: Stream) -> Any:
        def work() -> None:
            self.calls.append("copy")
            self.view(target, size)[:] = self.view(source, size)

        return self._queue(stream, work)

    def cuMemsetD8Async(self, target: int, value: int, size: int, stream: Stream) -> Any:
        return self._queue(stream, lambda: self.view(target, size).fill(value))

    def cuMemcpy2DAsync(self, what: Any, stream: Stream) -> Any:
        assert what.srcMemoryType == what.dstMemoryType == 2, "within the device"
        width, rows = what.WidthInBytes, what.Height
        if width > min(what.srcPitch, what.dstPitch):
            return (CUresult.CUDA_ERROR_INVALID_VALUE,)

        def work() -> None:
            self.calls.append("copy rows")
            for row in range(rows):  # each for itself: what is between rows is not touched
                source = self.view(what.srcDevice + row * what.srcPitch, width)
                self.view(what.dstDevice + row * what.dstPitch, width)[:] = source

        return self._queue(stream, work)

    # Memory of others

    def cuPointerGetAttribute(self, attribute: int, address: int) -> tuple[Any, ...]:
        self.view(address, 1)
        return OK, CONTEXT + (address in self.foreign)

    def cuCtxSynchronize(self) -> tuple[Any, ...]:
        self._check_context()
        for stream in self.streams.values():
            stream.finish()
        return (OK,)

    def CUstream(self, handle: int) -> Stream:
        return self.streams[handle]

    def cuGraphicsEGLRegisterImage(self, image: int, flags: int) -> tuple[Any, ...]:
        self._check_context()
        if image not in self.images or not self.integrated:  # Tegra's alone
            return CUresult.CUDA_ERROR_INVALID_VALUE, None
        self.next += 512
        self.resources[self.next] = image
        self.calls.append(f"register {flags}")
        return OK, self.next

    def cuGraphicsResourceGetMappedEglFrame(self, resource: int, *at: int) -> tuple[Any, ...]:
        return OK, self.images[self.resources[resource]]

    def cuGraphicsUnregisterResource(self, resource: int) -> tuple[Any, ...]:
        self._check_idle()
        self.calls.append("unregister")
        return (OK if self.resources.pop(resource, None) is not None else CUresult(1),)

    def cuImportExternalMemory(self, what: Any) -> tuple[Any, ...]:
        self._check_context()
        assert what.type == 1
        found = self.exported.get(os.fstat(what.handle.fd).st_ino)
        if found is None or found.nbytes < what.size:
            return CUresult.CUDA_ERROR_INVALID_VALUE, None
        os.close(what.handle.fd)  # the driver's own from here on
        self.next += 512
        self.external[self.next] = found
        self.calls.append("import")
        return OK, self.next

    def cuExternalMemoryGetMappedBuffer(self, memory: int, part: Any) -> tuple[Any, ...]:
        assert not part.offset
        address, self.next = self.next, self.next + -(-part.size // 512) * 512 + 512
        address += -address % 512
        self.memory[address] = self.external[memory][: part.size]
        return OK, address

    def cuDestroyExternalMemory(self, memory: int) -> tuple[Any, ...]:
        self._check_idle()
        found = self.external.pop(memory)
        assert not any(each.base is found for each in self.memory.values()), "still mapped"
        self.calls.append("let go")
        return (OK,)

    # Streams and graphs

    def cuStreamCreate(self, flags: int) -> tuple[Any, ...]:
        self._check_context()
        assert flags == 1, "a stream that other libraries' default stream does not wait for"
        self.created += 1
        stream = Stream(self.created)
        stream.blocked = self._is_blocked
        self.streams[stream.handle] = stream
        return OK, stream

    def cuStreamDestroy(self, stream: Stream) -> tuple[Any, ...]:
        self._check_idle()
        return (OK if self.streams.pop(stream.handle, None) is stream else CUresult(1),)

    def cuStreamSynchronize(self, stream: Stream) -> tuple[Any, ...]:
        self._check_context()
        if stream.recording is not None:
            stream.broken = True
            return (CUresult.CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,)
        if self.failed:
            return (CUresult.CUDA_ERROR_ILLEGAL_ADDRESS,)
        stream.finish()
        return (OK,)

    def cuStreamBeginCapture(self, stream: Stream, mode: int) -> tuple[Any, ...]:
        self._check_context()
        assert mode == 1, "thread-local, so that other threads' CUDA calls go on"
        assert stream.recording is None
        stream.recording, stream.broken = [], False
        self.local.capturing = stream
        return (OK,)

    def cuStreamEndCapture(self, stream: Stream) -> tuple[Any, ...]:
        assert getattr(self.local, "capturing", None) is stream, "ended in another thread"
        self.local.capturing = None
        work, stream.recording = stream.recording, None
        if work is None or stream.broken:
            return CUresult.CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, None
        self.next += 512
        self.graphs[self.next] = work
        return OK, self.next

    def cuGraphInstantiate(self, graph: int, flags: int) -> tuple[Any, ...]:
        self.next += 512
        self.executables[self.next] = self.graphs[graph]
        self.calls.append("capture")
        return OK, self.next

    def cuGraphDestroy(self, graph: int) -> tuple[Any, ...]:
        return (OK if self.graphs.pop(graph, None) is not None else CUresult(1),)

    def cuGraphExecDestroy(self, executable: int) -> tuple[Any, ...]:
        if self.failed:
            return (CUresult.CUDA_ERROR_ILLEGAL_ADDRESS,)
        self._check_idle()
        return (OK if self.executables.pop(executable, None) is not None else CUresult(1),)

    def cuGraphLaunch(self, executable: int, stream: Stream) -> tuple[Any, ...]:
        self._check_context()
        assert executable in self.executables, "a graph that was destroyed"
        self.calls.append("launch")
        assert stream.recording is None, "a graph is not launched into a capture"
        for work in self.executables[executable]:
            stream.queue(work)
        return (OK,)

    # Events

    def cuEventCreate(self, flags: int) -> tuple[Any, ...]:
        self._check_context()
        assert flags == 0, "an event that keeps the time"
        self.next += 512
        self.events[self.next] = None
        return OK, self.next

    def cuEventRecordWithFlags(self, event: int, stream: Stream, flags: int) -> tuple[Any, ...]:
        assert event in self.events
        if (flags == 1) != (stream.recording is not None):
            # Outside of a capture the flag is refused; without it a graph would not note the time.
            return (CUresult.CUDA_ERROR_INVALID_VALUE,)

        count = self.recorded[event][1] + 1 if event in self.recorded else 1
        if stream.recording is None:
            self.recorded[event] = (stream, count)

        def work() -> None:
            self.time_us += 500
            if event in self.events:  # it may be destroyed before it is reached
                self.events[event] = self.time_us
            self.reached[event] = count

        return self._queue(stream, work)

    def cuStreamWaitEvent(self, stream: Stream, event: int, flags: int) -> tuple[Any, ...]:
        assert event in self.events
        assert stream.recording is None, "a wait for what is outside of a capture"
        if event not in self.recorded:
            return (OK,)  # as CUDA: never recorded, nothing to wait for
        other, count = self.recorded[event]

        def work() -> None:
            other.finish(until=lambda: self.reached.get(event, 0) >= count)
            self.waits.pop(work)

        self.waits[work] = (event, count)
        return self._queue(stream, work)

    def cuEventSynchronize(self, event: int) -> tuple[Any, ...]:
        self._check_context()
        if self.failed:
            return (CUresult.CUDA_ERROR_ILLEGAL_ADDRESS,)
        if event in self.recorded:
            stream, count = self.recorded[event]
            stream.finish(until=lambda: self.reached.get(event, 0) >= count)
        return (OK,)

    def _is_blocked(self, work: Any) -> bool:
        event, count = self.waits.get(work, (0, 0))
        return self.reached.get(event, 0) < count

    def cuEventElapsedTime(self, first: int, last: int) -> tuple[Any, ...]:
        start, end = self.events[first], self.events[last]
        if start is None or end is None:
            return CUresult.CUDA_ERROR_INVALID_VALUE, 0.0
        return OK, (end - start) / 1000

    def cuEventDestroy(self, event: int) -> tuple[Any, ...]:
        known = event in self.events
        self.events.pop(event, None)
        return (OK if known else CUresult(1),)

    def left(self) -> dict[str, int]:
        """What was never freed."""
        return {
            "memory": len(self.memory),
            "pinned": len(self.pinned),
            "streams": len(self.streams),
            "graphs": len(self.graphs) + len(self.executables),
            "events": len(self.events),
            "contexts": self.retained,
            "faults": len(self.faults),
        }

    def _queue(self, stream: Stream, work: Callable[[], None]) -> tuple[Any, ...]:
        self._check_context()
        assert stream.handle in self.streams
        stream.queue(work)
        if self.eager_copies and stream.handle != min(self.streams) and stream.recording is None:
            stream.advance()
        return (OK,)

    def _check_context(self) -> None:
        assert getattr(self.local, "current", None) == CONTEXT, "no CUDA context in this thread"

    def _check_idle(self) -> None:
        assert not any(stream.queued for stream in self.streams.values()), "freed while in use"
