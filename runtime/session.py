"""The contract every backend fulfils: frame in, x4 frame out, state carried inside.

with open_session(open_bundle("nano")) as session:
    big = session.infer(frame)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from ..bundle import Bundle
from ..bundle_schema import Variant
from ..config import SCALE

Frame = npt.NDArray[np.uint8]


class Session(ABC):
    """One variant of a bundle, loaded on one backend. Use it as a context manager.

    Owns the memory of the carried state. Not thread-safe: one thread at a time calls `infer`.

    Args:
        bundle: The opened bundle.
        variant: Which of its variants to run.
    """

    backend: ClassVar[str]

    def __init__(self, bundle: Bundle, variant: Variant) -> None:
        self.bundle = bundle
        self.variant = variant
        self.variant_reason = ""
        """Why this variant, where it was chosen among several."""
        self._size: tuple[int, int] | None = None
        self._active = False

    def __enter__(self) -> Session:
        """Load the network."""
        self._open()
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
        self._close()

    def infer(self, frame: Frame) -> Frame:
        """Upscale the next frame of a stream.

        A frame of another size than the one before starts a new stream (`reset`).

        Args:
            frame: (H, W, 3) uint8 RGB, H and W at least 1.

        Returns:
            (4H, 4W, 3) uint8 RGB, C-contiguous, owned by the caller.

        Raises:
            RuntimeError: The session is not open.
            ValueError: The frame has another shape or dtype.
        """
        if not self._active:
            raise RuntimeError("the session is not open, or closed already")
        if not isinstance(frame, np.ndarray):
            raise ValueError(f"frame of type {type(frame).__name__}; expected a numpy array")
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or not frame.size:
            raise ValueError(
                f"frame of shape {frame.shape} and dtype {frame.dtype}; "
                "expected (H, W, 3) uint8 RGB"
            )
        height, width = frame.shape[:2]
        padded = pad_to_multiple(frame, self.bundle.size_multiple)
        if (height, width) != self._size:
            self._size = (height, width)
            self._resize(padded.shape[0], padded.shape[1])
            self._reset()
        out = self._infer(np.ascontiguousarray(padded))
        if padded is frame:
            return out
        return np.ascontiguousarray(out[: height * SCALE, : width * SCALE])

    def reset(self) -> None:
        """Forget the past: the next frame is treated as the first of a new stream."""
        if self._size is not None:
            self._reset()

    @abstractmethod
    def _open(self) -> None:
        """Load the graph."""

    @abstractmethod
    def _close(self) -> None:
        """Free the graph and all buffers; called once, also after an error."""

    @abstractmethod
    def _resize(self, height: int, width: int) -> None:
        """Allocate buffers for a padded input size."""

    @abstractmethod
    def _reset(self) -> None:
        """Zero the carried state."""

    @abstractmethod
    def _infer(self, frame: Frame) -> Frame:
        """Run one frame of the size given to `_resize`."""


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
