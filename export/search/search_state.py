"""What a search has tried, kept on disk after every trial so that it can be cut off and go on.

trials = Trials(folder, key)
trials.get(nodes) or trials.add(nodes, 0.1, {"snr": 31.2})
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...bundle import Bundle
from ...calibration.sets.calibration_set import CalibrationSet
from ...damaged import read_or_set_aside
from ...errors import ConfigError, OutputExistsError, OutputNotWritableError
from ...files import json_bytes, replace_file
from ...reading import Limits, read_json
from ...variants import REFERENCE
from ...version import __version__
from ..quantize import tool_versions
from ..recipes.recipe import Recipe

FILE = "trials.json"

TRIALS = Limits(size_bytes=256 << 20, values=20_000_000)
"""Every trial names its nodes."""


@dataclass(frozen=True)
class Trial:
    """One graph that was made and measured."""

    nodes: frozenset[str]
    """Kept float, by name."""

    float_work: float
    """Their part of the multiply-adds, 0 to 1."""

    figures: dict[str, float]
    """See `DamageMeter.measure`."""

    @property
    def noise(self) -> float:
        """Power of the difference to FP32 over that of the signal."""
        return float(10 ** (-self.figures["snr"] / 10))

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        figures = {name: round(value, 5) for name, value in self.figures.items()}
        return {"float": sorted(self.nodes), "float_work": round(self.float_work, 6), **figures}


class Trials:
    """Trials of one search, in memory and in a file.

    Args:
        folder: Held by `only_search`.
        key: What the figures depend on, see `search_key`.

    Raises:
        ConfigError: The folder holds trials of another key, or they cannot be read.
    """

    def __init__(self, folder: Path, key: dict[str, str]) -> None:
        self.path, self.key = folder / FILE, key
        self._trials: dict[frozenset[str], Trial] = {}
        if self.path.exists():
            self._read()

    def get(self, nodes: frozenset[str]) -> Trial | None:
        """The trial with these nodes float, if it was run."""
        return self._trials.get(nodes)

    def all(self) -> list[Trial]:
        """In the order they were run."""
        return list(self._trials.values())

    def add(self, nodes: frozenset[str], float_work: float, figures: dict[str, float]) -> Trial:
        """Keep a trial; it is on disk when this returns."""
        trial = self._trials[nodes] = Trial(nodes, float_work, figures)
        content = {"of": self.key, "trials": [self._stored(each) for each in self.all()]}
        replace_file(self.path, lambda part: part.write_bytes(json_bytes(content)))
        return trial

    @staticmethod
    def _stored(trial: Trial) -> dict[str, Any]:
        return {
            "float": sorted(trial.nodes),
            "float_work": trial.float_work,
            "figures": trial.figures,
        }

    def _read(self) -> None:
        """Take up what is there; damaged trials are run again."""
        found = read_or_set_aside(self.path, self._parse, ConfigError)
        if found is None:
            return
        key, self._trials = found
        if other := self._other(key):
            raise ConfigError(
                f"'{self.path}' holds a search with other {', '.join(other)}; search in another "
                "folder, or remove it"
            )

    def _parse(self) -> tuple[Mapping[str, Any], dict[frozenset[str], Trial]]:
        """Key and trials; of another key the first alone, as the others may look different."""
        content = read_json(self.path, error=ConfigError, limits=TRIALS)
        key = content["of"].mapping()
        trials: dict[frozenset[str], Trial] = {}
        for entry in () if self._other(key) else content["trials"].items():
            nodes = frozenset(each.text() for each in entry["float"].items())
            figures = {name: value.number() for name, value in entry["figures"].fields()}
            entry["figures"]["snr"].number(-1000, 1000)
            trials[nodes] = Trial(nodes, entry["float_work"].number(), figures)
        return key, trials

    def _other(self, key: Mapping[str, Any]) -> list[str]:
        return [name for name in self.key if key.get(name) != self.key[name]]


@contextmanager
def only_search(folder: Path) -> Iterator[None]:
    """Hold a folder for one search; the system frees it when its holder dies, however that happens.

    Raises:
        OutputExistsError: Another search works in it.
        OutputNotWritableError: It cannot be written.
    """
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f".{FILE}.lock")
        lock.acquire(timeout=0)
    except Timeout as error:
        raise OutputExistsError(
            f"another search works in '{folder}'; wait for it, or search in another folder"
        ) from error
    except OSError as error:
        raise OutputNotWritableError(f"cannot write '{folder}': {error.strerror}") from error
    try:
        yield
    finally:
        lock.release()


def search_key(
    bundle: Bundle, recipe: Recipe, calibration: CalibrationSet, measured: str
) -> dict[str, str]:
    """What the figures of a search depend on.

    Args:
        bundle: Whose FP32 graph is quantized.
        recipe: Its text counts.
        calibration: Its content counts.
        measured: What is measured, on how much.
    """
    graph = bundle.manifest["files"][bundle.variant(REFERENCE).file]["sha256"]
    return {
        "network": str(graph),
        "recipe": hashlib.sha256(recipe.text.encode()).hexdigest(),
        "calibration set": calibration.digest,
        "measures": measured,
        "versions": json.dumps({"adcvsr": __version__, **tool_versions(recipe.tool)}),
    }
