"""Frames of more than 8 bits: whether any come, and what runs them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from ..arrays import Frame
from ..bundle import Bundle
from ..errors import BundleError, GraphError
from .processing.backends import create_processor
from .processing.hdr import for_transfer
from .processing.processor import FrameProcessor, require_rgb
from .sessions.session import Session
from .trace import Trace
from .video.encoders import EncodeOptions
from .video.hdr import SDR_ADVICE
from .video.info import VideoInfo
from .video.sink import planes_for

EIGHT_BITS = 8
"""Of a level, in frames and pictures of all backends; see `open_deep`."""


def is_deep(output: Path, info: VideoInfo, options: EncodeOptions) -> bool:
    """Whether more than 8 bits come in or are asked for, and the encoder takes them.

    Args:
        output: Its ending chooses the encoder where the options do not.
        info: Of the input.
        options: Encoder choices.
    """
    meant = info.planes.bits > EIGHT_BITS or options.bits not in (None, EIGHT_BITS)
    return meant and planes_for(output, info, options).holds.bits > EIGHT_BITS


def why_not_deep(session: Session, *, matched: str, asked: bool) -> str:
    """Say why a network takes no more than 8 bits, as far as that is known unopened.

    Args:
        session: Its ordinary session.
        matched: How colours are matched to the input.
        asked: Whether the session's variant was asked for.

    Returns:
        The reason; empty where it takes more, unless its graph turns out to be of another form.
    """
    if session.backend != "ort-cpu" or session.bundle.kind != "stream":
        return f"{session.backend} runs this {session.bundle.kind} network with 8 bits"
    if matched != "none":
        return f"colours are matched to the input in 8 bits ({matched})"
    if asked and session.variant.precision != "fp32":
        return f"variant {session.variant.id} takes 8, fp32 more"
    return ""


def open_deep(
    mine: Session,
    opened: ExitStack,
    *,
    matched: str,
    asked: bool,
    tile: int | None,
    threads: int,
    note: Callable[[str], None],
    trace: Trace | None = None,
    hdr: bool = False,
) -> tuple[Session, str]:
    """Open what runs frames of more than 8 bits.

    Args:
        mine: The ordinary session.
        opened: Closes what is opened.
        matched: How colours are matched to the input.
        asked: Whether the session's variant was asked for.
        tile: As for `create_session`.
        threads: Likewise.
        note: Called with a line where another variant runs.
        trace: Watches it.
        hdr: Whether the frames are HDR, which cannot have less.

    Returns:
        The session, or the ordinary one and why.
    """
    bundle = mine.bundle
    if why := why_not_deep(mine, matched=matched, asked=asked):
        return mine, why
    try:
        name = bundle.find_variant("fp32", mine.backend)
        session = deep_session(bundle, name, tile=tile, threads=threads)
        session.reasons = mine.reasons
        if trace is not None:
            trace.watch(session)
            opened.callback(trace.merge, session)  # once it is closed
        opened.enter_context(session)
    except (BundleError, GraphError) as error:
        return mine, f"bundle '{bundle.name}' takes 8 ({error})"
    if name != mine.variant.id:
        note(
            f"variant {name} runs, not {mine.variant.id}: it alone takes more than 8 "
            f"bits ({SDR_ADVICE + ', faster' if hdr else '--bits 8 is faster'})"
        )
    return session, ""


def deep_session(bundle: Bundle, variant: str, *, tile: int | None, threads: int) -> Session:
    """What runs a variant with more than 8 bits, not opened yet.

    Raises:
        BundleError: There is no such variant.
    """
    from .sessions.ort_cpu import OrtCpuSession

    return OrtCpuSession(bundle, bundle.variant(variant), tile=tile, threads=threads, deep=True)


class DeepStream:
    """One stream of frames of more than 8 bits through a network: SDR, PQ or HLG.

    Args:
        session: Of `open_deep`, opened; closed by whoever opened it.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self._transfer = 0
        self._processor: FrameProcessor = create_processor(session, colour_match="none")

    def upscale(self, frame: Frame, transfer: int) -> Frame:
        """Upscale the next frame of a causal stream; another transfer starts a new one.

        Args:
            frame: (H, W, 3) uint16 RGB, see `arrays.Frame`.
            transfer: H.273's code of what its numbers mean.

        Returns:
            (sH, sW, 3) uint16 RGB of the same transfer.
        """
        if transfer != self._transfer:
            self.reset()
            self._transfer = transfer
        (made,) = for_transfer(self._processor, transfer).push(frame)
        return require_rgb(made)

    def reset(self) -> None:
        """Forget the past."""
        self._processor.reset()
