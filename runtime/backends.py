"""Choosing what runs a bundle: by request, or the best that is there, said aloud."""

from __future__ import annotations

from ..bundle import Bundle
from ..errors import BackendUnavailableError
from .session import Session

BACKENDS = ("ort-cpu",)
"""Backends of this version, best first."""

DEFAULT_VARIANT = {"ort-cpu": "fp32-onnx"}
"""Variant each backend runs when none is asked for."""


def create_session(
    bundle: Bundle, *, backend: str = "auto", variant: str | None = None, threads: int = 0
) -> Session:
    """Make the session for a bundle; open it with `with`.

    Args:
        bundle: An opened bundle.
        backend: One of `BACKENDS`, or `auto` for the best present.
        variant: A variant's id; None takes the backend's default.
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
    from .ort_session import OrtCpuSession, import_onnxruntime

    import_onnxruntime()
    return OrtCpuSession(
        bundle, bundle.variant(variant or DEFAULT_VARIANT[chosen]), threads=threads
    )
