"""Choosing what runs a bundle: by request, or the best that is there, said aloud."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, cast

from ..bundle import Bundle
from ..bundle_schema import COLOUR_MATCHES, ColourMatch, Variant
from ..config import nearest
from ..errors import BackendUnavailableError, BundleError, ConfigError, MissingPackageError
from ..processors import usable_processors
from ..target_facts import BF16_MIN_SM
from ..targets import why_not
from .processor import ColourMatchedProcessor, FrameProcessor, StreamProcessor
from .sessions import gpu
from .sessions.session import ClipSession, Session, StreamSession
from .variant_choice import VariantChoice, choose_variant
from .windows import ClipProcessor

BACKENDS = ("tensorrt", "tensorrt-rtx", "ort-cuda", "ort-cpu")
"""Backends of this version, best first."""

VARIANTS = {
    "tensorrt": ("fp16-trt", "fp16-onnx", "fp32-onnx"),
    "tensorrt-rtx": ("fp16-trt", "fp16-onnx", "fp32-onnx"),
    "ort-cuda": ("fp16-onnx", "fp16-trt", "fp32-onnx"),
    "ort-cpu": ("fp32-onnx", "int8-ort"),
}
"""Variants each backend runs unasked. On a GPU the first that a bundle has is taken, and narrower
ones are `adcvsr deploy`'s to accept; on a CPU they are the most precise first, see
`choose_variant`."""

MADE_FOR = {
    "ort-cpu": ("ort", "onnx"),
    "ort-cuda": ("onnx", "ort", "trt"),
    "tensorrt": ("trt", "onnx"),
    "tensorrt-rtx": ("trt", "onnx"),
}
"""Second halves of the variant ids each backend runs, its own kind first."""


@dataclass(frozen=True)
class Choice:
    """What `auto` settled on."""

    backend: str
    variant: Variant
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
            frames. See `adcvsr.runtime.tiles`.
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
        named = None if variant is None else choice.variant.id
        session = _ort_cpu_session(bundle, named, tile, threads)
    else:
        session = _gpu_session_class(choice.backend, bundle)(bundle, choice.variant, tile=tile)
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
        chosen = _default_variant(bundle, backend, variant)
        _require_usable(backend, chosen)
        return Choice(backend, chosen, ())
    if variant is not None:
        bundle.variants_named(variant)  # a misspelt one is an error, not a reason
    reasons: list[str] = []
    for each in BACKENDS:
        try:
            chosen = _default_variant(bundle, each, variant)
            _require_usable(each, chosen)
        except (BackendUnavailableError, MissingPackageError, BundleError) as error:
            if each == BACKENDS[-1]:
                raise
            reasons.append(f"{each}: {error}")
            continue
        return Choice(each, chosen, tuple(reasons))
    raise AssertionError("the last backend returns or raises")


def _default_variant(bundle: Bundle, backend: str, variant: str | None) -> Variant:
    """The variant asked for, or the best the backend runs unasked."""
    if variant is not None:
        return _named_variant(bundle, backend, variant)
    if backend.startswith("tensorrt") and (deployed := _deployed_variant(bundle, backend)):
        return deployed
    for name in VARIANTS[backend]:
        if name in bundle.variants:
            return bundle.variants[name]
    raise BundleError(
        f"bundle '{bundle.name}' has no variant that '{backend}' runs unasked; name one of: "
        f"{', '.join(sorted(bundle.variants))}"
    )


def _named_variant(bundle: Bundle, backend: str, text: str) -> Variant:
    """The variant of an id, or the one of a precision that is made for the backend."""
    names = bundle.variants_named(text)
    if text in names:
        return bundle.variants[text]
    kinds = MADE_FOR[backend]
    fitting = [name for name in names if name.rpartition("-")[2] in kinds]
    if not fitting:
        raise BundleError(
            f"bundle '{bundle.name}' has no variant '{text}' for '{backend}': "
            f"'{names[0]}' is made for another backend; give its full name to run it all the same"
        )
    return bundle.variants[min(fitting, key=lambda name: kinds.index(name.rpartition("-")[2]))]


def _deployed_variant(bundle: Bundle, backend: str) -> Variant | None:
    """The variant that `adcvsr deploy` made current for this bundle, backend and GPU."""
    from .engine.cache import EngineCache
    from .engine.deploy import CurrentEngines

    try:
        current = CurrentEngines(EngineCache(), bundle.name, gpu.current_gpu()).current
    except (BackendUnavailableError, MissingPackageError):
        return None  # no GPU: said by what asks for it next
    if current is None or current["backend"] != backend:
        return None
    return bundle.variants.get(current["variant"])


def _require_usable(backend: str, variant: Variant) -> None:
    """Check that a backend's package, a GPU and the precision are there.

    Raises:
        BackendUnavailableError, MissingPackageError: They are not.
    """
    precision = variant.id.split("-")[0]
    if backend == "ort-cpu":
        from .sessions.ort_cpu import import_onnxruntime

        import_onnxruntime()
        return
    if backend == "ort-cuda":
        from .sessions.ort_cuda import import_onnxruntime_gpu

        if reason := why_not(BF16_MIN_SM, backend, precision):
            raise BackendUnavailableError(reason)
        if os.name == "posix" and not gpu.looks_like_gpu():
            raise BackendUnavailableError("no NVIDIA driver has left its device files in /dev")
        import_onnxruntime_gpu()
        return
    from .sessions.trt_flavour import load_flavour

    here = gpu.current_gpu()  # first, as it is quick and most machines without one end here
    if reason := why_not(here.sm, backend, precision):
        raise BackendUnavailableError(f"{here.name}: {reason}")
    load_flavour(backend)


def _ort_cpu_session(
    bundle: Bundle, variant: str | None, tile: int | None, threads: int
) -> Session:
    """On a CPU the narrower variant is taken where it measures faster."""
    from .sessions.ort_cpu import OrtCpuClipSession, OrtCpuSession, import_onnxruntime

    choice = VariantChoice(variant or VARIANTS["ort-cpu"][0], "")
    if variant is None and bundle.kind == "stream":
        choice = choose_variant(
            bundle,
            VARIANTS["ort-cpu"],
            engine=f"ort-cpu {import_onnxruntime().__version__}",
            threads=threads or usable_processors(),
            open_variant=lambda name: OrtCpuSession(bundle, bundle.variant(name), threads=threads),
        )
    kind = OrtCpuClipSession if bundle.kind == "clip" else OrtCpuSession
    session = kind(bundle, bundle.variant(choice.variant), tile=tile, threads=threads)
    session.variant_reason = choice.reason
    return session


def _gpu_session_class(backend: str, bundle: Bundle) -> Any:
    clip = bundle.kind == "clip"
    if backend == "ort-cuda":
        from .sessions.ort_cuda import OrtCudaClipSession, OrtCudaSession

        return OrtCudaClipSession if clip else OrtCudaSession
    rtx = backend == "tensorrt-rtx"
    if clip:
        from .sessions.trt_clip import TensorRtClipSession, TensorRtRtxClipSession

        return TensorRtRtxClipSession if rtx else TensorRtClipSession
    from .sessions.trt_stream import TensorRtRtxSession, TensorRtSession

    return TensorRtRtxSession if rtx else TensorRtSession


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
