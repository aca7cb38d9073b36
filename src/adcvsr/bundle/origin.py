"""What a bundle's weights were trained on, from the provenance that came with their checkpoint.

told = training_data(bundle.manifest["provenance"])
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple


class TrainingData(NamedTuple):
    """Folders of one network's weights, over everything they came of."""

    folders: dict[str, int]
    """Files by the name of their folder; of runs over one folder the most."""

    runs: int
    """Runs that the provenance knows of."""

    silent: int
    """Of those, how many do not say what they were trained on."""


def training_data(provenance: Mapping[str, Any]) -> TrainingData:
    """Gather the folders of all runs: what a checkpoint started from, and what it was blended of.

    Args:
        provenance: Of a checkpoint or a manifest. What has another form counts as no run.
    """
    folders: dict[str, int] = {}
    runs = silent = 0
    for recipe in _recipes(provenance):
        told = recipe.get("trained_on")
        runs, silent = runs + 1, silent + (not told)
        for folder, files in (told or {}).items():
            folders[folder] = max(files, folders.get(folder, 0))
    return TrainingData(folders, runs, silent)


def _recipes(provenance: object) -> Iterator[Mapping[str, Any]]:
    if not isinstance(provenance, Mapping):
        return
    if isinstance(recipe := provenance.get("recipe"), Mapping):
        yield recipe
    yield from _recipes(provenance.get("started_from"))
    blend = provenance.get("blend")
    for part in blend.get("of", ()) if isinstance(blend, Mapping) else ():
        yield from _recipes(part.get("provenance"))
