"""What makes a large frame of a small one: baselines, and bundles with or without their memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...arrays import Levels
from ...bundle import Bundle, open_bundle
from ...config import SCALE
from ...errors import BundleError
from ...metrics import resize_bicubic, resize_lanczos
from ...runtime.processing.backends import create_processor, create_session
from ...runtime.processing.cut_reset import CutResetProcessor
from ...runtime.sessions.session import Session

Upscale = Callable[[Iterator[Levels]], Iterator[Levels]]
"""Frames (H, W, 3) of one clip to (sH, sW, 3) each, uint8 RGB, in order; it may read ahead."""

BASELINES = ("bicubic", "lanczos")
"""Always measured beside the bundles; gains are over the first."""

RESET_SUFFIX = " (reset)"
"""Marks a bundle whose state is reset on every frame."""


@dataclass(frozen=True)
class Method:
    """One way to upscale clips; every clip starts without a past."""

    name: str
    """Unique in an evaluation; heads its rows."""

    upscale: Upscale

    facts: dict[str, Any] = field(default_factory=dict)
    """What it is, for reports: bundle, variant, backend, colour match."""


def baselines(scale: int = SCALE) -> list[Method]:
    """Bicubic and Lanczos interpolation by a scale."""

    def baseline(name: str, resize: Callable[[Levels, int, int], Levels], **facts: float) -> Method:
        return Method(
            name,
            frame_by_frame(lambda low: resize(low, low.shape[0] * scale, low.shape[1] * scale)),
            facts,
        )

    return [
        baseline("bicubic", resize_bicubic, a=-0.5),
        baseline("lanczos", resize_lanczos, lobes=3),
    ]


def frame_by_frame(upscale: Callable[[Levels], Levels]) -> Upscale:
    """Adapt what knows single frames, (H, W, 3) to (sH, sW, 3)."""
    return lambda lows: map(upscale, lows)


@contextmanager
def open_methods(
    models: Sequence[str | Path],
    *,
    backend: str = "auto",
    variants: Sequence[str] = (),
    reset_every_frame: bool = False,
    note: Callable[[str], None] = lambda line: None,
) -> Iterator[list[Method]]:
    """Load bundles as methods, in order, and free them at the end.

    Args:
        models: Names or paths of bundles.
        backend: `auto` or one of `adcvsr.variants.BACKENDS`.
        variants: Variants of every bundle; none takes the backend's default. Of several, a bundle
            is measured in those that it has, if another has the rest.
        reset_every_frame: Add each bundle a second time, its state reset on every frame.
        note: Called with a line where a bundle has no state to reset, or lacks a variant.

    Raises:
        BundleNotFoundError, BundleError: A bundle or variant.
        BackendUnavailableError, MissingPackageError: The backend cannot run here.
    """
    with ExitStack() as stack:
        methods: list[Method] = []
        bundles = [open_bundle(model) for model in models]
        for bundle in bundles:
            for variant in _asked_of(bundle, bundles, variants, note):
                name = _free_name(_label(bundle, variants, variant), methods)
                sessions = [
                    stack.enter_context(create_session(bundle, backend=backend, variant=variant))
                    for _ in range(2 if reset_every_frame and bundle.state else 1)
                ]
                methods.append(_carried(name, sessions[0]))
                methods += [_without_past(name, session) for session in sessions[1:]]
                if reset_every_frame and not bundle.state:
                    note(f"{name} carries no state: nothing to reset")
        yield methods


def _asked_of(
    bundle: Bundle,
    bundles: Sequence[Bundle],
    variants: Sequence[str],
    note: Callable[[str], None],
) -> Sequence[str | None]:
    """Which variants of a bundle are measured; what no bundle has is left for the run to refuse."""

    def has(other: Bundle, variant: str) -> bool:
        try:
            return bool(other.variants_named(variant))
        except BundleError:
            return False

    if not variants:
        return (None,)
    lacking = [
        variant
        for variant in variants
        if not has(bundle, variant) and any(has(other, variant) for other in bundles)
    ]
    measured = [variant for variant in variants if variant not in lacking]
    if not measured:
        return variants[:1]
    if lacking:
        label = bundle.path.name
        note(f"{label} has no variant {', '.join(lacking)}: measured in {', '.join(measured)}")
    return measured


def _carried(name: str, session: Session) -> Method:
    """As `adcvsr upscale` runs it: a causal network starts anew at scene cuts."""
    processor = create_processor(session)
    if session.bundle.kind == "stream":
        processor = CutResetProcessor(processor)
    return Method(name, processor.clip, _facts(session))


def _without_past(name: str, session: Session) -> Method:
    processor = create_processor(session)

    def upscale(lows: Iterator[Levels]) -> Iterator[Levels]:
        for low in lows:
            yield from processor.clip([low])

    return Method(name + RESET_SUFFIX, upscale, {**_facts(session), "reset_every_frame": True})


def _facts(session: Session) -> dict[str, Any]:
    bundle, variant = session.bundle, session.variant
    return {
        "bundle": bundle.name,
        "parameters": bundle.parameters,
        "scale": bundle.scale,
        "variant": variant.id,
        "backend": session.backend,
        "colour_match": bundle.colour_match.mode,
        "sha256": bundle.manifest["files"][variant.file]["sha256"],
    }


def _label(bundle: Bundle, variants: Sequence[str], variant: str | None) -> str:
    return f"{bundle.path.name} {variant}" if len(variants) > 1 else bundle.path.name


def _free_name(name: str, methods: Sequence[Method]) -> str:
    """Number a name that is taken: two bundles in folders of the same name."""
    taken = {method.name for method in methods} | set(BASELINES)
    count = 2
    free = name
    while free in taken:
        free, count = f"{name} {count}", count + 1
    return free
