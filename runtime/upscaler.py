"""Upscaling for Python users and for the CLI: frames one by one, or a file as a whole.

with Upscaler("nano") as upscaler:
    big = upscaler(frame)
    upscaler.upscale_file("in.mp4", "out.mp4")
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType

import numpy as np

from ..arrays import Frame, Levels
from ..bundle import Bundle, open_bundle
from ..errors import BundleError, ClipNetworkError
from ..graph.memory import memory_of
from ..graph.yuv_ends import YuvEnds
from ..pictures.output_size import OutputSize
from ..pictures.reduced import Reducer
from ..pictures.yuv_picture import AnyPicture, YuvPicture
from .deep import DeepStream, open_deep, why_not_deep
from .file_run import FileNetwork, FileRun, backend_notes
from .nvidia.gpu_picture import GpuHandle
from .processing.backends import create_processor, create_session
from .processing.processor import require_rgb
from .sessions.session import Session
from .sessions.stream_session import StreamSession
from .threads.one_user import OneUser
from .threads.stage_threads import StageThreads
from .trace import Trace
from .upscale_report import UpscaleReport
from .video.encoders import EncodeOptions
from .video.read_options import ReadOptions
from .yuv import why_not_yuv


class Upscaler:
    """A loaded network. Use it as a context manager, or call `close`.

    Args:
        model: A bundle's name (see `adcvsr models`) or path, or an opened `Bundle`.
        backend: `auto` or one of `adcvsr.variants.BACKENDS`.
        variant: A variant of the bundle; None for the backend's default.
        tile: Largest side in input pixels of what the network is given at once, for frames larger
            than memory allows; None for whole frames (docs/windows-and-tiles.md).
        colour_match: `none`, `frame` or `ema`; None as the bundle says.
        threads: Threads of a CPU backend; 0 for all processors.
        allow_untrained: Run bundles marked untrained, whose output is no picture.
        trace: Collects what ran when, layers included where the backend profiles them.
        scale: 2, 3 or 4 times the input's size: what the network makes, reduced once by areas;
            None for what it makes.

    Raises:
        BundleNotFoundError: No such bundle.
        BundleError: A damaged bundle, or an untrained one without `allow_untrained`.
        ConfigError: A tile too small for the network, or no such colour match or scale.
        BackendUnavailableError, MissingPackageError: The backend cannot run here.
    """

    def __init__(
        self,
        model: str | Path | Bundle = "nano",
        *,
        backend: str = "auto",
        variant: str | None = None,
        tile: int | None = None,
        colour_match: str | None = None,
        threads: int = 0,
        allow_untrained: bool = False,
        trace: Trace | None = None,
        scale: int | None = None,
    ) -> None:
        self.bundle = model if isinstance(model, Bundle) else open_bundle(model)
        made = self.bundle.scale
        self._size = None if scale in (None, made) else OutputSize(scale=scale)
        self._reducer = Reducer(made if scale is None else scale, made)
        if not self.bundle.trained and not allow_untrained:
            raise BundleError(
                f"bundle '{self.bundle.name}' is untrained: its output is no picture; "
                "it is for speed and build work; --allow-untrained (allow_untrained=True) runs it"
            )
        self._threads = StageThreads()
        self._user = OneUser()
        self._tile, self._thread_count, self._asked_variant = tile, threads, variant is not None
        self._load = partial(
            Upscaler,
            tile=tile,
            colour_match=colour_match,
            threads=threads,
            allow_untrained=allow_untrained,
            trace=trace,
            scale=scale,
        )
        self.session: Session = create_session(
            self.bundle, backend=backend, variant=variant, tile=tile, threads=threads
        )
        self._colour_match = colour_match
        self._processor = create_processor(self.session, colour_match=colour_match)
        self._clips = create_processor(self.session, colour_match=colour_match, overlap=True)
        self._matched = colour_match or self.bundle.colour_match.mode
        self._yuv: StreamSession | None = None
        self._lent: dict[YuvEnds, StreamSession] = {}  # to streams beside this one
        self._beside: Upscaler | None = None  # whose networks are shared
        self._deep: DeepStream | None = None
        self._no_deep, self._deep_opened = "", ExitStack()
        self._trace = trace
        if trace is not None:
            trace.watch(self.session)
        with self._threads.claim():
            self.session.__enter__()

    def __call__(self, frame: Frame) -> Frame:
        """Upscale the next frame of a stream; state is carried from call to call.

        Args:
            frame: (H, W, 3) uint8 RGB, any size; a change of size starts a new stream.

        Returns:
            (sH, sW, 3) uint8 RGB of the scale s.

        Raises:
            ValueError: The frame has another shape or dtype.
            ClipNetworkError: The network is not causal; use `upscale_clip`.
            UpscalerBusyError: A clip or a file is under way, or another thread's frame.
        """
        if self.bundle.kind == "clip" or self.bundle.delay:
            raise ClipNetworkError(
                f"bundle '{self.bundle.name}' is not causal: it needs the frames after each, too; "
                "use upscaler.upscale_clip(frames), an iterator that reads ahead"
            )
        picture = self.push(frame)
        assert picture is not None
        return picture

    def push(self, frame: Frame) -> Frame | None:
        """Upscale the next frame of a stream, and give the picture that is finished now.

        That is the frame's own; or of a network that looks ahead (`Bundle.delay`) the one of so
        many frames before, and `finish` gives the last ones.

        Args:
            frame: See `__call__`; a stream whose pictures come late is finished before frames of
                another size.

        Returns:
            (sH, sW, 3) uint8 RGB; None where none is finished yet.

        Raises:
            ValueError, UpscalerBusyError: See `__call__`.
            ClipNetworkError: The network runs in windows; use `upscale_clip`.
        """
        if self.bundle.kind == "clip":
            raise ClipNetworkError(
                f"bundle '{self.bundle.name}' runs in windows; use upscaler.upscale_clip(frames)"
            )
        with self._user.claim("a frame"):
            made = [self._reducer(require_rgb(each)) for each in self._processor.push(frame)]
            return made[-1] if made else None

    def finish(self) -> Generator[Frame, None, None]:
        """End the stream: give the pictures that are late. The next frame starts a new one.

        Yields:
            (sH, sW, 3) uint8 RGB; nothing of a network that does not look ahead.

        Raises:
            UpscalerBusyError: See `__call__`. The stream is from the first picture taken to the
                last; close the iterator to end it before.
        """
        with self._user.claim("a frame"):
            for picture in self._processor.finish():
                yield self._reducer(require_rgb(picture))

    def upscale_clip(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Upscale a clip of any length, also with a network that is not causal.

        The clip is a stream of its own: what was before is forgotten, and what it leaves too.
        Memory does not depend on its length.

        Args:
            frames: (H, W, 3) uint8 RGB each; they must not be changed afterwards.

        Yields:
            (sH, sW, 3) uint8 RGB of the scale s, one a frame in order; a network that is
            not causal first reads ahead by its window.

        Raises:
            ValueError: A frame has another shape or dtype.
            UpscalerBusyError: Something else is under way. A clip is from the first picture taken
                to the last; close the iterator to end it before.
        """
        with self._user.claim("a clip"):
            yield from map(self._reducer, self._clips.clip(frames))

    def reset(self) -> None:
        """Forget the past: the next frame starts a new stream (a cut, a seek, another source).

        Raises:
            UpscalerBusyError: A clip or a file is under way, or another thread's frame.
        """
        with self._user.claim("a reset"):
            self._forget()

    def beside(self, model: str | Path | Bundle, variant: str | None = None) -> Upscaler:
        """Load another network as this one was: backend, tile, colour match, threads and trace.

        Args:
            model: As for `Upscaler`.
            variant: As for `Upscaler`.

        Raises:
            AdcVsrError: See `Upscaler`.
        """
        return self._load(model, backend=self.session.backend, variant=variant)

    def another_stream(self) -> Upscaler:
        """An Upscaler for a further stream on the network that is loaded, with a past of its own.

        One thread calls both, or they take turns; close it before this one. Backends that cannot
        share a loaded network load it again.

        Raises:
            ClipNetworkError: The network is not causal: it has no past to be kept apart.
            AdcVsrError: See `Upscaler`.
        """
        if not isinstance(self.session, StreamSession):
            raise ClipNetworkError(
                f"bundle '{self.bundle.name}' is not causal: streams beside each other need a past"
            )
        other = copy.copy(self)
        other.session = session = self.session.another_stream()
        other._processor = create_processor(session, colour_match=self._colour_match)
        other._clips = create_processor(session, colour_match=self._colour_match, overlap=True)
        other._user, other._threads, other._trace = OneUser(), StageThreads(), None
        other._yuv, other._lent, other._beside = None, {}, self
        other._deep, other._no_deep, other._deep_opened = None, "", ExitStack()
        with other._threads.claim():
            session.__enter__()
        return other

    def exchange(self, other: Upscaler) -> None:
        """Change networks with another one, between frames; both forget the past.

        This one continues with the other's network; closing the other frees the one
        that was here.

        Raises:
            UpscalerBusyError: A clip or a file is under way in one of them, or a frame.
        """
        with self._user.claim("an exchange"), other._user.claim("an exchange"):
            for each in (self, other):
                each._forget()
            names = (
                "bundle",
                "session",
                "_processor",
                "_clips",
                "_reducer",
                "_threads",
                "_matched",
                "_asked_variant",
            )
            beside = ("_yuv", "_lent", "_beside", "_deep", "_no_deep", "_deep_opened")
            for name in (*names, *beside):
                mine, its = getattr(self, name), getattr(other, name)
                setattr(self, name, its)
                setattr(other, name, mine)

    def open_yuv(self, ends: YuvEnds) -> None:
        """Load the network for pictures of YUV 4:2:0, where it is not loaded for these already.

        Args:
            ends: How the stream's numbers mean colours; see `why_not_yuv` for whether it can be.

        Raises:
            GraphError: The network's graph cannot have such ends.
        """
        if self._yuv is not None and self._yuv.yuv == ends:
            return
        with self._user.claim("loading"), self._threads.claim():
            opened = self._shared_yuv(ends)
            opened.__enter__()
            before, self._yuv = self._yuv, opened
            if before is not None:
                before.__exit__(None, None, None)

    def _shared_yuv(self, ends: YuvEnds) -> StreamSession:
        """A session for these ends, of a network that is loaded already where there is one."""
        owner = self._beside
        if owner is not None:
            return owner._lend_yuv(ends).another_stream()
        assert isinstance(self.session, StreamSession)
        return self.session.of_yuv(ends)

    def _lend_yuv(self, ends: YuvEnds) -> StreamSession:
        """The loaded network for these ends that streams beside this one share."""
        if ends not in self._lent:
            assert isinstance(self.session, StreamSession)
            with self._user.claim("loading"), self._threads.claim():
                self._lent[ends] = self.session.of_yuv(ends).__enter__()
        return self._lent[ends]

    def upscale_yuv(self, picture: YuvPicture) -> YuvPicture:
        """Upscale the next picture of a stream of YUV 4:2:0, after `open_yuv` for its colours.

        Args:
            picture: Of any size; a change of size starts a new stream.

        Returns:
            As many times as high and wide as the network's scale says, in the same colours.

        Raises:
            RuntimeError: The network was not loaded for it.
            UpscalerBusyError: See `__call__`.
        """
        with self._yuv_frame() as session:
            return session.infer_yuv(picture)

    @contextmanager
    def _yuv_frame(self) -> Iterator[StreamSession]:
        """The session of YUV 4:2:0, for one frame."""
        if self._yuv is None:
            raise RuntimeError("the network is loaded for RGB alone: call open_yuv first")
        with self._user.claim("a frame"):
            self._yuv.on_prepare = self.session.on_prepare
            yield self._yuv

    def why_not_deep(self) -> str:
        """Say why the network takes no more than 8 bits in a live stream; empty if it does."""
        if self.bundle.delay:
            return "a network that looks ahead runs with 8 bits in live streams"
        if self.reduces:
            return "pictures are reduced in 8 bits"
        return why_not_deep(self.session, matched=self._matched, asked=self._asked_variant)

    def open_deep(self, note: Callable[[str], None], *, hdr: bool = False) -> str:
        """Load the network for frames of more than 8 bits, where it is not loaded for them already.

        Args:
            note: Called with a sentence where another variant runs them.
            hdr: Whether they are HDR.

        Returns:
            Why they cannot be taken; empty where they can.
        """
        if self._deep is None and not self._no_deep:
            with self._user.claim("loading"), self._threads.claim():
                self._no_deep = self.why_not_deep() or self._load_deep(note, hdr=hdr)
        return self._no_deep

    def _load_deep(self, note: Callable[[str], None], *, hdr: bool) -> str:
        owner = self._beside
        if owner is not None:
            if why := owner.open_deep(note, hdr=hdr):
                return why
            assert owner._deep is not None
            assert isinstance(owner._deep.session, StreamSession)
            session: Session = owner._deep.session.another_stream()
            self._deep_opened.enter_context(session)
        else:
            session, why = open_deep(
                self.session,
                self._deep_opened,
                matched=self._matched,
                asked=self._asked_variant,
                tile=self._tile,
                threads=self._thread_count,
                note=note,
                trace=self._trace,
                hdr=hdr,
            )
            if why:
                return why
        self._deep = DeepStream(session)
        return ""

    @property
    def deep_session(self) -> Session:
        """What runs more than 8 bits; the one of 8 where it was not loaded."""
        return self.session if self._deep is None else self._deep.session

    def upscale_deep(self, frame: Frame, transfer: int) -> Frame:
        """Upscale the next frame of a stream of more than 8 bits, after `open_deep`.

        Args:
            frame: (H, W, 3) uint16 RGB, see `arrays.Frame`; another size starts a new stream.
            transfer: H.273's code of what its numbers mean: SDR, PQ or HLG.

        Returns:
            (sH, sW, 3) uint16 RGB of the same transfer.

        Raises:
            RuntimeError: The network was not loaded for it.
            UpscalerBusyError: See `__call__`.
        """
        if self._deep is None:
            raise RuntimeError("the network is loaded for 8 bits alone: call open_deep first")
        with self._user.claim("a frame"):
            return self._deep.upscale(frame, transfer)

    def upscale_gpu(
        self,
        given: GpuHandle,
        target: GpuHandle,
        look: Callable[[Levels], bool] | None = None,
    ) -> int:
        """Upscale a picture that stays in the GPU's memory, after `open_yuv` for its colours.

        Args:
            given: See `StreamSession.infer_gpu`.
            target: See `StreamSession.infer_gpu`.
            look: See `StreamSession.infer_gpu`.

        Returns:
            Copies within the GPU.

        Raises:
            RuntimeError: The network was not loaded for it.
            CannotImportError: The GPU does not reach it: `upscale_yuv` takes it from main memory.
            UpscalerBusyError: See `__call__`.
        """
        with self._yuv_frame() as session:
            return session.infer_gpu(given, target, look)

    def session_of(self, picture: AnyPicture) -> Session:
        """What runs a picture: of YUV, and of more than 8 bits, there is a session of its own."""
        if isinstance(picture, YuvPicture):
            return self.session if self._yuv is None else self._yuv
        if picture.dtype == np.uint16 and self._deep is not None:
            return self._deep.session
        return self.session

    @property
    def batches(self) -> bool:
        """Whether its frames may run in one batch with those of other streams, see `run_ahead`."""
        sessions = (self.session, self._yuv)
        return any(isinstance(each, StreamSession) and each.batches for each in sessions)

    @property
    def yuv_ends(self) -> YuvEnds | None:
        """Of which YUV 4:2:0 the network is loaded, beside RGB; None where it is not."""
        return None if self._yuv is None else self._yuv.yuv

    @property
    def reduces(self) -> bool:
        """Whether pictures are made smaller than the network's, in RGB (`scale`)."""
        return self._reducer.scale != self.bundle.scale

    def _forget(self) -> None:
        self._processor.reset()
        if self._yuv is not None:
            self._yuv.reset()
        if self._deep is not None:
            self._deep.reset()

    def close(self) -> None:
        """Free the network."""
        for each in (*self._lent.values(), *([self._yuv] if self._yuv is not None else [])):
            each.__exit__(None, None, None)
        self._yuv, self._lent = None, {}
        self._deep_opened.close()
        self._deep = None
        self.session.__exit__(None, None, None)
        if self._trace is not None:
            self._trace.merge(self.session)
            self._trace = None

    def __enter__(self) -> Upscaler:
        """Return itself; the constructor loaded the network."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Free the network."""
        self.close()

    def upscale_file(
        self,
        source: str | Path,
        output: str | Path,
        *,
        options: EncodeOptions | None = None,
        read: ReadOptions | None = None,
        size: OutputSize | tuple[int, int] | None = None,
        compare: str | Path | None = None,
        cut_reset: bool = True,
        pixels: str = "auto",
        progress: Callable[[int, int], None] | None = None,
    ) -> UpscaleReport:
        """Upscale a video file with everything in it.

        Every frame, its time, rotation, aspect and colours are kept; audio and text subtitles are
        carried over. The output appears under its name only when it is complete.

        Args:
            source: Input file.
            output: Output file; the ending chooses the container.
            options: Encoder choices.
            read: What of the input is read: start, duration, stream, deinterlacing, decoder.
            size: Of the output: width and height in pixels, or an `OutputSize`; None for what the
                options or the `Upscaler`'s scale say. The picture is scaled once, on the way to
                the encoder.
            compare: A further output, bicubic and the network side by side at four times the size;
                None for none.
            cut_reset: Whether a causal network starts again at scene cuts.
            pixels: What frames are from decoder to encoder: `yuv`, which 8-bit 4:2:0 video is and
                the network takes as it is, `rgb`, or `auto` for YUV where it is possible. The
                report says which, and why.
            progress: Called after every frame with frames written and frames expected (0 when
                unknown), in another thread.

        Raises:
            InputNotFoundError, UnreadableVideoError, UnsupportedVideoError: The input.
            OutputExistsError, OutputNotWritableError, ConfigError: The output.
            UpscalerBusyError: Something else is under way.
        """
        with self._user.claim("a file"):
            run = FileRun(
                self._network(),
                Path(source),
                Path(output),
                self._encode_options(options or EncodeOptions(), size),
                read or ReadOptions(),
                None if compare is None else Path(compare),
                cut_reset=cut_reset,
                pixels=pixels,
                progress=progress,
            )
            return run.run(self._threads)

    def _network(self) -> FileNetwork:
        return FileNetwork(
            self.session,
            self._clips,
            self._matched,
            asked_variant=self._asked_variant,
            tile=self._tile,
            threads=self._thread_count,
            trace=self._trace,
        )

    def _encode_options(
        self, options: EncodeOptions, size: OutputSize | tuple[int, int] | None
    ) -> EncodeOptions:
        """Encoder choices with the size that is meant."""
        wanted = OutputSize(size=size) if isinstance(size, tuple) else size
        meant = wanted or options.size or self._size or OutputSize()
        return replace(options, size=replace(meant, made=self.bundle.scale))

    def why_not_yuv(self, *, asked: bool = False) -> str:
        """Say why the network takes no YUV 4:2:0, whatever the source; empty if it does.

        Args:
            asked: Whether YUV is asked for, and may take a build of its own.
        """
        return why_not_yuv(self.session, matched=self._matched, tile=self._tile, asked=asked)

    def check_memory(self, name: str, width: int, height: int, *, deep: bool = False) -> None:
        """Refuse frames beyond the limits, or that would run this machine out of memory.

        Args:
            name: Of the input, for the message.
            width: Input pixels.
            height: Input pixels.
            deep: Whether they have more than 8 bits.

        Raises:
            UnsupportedVideoError: With the estimate and what is there.
        """
        memory = memory_of(self.bundle, self.session.variant.id)
        memory.check(Path(name), width, height, tile=self._tile, deep=deep)

    def backend_notes(self) -> list[str]:
        """See `file_run.backend_notes`."""
        return backend_notes(self.session)
