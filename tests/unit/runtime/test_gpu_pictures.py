"""Pictures in the GPU's memory, of every kind GStreamer hands over: one contract, over a fake GPU.

No real hardware has run it. What is held here: addresses and strides, that nothing beyond a
picture's rows is read or written, that it is let go of in order after the GPU is done, that none is
left behind by an error, and that the pictures are those that go through main memory.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from av.video.reformatter import VideoReformatter

from adcvsr.bundle import open_bundle
from adcvsr.errors import ConfigError
from adcvsr.graph.yuv_ends import YuvEnds
from adcvsr.pictures.colour import Colours, frame_from_rgb
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.pictures.yuv import yuv_from_frame
from adcvsr.pictures.yuv_picture import YuvPicture
from adcvsr.runtime.gstreamer.gpu_frames import KINDS as KINDS_OF_CAPS
from adcvsr.runtime.gstreamer.gpu_frames import (
    handle_of as handle_of_buffer,
)
from adcvsr.runtime.gstreamer.gpu_frames import (
    kind_of,
    looks_for_cuts,
    why_main_memory,
)
from adcvsr.runtime.gstreamer.layout import Layout
from adcvsr.runtime.nvidia import nvbufsurface as nv
from adcvsr.runtime.nvidia.device import Device
from adcvsr.runtime.nvidia.gpu_picture import (
    CannotImportError,
    CudaHandle,
    DmabufHandle,
    GpuHandle,
    NvmmHandle,
)
from adcvsr.runtime.processing.backends import create_session
from adcvsr.runtime.processing.cut_reset import SceneWatch
from adcvsr.runtime.sessions.stream_session import StreamSession
from adcvsr.runtime.sessions.trt_gpu import MOST_BOUND
from adcvsr.runtime.upscaler import Upscaler
from fake_cuda import FakeDriver
from gpu_backends import fake_gpu

pytestmark = pytest.mark.usefixtures("nano_in_fp32")

WIDTH, HEIGHT, SCALE = 24, 20, 4
ENDS = YuvEnds(6, full_range=False)
KINDS = ("cuda", "nvmm of a desktop", "nvmm of a Jetson", "dmabuf", "dmabuf of a Jetson")


class Picture:
    """A picture as somebody else's library has it, of rows with padding between."""

    def __init__(self, driver: FakeDriver, width: int, height: int, pad: int) -> None:
        self.driver, self.width, self.height = driver, width, height
        self.stride = width + pad
        self.offset = self.stride * height
        self.bytes = self.stride * height * 3 // 2
        self.memory = np.full(self.bytes, 7, np.uint8)
        driver.next += 1 << 20
        self.address = driver.next
        driver.next += 1 << 20
        driver.memory[self.address] = self.memory

    def planes(self) -> tuple[np.ndarray, np.ndarray]:
        rows = self.memory.reshape(-1, self.stride)
        return rows[: self.height], rows[self.height :]

    def fill(self, picture: YuvPicture) -> None:
        for rows, plane in zip(self.planes(), (picture.luma, picture.chroma), strict=True):
            rows[:, : self.width] = plane.reshape(len(rows), self.width)

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        luma, chroma = (rows[:, : self.width] for rows in self.planes())
        return luma, chroma.reshape(self.height // 2, self.width // 2, 2)

    def padding(self) -> set[int]:
        return set(self.memory.reshape(-1, self.stride)[:, self.width :].ravel().tolist())


class Library:
    """Stands in for libnvbufsurface."""

    def __init__(self, driver: FakeDriver) -> None:
        self.driver, self.by_fd = driver, dict[int, nv.Surface]()
        self.refuses = False

    def NvBufSurfaceMapEglImage(self, surface: Any, index: int) -> int:  # noqa: N802
        self.driver.calls.append("map")
        surface._obj.surfaceList[index].mappedAddr.eglImage = ctypes.addressof(surface._obj)
        return int(self.refuses)

    def NvBufSurfaceUnMapEglImage(self, surface: Any, index: int) -> int:  # noqa: N802
        image = ctypes.addressof(surface._obj)
        assert image not in self.driver.resources.values(), "unmapped while CUDA has it"
        self.driver.calls.append("unmap")
        return 0

    def NvBufSurfaceFromFd(self, fd: int, found: Any) -> int:  # noqa: N802
        if fd not in self.by_fd:
            return -1
        found._obj.value = ctypes.addressof(self.by_fd[fd])
        return 0


def surface_of(picture: Picture, kind: int, layout: int = nv.PITCH) -> nv.Surface:
    one = nv.SurfaceParams(width=picture.width, height=picture.height, colorFormat=6, layout=layout)
    one.dataPtr = picture.address
    one.planeParams.num_planes = 2
    for plane, offset in enumerate((0, picture.offset)):
        one.planeParams.pitch[plane] = picture.stride
        one.planeParams.offset[plane] = offset
    surface = nv.Surface(batchSize=1, numFilled=1, memType=kind)
    surface.list = (nv.SurfaceParams * 1)(one)
    surface.surfaceList = ctypes.cast(surface.list, ctypes.POINTER(nv.SurfaceParams))
    frame = SimpleNamespace(
        frameType=1 - layout,
        planeCount=2,
        pitch=picture.stride,
        frame=SimpleNamespace(pPitch=[picture.address, picture.address + picture.offset, 0]),
    )
    picture.driver.images[ctypes.addressof(surface)] = frame
    return surface


@contextmanager
def handle_of(kind: str, picture: Picture, library: Library) -> Iterator[GpuHandle]:
    """The picture as GStreamer would hand it over."""
    size = (picture.width, picture.height)
    strides, offsets = (picture.stride,) * 2, (0, picture.offset)
    if kind == "cuda":
        yield CudaHandle(picture.address, *size, strides, offsets)
    elif kind.startswith("nvmm"):
        surface = surface_of(picture, nv.SURFACE_ARRAY if "Jetson" in kind else nv.CUDA_DEVICE)
        yield NvmmHandle(ctypes.addressof(surface), *size, library)
    else:
        fd = os.memfd_create("picture")
        surface = surface_of(picture, nv.SURFACE_ARRAY)
        library.by_fd[fd] = surface
        picture.driver.exported[os.fstat(fd).st_ino] = picture.memory
        try:
            yield DmabufHandle(fd, picture.bytes, *size, strides, offsets, library=library)
        finally:
            os.close(fd)  # still ours


def make_driver(kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeDriver:
    return fake_gpu(monkeypatch, tmp_path / "cache", integrated="Jetson" in kind)


@contextmanager
def session_of() -> Iterator[StreamSession]:
    with create_session(open_bundle("nano"), backend="tensorrt") as plain:
        assert isinstance(plain, StreamSession)
        with plain.of_yuv(ENDS) as session:
            yield session


def clip(frames: int) -> list[YuvPicture]:
    colours = Colours(6, full_range=False)
    return [
        yuv_from_frame(
            frame_from_rgb(each, colours, "yuv420p", VideoReformatter()),
            colours,
            VideoReformatter(),
        )
        for each in draw_clip(frames, HEIGHT, WIDTH)
    ]


@pytest.mark.parametrize("pad", [0, 40], ids=["dense", "padded"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_pictures_are_those_of_main_memory_and_nothing_else_is_touched(
    kind: str, pad: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    driver = make_driver(kind, monkeypatch, tmp_path)
    library = Library(driver)
    frames = clip(4)
    with session_of() as session:
        expected = [session.infer_yuv(frame) for frame in frames]
        session.reset()
        low = Picture(driver, WIDTH, HEIGHT, pad)
        big = Picture(driver, SCALE * WIDTH, SCALE * HEIGHT, pad)
        driver.calls.clear()
        with handle_of(kind, low, library) as given, handle_of(kind, big, library) as target:
            for frame, wanted in zip(frames, expected, strict=True):
                low.fill(frame)
                copies = session.infer_gpu(given, target)
                luma, chroma = big.read()
                np.testing.assert_array_equal(luma, wanted.luma)
                np.testing.assert_array_equal(chroma, wanted.chroma)
        # A luma plane of 24x20 ends where no tensor may begin: the small picture is copied.
        assert copies == (2 if pad else 1)
        assert not {"upload", "download"} & set(driver.calls)
        assert low.padding() | big.padding() <= {7}
        for picture in (low, big):
            driver.memory.pop(picture.address)
    assert not any((driver.resources, driver.external, *driver.left().values()))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_let_go_of_is_let_go_of_in_order_and_also_after_an_error(
    kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    driver = make_driver(kind, monkeypatch, tmp_path)
    library = Library(driver)
    device = Device(driver)
    picture = Picture(driver, WIDTH, HEIGHT, 8)

    def use(handle: GpuHandle) -> None:
        with handle.on(device, write=True) as opened:
            luma, chroma = opened.planes
            assert (luma.stride, luma.rows, luma.row_bytes) == (32, HEIGHT, WIDTH)
            assert (chroma.stride, chroma.rows, chroma.row_bytes) == (32, HEIGHT // 2, WIDTH)
            assert chroma.address - luma.address == picture.offset
            device.copy_rows(luma.address, 32, luma.address, 32, (WIDTH, 1))
            raise ZeroDivisionError

    with handle_of(kind, picture, library) as handle, pytest.raises(ZeroDivisionError):
        use(handle)
    egl = ["map", "register 2", "copy rows", "unregister", "unmap"]
    assert (
        driver.calls
        == {
            "cuda": ["copy rows"],
            "nvmm of a desktop": ["copy rows"],
            "nvmm of a Jetson": egl,
            "dmabuf": ["import", "copy rows", "let go"],
            "dmabuf of a Jetson": egl,
        }[kind]
    )
    driver.memory.pop(picture.address)
    device.close()
    assert not any(driver.left().values())


def test_work_of_others_is_waited_for_before_the_picture_is_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    driver = make_driver("cuda", monkeypatch, tmp_path)
    frame = clip(1)[0]
    with session_of() as session:
        expected = session.infer_yuv(frame)
        session.reset()
        low = Picture(driver, WIDTH, HEIGHT, 8)
        big = Picture(driver, SCALE * WIDTH, SCALE * HEIGHT, 0)
        theirs = driver.cuStreamCreate(1)[1]
        theirs.queue(lambda: low.fill(frame))  # a decoder's, under way
        given = CudaHandle(low.address, WIDTH, HEIGHT, (32, 32), (0, low.offset), int(theirs))
        target = CudaHandle(
            big.address, big.width, big.height, (big.stride,) * 2, (0, big.offset), int(theirs)
        )
        seen = []
        session.infer_gpu(given, target, lambda luma: bool(seen.append(luma)))
        np.testing.assert_array_equal(big.read()[0], expected.luma)
        np.testing.assert_array_equal(seen[0], frame.luma)
        driver.cuStreamDestroy(theirs)


def test_a_cut_forgets_the_past(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    driver = make_driver("cuda", monkeypatch, tmp_path)
    first, second = clip(2)
    low, big = Picture(driver, WIDTH, HEIGHT, 0), Picture(driver, 4 * WIDTH, 4 * HEIGHT, 0)
    handles = [
        CudaHandle(each.address, each.width, each.height, (each.stride,) * 2, (0, each.offset))
        for each in (low, big)
    ]
    with session_of() as session:
        expected = session.infer_yuv(second)
        low.fill(first)
        session.infer_gpu(*handles)  # type: ignore[call-arg]
        low.fill(second)
        session.infer_gpu(*handles, lambda luma: True)  # type: ignore[call-arg]
        np.testing.assert_array_equal(big.read()[0], expected.luma)


def test_pools_of_many_buffers_do_not_make_graphs_without_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    driver = make_driver("cuda", monkeypatch, tmp_path)
    frame = clip(1)[0]
    with session_of() as session:
        expected = session.infer_yuv(frame)
        low = Picture(driver, WIDTH, HEIGHT, 8)
        low.fill(frame)
        given = CudaHandle(low.address, WIDTH, HEIGHT, (32, 32), (0, low.offset))
        driver.calls.clear()
        for index in range(MOST_BOUND + 4):
            big = Picture(driver, 4 * WIDTH, 4 * HEIGHT, 0)
            target = CudaHandle(big.address, big.width, big.height, (96, 96), (0, big.offset))
            session.reset()
            assert session.infer_gpu(given, target) == (1 if index < MOST_BOUND else 2)
            np.testing.assert_array_equal(big.read()[0], expected.luma)
        assert driver.calls.count("capture") <= 2 * (MOST_BOUND + 1)


def refused(kind: str, driver: FakeDriver, library: Library) -> GpuHandle:
    picture = Picture(driver, WIDTH, HEIGHT, 8)
    size, at = (WIDTH, HEIGHT), ((32, 32), (0, picture.offset))
    surface = surface_of(picture, nv.SURFACE_ARRAY, layout=int("block" in kind))
    KEPT.append(surface)
    if kind == "another context":
        driver.foreign.add(picture.address)
        return CudaHandle(picture.address, *size, *at)
    if kind == "rows that overlap":
        return CudaHandle(picture.address, *size, (16, 16), (0, 320))
    if kind == "ten bits":
        surface.surfaceList[0].colorFormat = 29
    elif kind == "another size":
        surface.surfaceList[0].width = 32
    elif kind == "an empty surface":
        surface.batchSize = surface.numFilled = 0
    elif kind == "memory of the host":
        surface.memType = 6
    elif kind == "no EGL":
        library.refuses = True
    elif kind == "no image":
        driver.images.clear()
    elif kind == "tiled":
        return DmabufHandle(0, picture.bytes, *size, *at, modifier=0x3, library=library)
    elif kind == "no surface":
        return DmabufHandle(0, picture.bytes, *size, *at, library=library)
    return NvmmHandle(ctypes.addressof(surface), *size, library)


KEPT: list[Any] = []
"""Surfaces, whose memory a handle does not hold."""

REFUSALS = {
    "another context": "another CUDA context",
    "rows that overlap": "rows of 24 bytes every 16",
    "ten bits": "colour format 29 of 2 planes, expected NV12",
    "another size": "a surface of 32x20 for a picture of 24x20",
    "an empty surface": "the surface is empty",
    "memory of the host": "memory of type 6",
    "no EGL": "NvBufSurfaceMapEglImage failed",
    "no image": "CUDA_ERROR_INVALID_VALUE",
    "block linear": "block linear.*bl-output=false",
    "tiled": "tiled .modifier 0x3.",
    "no surface": "no surface of NVIDIA's",
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_what_the_gpu_does_not_reach_is_refused_with_the_reason_and_nothing_is_held(
    kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    driver = make_driver("Jetson", monkeypatch, tmp_path)
    library = Library(driver)
    device = Device(driver)
    handle = refused(kind, driver, library)
    with pytest.raises(CannotImportError, match=REFUSALS[kind]), handle.on(device, write=False):
        raise AssertionError("opened")
    assert not driver.resources
    driver.memory.clear()
    device.close()
    assert not any(driver.left().values())


def test_a_dmabuf_of_another_driver_is_refused_on_a_desktop_and_its_descriptor_stays(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    driver = make_driver("desktop", monkeypatch, tmp_path)
    fd = os.memfd_create("camera")
    before = len(os.listdir("/proc/self/fd"))
    for size, reason in ((4000, "CUDA_ERROR_INVALID_VALUE"), (700, "700 bytes, the picture has")):
        handle = DmabufHandle(fd, size, WIDTH, HEIGHT, (32, 32), (0, 640))
        with pytest.raises(CannotImportError, match=reason), handle.on(Device(driver), write=False):
            raise AssertionError("opened")
    assert len(os.listdir("/proc/self/fd")) == before
    os.close(fd)


def test_sizes_and_backends_that_do_not_fit_leave_the_session_as_it_was(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    driver = make_driver("cuda", monkeypatch, tmp_path)
    frame = clip(1)[0]
    low = Picture(driver, WIDTH, HEIGHT, 0)
    given = CudaHandle(low.address, WIDTH, HEIGHT, (24, 24), (0, low.offset))
    with pytest.raises(CannotImportError, match="both sides have to be even"):
        CudaHandle(low.address, 23, 20, (24, 24), (0, 480))
    with session_of() as session:
        expected = session.infer_yuv(frame)
        with pytest.raises(CannotImportError, match="24x20 for one of 24x20, 4 times"):
            session.infer_gpu(given, given)
        session.reset()
        np.testing.assert_array_equal(session.infer_yuv(frame).luma, expected.luma)
    with create_session(open_bundle("nano"), backend="ort-cpu", threads=1) as plain:
        assert isinstance(plain, StreamSession)
        with pytest.raises(CannotImportError, match="ort-cpu takes pictures from main memory"):
            plain.infer_gpu(given, given)


class Mapped(SimpleNamespace):
    def __enter__(self) -> Mapped:
        return self

    def __exit__(self, *_: object) -> None:
        self.open.remove(self)


class Buffer:
    """A buffer of GStreamer: what mapping it gives, and how it was mapped."""

    def __init__(self, address: int, size: int) -> None:
        self.data = memoryview((ctypes.c_uint8 * size).from_address(address)).cast("B")
        self.open: list[Mapped] = []
        self.flags = 0

    kind = "theirs"

    def peek_memory(self, index: int) -> SimpleNamespace:
        assert index == 0
        return SimpleNamespace(is_type=lambda kind: kind == self.kind)

    def map(self, flags: int) -> Mapped:
        self.flags = flags
        self.open.append(Mapped(data=self.data, open=self.open))
        return self.open[-1]


GST = SimpleNamespace(MapFlags=type("MapFlags", (int,), {"READ": 1, "WRITE": 2}))


def layout(width: int, height: int, stride: int) -> Layout:
    colours, size = Colours(6, full_range=False), stride * height
    return Layout("NV12", width, height, None, (stride,) * 2, (0, size), size * 3 // 2, colours)


@pytest.mark.parametrize("kind", KINDS_OF_CAPS)
def test_buffers_of_gstreamer_become_handles_and_stay_mapped_while_they_are_used(
    kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    driver = make_driver("cuda", monkeypatch, tmp_path)
    device = Device(driver)
    picture = Picture(driver, WIDTH, HEIGHT, 8)
    surface = surface_of(picture, nv.CUDA_DEVICE)
    nvmm = kind == "memory:NVMM"
    buffer = Buffer(
        ctypes.addressof(surface) if nvmm else picture.address,
        ctypes.sizeof(surface) if nvmm else picture.bytes,
    )
    caps = SimpleNamespace(
        get_features=lambda index: SimpleNamespace(contains=lambda name: name == kind)
    )
    assert kind_of(caps) == kind
    with handle_of_buffer(GST, buffer, kind, layout(WIDTH, HEIGHT, 32), write=True) as handle:
        with handle.on(device, write=True) as opened:
            assert (opened.luma.address, opened.luma.stride) == (picture.address, 32)
        assert len(buffer.open) == 1
    assert not buffer.open
    assert buffer.flags == (1 if nvmm else 2 | 1 << 17)  # a surface's description is read alone
    refused = CannotImportError("reason")
    if nvmm:
        with pytest.raises(CannotImportError, match="reason; put 'nvvidconv"):
            why_main_memory(kind, refused)
    else:
        assert why_main_memory(kind, refused).endswith("a copy down and a copy up")


@pytest.mark.parametrize(("write", "whose"), [(False, "previous"), (True, "next")])
@pytest.mark.parametrize("kind", KINDS_OF_CAPS)
def test_main_memory_is_not_read_as_the_gpus_whatever_its_caps_say(
    kind: str, write: bool, whose: str
) -> None:
    memory = (ctypes.c_uint8 * 64)()  # nothing of a surface's description in it
    buffer = Buffer(ctypes.addressof(memory), 64)
    buffer.kind = "SystemMemory"
    asked = handle_of_buffer(GST, buffer, kind, layout(WIDTH, HEIGHT, 32), write=write)
    with pytest.raises(ConfigError, match=f"{kind}: the {whose} element gives buffers of main"):
        asked.__enter__()
    assert not buffer.open


def test_main_memory_is_no_kind_of_the_gpus() -> None:
    plain = SimpleNamespace(get_features=lambda index: SimpleNamespace(contains=lambda name: False))
    assert kind_of(plain) == kind_of(SimpleNamespace(get_features=lambda index: None)) == ""


def test_an_upscaler_takes_them_and_finds_cuts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    driver = make_driver("cuda", monkeypatch, tmp_path)
    low, big = Picture(driver, WIDTH, HEIGHT, 0), Picture(driver, 4 * WIDTH, 4 * HEIGHT, 0)
    given, target = (
        CudaHandle(
            each.address, each.width, each.height, (each.stride,) * 2, (0, each.offset), None
        )
        for each in (low, big)
    )
    frame, look = clip(1)[0], looks_for_cuts(SceneWatch())
    with Upscaler("nano", backend="tensorrt") as upscaler:
        with pytest.raises(RuntimeError, match="call open_yuv first"):
            upscaler.upscale_gpu(given, target)
        upscaler.open_yuv(ENDS)
        pictures = []
        for luma in (frame.luma, frame.luma, 255 - frame.luma[:, ::-1]):
            low.planes()[0][:] = luma
            upscaler.upscale_gpu(given, target, look)
            pictures.append(big.read()[0].copy())
        upscaler.reset()
        upscaler.upscale_gpu(given, target)
    assert (pictures[0] != pictures[1]).any()  # the past shows
    np.testing.assert_array_equal(pictures[2], big.read()[0])  # and is forgotten at the cut
