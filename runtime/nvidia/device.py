"""One GPU as a session uses it: streams of its own, memory, pinned staging, CUDA graphs.

Everything goes through CUDA's driver API (cuda-python), which needs no CUDA toolkit and works with
every driver the engines work with. What is allocated here is freed here, at the latest by `close`.

    device = Device(load_driver())
    buffer = device.allocate(1 << 20)
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import BackendUnavailableError
from .gpu import checked, current_gpu

ALIGNMENT = 256
"""Bytes every tensor's address must be a multiple of (TensorRT's `setTensorAddress`)."""

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class PinnedBuffer:
    """Host memory the GPU reaches directly."""

    array: Array
    """(bytes,) uint8, the host's view."""
    host: int
    """Its address."""
    device: int | None
    """Its address for the GPU where both share memory, else None."""


class Device:
    """The first GPU CUDA shows.

    Calls come from one thread at a time, not always the same one: each use begins with `activate`.

    Args:
        driver: `cuda.bindings.driver`, started.
    """

    def __init__(self, driver: Any) -> None:
        self.driver = driver
        self.gpu = current_gpu(driver)
        self._ordinal = checked(driver.cuDeviceGet(0))
        self._context = checked(driver.cuDevicePrimaryCtxRetain(self._ordinal))
        self._memory: set[int] = set()
        self._pinned: set[int] = set()
        self._graphs: list[Any] = []
        self._events: list[Any] = []
        self._capturing = False
        self.activate()
        # Non-blocking: the legacy default stream of other libraries must not serialise with it.
        flag = driver.CUstream_flags.CU_STREAM_NON_BLOCKING
        self.stream = checked(driver.cuStreamCreate(int(flag)))
        self._streams = [self.stream]

    def another_stream(self) -> Any:
        """Create a stream beside the first: what is queued on it runs at the same time."""
        flag = self.driver.CUstream_flags.CU_STREAM_NON_BLOCKING
        stream = checked(self.driver.cuStreamCreate(int(flag)))
        self._streams.append(stream)
        return stream

    def drop_stream(self, stream: Any) -> None:
        """Destroy a stream beside the first, on which nothing is queued any more."""
        self._streams.remove(stream)
        checked(self.driver.cuStreamDestroy(stream))

    @property
    def stream_handle(self) -> int:
        """The stream as TensorRT takes it."""
        return int(self.stream)

    def activate(self) -> None:
        """Make the GPU current in this thread."""
        checked(self.driver.cuCtxSetCurrent(self._context))

    def allocate(self, size: int) -> int:
        """Allocate device memory; returns its address, 256-byte aligned."""
        address = int(checked(self.driver.cuMemAlloc(max(size, 1))))
        self._memory.add(address)
        return address

    def free(self, address: int) -> None:
        """Free device memory; nothing in flight may use it."""
        self._memory.remove(address)
        checked(self.driver.cuMemFree(address))

    def pin(self, size: int, *, mapped: bool | None = None) -> PinnedBuffer:
        """Allocate host memory for staging.

        Args:
            size: Bytes.
            mapped: Whether the GPU reads and writes it in place; None where memory is shared.
        """
        driver = self.driver
        if mapped is None:
            mapped = self.gpu.integrated
        flags = driver.CU_MEMHOSTALLOC_DEVICEMAP if mapped else 0
        host = int(checked(driver.cuMemHostAlloc(size, int(flags))))
        self._pinned.add(host)
        view = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(host))
        address = int(checked(driver.cuMemHostGetDevicePointer(host, 0))) if mapped else None
        return PinnedBuffer(view, host, address)

    def unpin(self, buffer: PinnedBuffer) -> None:
        """Free pinned memory; its array must not be used afterwards."""
        self._pinned.remove(buffer.host)
        checked(self.driver.cuMemFreeHost(buffer.host))

    def upload(self, address: int, buffer: PinnedBuffer, size: int, stream: Any = None) -> None:
        """Queue a copy to the device, on the first stream or another one."""
        stream = self.stream if stream is None else stream
        checked(self.driver.cuMemcpyHtoDAsync(address, buffer.host, size, stream))

    def download(self, buffer: PinnedBuffer, address: int, size: int, stream: Any = None) -> None:
        """Queue a copy from the device, likewise."""
        stream = self.stream if stream is None else stream
        checked(self.driver.cuMemcpyDtoHAsync(buffer.host, address, size, stream))

    def copy(self, target: int, source: int, size: int) -> None:
        """Queue a copy within the device."""
        checked(self.driver.cuMemcpyDtoDAsync(target, source, size, self.stream))

    def copy_rows(
        self,
        target: int,
        target_stride: int,
        source: int,
        source_stride: int,
        size: tuple[int, int],
    ) -> None:
        """Queue a copy of rows within the device.

        Args:
            target: Address.
            target_stride: Bytes from row to row.
            source: Address.
            source_stride: Likewise.
            size: Bytes of a row, and rows.
        """
        what = self.driver.CUDA_MEMCPY2D()
        kind = self.driver.CUmemorytype.CU_MEMORYTYPE_DEVICE
        what.srcMemoryType = what.dstMemoryType = kind
        what.srcDevice, what.srcPitch = source, source_stride
        what.dstDevice, what.dstPitch = target, target_stride
        what.WidthInBytes, what.Height = size
        checked(self.driver.cuMemcpy2DAsync(what, self.stream))

    def wait_for_other(self, stream: int) -> None:
        """Queue waiting for all that is queued on a stream of somebody else's.

        Args:
            stream: Its handle, of this device's context.
        """
        other = self.driver.CUstream(stream)
        event = self.event()
        self.record(event, other)
        self.wait_for(event)
        self.drop_event(event)  # CUDA keeps it until it was reached

    def owns_context_of(self, address: int) -> bool:
        """Whether device memory belongs to the context that sessions run in."""
        kind = self.driver.CUpointer_attribute.CU_POINTER_ATTRIBUTE_CONTEXT
        return int(checked(self.driver.cuPointerGetAttribute(kind, address))) == int(self._context)

    def zero(self, address: int, size: int) -> None:
        """Queue clearing device memory."""
        self.set_bytes(address, 0, size)

    def set_bytes(self, address: int, value: int, size: int) -> None:
        """Queue setting every byte of device memory."""
        checked(self.driver.cuMemsetD8Async(address, value, size, self.stream))

    def synchronize(self) -> None:
        """Wait for everything queued, on all streams."""
        for stream in self._streams:
            checked(self.driver.cuStreamSynchronize(stream))

    def event(self) -> Any:
        """Create an event that notes when the stream reaches it."""
        event = checked(self.driver.cuEventCreate(int(self.driver.CUevent_flags.CU_EVENT_DEFAULT)))
        self._events.append(event)
        return event

    def record(self, event: Any, stream: Any = None) -> None:
        """Queue noting the time, also in each launch of a graph that is being captured.

        Args:
            event: From `event`.
            stream: None for the first.
        """
        flags = self.driver.CUevent_record_flags
        # Within a capture a plain record would only be an edge of the graph.
        flag = flags.CU_EVENT_RECORD_EXTERNAL if self._capturing else flags.CU_EVENT_RECORD_DEFAULT
        stream = self.stream if stream is None else stream
        checked(self.driver.cuEventRecordWithFlags(event, stream, int(flag)))

    def wait_for(self, event: Any, stream: Any = None) -> None:
        """Queue waiting until another stream has reached what `record` queued last."""
        stream = self.stream if stream is None else stream
        checked(self.driver.cuStreamWaitEvent(stream, event, 0))

    def synchronize_event(self, event: Any) -> None:
        """Wait until the GPU has reached what `record` queued last; what is behind it goes on."""
        checked(self.driver.cuEventSynchronize(event))

    def seconds(self, first: Any, last: Any) -> float:
        """Time between two events that were waited for, to about half a microsecond."""
        return float(checked(self.driver.cuEventElapsedTime(first, last))) / 1000

    def drop_event(self, event: Any) -> None:
        """Destroy an event."""
        self._events.remove(event)
        checked(self.driver.cuEventDestroy(event))

    def capture(self, work: Callable[[], None]) -> Any:
        """Record what `work` queues as a CUDA graph, without running it.

        Thread-local mode: CUDA calls of other threads, such as a decoder's, go on undisturbed.

        Raises:
            BackendUnavailableError: Something in it cannot be captured; the stream is usable again.
        """
        driver = self.driver
        mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        checked(driver.cuStreamBeginCapture(self.stream, mode))
        self._capturing = True
        try:
            work()
        except Exception:
            driver.cuStreamEndCapture(self.stream)  # ends the broken capture; its error is known
            raise
        finally:
            self._capturing = False
        graph = checked(driver.cuStreamEndCapture(self.stream))
        try:
            executable = checked(driver.cuGraphInstantiate(graph, 0))
        finally:
            checked(driver.cuGraphDestroy(graph))
        self._graphs.append(executable)
        return executable

    def launch(self, executable: Any) -> None:
        """Queue a captured graph."""
        checked(self.driver.cuGraphLaunch(executable, self.stream))

    def drop(self, executable: Any) -> None:
        """Destroy a captured graph."""
        self._graphs.remove(executable)
        checked(self.driver.cuGraphExecDestroy(executable))

    def settle(self) -> bool:
        """Wait for everything queued; False where the GPU failed.

        Such a GPU frees nothing either; the driver does when the process ends.
        """
        try:
            self.activate()
            self.synchronize()
        except BackendUnavailableError:
            return False
        return True

    def close(self) -> None:
        """Wait, then free everything that is left."""
        if not self.settle():
            return
        for executable in [*self._graphs]:
            self.drop(executable)
        for event in [*self._events]:
            self.drop_event(event)
        for address in [*self._memory]:
            self.free(address)
        for host in [*self._pinned]:
            self._pinned.remove(host)
            checked(self.driver.cuMemFreeHost(host))
        for stream in self._streams:
            checked(self.driver.cuStreamDestroy(stream))
        checked(self.driver.cuDevicePrimaryCtxRelease(self._ordinal))
