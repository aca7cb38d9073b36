"""What every backend's session is: one variant of a bundle, loaded; frames in, pictures out.

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
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, TypeVar

import numpy as np

from ...arrays import Frame
from ...bundle import Bundle
from ...bundle.schema import Variant
from ...graph.receptive import spatial_radius
from ...graph.yuv_ends import YuvEnds
from .frames import check_frame
from .layer_profile import Profile
from .tiles import TileLayout, Tiling

AnySession = TypeVar("AnySession", bound="Session")


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
