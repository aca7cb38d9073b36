"""Checkpoints between two: exact at both ends, refused where the networks differ."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from adcvsr.bundle.origin import ancestors
from adcvsr.cli.commands import cli
from adcvsr.config import AdcVsrConfig
from adcvsr.errors import ConfigError
from adcvsr.model import AdcVsr, load_checkpoint, save_checkpoint
from adcvsr.train.blend import blend
from adcvsr.train.initial_weights import digest
from tiny_training import LIGHT

WIDE = dataclasses.replace(LIGHT, name="wide", temporal_side=3)


def save(path: Path, config: AdcVsrConfig, seed: int, **provenance: object) -> Path:
    torch.manual_seed(seed)
    network = AdcVsr(config)
    for parameter in network.parameters():
        parameter.data = torch.randn_like(parameter) * 0.1
    save_checkpoint(path, network, provenance=provenance)
    return path


@torch.no_grad()
def test_the_ends_are_the_two_and_the_middle_is_between(tmp_path: Path) -> None:
    first = save(tmp_path / "a.safetensors", LIGHT, 1)
    start = {"file": "a.safetensors", "sha256": digest(first)}
    second = save(
        tmp_path / "b.safetensors",
        WIDE,
        2,
        recipe={"sources": {"start": start}},
        licences=["BSD-3-Clause"],
    )
    clip = torch.rand(1, 3, 3, 16, 16) * 2 - 1
    for alpha, end in ((0.0, first), (1.0, second)):
        made = blend(first, second, alpha, name="made")
        assert made.related
        assert made.network.config == dataclasses.replace(WIDE, name="made")
        assert made.provenance["licences"] == ["Apache-2.0", "BSD-3-Clause"]
        expected = load_checkpoint(end)[0](clip)[0]
        assert (made.network(clip)[0] - expected).abs().max() <= 1e-5
    third = blend(first, second, 1 / 3, name="made").network.decoder.conv_out.bias
    a, b = (load_checkpoint(path)[0].decoder.conv_out.bias for path in (first, second))
    assert torch.allclose(third, (2 * a + b) / 3)


@torch.no_grad()
def test_what_led_to_one_is_put_onto_a_third(tmp_path: Path) -> None:
    """A tap of 1x1 in the third becomes one of 3x3, as between two."""
    first = save(tmp_path / "a.safetensors", WIDE, 1)
    of_first = {"sources": {"start": {"file": "a.safetensors", "sha256": digest(first)}}}
    second = save(tmp_path / "b.safetensors", WIDE, 2, recipe=of_first, licences=["BSD-3-Clause"])
    third = save(tmp_path / "c.safetensors", LIGHT, 3, recipe=of_first)
    made = blend(first, second, 0.25, name="made", onto=third)
    assert made.related
    assert made.network.config == dataclasses.replace(WIDE, name="made")
    assert made.provenance["licences"] == ["Apache-2.0", "BSD-3-Clause"]
    assert made.provenance["blend"]["onto"] == "c.safetensors"
    assert ancestors(made.provenance) >= {digest(path) for path in (first, second, third)}
    a, b, c = (load_checkpoint(path)[0].decoder.conv_out.bias for path in (first, second, third))
    torch.testing.assert_close(made.network.decoder.conv_out.bias, c + 0.25 * (b - a))
    clip = torch.rand(1, 3, 3, 16, 16) * 2 - 1
    same = blend(first, first, 0.7, name="made", onto=third).network
    assert (same(clip)[0] - load_checkpoint(third)[0](clip)[0]).abs().max() <= 1e-5
    stranger = save(tmp_path / "d.safetensors", LIGHT, 4)
    assert not blend(first, second, 0.25, name="made", onto=stranger).related
    longer = save(tmp_path / "e.safetensors", dataclasses.replace(LIGHT, down_blocks=(2,)), 2)
    with pytest.raises(ConfigError, match=r"e.safetensors' hold .*down_blocks=\(1,\) and \(2,\)"):
        blend(first, second, 0.5, name="made", onto=longer)


def test_the_command_puts_onto_a_third(tmp_path: Path) -> None:
    apart = [str(save(tmp_path / f"{seed}.safetensors", LIGHT, seed)) for seed in (1, 2, 3)]
    out = tmp_path / "put.safetensors"
    command = ["blend", *apart[:2], "--alpha", "0.4", "--onto", apart[2], "-o", str(out)]
    done = CliRunner().invoke(cli, command)
    assert done.exit_code == 0, done.output
    assert f"0.4 of the way from {apart[0]} to {apart[1]}, put onto {apart[2]}" in done.stdout
    assert "A, B and C were not trained from each other" in done.stderr
    told = json.loads(CliRunner().invoke(cli, [*command, "--overwrite", "--json"]).stdout)
    assert told["onto"] == apart[2]


def test_other_networks_and_strengths_are_refused(tmp_path: Path) -> None:
    first = save(tmp_path / "a.safetensors", LIGHT, 1)
    longer = save(tmp_path / "b.safetensors", dataclasses.replace(LIGHT, down_blocks=(2,)), 2)
    with pytest.raises(ConfigError, match=r"down_blocks=\(1,\) and \(2,\)"):
        blend(first, longer, 0.5, name="made")
    for alpha in (float("nan"), 2.5, -1.5):
        with pytest.raises(ConfigError, match="expected -1 to 2"):
            blend(first, first, alpha, name="made")


def test_the_command_writes_a_checkpoint_and_says_what_to_doubt(tmp_path: Path) -> None:
    apart = [save(tmp_path / f"{seed}.safetensors", LIGHT, seed) for seed in (1, 2)]
    out = tmp_path / "mild.safetensors"
    command = ["blend", *map(str, apart), "--alpha", "0.25", "-o", str(out)]
    done = CliRunner().invoke(cli, [*command, "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {
        "path": str(out),
        "alpha": 0.25,
        "parameters": sum(p.numel() for p in AdcVsr(LIGHT).parameters()),
        "licences": ["Apache-2.0"],
        "related": False,
    }
    assert "were not trained from each other" in done.stderr
    network, provenance = load_checkpoint(out)
    assert network.config.name == "mild"
    assert [each["file"] for each in provenance["blend"]["of"]] == [p.name for p in apart]
    again = CliRunner().invoke(cli, command)
    assert again.exit_code == 1
    assert "exists; pass --overwrite" in str(again.exception)


def test_shipped_checkpoints_are_known_by_name() -> None:
    made = blend(Path("nano"), Path("nano-restore"), 0.5, name="mild")
    assert made.related
    # The weights that one was trained from may lie behind a blend, as those of small-restore do.
    assert blend(Path("small"), Path("small-restore"), 0.5, name="mild").related
    assert any("BSD-3-Clause" in licence for licence in made.provenance["licences"])
