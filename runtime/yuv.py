"""Frames of YUV 4:2:0 as 8-bit video has them: whether a network takes them, and what runs them."""

from __future__ import annotations

from contextlib import ExitStack

from ..errors import BackendUnavailableError, BundleError, ConfigError, GraphError
from ..graph.yuv_ends import YuvEnds
from ..pictures.colour import Colours
from .sessions.session import Session
from .sessions.stream_session import StreamSession
from .trace import Trace
from .video.info import VideoInfo

REFUSALS = (GraphError, BundleError, BackendUnavailableError)
"""What opening a session of YUV may raise where the one of RGB runs: then that one goes on."""


def ends_of(session: Session, colours: Colours, *, times: int) -> YuvEnds:
    """The ends for a stream's YUV: the last convolution makes half the size where no more is asked.

    Args:
        session: The one of RGB.
        colours: What the stream's numbers mean.
        times: Lines of the output for one of the input's; 0 where all that is made is wanted.
    """
    able = isinstance(session, StreamSession) and session.halves_yuv
    halved = able and session.bundle.scale % 4 == 0 and 2 * times == session.bundle.scale
    return YuvEnds(colours.matrix, colours.full_range, halved)


def why_not_yuv(session: Session, *, matched: str, tile: int | None, asked: bool = False) -> str:
    """Say why a network's session takes no YUV 4:2:0, whatever the source; empty if it does.

    Args:
        session: The one that is to run.
        matched: How colours are matched to the input.
        tile: As for `create_session`.
        asked: Whether YUV is asked for, and may take a build of its own.
    """
    if session.deep:
        return "there are more than 8 bits"
    if matched != "none":
        return f"colours are matched to the input in RGB ({matched})"
    if tile is not None:
        return "tiles are cut of RGB"
    if not isinstance(session, StreamSession) or not session.takes_yuv:
        return f"{session.backend} takes this {session.bundle.kind} network's frames as RGB"
    if not (asked or session.yuv_unasked):
        return (
            f"on {session.backend} YUV is an engine of its own for each matrix and range, not "
            "tried on a GPU yet: --pixels yuv builds and runs it"
        )
    return ""


def times_of(info: VideoInfo, output: tuple[int, int]) -> int:
    """How many times as large in both directions an output is; 0 where that is no whole number.

    Args:
        info: Of the input.
        output: Width and height as stored, pixels.
    """
    times = output[0] // info.width
    return times if output == (times * info.width, times * info.height) else 0


def open_yuv(
    mine: Session,
    opened: ExitStack,
    colours: Colours,
    why_not_video: str,
    *,
    pixels: str,
    matched: str,
    tile: int | None,
    times: int = 0,
    trace: Trace | None = None,
) -> tuple[Session, str]:
    """Open what runs a file's frames as YUV 4:2:0.

    Args:
        mine: The session of RGB.
        opened: Closes what is opened.
        colours: What the stream's numbers mean.
        why_not_video: Why the file or its output does not take YUV; empty where both do.
        pixels: `auto`, `rgb`, or `yuv`.
        matched: See `why_not_yuv`.
        tile: Likewise.
        times: See `ends_of`.
        trace: Watches it.

    Returns:
        The session, or the one of RGB and why.

    Raises:
        ConfigError: YUV is asked for and not possible.
    """
    why = "--pixels rgb"
    if pixels != "rgb":
        why = why_not_yuv(mine, matched=matched, tile=tile, asked=pixels == "yuv")
        why = why or why_not_video
    if not why:
        try:
            session = yuv_session(mine, colours, times=times)
            if trace is not None:
                trace.watch(session)
                opened.callback(trace.merge, session)  # once it is closed
            opened.enter_context(session)
        except REFUSALS as error:
            why = str(error)
        else:
            return session, ""
    if pixels == "yuv":
        raise ConfigError(f"--pixels yuv is not possible: {why}; leave it out for RGB")
    return mine, why


def yuv_session(mine: Session, colours: Colours, *, times: int) -> StreamSession:
    """What runs a network on YUV 4:2:0, not opened yet.

    Args:
        mine: One that takes it (`why_not_yuv`).
        colours: What the stream's numbers mean.
        times: See `ends_of`.
    """
    assert isinstance(mine, StreamSession)
    return mine.of_yuv(ends_of(mine, colours, times=times))
