"""Clip windows: networks that are not causal walk through a video of any length.

Windows stand at frames 0, stride, 2*stride and so on, by index alone, so the result does not depend
on how the video was read. Where neighbours share frames they are crossfaded linearly; where the
shared frames are so many that both see all they need in the middle, they are cut there instead, and
the result is that of the whole clip.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from ...adopted_network import MOST_REACH
from ...arrays import Frame
from ...graph.receptive import temporal_reach
from ...pictures.spacing import Spacing, crossfade
from ...pictures.yuv_picture import AnyPicture
from ..sessions.clip_session import ClipSession
from .processor import FrameProcessor, require_rgb


class ClipProcessor(FrameProcessor):
    """A network that is not causal, in windows.

    Memory is bounded by the window: its frames, its features, and the pictures that the next window
    fades into. A window runs when the frame after it comes, or at the end; the last one is shifted
    back so that it is as long as the others. A video shorter than a window is one window of its own
    length: filling it with repeated frames would change the result.

    Args:
        session: Opened.
    """

    def __init__(self, session: ClipSession) -> None:
        window = session.bundle.window
        assert window is not None
        self.session = session
        self.reach = max(temporal_reach(session.bundle.config))
        """Frames the network sees to each side."""
        self.exact = 2 * self.reach <= window.overlap
        """Whether the result is that of the whole clip, however long."""
        fade = 0 if self.exact else window.overlap
        self._spacing = Spacing(window.frames, window.overlap, fade)
        self._latest = (0, 0)  # windows run, frames of each
        self.reset()

    def push(self, frame: AnyPicture) -> Iterator[Frame]:
        """See `FrameProcessor`."""
        frame = require_rgb(frame)
        if self._recent and frame.shape != self._recent[-1].shape:
            yield from self.finish()
        if self._pushed == self._next_stop:
            yield from self._run(last=False)
        self._recent.append(frame)
        self._pushed += 1

    def finish(self) -> Iterator[Frame]:
        """See `FrameProcessor`."""
        if self._recent:
            yield from self._run(last=True)
        self.reset()

    def reset(self) -> None:
        """See `FrameProcessor`."""
        self._recent: deque[Frame] = deque(maxlen=self._spacing.size)
        self._held: deque[Frame] = deque()  # pictures the next window fades into
        self._pushed = self._windows = 0
        self._next_stop = self._spacing.size
        self._fade = (0, 0)  # where the next window takes over

    def facts(self) -> dict[str, Any]:
        """See `FrameProcessor`."""
        count, frames = self._latest
        windows = {
            "count": count,
            "frames": frames,
            "overlap": self._spacing.overlap,
            "exact": count == 1 or self.exact,
            "reach": self.reach,
        }
        return {"windows": windows, "tiles": self.session.tile_facts(), "colour_match": None}

    def notes(self) -> list[str]:
        """See `FrameProcessor`."""
        count, frames = self._latest
        share = f"sharing {self._spacing.overlap}"
        window = self.session.bundle.window
        if count == 1:
            line = f"one window of {frames} frames"
            if window is not None and window.filled and frames < window.frames:
                line += f", filled with its last one to the {window.frames} that the network takes"
        elif self.exact:
            line = f"{count} windows of {frames} frames {share}, exact"
        else:
            seen = f"{self.reach} frames to each side" if self.reach < MOST_REACH else "all frames"
            line = (
                f"{count} windows of {frames} frames {share}, crossfaded: the network sees {seen}, "
                "so the result is not that of the whole clip"
            )
        return [line, *self.session.tile_notes()]

    def _run(self, *, last: bool) -> Iterator[Frame]:
        """Run a window over the recent frames; yield what no later window touches."""
        begin, full = self._fade
        start, stop = self._pushed - len(self._recent), self._pushed
        final, wanted = (stop, stop) if last else self._spacing.takeover(stop)
        self._fade = (final, wanted)
        self._next_stop += self._spacing.stride
        self._windows += 1
        self._latest = (self._windows, len(self._recent))
        pictures = self.session.upscale_window(self._recent, begin - start, wanted - start)
        for index, new in enumerate(pictures, begin):
            picture = new
            if index < full:
                old, share = self._held.popleft(), index - begin + 1
                picture = crossfade(old, new, share, full - begin + 1)
            if index < final:
                yield picture
            else:
                self._held.append(picture)
