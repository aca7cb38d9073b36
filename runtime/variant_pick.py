"""Which variants to compare: by id, by precision, or all that a backend runs.

pick_variants(bundle, "ort-cpu", ["fp32", "int8"])
"""

from __future__ import annotations

from collections.abc import Sequence

from ..bundle import Bundle
from ..config import nearest
from ..errors import BundleError
from .backends import MADE_FOR, choose_backend

PRECISIONS = ("fp32", "fp16", "bf16", "fp8", "int8")
"""From the most exact to the narrowest; the first of those compared is the baseline."""


def resolve_backend(bundle: Bundle, backend: str) -> str:
    """Find what `auto` stands for on this machine; other names are returned as they are.

    All variants that are compared run on one backend, or the comparison would be of backends.

    Raises:
        BackendUnavailableError, MissingPackageError: None runs here.
    """
    if backend != "auto":
        return backend
    exact = min(bundle.variants, key=lambda name: (_rank(name), name))
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
    kinds = MADE_FOR.get(backend, ())
    fitting = sorted(
        (name for name in bundle.variants if name.rpartition("-")[2] in kinds),
        key=lambda name: (_rank(name), kinds.index(name.rpartition("-")[2])),
    )
    names = [part.strip() for text in wanted for part in text.split(",") if part.strip()]
    if not names:
        if not fitting:
            raise BundleError(
                f"bundle '{bundle.name}' has no variant for '{backend}'; "
                f"it has: {', '.join(sorted(bundle.variants))}"
            )
        return fitting
    return list(dict.fromkeys(_find(bundle, backend, name, fitting) for name in names))


def _find(bundle: Bundle, backend: str, name: str, fitting: Sequence[str]) -> str:
    if name in bundle.variants:
        return name
    for each in fitting:
        if each.split("-")[0] == name:
            return each
    known = dict.fromkeys([*sorted(bundle.variants), *PRECISIONS])
    made = "" if name not in PRECISIONS else f" that '{backend}' runs"
    foreign = next((each for each in sorted(bundle.variants) if each.split("-")[0] == name), None)
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


def _rank(name: str) -> int:
    precision = name.split("-", maxsplit=1)[0]
    return PRECISIONS.index(precision) if precision in PRECISIONS else len(PRECISIONS)
