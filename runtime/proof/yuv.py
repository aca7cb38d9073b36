"""The proof of a variant's graph with YUV ends, which files and cameras run: against its RGB graph.

Both get the same YUV 4:2:0, one as it is and one by way of RGB, on the golden clip and named
colours. The RGB graph is the one that the other proofs are about.

    found = compare_yuv(session, golden_frames)  # of an open session
    why = found.why_beyond()
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from av.video.reformatter import VideoReformatter

from ...adopted_network import AdoptedNetwork
from ...arrays import Levels
from ...errors import BackendUnavailableError, BundleError, GraphError
from ...graph.yuv_ends import YuvEnds
from ...metrics import finite_db, psnr
from ...pictures.colour import MATRIX_BT601, Colours, frame_from_rgb
from ...pictures.colour_probes import NAMED
from ...pictures.yuv import yuv_from_frame
from ...pictures.yuv_picture import YuvPicture
from ..sessions.session import Session, StreamSession

COLOURS = Colours(MATRIX_BT601, full_range=False)

FLAT_PX = 16
"""Side of a named colour's tile, of which the middle is looked at."""

MOST_FLAT = 6
"""Levels of RGB by which a named colour may come out otherwise, as for a variant against FP32."""

LEAST_DB = 38.0
"""Of the golden clip by one against by the other."""


@dataclass(frozen=True)
class YuvFound:
    """How far the two are apart."""

    psnr_db: float
    """Of the golden clip's pictures, over RGB levels, the mean over frames."""

    flat_most: int
    """Largest difference of a named colour's channel, in levels."""

    worst_colour: str
    """The named colour with that."""

    def why_beyond(self) -> str | None:
        """Say which limit is not held; None where all are."""
        if self.flat_most > MOST_FLAT:
            return (
                f"YUV graph: {self.worst_colour} is {self.flat_most} levels off the RGB graph's, "
                f"at most {MOST_FLAT} allowed"
            )
        if self.psnr_db < LEAST_DB:
            return (
                f"YUV graph: {self.psnr_db:.1f} dB to the RGB graph's pictures, at least "
                f"{LEAST_DB:g} required"
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
    decibels = [finite_db(psnr(a, b)) for a, b in pairs[0]]
    names, side = list(NAMED), FLAT_PX * session.bundle.scale
    one, two = (picture.astype(int) for picture in pairs[1][-1])
    row = np.abs(one - two)[:side, : side * len(names)].max(-1).reshape(side, -1, side)
    middle = slice(side // 2 - 2, side // 2 + 2)
    errors = row[middle, :, middle].max((0, 2))
    worst = int(errors.argmax())
    return YuvFound(round(float(np.mean(decibels)), 2), int(errors[worst]), names[worst])


def _flats(session: StreamSession) -> Levels:
    """Two frames, all named colours side by side."""
    row = np.array(list(NAMED.values()), np.uint8).repeat(FLAT_PX, 0)
    height, width = (side + -side % session.bundle.size_multiple for side in (FLAT_PX, len(row)))
    frame = np.broadcast_to(row, (FLAT_PX, len(row), 3))
    frame = np.pad(frame, ((0, height - FLAT_PX), (0, width - len(row)), (0, 0)), "edge")
    return np.ascontiguousarray(np.stack([frame, frame]))


def _pictures(
    session: StreamSession, other: StreamSession, clip: Levels, scaler: VideoReformatter
) -> list[tuple[Levels, Levels]]:
    """What both make of a clip, each by way of YUV to RGB."""
    session.reset()
    other.reset()
    found = []
    for frame in clip:
        given = _yuv(frame, scaler)
        by_rgb = _yuv(session.infer(given.rgb(scaler)), scaler)
        found.append((by_rgb.rgb(scaler), other.infer_yuv(given).rgb(scaler)))
    session.reset()
    return found


def _yuv(rgb: Levels, scaler: VideoReformatter) -> YuvPicture:
    frame = frame_from_rgb(np.ascontiguousarray(rgb), COLOURS, "yuv420p", scaler)
    return yuv_from_frame(frame, COLOURS, scaler)
