"""Training with the rounding of INT8: it is the graph's, and weights come to lose less by it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import adcvsr
from adcvsr.bundle import Bundle, open_bundle
from adcvsr.cli.commands import cli
from adcvsr.config import AdcVsrConfig
from adcvsr.errors import ConfigError
from adcvsr.model import AdcVsr, load_checkpoint
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.train.data import ClipPairs, PairLoader
from adcvsr.train.initial_weights import find_start
from adcvsr.train.qat import qat, steady
from adcvsr.train.rounding import VARIANT, RoundedStreams, Rounding, read_roundings
from adcvsr.train.settings import QatSettings, read_settings
from changed_manifest import with_manifest
from tiny_training import CLEAN, DATA, LIGHT, QUICK, Folders, Watch

CPU = torch.device("cpu")

SETTINGS = QatSettings(**QUICK, batch=2, max_steps=6, ema_decay=0.5, checkpoint_minutes=1e-9)


def student(name: str) -> AdcVsr:
    return load_checkpoint(find_start(Path(name)))[0].eval()


def run(folders: Folders, output: Path, *, watch: Watch | None = None, **changes: Any) -> Path:
    watch = watch or Watch()
    settings = {k: v for k, v in changes.items() if k not in ("start", "rounded_as", "resume")}
    try:
        return qat(
            dataclasses.replace(SETTINGS, **settings),
            output,
            clips=[],
            images=[folders.images],
            start=changes.get("start") or find_start(Path("nano")),
            rounded_as=changes.get("rounded_as") or open_bundle("nano"),
            resume=changes.get("resume", False),
            report=watch.report,
            progress=watch.progress,
        )
    except KeyboardInterrupt:
        assert watch.stop_after
        return output / "checkpoint.safetensors"


def test_a_value_is_rounded_between_its_neighbours_and_cut_at_the_ends() -> None:
    turn = torch.tensor([[0.0, 2.0], [1.0, 0.0]])
    rounding = Rounding(turn, torch.linalg.inv(turn), step=0.5, zero=100)
    values = torch.tensor([[0.3, 0.1, 100.0], [0.1, 0.2, -60.0]])[None, :, None].requires_grad_()
    rounded = rounding(values)
    # Stored: twice the second channel, and the first; from -50 to 77.5 in steps of a half.
    expected = [[0.5, 0.0, 77.5], [0.0, 0.25, -25.0]]
    torch.testing.assert_close(rounded[0, :, 0], torch.tensor(expected))
    rounded.sum().backward()
    assert values.grad is not None
    torch.testing.assert_close(values.grad[0, :, 0], torch.tensor([[1.0, 1, 0], [1, 1, 0]]))


@pytest.mark.parametrize("name", ["nano", "small-restore"])
def test_rounding_in_training_errs_as_the_int8_graph_does(name: str) -> None:
    """Not pixel by pixel, which the rounding of weights decides too; in size, and about alike."""
    network = student(name)
    roundings = read_roundings(open_bundle(name), network, CPU)
    streams = RoundedStreams(network, roundings)
    clip = draw_clip(3, 48, 64) // 3 + 60
    given = torch.from_numpy(clip).float().permute(0, 3, 1, 2)[None] / 127.5 - 1
    with torch.no_grad():
        rounded = network(given)[0]
        with streams.exact():
            exact = network(given)[0]
    with adcvsr.Upscaler(name, variant="int8") as upscaler:
        running = np.stack([upscaler(frame) for frame in clip]).astype(np.float64)
    levels = exact[0].permute(0, 2, 3, 1).numpy() * 127.5 + 127.5
    ours = (rounded - exact)[0].permute(0, 2, 3, 1).numpy() * 127.5
    theirs = running - levels
    assert 0.6 < ours.std() / theirs.std() < 1.4
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.1
    blocks = sum(network.config.down_blocks) + sum(network.config.up_blocks)
    assert len(roundings) > blocks
    assert not any("decoder" in path for path in roundings)


@pytest.mark.slow
def test_weights_come_to_lose_less(
    folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By steps six times as wide as the bundle's, so that a minute's worth of steps shows it."""

    def coarse(bundle: Bundle, network: AdcVsr, device: torch.device) -> dict[str, Rounding]:
        found = read_roundings(bundle, network, device)
        return {path: dataclasses.replace(r, step=6 * r.step) for path, r in found.items()}

    monkeypatch.setattr("adcvsr.train.qat.read_roundings", coarse)
    watch = Watch()
    data = dataclasses.replace(DATA, patch_px=16)
    path = run(
        folders,
        tmp_path / "run",
        watch=watch,
        data=data,
        batch=4,
        max_steps=40,
        learning_rate=1e-3,
        warmup_steps=10,
        ema_decay=0.9,
        checkpoint_minutes=5.0,
    )
    assert any("7 convolutions round as 'nano' does in INT8" in line for line in watch.lines)
    pairs = ClipPairs([], [folders.images], data, CLEAN, seed=0, report=lambda line: None)
    low = next(PairLoader(pairs, batch=32)).low.float() / 127.5 - 1
    network, before = load_checkpoint(path)[0].eval(), student("nano")
    with torch.no_grad():
        wanted, exact = before(low)[0], network(low)[0]
        for each in (before, network):
            RoundedStreams(each, coarse(open_bundle("nano"), each, CPU))
        lost = [float(((each(low)[0] - wanted) ** 2).mean().sqrt()) for each in (before, network)]
    assert lost[1] < 0.92 * lost[0]
    assert float(((exact - wanted) ** 2).mean().sqrt()) < 0.6 * lost[0]


