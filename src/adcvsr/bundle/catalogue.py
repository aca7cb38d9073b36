"""The bundles at hand: opened by name or path, listed, and described in a line each.

bundle = open_bundle("nano")
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..adopted_network import AdoptedNetwork
from ..config import nearest
from ..errors import AdcVsrError, BundleError, BundleNotFoundError
from ..given import BUNDLE, MANIFEST, mistaken
from .bundle import PACKAGED, Bundle

MODEL_CARD = "model_card.md"
"""Its first paragraph says what a bundle is for."""

SEARCH_VARIABLE = "ADCVSR_MODELS"
"""Environment variable: further folders of bundles, separated like PATH, searched first."""


def open_bundle(name_or_path: str | Path) -> Bundle:
    """Open a bundle by name (see `list_bundles`) or by path.

    Text with a path separator is a path. Any other text is looked up as a name first and then,
    where no bundle has that name, as a file or folder here.

    Raises:
        BundleNotFoundError: Neither; the message lists the names at hand.
        BundleError: It is there and damaged.
    """
    text = str(name_or_path)
    path = Path(text)
    if isinstance(name_or_path, Path) or os.sep in text:
        if path.exists() or not (named := _named(text)):
            return Bundle(path)
        raise BundleNotFoundError(
            f"no bundle at '{path}'; the one of that name is in '{named}': give that path, or a "
            "copy of it where it is to be changed"
        )
    if named := _named(text):
        return Bundle(named)
    if path.is_file() or (path / MANIFEST).is_file() or mistaken(path, BUNDLE):
        return Bundle(path)
    names = {bundle.path.name: None for bundle in list_bundles()}
    raise BundleNotFoundError(
        f"no bundle named '{text}' and no bundle at that path{nearest(text, names)}"
    )


def _named(text: str) -> Path | None:
    """Where a bundle of a name lies; None where there is none, or the text is no name."""
    if os.sep in text:
        return None
    folders = (folder / text for folder in search_folders())
    return next((path for path in folders if (path / MANIFEST).is_file()), None)


@dataclass(frozen=True)
class BadBundle:
    """What lies in a folder of bundles and cannot be used."""

    path: Path
    """The bundle, or the folder of bundles."""

    reason: str
    """One line."""


def list_bundles(report: Callable[[str], None] | None = None) -> list[Bundle]:
    """All readable bundles at hand, by folder name; the first of a name in search order wins.

    Args:
        report: Called with a note for each folder that is missing and each bundle that is damaged.
    """
    bundles, bad = find_bundles()
    for each in bad:
        if report is not None:
            report(f"left out: {each.reason}")
    return bundles


def find_bundles() -> tuple[list[Bundle], list[BadBundle]]:
    """What `list_bundles` gives, and with the reason what it leaves out."""
    found: dict[str, Bundle] = {}
    bad: list[BadBundle] = []
    for folder in search_folders():
        try:
            paths = sorted(path for path in folder.iterdir() if (path / MANIFEST).exists())
        except OSError as error:
            reason = f"'{folder}' in ${SEARCH_VARIABLE} is no folder that can be read"
            bad.append(BadBundle(folder, f"{reason}: {error.strerror}"))
            continue
        for path in paths:
            try:
                found.setdefault(path.name, Bundle(path))
            except AdcVsrError as error:
                bad.append(BadBundle(path, str(error)))
    return [found[name] for name in sorted(found)], bad


def search_folders() -> list[Path]:
    """Folders whose subfolders are bundles, in search order."""
    extra = [Path(p) for p in os.environ.get(SEARCH_VARIABLE, "").split(os.pathsep) if p]
    return [*extra, PACKAGED]


def describe(bundle: Bundle) -> dict[str, Any]:
    """Facts of a bundle as JSON-ready values, as `adcvsr models --json` prints them."""
    return {
        "name": bundle.path.name,
        "path": str(bundle.path),
        **_origin(bundle),
        "parameters": bundle.parameters,
        "scale": bundle.scale,
        "causal": bundle.config.causal,
        "trained": bundle.trained,
        "variants": sorted(bundle.variants),
        "bytes": bundle.bytes,
        "purpose": _purpose(bundle),
    }


def _origin(bundle: Bundle) -> dict[str, Any]:
    """The preset of a network of ours; what one of others was adopted from."""
    if isinstance(bundle.config, AdoptedNetwork):
        return {"adopted": bundle.config.adopted, "network": bundle.config.name}
    return {"preset": bundle.config.name}


def _purpose(bundle: Bundle) -> str | None:
    """The first paragraph of the model card, as one line; None without one that is whole."""
    if MODEL_CARD not in bundle.manifest["files"]:
        return None
    try:
        text = bundle.read(MODEL_CARD).decode(errors="replace")
    except BundleError:
        return None  # damage is what `inspect` and `verify` are for
    paragraphs = (part.strip() for part in text.split("\n\n"))
    first = next((part for part in paragraphs if part and not part.startswith(("#", "|"))), None)
    return " ".join(first.replace("`", "").split()) if first else None
