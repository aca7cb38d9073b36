"""Choosing what runs a bundle: by request, or the best that is there, said aloud."""

from __future__ import annotations

from ..bundle import Bundle
from ..errors import BackendUnavailableError
from .session import Session
from .variant_choice import VariantChoice, choose_variant

BACKENDS = ("ort-cpu",)
"""Backends of this version, best first."""

VARIANTS = {"ort-cpu": ("fp32-onnx", "int8-ort")}
"""Variants each backend can run, the most precise first; see `choose_variant`."""


def create_session(
    bundle: Bundle, *, backend: str = "auto", variant: str | None = None, threads: int = 0
) -> Session:
    """Make the session for a bundle; open it with `with`.

    Args:
        bundle: An opened bundle.
        backend: One of `BACKENDS`, or `auto` for the best present.
        variant: A variant's id; None takes the one that is faster on this machine, and the
            session's `variant_reason` says why.
        threads: Threads of a CPU backend; 0 for all processors.

    Raises:
        BackendUnavailableError: There is no such backend; the message lists them.
        BundleError: The bundle has no such variant.
        MissingPackageError: The backend's package is not installed.
    """
    chosen = BACKENDS[0] if backend == "auto" else backend
    if chosen not in BACKENDS:
        raise BackendUnavailableError(
            f"no backend '{backend}' in this version; choose from: auto, {', '.join(BACKENDS)}"
        )
    from .ort_session import OrtCpuSession, import_onnxruntime, usable_processors

    engine = f"{chosen} {import_onnxruntime().__version__}"
    choice = VariantChoice(variant or "", "")
    if variant is None:
        choice = choose_variant(
            bundle,
            VARIANTS[chosen],
            engine=engine,
            threads=threads or usable_processors(),
            open_variant=lambda name: OrtCpuSession(bundle, bundle.variant(name), threads=threads),
        )
    session = OrtCpuSession(bundle, bundle.variant(choice.variant), threads=threads)
    session.variant_reason = choice.reason
    return session
