"""Which variants to compare: by id, by precision, or all that a backend runs.

pick_variants(bundle, "ort-cpu", ["fp32", "int8"])
"""

from __future__ import annotations

from collections.abc import Sequence

from ...bundle import Bundle
from ...errors import BundleError
from ...variants import exactness, fitting
from .backends import choose_backend


def resolve_backend(bundle: Bundle, backend: str) -> str:
    """Find what `auto` stands for on this machine; other names are returned as they are.

    All variants that are compared run on one backend, or the comparison would be of backends.

    Raises:
        BackendUnavailableError, MissingPackageError: None runs here.
    """
    if backend != "auto":
        return backend
    exact = min(bundle.variants, key=exactness)
    return choose_backend(bundle, variant=exact).backend


def pick_variants(bundle: Bundle, backend: str, wanted: Sequence[str] = ()) -> list[str]:
    """Choose variants of a bundle.

    Args:
        bundle: An opened bundle.
        backend: Where they are to run, not `auto`; see `resolve_backend`.
        wanted: Ids (`int8-ort`), precisions (`int8`: the bundle's variant of it that is made for
            the backend), or commas between them; none for all the backend runs.

    Returns:
        Ids, each once: in the order asked for, else the most exact first.

    Raises:
        BundleError: The bundle has none of that name or precision; the message lists what it has.
    """
    made = fitting(bundle.variants, backend)
    names = [part.strip() for text in wanted for part in text.split(",") if part.strip()]
    if not names:
        if not made:
            raise BundleError(
                f"bundle '{bundle.name}' has no variant for '{backend}'; "
                f"it has: {', '.join(sorted(bundle.variants))}"
            )
        return made
    return list(dict.fromkeys(bundle.find_variant(name, backend) for name in names))
