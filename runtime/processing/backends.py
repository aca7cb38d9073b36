"""Choosing what runs a bundle: by request, or the best that is there, said aloud."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from ...bundle import Bundle
from ...bundle.schema import COLOUR_MATCHES, ColourMatch, Variant
from ...config import nearest
from ...errors import BackendUnavailableError, BundleError, ConfigError, MissingPackageError
from ...host.processors import usable_processors
from ...variants import (
    BACKENDS,
    BF16_MIN_SM,
    ENGINE_BACKENDS,
    STORED_AS,
    contenders,
    faster,
    why_not,
)
from ..nvidia import gpu
from ..sessions.clip_session import ClipSession
from ..sessions.session import Session
from ..sessions.stream_session import StreamSession
from .fastest_variant import choose_variant, speeds_here
from .processor import ColourMatchedProcessor, FrameProcessor, StreamProcessor
from .windows import ClipProcessor


@dataclass(frozen=True)
class Choice:
    """What `auto` settled on."""

    backend: str
    candidates: tuple[Variant, ...]
    """What may run on it: the variant that was asked for, or the first that may be taken unasked.
    On a CPU two may be, and a measurement decides between them (`choose_variant`)."""
    reasons: tuple[str, ...]
    """Why each better backend was not possible, one line each."""


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
        variant: A variant's id, or a precision such as `int8` for the one made for the backend;
            None takes the one that is faster on this machine, and the session's
            `variant_reason` says why.
        tile: Largest side in input pixels of what the network is given at once; None for whole
            frames. See `adcvsr.runtime.sessions.tiles`.
        threads: Threads of a CPU backend; 0 for all processors.

    Returns:
        A `StreamSession` or `ClipSession`, by the bundle's kind; its `reasons` say why `auto` took
        nothing better.

    Raises:
        BackendUnavailableError: There is no such backend, or it cannot run here.
        BundleError: The bundle has no such variant.
        ConfigError: The tile is too small for the network.
        MissingPackageError: The backend's package is not installed.
    """
    choice = choose_backend(bundle, backend=backend, variant=variant)
    if choice.backend == "ort-cpu":
        session = _ort_cpu_session(bundle, choice.candidates, tile, threads)
    else:
        kind = _gpu_session_class(choice.backend, bundle)
        session = kind(bundle, choice.candidates[0], tile=tile)
    session.reasons = choice.reasons
    return session


def choose_backend(bundle: Bundle, *, backend: str = "auto", variant: str | None = None) -> Choice:
    """Choose what runs a bundle here; nothing is loaded yet.

    Args:
        bundle: An opened bundle.
        backend: One of `BACKENDS`, which then runs or is an error, or `auto`.
        variant: A variant's id or precision; None takes the backend's default.

    Raises:
        BackendUnavailableError, BundleError, MissingPackageError: See `create_session`.
    """
    if backend != "auto":
        if backend not in BACKENDS:
            raise BackendUnavailableError(
                f"no backend '{backend}' in this version; choose from: auto, {', '.join(BACKENDS)}"
            )
        candidates = _candidates(bundle, backend, variant)
        _require_usable(backend, candidates[0])
        return Choice(backend, candidates, ())
    if variant is not None:
        bundle.variants_named(variant)  # a misspelt one is an error, not a reason
    reasons: list[str] = []
    for each in BACKENDS:
        try:
            candidates = _candidates(bundle, each, variant)
            _require_usable(each, candidates[0])
        except (BackendUnavailableError, MissingPackageError, BundleError) as error:
            if each == BACKENDS[-1]:
                raise
            reasons.append(f"{each}: {error}")
            continue
        return Choice(each, candidates, tuple(reasons))
    raise AssertionError("the last backend returns or raises")


def _candidates(bundle: Bundle, backend: str, variant: str | None) -> tuple[Variant, ...]:
    """The variant asked for, or what the backend takes unasked."""
    if variant is not None:
        return (bundle.variant(bundle.find_variant(variant, backend)),)
    if backend != "ort-cpu" and (deployed := _deployed_variant(bundle, backend)):
        return (deployed,)
    names = contenders(bundle.variants, backend, None, kind=bundle.kind)
    if not names:
        raise BundleError(
            f"bundle '{bundle.name}' has no variant that '{backend}' runs unasked; name one of: "
            f"{', '.join(sorted(bundle.variants))}"
        )
    return tuple(bundle.variant(name) for name in names)


def _deployed_variant(bundle: Bundle, backend: str) -> Variant | None:
    """The variant that `adcvsr deploy` made current for this bundle, backend and GPU."""
    from ..engine.current import CurrentEngines
    from ..engine.engine_cache import EngineCache

    try:
        own = "" if backend in ENGINE_BACKENDS else backend
        current = CurrentEngines(EngineCache(), bundle.name, gpu.current_gpu(), own).current
    except (BackendUnavailableError, MissingPackageError):
        return None  # no GPU: said by what asks for it next
    if current is None or current["backend"] != backend:
        return None
    try:
        return bundle.variant(current["variant"])
    except BundleError:
        return None  # deployed from another bundle of this name


