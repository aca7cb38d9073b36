"""The contracts every backend fulfils: frames in, frames of the bundle's scale s out.

`StreamSession` runs a causal network frame by frame and carries its state; `ClipSession` runs a
network that is not causal over a window of frames. Both tile frames that are too large.

with create_session(open_bundle("nano")) as session:
    big = session.infer(frame)
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, TypeVar, cast

import numpy as np

from ...arrays import Frame, Levels
from ...bundle import Bundle
from ...bundle.schema import Variant
from ...errors import BackendUnavailableError
from ...graph.receptive import spatial_radius
from ...graph.yuv_ends import YuvEnds
from ...pictures.crop import Crop
from ...pictures.yuv_picture import AnyPicture, YuvPicture
from ...reading import PROFILE, read_json
from ..nvidia.gpu_picture import CannotImportError, GpuHandle
from .tiles import Canvas, TileLayout, Tiling

AnySession = TypeVar("AnySession", bound="Session")
Out = TypeVar("Out")


RUN, NODE_TIME = "model_run", "_kernel_time"
"""In a profile: a whole run's name, and what a layer's ends with, as ONNX Runtime writes them."""


@dataclass(frozen=True)
class Profile:
    """Times of layers that a backend wrote."""

    path: Path
    """A Chrome trace: a JSON list of events in microseconds since `began_ns`. Layers have the
    category `Node` and, where the engine fuses, the graph's names in `args.nodes`."""

    began_ns: int
    """Since the epoch."""

    def events(self) -> list[dict[str, Any]]:
        """What the backend wrote, each with a name; layers with their times and facts.

        Raises:
            BackendUnavailableError: The file is no such trace, as where the disk was full.
        """
        return self._events

    @cached_property
    def _events(self) -> list[dict[str, Any]]:
        """Read once: a trace and a table are made of them."""
        found = read_json(self.path, error=BackendUnavailableError, limits=PROFILE)
        events = []
        for event in found.items():
            event["name"].text()
            node = event.value.get("cat") == "Node"
            if node or event.value["name"] == RUN:
                event["ts"].number()
                event["dur"].number()
            if node:
                event["args"].mapping()
            events.append(event.mapping())
        return events


