"""The proof of a variant's graph with YUV ends, which files and cameras run: against its RGB graph.

Both get the same YUV 4:2:0, one as it is and one by way of RGB, on the golden clip and named
colours, where nothing is clipped. The RGB graph is the one that the other proofs are about.

    found = compare_yuv(session, golden_frames)  # of an open session
    why = found.why_beyond()
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from av.video.reformatter import VideoReformatter

from ...adopted_network import AdoptedNetwork
from ...arrays import Doubles, Levels
from ...errors import BackendUnavailableError, BundleError, GraphError
from ...graph.yuv_ends import YuvEnds
from ...metrics import finite_db
from ...pictures.colour import MATRIX_BT601, Colours, frame_from_rgb
from ...pictures.colour_probes import NAMED
from ...pictures.yuv import yuv_from_frame
from ...pictures.yuv_picture import YuvPicture
from ..sessions.session import Session
from ..sessions.stream_session import StreamSession

COLOURS = Colours(MATRIX_BT601, full_range=False)

FLAT_PX = 16
"""Side of a named colour's tile, of which the middle is looked at."""

MOST_FLAT = 6
"""Levels of RGB by which a named colour may come out otherwise, as for a variant against FP32."""

MARGIN = 4
"""Levels from black and white within which a picture may have been clipped."""

Mask: TypeAlias = "npt.NDArray[np.bool_]"

LEAST_DB = 38.0
"""Of the golden clip by one against by the other."""


@dataclass(frozen=True)
class YuvFound:
    """How far the two are apart."""

    psnr_db: float | None
    """Of the golden clip's pictures, over RGB levels; None where all of them are clipped."""

    flat_most: int | None
    """Largest difference of a named colour's channel, in levels; None where all are clipped."""

    worst_colour: str
    """The named colour with that."""

    def why_beyond(self, least_db: float | None = None) -> str | None:
        """Say which limit is not held; None where all are.

        Args:
            least_db: What the variant has to reach against FP32, where that is less.
        """
        least = LEAST_DB if least_db is None else min(LEAST_DB, least_db)
        if self.psnr_db is None or self.flat_most is None:
            what = "named colour" if self.flat_most is None else "pixel of the golden clip"
            return (
                f"YUV graph: every {what} comes out black or white, within {MARGIN} levels, where "
                "the two cannot be told apart; pictures with colours between are required"
            )
        if self.flat_most > MOST_FLAT:
            return (
                f"YUV graph: {self.worst_colour} is {self.flat_most} levels off the RGB graph's, "
                f"at most {MOST_FLAT} allowed"
            )
        if self.psnr_db < least:
            return (
                f"YUV graph: {self.psnr_db:.1f} dB to the RGB graph's pictures, at least "
                f"{least:g} required"
            )
        return None


def compare_yuv(session: Session, frames: Levels) -> YuvFound | None:
    """Run a variant's graph with YUV ends beside its RGB graph.

    Args:
        session: Of the RGB graph, opened; its past is forgotten.
        frames: (T, H, W, 3) uint8 RGB, of even sides.

    Returns:
        The distances; None where no file would be run so.
    """
    if (
        not isinstance(session, StreamSession)
        or not (session.takes_yuv and session.yuv_unasked)
        or isinstance(session.bundle.config, AdoptedNetwork)
    ):
        return None
    scaler = VideoReformatter()
    try:
        with session.of_yuv(YuvEnds(COLOURS.matrix, COLOURS.full_range)) as other:
            assert isinstance(other, StreamSession)
            pairs = [_pictures(session, other, clip, scaler) for clip in (frames, _flats(session))]
    except (GraphError, BundleError, BackendUnavailableError):
        return None  # files then run RGB, and say why
    most, worst = _worst_flat(*pairs[1][-1], FLAT_PX * session.bundle.scale)
    return YuvFound(_psnr(pairs[0]), most, worst)


def _psnr(pairs: Sequence[tuple[Doubles, Mask]]) -> float | None:
    """Of all pictures, where nothing is clipped."""
    squares = [error[within] ** 2 for error, within in pairs if within.any()]
    if not squares:
        return None
    mean = float(np.mean(np.concatenate(squares)))
    return round(float(finite_db(10 * np.log10(255**2 / max(mean, 1e-9)))), 2)


def _worst_flat(error: Doubles, within: Mask, side: int) -> tuple[int | None, str]:
    """Largest difference in the middle of a named colour, of those that are not clipped."""
    names, middle = list(NAMED), slice(side // 2 - 2, side // 2 + 2)
    shown = np.where(within, error.max(-1), -1)[:side, : side * len(names)]
    errors = shown.reshape(side, -1, side)[middle, :, middle].max((0, 2))
    worst = int(errors.argmax())
    return (int(errors[worst]), names[worst]) if errors[worst] >= 0 else (None, "")


def _flats(session: StreamSession) -> Levels:
    """Two frames, all named colours side by side."""
    row = np.array(list(NAMED.values()), np.uint8).repeat(FLAT_PX, 0)
    height, width = (side + -side % session.bundle.size_multiple for side in (FLAT_PX, len(row)))
    frame = np.broadcast_to(row, (FLAT_PX, len(row), 3))
    frame = np.pad(frame, ((0, height - FLAT_PX), (0, width - len(row)), (0, 0)), "edge")
    return np.ascontiguousarray(np.stack([frame, frame]))


def _pictures(
    session: StreamSession, other: StreamSession, clip: Levels, scaler: VideoReformatter
) -> list[tuple[Doubles, Mask]]:
    """What both make of a clip, each by way of YUV to RGB: differences, and where they count."""
    session.reset()
    other.reset()
    found = []
    for frame in clip:
        given = _yuv(frame, scaler)
        made = session.infer(given.rgb(scaler))
        one, two = _yuv(made, scaler).rgb(scaler), other.infer_yuv(given).rgb(scaler)
        error = np.abs(one.astype(np.float64) - two)
        found.append((error, _unclipped(made, session.bundle.scale)))
    session.reset()
    return found


def _unclipped(picture: Levels, scale: int) -> Mask:
    """(H, W): pixels around which nothing is clipped, as RGB and YUV clip otherwise."""
    height, width, _ = picture.shape
    blocks = picture.reshape(height // scale, scale, width // scale, scale, 3)
    inside = (blocks.min((1, 3, 4)) >= MARGIN) & (blocks.max((1, 3, 4)) <= 255 - MARGIN)
    padded = np.pad(inside, 1, mode="edge")
    rows, columns = inside.shape
    around = [padded[y : y + rows, x : x + columns] for y in range(3) for x in range(3)]
    mask: Mask = np.logical_and.reduce(around).repeat(scale, 0).repeat(scale, 1)
    return mask


def _yuv(rgb: Levels, scaler: VideoReformatter) -> YuvPicture:
    frame = frame_from_rgb(np.ascontiguousarray(rgb), COLOURS, "yuv420p", scaler)
    return yuv_from_frame(frame, COLOURS, scaler)
