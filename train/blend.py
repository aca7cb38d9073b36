"""Between two students: weights interpolated, so that one strength lies between two looks.

Networks trained one from the other, such as `nano` and `nano-restore`, have their features in the
same places; half of one's weights and half of the other's then make a picture between theirs. Of
networks trained apart nothing can be expected. What led from one to the other can be put onto a
third (task arithmetic, arXiv 2212.04089): what a stage 2 gave, onto a longer stage 1.

    network, provenance, related = blend("nano", "nano-restore", 0.5, name="nano-mild")
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from ..bundle.origin import ancestors
from ..errors import ConfigError
from ..model import AdcVsr, load_checkpoint
from .initial_weights import digest, find_start, fit_tensor

OURS = "Apache-2.0"
"""The licence of a checkpoint that names none."""

LEAST_ALPHA, MOST_ALPHA = -1.0, 2.0
"""As far again as the way from one to the other; further out no picture is left."""


class Blend(NamedTuple):
    """What came of two checkpoints."""

    network: AdcVsr

    provenance: dict[str, Any]

    related: bool
    """Whether one was trained from the other, or all from the same weights."""


def blend(first: Path, second: Path, alpha: float, *, name: str, onto: Path | None = None) -> Blend:
    """Interpolate two students' weights, or put what led from one to the other onto a third.

    Args:
        first: Checkpoint, or the name of one of the package.
        second: Likewise, of the same network; its taps may be larger or smaller.
        alpha: 0 gives the first, 1 the second; beyond them, from -1 to 2, it goes on in the same
            direction.
        name: Of the network that comes of it.
        onto: Likewise a third: it becomes itself plus alpha times the second less the first.

    Raises:
        CheckpointError: A checkpoint cannot be read.
        ConfigError: They are different networks, or alpha is out of range.
    """
    if not LEAST_ALPHA <= alpha <= MOST_ALPHA:
        raise ConfigError(f"alpha={alpha}, expected {LEAST_ALPHA:g} to {MOST_ALPHA:g}")
    paths = [find_start(path) for path in (first, second, *([onto] if onto else []))]
    networks, provenances = zip(*map(load_checkpoint, paths), strict=True)
    config = max((one.config for one in networks), key=lambda one: one.temporal_side)
    made = AdcVsr(dataclasses.replace(config, name=name)).eval()
    like = made.state_dict()
    _check_same(networks, paths)
    a, b, *third = (_fitted(network, like) for network in networks)
    if third:
        made.load_state_dict({key: third[0][key] + alpha * (b[key] - a[key]) for key in like})
    else:
        made.load_state_dict({key: a[key].lerp(b[key], alpha) for key in like})
    hashes = [digest(path) for path in paths]
    of = [
        {"file": path.name, "sha256": hash_, "provenance": provenance}
        for path, hash_, provenance in zip(paths, hashes, provenances, strict=True)
    ]
    licences = [text for each in provenances for text in each.get("licences", [OURS])]
    how = {"alpha": alpha, **({"onto": paths[2].name} if onto else {}), "of": of}
    provenance = {"blend": how, "licences": list(dict.fromkeys(licences))}
    kin = [{hash_, *ancestors(each)} for hash_, each in zip(hashes, provenances, strict=True)]
    return Blend(made, provenance, all(kin[0] & other for other in kin[1:]))


def _check_same(networks: tuple[AdcVsr, ...], paths: list[Path]) -> None:
    first, *others = (dataclasses.asdict(network.config) for network in networks)
    for path, other in zip(paths[1:], others, strict=True):
        differ = [
            f"{key}={value!r} and {other[key]!r}"
            for key, value in first.items()
            if key not in ("name", "temporal_side") and value != other[key]
        ]
        if differ:
            raise ConfigError(
                f"'{paths[0]}' and '{path}' hold different networks, whose weights cannot be "
                f"blended: {'; '.join(differ)}"
            )


def _fitted(network: AdcVsr, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights in the shapes of the wider network: a 1x1 tap is the middle of a 3x3 one."""
    fitted = {name: fit_tensor(tensor, like[name]) for name, tensor in network.state_dict().items()}
    return {name: tensor for name, tensor in fitted.items() if tensor is not None}