def test_what_stands_still_is_to_be_steady() -> None:
    target, truth = torch.rand(2, 3, 3, 8, 8), torch.rand(2, 3, 3, 8, 8)
    truth[1] = truth[1, :1]
    aim = steady(target, truth)
    assert torch.equal(aim[0], target[0])
    torch.testing.assert_close(aim[1], target[1].mean(0).expand(3, 3, 8, 8))


def test_it_goes_on_where_it_was(folders: Folders, tmp_path: Path) -> None:
    watches = Watch(), Watch(stop_after=3), Watch()
    whole = run(folders, tmp_path / "whole", watch=watches[0])
    run(folders, tmp_path / "parts", watch=watches[1])
    parts = run(folders, tmp_path / "parts", resume=True, watch=watches[2])
    assert watches[1].losses[:3] + watches[2].losses == watches[0].losses
    expected = load_checkpoint(whole)[0].state_dict()
    for key, value in load_checkpoint(parts)[0].state_dict().items():
        assert torch.equal(value, expected[key]), key
    _, provenance = load_checkpoint(parts)
    assert provenance["recipe"]["stage"] == "qat"
    assert set(provenance["recipe"]["sources"]) == {"start", "rounded_as"}


def test_one_step_of_some_rounds_nothing(folders: Folders, tmp_path: Path) -> None:
    """From weights that are the aim itself, such a step has nothing to learn."""
    watch = Watch()
    run(folders, tmp_path / "run", watch=watch, max_steps=4, exact_every=2, learning_rate=0.0)
    rounded, exact = watch.losses[::2], watch.losses[1::2]
    assert min(rounded) > 0.1
    assert max(exact) == 0


def test_what_does_not_fit_is_refused(
    folders: Folders, tmp_path: Path, save_student: Callable[[AdcVsrConfig], Path]
) -> None:
    with pytest.raises(ConfigError, match="another network than the checkpoint's 'light'"):
        run(folders, tmp_path / "a", start=save_student(LIGHT))
    shipped = open_bundle("nano")
    others = {k: v for k, v in shipped.manifest["variants"].items() if k != VARIANT}
    bundle = with_manifest(shipped.path, tmp_path / "plain", variants=others)
    with pytest.raises(ConfigError, match="no 'int8-ort' whose channels 'adcvsr quantize' mixed"):
        run(folders, tmp_path / "b", rounded_as=Bundle(bundle))
    with pytest.raises(ConfigError, match="exact_every=1, expected 2 or more"):
        dataclasses.replace(SETTINGS, exact_every=1)
    assert read_settings("qat", QatSettings).exact_every == 4


def test_the_command(folders: Folders, tmp_path: Path) -> None:
    given = ["train", "qat", "--config", "qat", "--start-from", "nano", "--images"]
    given += [str(folders.images), "-o", str(tmp_path / "run"), "--max-steps", "2", "--json"]
    missing = CliRunner().invoke(cli, given)
    assert missing.exit_code == 2
    assert "--rounded-as" in missing.output
    wrong = CliRunner().invoke(cli, [*given, "--rounded-as", "small"])
    assert wrong.exit_code == 1
    assert "holds 'small', another network than the checkpoint's 'nano'" in str(wrong.exception)
    recipe = tmp_path / "tiny.toml"
    recipe.write_text('stage = "qat"\nbatch = 1\n[data]\nframes = 2\npatch_px = 8\npan_px = 2\n')
    given[3] = str(recipe)
    done = CliRunner().invoke(cli, [*given, "--rounded-as", "nano"])
    assert done.exit_code == 0, done.output
    path = Path(json.loads(done.stdout)["checkpoint"])
    assert load_checkpoint(path)[0].config.name == "nano"
