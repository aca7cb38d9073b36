"""Where one scene ends and the next begins.

Frames are compared as small pictures of luma, each block of the later one at its best place in the
earlier: motion of objects and camera leaves little difference then, a cut much.
"""

from __future__ import annotations

import av
import numpy as np
import numpy.typing as npt

Small = npt.NDArray[np.float32]

WIDTH, HEIGHT = 64, 36
"""Size of the small pictures; cells of about 20 pixels in a 720p frame."""

BLOCK = 4
"""Side of the blocks that are searched for."""

REACH = 6
"""Farthest a block may have moved, small pixels: a tenth of the frame's width."""

DARK = 2.0
"""Levels added to the contrast, so that the noise of a nearly black scene is no cut."""


def small_luma(frame: av.VideoFrame) -> Small:
    """Reduce a frame to (HEIGHT, WIDTH) float32 luma."""
    grey = frame.reformat(
        width=WIDTH, height=HEIGHT, format="gray", interpolation="AREA", threads=1
    )
    return grey.to_ndarray().astype(np.float32)


def score_cut(before: Small, after: Small, threshold: float) -> float:
    """Score how little of a frame is found in the one before it.

    Args:
        before: (H, W) small luma.
        after: (H, W) small luma of the next frame.
        threshold: Where the difference without search already lies below this score, it is
            returned: searching could only lower it.

    Returns:
        Mean absolute difference after the search over the mean contrast of the two; about 0 for the
        same scene, 0.3 to above 1 across a cut.
    """
    contrast = (_contrast(before) + _contrast(after)) / 2 + DARK / 2
    plain = float(np.abs(after - before).mean()) / contrast
    return plain if plain < threshold else _search(before, after) / contrast


def _search(before: Small, after: Small) -> float:
    """Mean over blocks of the smallest mean absolute difference within reach."""
    padded = np.pad(before, REACH, mode="edge")
    span = range(2 * REACH + 1)
    best = np.full((HEIGHT // BLOCK, WIDTH // BLOCK), np.inf, np.float32)
    for dy in span:
        for dx in span:
            moved = np.abs(after - padded[dy : dy + HEIGHT, dx : dx + WIDTH])
            blocks = moved.reshape(HEIGHT // BLOCK, BLOCK, WIDTH // BLOCK, BLOCK).mean((1, 3))
            np.minimum(best, blocks, out=best)
    return float(best.mean())


def _contrast(small: Small) -> float:
    return float(np.abs(small - small.mean()).mean())
