"""What weights came of: the provenance that a checkpoint carries and a bundle's manifest keeps.

told = training_data(bundle.manifest["provenance"])
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple


class TrainingData(NamedTuple):
    """Folders of one network's weights, over everything they came of."""

    folders: dict[str, int]
    """Files by the name of their folder; of runs over one folder the most."""

    runs: int
    """Runs that the provenance knows of; one that two halves of a blend share counts once."""

    silent: int
    """Of those, how many do not say what they were trained on."""


def training_data(provenance: Mapping[str, Any]) -> TrainingData:
    """Gather the folders of all runs: what a checkpoint started from, and what it was blended of.

    Args:
        provenance: Of a checkpoint or a manifest. What has another form counts as no run.
    """
    runs = {
        json.dumps([each["recipe"], each.get("steps")], sort_keys=True): each["recipe"]
        for each in _generations(provenance)
        if isinstance(each.get("recipe"), Mapping)
    }
    folders: dict[str, int] = {}
    for recipe in runs.values():
        for folder, files in (recipe.get("trained_on") or {}).items():
            folders[folder] = max(files, folders.get(folder, 0))
    silent = sum(not recipe.get("trained_on") for recipe in runs.values())
    return TrainingData(folders, len(runs), silent)


def ancestors(provenance: Mapping[str, Any]) -> set[str]:
    """Hashes of the checkpoints that weights were trained from or blended of, all the way back.

    Args:
        provenance: Of a checkpoint or a manifest.
    """
    found: set[str] = set()
    for each in _generations(provenance):
        start = each.get("recipe")
        for part in ("sources", "start"):
            start = start.get(part) if isinstance(start, Mapping) else None
        parts = (start, *_halves(each))
        found |= {str(part["sha256"]) for part in parts if part and "sha256" in part}
    return found


def _generations(provenance: object) -> Iterator[Mapping[str, Any]]:
    """The provenance itself and those of all that it came of."""
    if not isinstance(provenance, Mapping):
        return
    yield provenance
    yield from _generations(provenance.get("started_from"))
    for half in _halves(provenance):
        yield from _generations(half.get("provenance"))


def _halves(provenance: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    blend = provenance.get("blend")
    return list(blend.get("of", ())) if isinstance(blend, Mapping) else []
