"""Choosing what runs a bundle: by request, or the best that is there, said aloud."""

from __future__ import annotations

from typing import cast

from ..bundle import Bundle
from ..bundle_schema import COLOUR_MATCHES, ColourMatch
from ..config import nearest
from ..errors import BackendUnavailableError, ConfigError
from .processor import ColourMatchedProcessor, FrameProcessor, StreamProcessor
from .session import ClipSession, Session, StreamSession
from .variant_choice import VariantChoice, choose_variant
from .windows import ClipProcessor

BACKENDS = ("ort-cpu",)
"""Backends of this version, best first."""

VARIANTS = {"ort-cpu": ("fp32-onnx", "int8-ort")}
"""Variants each backend can run, the most precise first; see `choose_variant`."""


def create_session(
    bundle: Bundle,
    *,
    backend: str = "auto",
    variant: str | None = None,
    tile: int | None = None,
    threads: int = 0,
) -> Session:
    """Make the session for a bundle; open it with `with`.

    Args:
        bundle: An opened bundle.
        backend: One of `BACKENDS`, or `auto` for the best present.
        variant: A variant's id; None takes the one that is faster on this machine, and the
            session's `variant_reason` says why.
        tile: Largest side in input pixels of what the network is given at once; None for whole
            frames. See `adcvsr.runtime.tiles`.
        threads: Threads of a CPU backend; 0 for all processors.

    Returns:
        A `StreamSession` or `ClipSession`, by the bundle's kind.

    Raises:
        BackendUnavailableError: There is no such backend; the message lists them.
        BundleError: The bundle has no such variant.
        ConfigError: The tile is too small for the network.
        MissingPackageError: The backend's package is not installed.
    """
    chosen = BACKENDS[0] if backend == "auto" else backend
    if chosen not in BACKENDS:
        raise BackendUnavailableError(
            f"no backend '{backend}' in this version; choose from: auto, {', '.join(BACKENDS)}"
        )
    from .ort_session import OrtCpuClipSession, OrtCpuSession, import_onnxruntime, usable_processors

    engine = f"{chosen} {import_onnxruntime().__version__}"
    choice = VariantChoice(variant or VARIANTS[chosen][0], "")
    if variant is None and bundle.kind == "stream":
        choice = choose_variant(
            bundle,
            VARIANTS[chosen],
            engine=engine,
            threads=threads or usable_processors(),
            open_variant=lambda name: OrtCpuSession(bundle, bundle.variant(name), threads=threads),
        )
    kind = OrtCpuClipSession if bundle.kind == "clip" else OrtCpuSession
    session = kind(bundle, bundle.variant(choice.variant), tile=tile, threads=threads)
    session.variant_reason = choice.reason
    return session


def create_processor(session: Session, *, colour_match: str | None = None) -> FrameProcessor:
    """Make what takes a session's frames in and gives finished ones out.

    Args:
        session: Of either kind; opened before the first frame.
        colour_match: `none`, `frame` or `ema`; None as the bundle says.

    Raises:
        ConfigError: There is no such colour match.
    """
    match = session.bundle.colour_match
    if colour_match is not None:
        if colour_match not in COLOUR_MATCHES:
            known = dict.fromkeys(COLOUR_MATCHES)
            raise ConfigError(f"no colour match '{colour_match}'{nearest(colour_match, known)}")
        match = ColourMatch(colour_match, match.half_life_frames)
    processor: FrameProcessor
    if isinstance(session, ClipSession):
        processor = ClipProcessor(session)
    else:
        processor = StreamProcessor(cast("StreamSession", session))
    return processor if match.mode == "none" else ColourMatchedProcessor(processor, match)
