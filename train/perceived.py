"""Measures by trained networks, for `adcvsr evaluate`: DISTS, LPIPS, and what pyiqa has.

Their weights come from the caller, by path or by a package, because none of them ships with this
one; they measure and teach nothing.

    metrics = with_measures(usable_metrics("psnr"), open_measures(dists=Path("weights/dists")))
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..arrays import Levels
from ..config import nearest
from ..errors import ConfigError, MissingPackageError
from ..metrics import Metric, UsableMetrics
from ..metrics.catalogue import GivenMeasure
from .dists import read_dists
from .lpips import read_lpips

LEAST_PX = 16
"""VGG16 halves a picture four times."""

PYIQA_LEAST_PX = 64
"""Some of pyiqa's networks take no less."""


class Measured(NamedTuple):
    """A measure and what computes it."""

    metric: Metric
    measure: GivenMeasure
    needs_truth: bool


def open_measures(
    *, dists: Path | None = None, lpips: Path | None = None, pyiqa: Sequence[str] = ()
) -> list[Measured]:
    """Load the networks.

    Args:
        dists: Weights, see `read_dists`.
        lpips: Weights, see `read_lpips`.
        pyiqa: Names of pyiqa's metrics, such as `musiq`; the package brings their weights itself.

    Raises:
        CheckpointError: Weights cannot be read.
        MissingPackageError: pyiqa is asked for and not installed.
        ConfigError: pyiqa has no such metric, or cannot make it.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    found = []
    for name, path, read in (("dists", dists, read_dists), ("lpips", lpips, read_lpips)):
        if path is not None:
            network = read(path).eval().to(device)
            metric = Metric(
                name=name,
                title=name.upper(),
                digits=4,
                higher_is_better=False,
                least_px=LEAST_PX,
                default=False,
            )
            found.append(Measured(metric, _of_pictures(network, device), needs_truth=True))
    return found + [_from_pyiqa(name, device) for name in dict.fromkeys(pyiqa)]


def with_measures(
    metrics: UsableMetrics, measures: Sequence[Measured], *, truth: bool = True
) -> UsableMetrics:
    """Add the caller's measures to those of the catalogue.

    Raises:
        ConfigError: One needs a truth, and there is none.
    """
    if without := [each.metric.name for each in measures if each.needs_truth and not truth]:
        raise ConfigError(
            f"{', '.join(without)} compares with a truth, and --no-reference has none; leave it "
            "out, or measure on clips that are the truth"
        )
    return replace(
        metrics,
        metrics=(*metrics.metrics, *(each.metric for each in measures)),
        given={each.metric.name: each.measure for each in measures},
    )


def _of_pictures(network: Any, device: torch.device) -> GivenMeasure:
    @torch.no_grad()
    def measure(output: Levels, truth: Levels) -> float:
        return float(network(_tensor(output, device), _tensor(truth, device)))

    return measure


def _from_pyiqa(name: str, device: torch.device) -> Measured:
    try:
        package: Any = importlib.import_module("pyiqa")  # untyped
    except ImportError as error:
        raise MissingPackageError(
            f"--pyiqa {name} needs the package 'pyiqa', which is not installed: pip install pyiqa"
        ) from error
    try:
        network = package.create_metric(name, device=device)
    except Exception as error:  # its own kinds, and those of whatever it downloads
        first = (str(error).strip() or repr(error)).splitlines()[0]
        known = package.list_models()
        if name not in known:
            suggestion = nearest(name, dict.fromkeys(known))
            raise ConfigError(f"pyiqa has no metric '{name}'{suggestion}") from error
        raise ConfigError(
            f"pyiqa cannot make the metric '{name}': {first}; it fetches weights by itself, so run "
            f"this once where there is a network, or put them into '{_hub()}'"
        ) from error
    needs_truth = network.metric_mode == "FR"
    metric = Metric(
        name=f"pyiqa_{name}",
        title=f"{name} (pyiqa)",
        digits=4,
        higher_is_better=not network.lower_better,
        least_px=PYIQA_LEAST_PX,
        default=False,
    )

    @torch.no_grad()
    def measure(output: Levels, truth: Levels) -> float:
        seen = (output, truth) if needs_truth else (output,)
        return float(network(*(_tensor(each, device) for each in seen)))

    return Measured(metric, measure, needs_truth)


def _hub() -> Path:
    """Where pyiqa keeps weights."""
    return Path(torch.hub.get_dir()) / "pyiqa"


def _tensor(image: Levels, device: torch.device) -> Tensor:
    return torch.from_numpy(image.copy()).permute(2, 0, 1)[None].to(device).float() / 255