def _require_usable(backend: str, variant: Variant) -> None:
    """Check that a backend's package, a GPU and the precision are there.

    Raises:
        BackendUnavailableError, MissingPackageError: They are not.
    """
    precision = variant.precision
    if backend == "ort-cpu":
        from ..sessions.ort_cpu import import_onnxruntime

        if precision in STORED_AS:
            raise BackendUnavailableError(f"{precision}: {why_not(None, backend, precision)}")
        import_onnxruntime()
        return
    if backend == "ort-cuda":
        from ..sessions.ort_cuda import import_onnxruntime_gpu

        if reason := why_not(_sm_for_ort(precision), backend, precision):
            raise BackendUnavailableError(reason)
        if os.name == "posix" and not gpu.looks_like_gpu():
            raise BackendUnavailableError("no NVIDIA driver has left its device files in /dev")
        import_onnxruntime_gpu()
        return
    from ..nvidia.flavour import load_flavour

    here = gpu.current_gpu()  # first, as it is quick and most machines without one end here
    if reason := why_not(here.sm, backend, precision):
        raise BackendUnavailableError(f"{here.name}: {reason}")
    load_flavour(backend)


def _sm_for_ort(precision: str) -> int:
    """The GPU's compute capability, taken to suffice where cuda-python is not there to tell.

    TF32 is the exception: ONNX Runtime would compute FP32 in its place without a word.

    Raises:
        BackendUnavailableError, MissingPackageError: TF32 is asked for and nothing tells.
    """
    try:
        return gpu.current_gpu().sm
    except (BackendUnavailableError, MissingPackageError):
        if precision in STORED_AS:
            raise
        return BF16_MIN_SM


def _ort_cpu_session(
    bundle: Bundle, candidates: Sequence[Variant], tile: int | None, threads: int
) -> Session:
    """On a CPU the narrower candidate is taken where it measures faster."""
    from ..sessions.ort_cpu import OrtCpuClipSession, OrtCpuSession

    choice = choose_variant(bundle, [each.id for each in candidates], **_on_cpu(bundle, threads))
    kind = OrtCpuClipSession if bundle.kind == "clip" else OrtCpuSession
    session = kind(bundle, bundle.variant(choice.variant), tile=tile, threads=threads)
    session.variant_reason = choice.reason
    return session


def cpu_milliseconds(
    bundle: Bundle, candidates: Sequence[Variant], threads: int
) -> tuple[float, str]:
    """What a frame of 160x90 takes the variant that would run, measured once on this machine.

    Args:
        bundle: A causal one.
        candidates: See `Choice`.
        threads: See `create_session`.

    Returns:
        That, and where it is from, for people.
    """
    names = [each.id for each in candidates]
    speeds, said = speeds_here(bundle, names, **_on_cpu(bundle, threads))
    return speeds[faster({name: speeds[name] for name in names})], said


def _on_cpu(bundle: Bundle, threads: int) -> dict[str, Any]:
    """How variants are measured on the processors."""
    from ..sessions.ort_cpu import OrtCpuSession, import_onnxruntime

    return {
        "engine": f"ort-cpu {import_onnxruntime().__version__}",
        "threads": threads or usable_processors(),
        "open_variant": lambda name: OrtCpuSession(bundle, bundle.variant(name), threads=threads),
    }


def _gpu_session_class(backend: str, bundle: Bundle) -> Any:
    clip = bundle.kind == "clip"
    if backend == "ort-cuda":
        from ..sessions.ort_cuda import OrtCudaClipSession, OrtCudaSession

        return OrtCudaClipSession if clip else OrtCudaSession
    rtx = backend == "tensorrt-rtx"
    if clip:
        from ..sessions.trt_clip import TensorRtClipSession, TensorRtRtxClipSession

        return TensorRtRtxClipSession if rtx else TensorRtClipSession
    from ..sessions.trt_stream import TensorRtRtxSession, TensorRtSession

    return TensorRtRtxSession if rtx else TensorRtSession


def create_processor(
    session: Session, *, colour_match: str | None = None, overlap: bool = False
) -> FrameProcessor:
    """Make what takes a session's frames in and gives finished ones out.

    Args:
        session: Of either kind; opened before the first frame.
        colour_match: `none`, `frame` or `ema`; None as the bundle says.
        overlap: See `StreamProcessor`; for files, which want frames a second and no latency.

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
        processor = StreamProcessor(cast("StreamSession", session), overlap=overlap)
    return processor if match.mode == "none" else ColourMatchedProcessor(processor, match)
