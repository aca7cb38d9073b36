"""The grid of a pixel shuffle: measured on flat pictures, and taken out of a network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

from adcvsr.cli.commands import cli
from adcvsr.errors import ConfigError
from adcvsr.model import AdcVsr, load_checkpoint, save_checkpoint
from adcvsr.train.grid import remove_grid
from adcvsr.train.initial_weights import find_start
from small_bundles import random_network
from tiny_configs import CAUSAL_ADD, CLIP_ADD


def with_grid() -> AdcVsr:
    """A network with two levels and a state, whose last convolution was never held together."""
    network = random_network(CAUSAL_ADD)
    weight = network.decoder.get_parameter("conv_out.weight")
    weight.data += 0.01 * torch.randn_like(weight)
    return network


@torch.no_grad()
def grid(network: AdcVsr, level: float) -> float:
    """How far the means of the sixteen places are apart on a flat grey clip, in levels."""
    picture = network(torch.full((1, 4, 3, 40, 40), level / 127.5 - 1))[0][0, -1, :, 64:96, 64:96]
    places = picture.reshape(3, 8, 4, 8, 4).mean((1, 3)) * 127.5
    return float((places.amax((1, 2)) - places.amin((1, 2))).max())


@torch.no_grad()
def photo(network: AdcVsr) -> Tensor:
    clip = torch.rand(1, 2, 3, 24, 24, generator=torch.Generator().manual_seed(3)) * 2 - 1
    return (network(clip)[0] + 1) * 127.5


def test_flat_pictures_come_out_flat_and_others_stay() -> None:
    network = with_grid()
    levels = (20, 111, 128, 201)  # the second is none of the colours that were fitted
    before, shown = [grid(network, level) for level in levels], photo(network)
    most, left = remove_grid(network)
    after = [grid(network, level) for level in levels]
    assert min(before) > 3
    assert max(after) < 0.1 * min(before)
    assert most >= max(before)
    assert left < 0.3 * most
    # It is the pattern that went, and nothing else.
    changed = photo(network) - shown
    assert changed.abs().mean() < 1.2 * most
    again, _ = remove_grid(network)
    assert again == pytest.approx(left, abs=0.05)


@pytest.mark.parametrize("name", ["nano-restore", "small-restore"])
def test_shipped_students_draw_none(name: str) -> None:
    """On greys, as walls and skies are; they had 1.2 levels, which texture hides."""
    network, _ = load_checkpoint(find_start(Path(name)))
    assert max(grid(network.eval(), level) for level in (30, 90, 128, 180, 230)) < 0.25


def test_where_there_is_no_shuffle() -> None:
    with pytest.raises(ConfigError, match="'.*' has no grid to remove: expected a causal network"):
        remove_grid(AdcVsr(CLIP_ADD))


def test_blend_without_grid(tmp_path: Path) -> None:
    start = tmp_path / "start.safetensors"
    save_checkpoint(start, with_grid(), provenance={"licences": ["Apache-2.0"]})
    out = tmp_path / "out.safetensors"
    command = ["blend", str(start), str(start), "--alpha", "0", "--without-grid", "-o", str(out)]
    done = CliRunner().invoke(cli, command)
    assert done.exit_code == 0, done.output
    assert "grid: the pixels of one position of a flat picture are at most" in done.output
    network, provenance = load_checkpoint(out)
    assert provenance["without_grid"] is True
    assert grid(network.eval(), 128) < 0.1 * grid(with_grid(), 128)
    facts = json.loads(CliRunner().invoke(cli, [*command, "--overwrite", "--json"]).stdout)
    assert facts["grid_levels"]["after"] < facts["grid_levels"]["before"]