class Session(ABC):
    """One variant of a bundle, loaded on one backend. Use it as a context manager.

    Not thread-safe: one thread at a time uses it.

    Args:
        bundle: The opened bundle.
        variant: Which of its variants to run.
        tile: Largest side in input pixels of what the network is given at once, margins included;
            None for whole frames. See `tiles`.

    Raises:
        ConfigError: The tile is too small for this network.
    """

    backend: ClassVar[str]

    engine_seconds: float | None = None
    """Seconds spent inside the engine so far, TensorRT's by the GPU's clock; None where the backend
    does not tell. The rest of a frame's time is copying, padding and cropping."""

    deep: bool = False
    """Whether frames and pictures are uint16, see `arrays.Frame`."""

    yuv: YuvEnds | None = None
    """Of which YUV 4:2:0 frames and pictures are; None for RGB."""

    engine_bytes: int | None = None
    """Size of the engine built for this device; None where there is none beside the graph."""

    profile_prefix: Path | None = None
    """Set before opening: the backend writes a profile of its layers to files of this prefix."""

    profiles: Sequence[Profile] = ()
    """After closing: what was written."""

    @property
    def gpu_copies(self) -> tuple[int, int] | None:
        """Copies of a picture of main memory on its way to where the GPU reads it, and back.

        Known after the first frame; None without a GPU, or where windows of frames go there.
        """
        return None

    on_prepare: Callable[[str], None] | None = None
    """Called with a line where a size is made ready, which can take minutes, and with each step of
    a compiler, in its thread; with an empty line when the first frame is through. A service then
    has patience."""

    def __init__(self, bundle: Bundle, variant: Variant, *, tile: int | None = None) -> None:
        self.bundle = bundle
        self.variant = variant
        self.variant_reason = ""
        """Why this variant, where it was chosen among several."""
        self.tiling = Tiling(tile, bundle.size_multiple, spatial_radius(bundle.config))
        self.layout: TileLayout | None = None
        """Tiles of the latest frame's size; None before the first."""
        self.reasons: tuple[str, ...] = ()
        """Why `auto` took no better backend; see `adcvsr.runtime.processing.backends`."""
        self._shape: tuple[int, ...] | None = None  # what buffers are allocated for
        self._active = False

    def __enter__(self: AnySession) -> AnySession:
        """Load the network."""
        try:
            self._open()
        except BaseException:
            self._close()
            raise
        self._active = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Free everything."""
        self._active = False
        self._shape = None
        self._close()

    @contextmanager
    def _in_engine(self) -> Iterator[None]:
        """Count what runs inside to `engine_seconds`; for engines that a call waits for."""
        began = time.perf_counter()
        yield
        self.engine_seconds = (self.engine_seconds or 0.0) + time.perf_counter() - began

    def _tell(self, line: str) -> None:
        if self.on_prepare is not None:
            self.on_prepare(line)

    def _tell_build(self, share: float, phase: str) -> None:
        """Pass a compiler's step on; the signature is that of `OnProgress`."""
        self._tell(f"building an engine, {share:.0%} ({phase})")

    @contextmanager
    def _preparing(self, shape: tuple[int, ...]) -> Iterator[None]:
        """Say that frames of a shape (..., H, W) are made ready inside."""
        self._tell(f"making {shape[-1]}x{shape[-2]} ready on {self.backend}")
        try:
            yield
        finally:
            self._tell("")

    def tile_facts(self) -> dict[str, Any] | None:
        """How the latest frames were tiled, JSON-ready; None where no tiles were asked for."""
        return self.layout.facts() if self.layout and self.tiling.side else None

    def tile_notes(self) -> list[str]:
        """A line for people where the latest frames were tiled."""
        return [self.layout.describe()] if self.layout and self.layout.count > 1 else []

    @property
    def scale(self) -> int:
        """Pixels of a picture's side for one of the frame's: the network's, or as `yuv` says."""
        made = self.bundle.scale
        return made if self.yuv is None else self.yuv.side_of(made)

    @abstractmethod
    def _open(self) -> None:
        """Load the graphs."""

    @abstractmethod
    def _close(self) -> None:
        """Free whatever graphs and buffers there are; called once, also after an error."""

    def _require(self, frame: Frame) -> None:
        """Refuse what cannot be run.

        Raises:
            RuntimeError: The session is not open.
            ValueError: The frame has another shape or dtype.
        """
        if not self._active:
            raise RuntimeError("the session is not open, or closed already")
        check_frame(frame, np.uint16 if self.deep else np.uint8)

    def _lay_out(self, shape: tuple[int, ...]) -> TileLayout:
        """Place the tiles of frames of another shape (..., H, W) than before."""
        self._shape = None  # until there are buffers for it
        multiple = self.bundle.size_multiple
        height, width = (-(-side // multiple) * multiple for side in shape[-2:])
        self.layout = self.tiling.layout(height, width)
        return self.layout


class StreamSession(Session):
    """A causal network, frame by frame; owns the memory of the carried state.

    Each tile of a frame has a slot of state of its own. All tiles have one size, so that a backend
    of fixed shapes builds once.
    """

    takes_yuv: ClassVar[bool] = False
    """Whether the backend has sessions for YUV 4:2:0, `of_yuv`."""

    halves_yuv: ClassVar[bool] = False
    """Whether these give pictures of half the size, too, `YuvEnds.halved`."""

    yuv_unasked: ClassVar[bool] = True
    """Whether they run where nobody asks for them: not where each is a build of minutes."""

    _ahead: tuple[AnyPicture, AnyPicture] | None = None
    """A frame that ran in a batch, and its picture, until it is asked for."""

    batches: bool = False
    """Whether frames of the latest size may run in a batch with those of other streams."""

    def prepare_batches(self) -> str:
        """Make the network ready for frames of several streams at once, before `another_stream`.

        Returns:
            Why it runs them one by one; empty where it takes several. See `batch_slots.run_ahead`.
        """
        return f"{self.backend} runs the frames of several streams one by one"

    def batch_family(self, frame: AnyPicture) -> object | None:
        """What sessions have in common that may run a frame of this size in one batch, or None."""
        del frame
        return None

    def run_batch(self, pairs: Sequence[tuple[StreamSession, AnyPicture]]) -> list[int]:
        """Run frames of one size and family; see `batch_slots.run_ahead`."""
        raise NotImplementedError  # no family, no batch

    overlaps: bool = False
    """Whether `infer_behind` has the copies of one frame beside the computation of another."""

    _behind: Frame | None = None
    """A finished picture that `infer_behind` has not given yet."""

    _under_way: bool = False
    """Whether the backend has a frame that `_take` was not called for."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Free everything; a picture that was not taken is lost."""
        self._behind, self._ahead, self._under_way = None, None, False
        super().__exit__(kind, error, trace)

    def infer_behind(self, frame: Frame) -> Frame | None:
        """Take the next frame of a stream, and give the picture of the one before.

        For those who can wait a frame longer: the host's copies and the GPU's run while a frame is
        computed, where the backend `overlaps`. `last` gives the last picture.

        Args:
            frame: See `infer`; it may be changed afterwards.

        Returns:
            See `infer`; None for the first frame.

        Raises:
            RuntimeError, ValueError: See `infer`.
        """
        self._require(frame)
        whole = self.layout is not None and self.layout.count == 1
        if not (self.overlaps and whole and frame.shape[:2] == self._shape):
            before = self.last()  # before buffers of another size take the place of its own
            self._behind = self.infer(frame)
            return before
        self._begin(np.ascontiguousarray(pad_to_multiple(frame, self.bundle.size_multiple)))
        before = self.last()
        self._under_way = True
        return before

    def last(self) -> Frame | None:
        """The picture that `infer_behind` has not given yet; None where there is none."""
        if self._behind is not None:
            picture, self._behind = self._behind, None
            return picture
        if not self._under_way:
            return None
        self._under_way = False
        assert self._shape is not None
        height, width = self._shape
        multiple = self.bundle.size_multiple
        padded = (-(-height // multiple) * multiple, -(-width // multiple) * multiple)
        out = self._take(*padded)
        return out if padded == (height, width) else crop(out, (height, width), self.bundle.scale)

    def _begin(self, frame: Frame) -> None:
        """Queue a frame of the size given to `_resize`; for backends that overlap.

        Args:
            frame: (H, W, 3), C-contiguous.
        """
        raise NotImplementedError

    def _take(self, height: int, width: int) -> Frame:
        """Wait for the picture of the frame that began first, (sH, sW, 3), owned by the caller."""
        raise NotImplementedError

    def infer(self, frame: Frame) -> Frame:
        """Upscale the next frame of a stream.

        A frame of another size than the one before starts a new stream (`reset`).

        Args:
            frame: (H, W, 3) uint8 RGB, H and W at least 1.

        Returns:
            (sH, sW, 3) uint8 RGB, C-contiguous, owned by the caller.

        Raises:
            RuntimeError: The session is not open, or has a picture of `infer_behind` under way.
            ValueError: The frame has another shape or dtype.
        """
        self._require(frame)
        if self._under_way:
            raise RuntimeError("a picture is under way: take it with `last` first")
        if (ahead := self._take_ahead(frame)) is not None:
            return cast("Frame", ahead)
        return self._sized(frame.shape[:2], lambda: self._run(frame))

    def infer_yuv(self, picture: YuvPicture) -> YuvPicture:
        """Upscale the next picture of a stream of YUV 4:2:0, where `yuv` says that it is one.

        Args:
            picture: Of any size, in the colours the session was made for.

        Returns:
            (sH, sW) of the scale s, in the same colours, owned by the caller.

        Raises:
            RuntimeError: The session is not open, or of RGB.
            ValueError: Luma and chroma are not planes of one picture.
        """
        self._require_yuv(picture)
        if (ahead := self._take_ahead(picture)) is not None:
            return cast("YuvPicture", ahead)
        return self._sized(picture.shape, lambda: self._run_yuv(picture))

    def infer_gpu(
        self,
        given: GpuHandle,
        target: GpuHandle,
        look: Callable[[Levels], bool] | None = None,
    ) -> int:
        """Upscale a picture of NV12 that is in the GPU's memory into another one there.

        Args:
            given: Of the session's `yuv`; a change of size starts a new stream.
            target: As many times as wide and high as the network's scale says.
            look: Called with its luma, (H, W) uint8 in main memory, a copy that None saves: whether
                the past is forgotten before it.

        Returns:
            Copies of both pictures within the GPU, 0 to 2; when it returns, the target is whole.

        Raises:
            RuntimeError: See `infer_yuv`.
            CannotImportError: The GPU or the backend cannot; nothing ran, and the picture may come
                through main memory.
        """
        raise CannotImportError(f"{self.backend} takes pictures from main memory alone")

    def _take_ahead(self, frame: AnyPicture) -> AnyPicture | None:
        """The picture of a frame that ran in a batch; None where none did."""
        if self._ahead is None:
            return None
        (given, picture), self._ahead = self._ahead, None
        if given is not frame:
            raise RuntimeError("another frame than the one that ran in a batch; reset first")
        return picture

    def _sized(self, shape: tuple[int, ...], run: Callable[[], Out]) -> Out:
        """Run a frame of a size (H, W), for which buffers are made where it is another one."""
        if shape == self._shape:
            return run()
        with self._preparing(shape):
            layout = self._lay_out(shape)
            self._resize(layout.height, layout.width, layout.count)
            self._shape = shape
            self._reset()
            return run()  # engines compile kernels within the first run, too

    def _require_yuv(self, picture: YuvPicture) -> None:
        if not self._active:
            raise RuntimeError("the session is not open, or closed already")
        if self.yuv is None:
            raise RuntimeError("the session takes RGB; it was made without YUV")
        height, width = picture.shape
        pairs = ((height + 1) // 2, (width + 1) // 2, 2)
        planes = (picture.luma, picture.chroma)
        if picture.chroma.shape != pairs or {each.dtype.name for each in planes} != {"uint8"}:
            raise ValueError(
                f"luma of {picture.luma.shape} {picture.luma.dtype} with chroma of "
                f"{picture.chroma.shape} {picture.chroma.dtype}; expected (H, W) and {pairs}, uint8"
            )

    def _run_yuv(self, picture: YuvPicture) -> YuvPicture:
        assert self.layout is not None
        if self.layout.count > 1:
            raise RuntimeError("pictures of YUV are not tiled")
        out = self._infer_yuv(picture.padded(self.bundle.size_multiple))
        return cast("YuvPicture", cropped(out, picture, self.scale))

    def _infer_yuv(self, picture: YuvPicture) -> YuvPicture:
        """Run one picture of the size given to `_resize`.

        Returns:
            Its sides as many times as long as the scale says, owned by the caller.
        """
        raise NotImplementedError(f"'{self.backend}' runs no pictures of YUV")

    def _run(self, frame: Frame) -> Frame:
        assert self.layout is not None
        padded = pad_to_multiple(frame, self.bundle.size_multiple)
        if self.layout.count == 1:
            out = self._infer(np.ascontiguousarray(padded), 0)
        else:
            out = self._infer_tiles(padded, self.layout)
        return out if padded is frame else crop(out, frame.shape, self.bundle.scale)

    def reset(self) -> None:
        """Forget the past: the next frame is treated as the first of a new stream."""
        self._ahead = None
        if self._shape is not None:
            self._reset()

    @property
    def delay(self) -> int:
        """Frames that pictures come late: `infer` gives the picture of so many frames before.

        What it gives for the first frames of a stream is no picture, see `StreamProcessor`.
        """
        return self.bundle.delay

    def after_end(self) -> None:
        """Say that the next frame is none: the stream is over, and what is late is still to come.

        That frame has the size of those before; what it shows does not count.
        """
        for index, spec in enumerate(self.bundle.state):
            if spec.ends:
                self._fill(index)

    def another_stream(self) -> StreamSession:
        """A session of the same network for a further stream, with a state of its own; not opened.

        It shares what is loaded where the backend can, and then has to be closed before this one.
        One thread uses both, or they take turns.
        """
        other = self._beside()
        other.variant_reason, other.reasons = self.variant_reason, self.reasons
        return other

    def of_yuv(self, ends: YuvEnds) -> StreamSession:
        """A session of the same network for pictures of YUV 4:2:0; not opened.

        Opening it raises `GraphError` where the graph cannot have such ends.

        Args:
            ends: The stream's.
        """
        raise NotImplementedError(f"'{self.backend}' runs no pictures of YUV")

    def _beside(self) -> StreamSession:
        """Make it; here one that loads the network again."""
        return type(self)(self.bundle, self.variant, tile=self.tiling.side)

    def _infer_tiles(self, frame: Frame, layout: TileLayout) -> Frame:
        canvas = Canvas(layout, self.bundle.scale, frame.dtype)
        for slot, (rows, columns) in enumerate(layout):
            tile = frame[rows.start : rows.stop, columns.start : columns.stop]
            canvas.put(rows, columns, self._infer(np.ascontiguousarray(tile), slot))
        return canvas.picture

    @abstractmethod
    def _resize(self, height: int, width: int, slots: int) -> None:
        """Allocate buffers for one input size and a state for each of `slots` tiles."""

    @abstractmethod
    def _reset(self) -> None:
        """Zero the carried state of all slots."""

    @abstractmethod
    def _fill(self, index: int) -> None:
        """Set the state of this index in the bundle to something more than zero, in all slots."""

    @abstractmethod
    def _infer(self, frame: Frame, slot: int) -> Frame:
        """Run one frame or tile of the size given to `_resize`.

        Args:
            frame: (H, W, 3), C-contiguous.
            slot: Whose state to use and advance; slots come in turn, each once a frame.

        Returns:
            (sH, sW, 3), owned by the caller.
        """


class ClipSession(Session):
    """A network that is not causal: a window of frames to features, then picture by picture.

    Only the first half couples frames; the second takes the features of one frame and most of the
    memory, so it runs once for each picture that is wanted.
    """

    def upscale_window(self, window: Sequence[Frame], first: int, last: int) -> Iterator[Frame]:
        """Upscale frames `first` to `last` (not included) of a window.

        Iterate to the end, or drop the iterator, before the next call.

        Args:
            window: T frames (H, W, 3) uint8 RGB of one size; all of them are seen.
            first: Index in the window.
            last: Index in the window.

        Yields:
            (sH, sW, 3) uint8 RGB, C-contiguous, owned by the caller.

        Raises:
            RuntimeError: The session is not open.
            ValueError: A frame has another shape or dtype, or frames differ in size.
        """
        for frame in window:
            self._require(frame)
            if frame.shape != window[0].shape:
                raise ValueError(f"frames of {window[0].shape} and {frame.shape} in one window")
        shape = (len(window), *window[0].shape[:2])
        if shape != self._shape:
            with self._preparing(shape):
                layout = self._lay_out(shape)
                self._resize(layout.height, layout.width, len(window))
                self._shape = shape
        multiple = self.bundle.size_multiple
        clip = np.stack([pad_to_multiple(frame, multiple) for frame in window])  # (T, H, W, 3)
        for picture in self._pictures(clip, range(first, last)):
            yield (
                picture
                if clip.shape[:3] == shape
                else crop(picture, window[0].shape, self.bundle.scale)
            )

    def _pictures(self, clip: Frame, wanted: range) -> Iterator[Frame]:
        assert self.layout is not None
        if self.layout.count == 1:
            self._encode(clip)
            for index in wanted:
                yield self._decode(index)
            return
        # Tile by tile with all its pictures: features are several times larger than pictures.
        canvases = [Canvas(self.layout, self.bundle.scale) for _ in wanted]
        for rows, columns in self.layout:
            tile = clip[:, rows.start : rows.stop, columns.start : columns.stop]
            self._encode(np.ascontiguousarray(tile))
            for index, canvas in zip(wanted, canvases, strict=True):
                canvas.put(rows, columns, self._decode(index))
        for canvas in canvases:
            yield canvas.picture

    @abstractmethod
    def _resize(self, height: int, width: int, frames: int) -> None:
        """Allocate buffers for windows of one length and input size.

        Args:
            height: Of a frame or tile.
            width: Likewise.
            frames: The bundle's window, or fewer for a video that is shorter.
        """

    @abstractmethod
    def _encode(self, clip: Frame) -> None:
        """Turn a window into features, kept until the next call; no state is carried.

        Args:
            clip: (T, H, W, 3) of the size given to `_resize`, C-contiguous.
        """

    @abstractmethod
    def _decode(self, index: int) -> Frame:
        """Turn the features of one frame into its picture.

        Args:
            index: Of the frame in the window.

        Returns:
            (sH, sW, 3), owned by the caller.
        """


def check_frame(frame: Frame, kind: type[Any] | None = None) -> None:
    """Refuse what is not a picture.

    Args:
        frame: What should be one.
        kind: Its type; None for either.

    Raises:
        ValueError: Not an (H, W, 3) uint8 array, or uint16 where that is meant.
    """
    kinds = (np.uint8, np.uint16) if kind is None else (kind,)
    if not isinstance(frame, np.ndarray):
        raise ValueError(f"frame of type {type(frame).__name__}; expected a numpy array")
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype not in kinds or not frame.size:
        raise ValueError(
            f"frame of shape {frame.shape} and dtype {frame.dtype}; expected (H, W, 3) "
            f"{kinds[0].__name__} RGB"
        )


def pad_to_multiple(frame: Frame, multiple: int) -> Frame:
    """Pad right and bottom by repeating the edge until both sides are multiples.

    Args:
        frame: (H, W, 3).
        multiple: Of pixels; 1 returns the frame itself.
    """
    down, right = -frame.shape[0] % multiple, -frame.shape[1] % multiple
    if not down and not right:
        return frame
    return np.pad(frame, ((0, down), (0, right), (0, 0)), mode="edge")


def padded(picture: AnyPicture, multiple: int) -> AnyPicture:
    """See `pad_to_multiple`, for RGB and YUV."""
    if isinstance(picture, YuvPicture):
        return picture.padded(multiple)
    return pad_to_multiple(picture, multiple)


def cropped(picture: AnyPicture, given: AnyPicture, scale: int) -> AnyPicture:
    """Cut an upscaled picture to the size of what was given, before it was padded."""
    height, width = (scale * side for side in given.shape[:2])
    if picture.shape[:2] == (height, width):
        return picture
    if isinstance(picture, YuvPicture):
        return picture.part(Crop(width, height, 0, 0))
    return crop(picture, given.shape, scale)


def crop(picture: Frame, shape: tuple[int, ...], scale: int) -> Frame:
    """Cut an upscaled picture to the size of an input of the given shape (H, W, ...)."""
    return np.ascontiguousarray(picture[: shape[0] * scale, : shape[1] * scale])
