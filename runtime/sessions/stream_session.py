"""The contract of causal networks: frame by frame, with a past that is carried."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import ClassVar, TypeVar, cast

import numpy as np

from ...arrays import Frame, Levels
from ...graph.yuv_ends import YuvEnds
from ...pictures.yuv_picture import AnyPicture, YuvPicture
from ..nvidia.gpu_picture import CannotImportError, GpuHandle
from .frames import crop, cropped, pad_to_multiple
from .session import Session
from .tiles import Canvas, TileLayout

Out = TypeVar("Out")


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
