"""A scene cut ends a stream: what a causal network carried over would shine through the new scene.

`SceneWatch` looks at small pictures of luma, `CutResetProcessor` starts a stream anew at each cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av
import numpy as np

from ...pictures.scene_cuts import Small, score_cut, small_luma
from ...pictures.yuv_picture import AnyPicture, YuvPicture
from ..sessions.frames import check_frame
from .processor import FrameProcessor

CUT_THRESHOLD = 0.25
"""Score of `scene_cuts.score_cut` from which two frames are of different scenes. The largest
of steady scenes was 0.19 and the smallest of cuts 0.30 in the clips it was set on."""


class SceneWatch:
    """Tells whether each frame belongs to the scene of the one before.

    Args:
        threshold: See `CUT_THRESHOLD`.
    """

    def __init__(self, threshold: float = CUT_THRESHOLD) -> None:
        self.threshold = threshold
        self._before: Small | None = None

    def is_cut(self, luma: Small) -> bool:
        """Look at the next frame; the first one is no cut.

        Args:
            luma: Of `adcvsr.pictures.scene_cuts.small_luma`.
        """
        before, self._before = self._before, luma
        return before is not None and score_cut(before, luma, self.threshold) >= self.threshold

    def reset(self) -> None:
        """Forget the last frame."""
        self._before = None


class CutResetProcessor(FrameProcessor):
    """Starts a new stream of another processor at every scene cut.

    Args:
        inner: What upscales.
    """

    def __init__(self, inner: FrameProcessor) -> None:
        self.inner = inner
        self.cuts = 0
        """Cuts met since the last `reset`."""
        self._watch = SceneWatch()

    def push(self, frame: AnyPicture) -> Iterator[AnyPicture]:
        """See `FrameProcessor`."""
        if self._watch.is_cut(_luma(frame)):
            self.cuts += 1
            yield from self.inner.finish()
        yield from self.inner.push(frame)

    def finish(self) -> Iterator[AnyPicture]:
        """See `FrameProcessor`."""
        yield from self.inner.finish()
        self._watch.reset()

    def reset(self) -> None:
        """See `FrameProcessor`."""
        self.inner.reset()
        self._watch.reset()
        self.cuts = 0

    def facts(self) -> dict[str, Any]:
        """See `FrameProcessor`."""
        return self.inner.facts() | {"scene_cuts": self.cuts}

    def notes(self) -> list[str]:
        """See `FrameProcessor`."""
        line = f"{self.cuts} scene cut{'s' * (self.cuts > 1)}: the network starts again at each"
        return [*self.inner.notes(), *([line] if self.cuts else [])]


def _luma(picture: AnyPicture) -> Small:
    """Small luma of a frame; that of limited range is stretched, so that scores mean the same."""
    if isinstance(picture, YuvPicture):
        small = small_luma(av.VideoFrame.from_numpy_buffer(picture.luma, format="gray"))
        return small if picture.colours.full_range else (small - 16) * np.float32(255 / 219)
    check_frame(picture)
    kind = "rgb24" if picture.dtype == np.uint8 else "rgb48le"
    return small_luma(av.VideoFrame.from_ndarray(picture, format=kind))
