"""Which variants to compare: by id, by precision, or all that a backend runs.

pick_variants(bundle, "ort-cpu", ["fp32", "int8"])
"""

from __future__ import annotations

from collections.abc import Sequence

from ..bundle import Bundle
from ..config import nearest
from ..errors import BundleError
from ..variants import PRECISIONS, VariantName, exactness, fitting, of_precision
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
    return list(dict.fromkeys(_find(bundle, backend, name) for name in names))


def _find(bundle: Bundle, backend: str, name: str) -> str:
    precision = VariantName.parse(name)
    if name in bundle.variants or (precision.runtime and precision.stored.id in bundle.variants):
        return name
    if found := of_precision(bundle.variants, backend, name):
        return found
    known = dict.fromkeys([*sorted(bundle.variants), *PRECISIONS])
    made = "" if name not in PRECISIONS else f" that '{backend}' runs"
    named = (each for each in sorted(bundle.variants) if VariantName.parse(each).precision == name)
    foreign = next(named, None)
    if foreign is not None:
        raise BundleError(
            f"bundle '{bundle.name}' has no variant '{name}' for '{backend}': '{foreign}' is made "
            "for another backend; give its full name to run it here all the same"
        )
    raise BundleError(
        f"bundle '{bundle.name}' has no variant '{name}'{made}; it has: "
        f"{', '.join(sorted(bundle.variants))}"
        + (nearest(name, known) if name not in PRECISIONS else "; 'adcvsr quantize' makes others")
    )
