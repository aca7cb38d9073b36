"""XPSNR: PSNR whose errors weigh less where structure or motion hides them.

Helmrich et al., "XPSNR: A Low-Complexity Extension of the Perceptually Weighted Peak
Signal-to-Noise Ratio", ICASSP 2020, by the filter `xpsnr` of the FFmpeg that PyAV carries. It looks
at two frames of the past, so a clip goes through one meter in order.

    with XpsnrMeter(height, width) as xpsnr:
        xpsnr.add(output_luma, truth_luma)
        (value,) = xpsnr.scores()
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from ..errors import MissingProgramError
from .planes import Plane, as_levels, same_shape

if TYPE_CHECKING:
    import av

XPSNR_LEAST_PX = 16
"""Least side: the filter works on blocks of 4 pixels and more."""

KEY = "lavfi.xpsnr.xpsnr.y"


def require_xpsnr() -> None:
    """Check that PyAV's FFmpeg has the filter.

    Raises:
        MissingProgramError: It was built without.
    """
    import av.filter

    if "xpsnr" not in av.filter.filters_available:
        raise MissingProgramError(
            "XPSNR needs an FFmpeg 7.1 or newer in PyAV; this one has no filter 'xpsnr': "
            "pip install -U av"
        )


class XpsnrMeter:
    """One clip on its way through the filter. Use it as a context manager.

    Args:
        height: Of the luma planes, even, at least `XPSNR_LEAST_PX`.
        width: Likewise.

    Raises:
        MissingProgramError: See `require_xpsnr`.
        ValueError: A size that 4:2:0 cannot have, or too small.
    """

    def __init__(self, height: int, width: int) -> None:
        require_xpsnr()
        from av.filter import Graph

        if min(height, width) < XPSNR_LEAST_PX or height % 2 or width % 2:
            raise ValueError(
                f"{width}x{height} pixels, XPSNR needs even sides of {XPSNR_LEAST_PX} or more"
            )
        self._shape = (height, width)
        self._graph = Graph()
        facts = f"video_size={width}x{height}:pix_fmt=yuv420p:time_base=1/25:frame_rate=25"
        self._inputs = [self._graph.add("buffer", facts) for _ in range(2)]
        measure, self._sink = self._graph.add("xpsnr"), self._graph.add("buffersink")
        for index, source in enumerate(self._inputs):
            source.link_to(measure, 0, index)
        measure.link_to(self._sink)
        self._graph.configure()
        self._frames = 0
        self._scores: list[float] = []

    def __enter__(self) -> XpsnrMeter:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let the filter go."""
        del self._graph, self._inputs, self._sink

    def add(self, output: Plane, truth: Plane) -> None:
        """Take the next frame.

        Args:
            output: (H, W) limited-range luma.
            truth: The same shape.
        """
        same_shape(output, truth)
        if output.shape != self._shape:
            raise ValueError(f"a plane of shape {output.shape}, expected {self._shape}")
        for source, plane in zip(self._inputs, (truth, output), strict=True):
            source.push(self._frame(plane))
        self._frames += 1
        self._pull()

    def scores(self) -> list[float]:
        """End the clip: XPSNR of every frame's luma in dB, infinity where planes are equal."""
        for source in self._inputs:
            source.push(None)
        self._pull()
        return self._scores

    def _pull(self) -> None:
        """Take what the filter has done; it may want to see a frame more first."""
        import av

        while True:
            try:
                frame = self._sink.pull()
            except (av.BlockingIOError, EOFError):
                return
            assert isinstance(frame, av.VideoFrame)
            self._scores.append(float(frame.metadata[KEY]))

    def _frame(self, plane: Plane) -> av.VideoFrame:
        import av

        height, width = self._shape
        grey = np.full((height // 2, width), 128, np.uint8)
        frame = av.VideoFrame.from_ndarray(
            np.concatenate([as_levels(plane), grey]), format="yuv420p"
        )
        frame.pts = self._frames
        return frame
