"""`adcvsr inspect`: what a user learns of a bundle, and what a damaged one looks like."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from adcvsr.bundle import PACKAGED, open_bundle
from adcvsr.cli._bundle_text import inspect_bundle, lines
from adcvsr.cli.inspect import command
from adcvsr.errors import BundleError
from adcvsr.graph.cost import count_bundle_cost


def inspect(*arguments: object) -> Result:
    return CliRunner().invoke(command, list(map(str, arguments)))


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    bundle = tmp_path / "nano"
    shutil.copytree(PACKAGED / "nano", bundle)
    card = bundle / "model_card.md"
    card.write_bytes(card.read_bytes()[:-1] + b"!")
    return bundle


def test_everything_a_user_asks_is_there() -> None:
    text = inspect("nano").output
    for words in ("26,496 parameters", "frame: uint8 RGB (1, H, W, 3)", "(1, 4H, 4W, 3)"):
        assert words in text
    assert text.count("intact") == len(open_bundle("nano").manifest["files"])
    assert "GMAC" not in text


def test_a_variants_proof_is_there() -> None:
    text = inspect("nano").output
    entry = open_bundle("nano").manifest["variants"]["int8-ort"]
    for precision, share in entry["census"].items():
        assert f"{share['multiply_adds']:.1%} of multiply-adds" in text
        assert f"of weights in {precision}\n" in text
    assert f"calibration: digest {entry['calibration']['digest']}" in text
    assert f"psnr_db {entry['parity']['psnr_db']:.1f}" in text


def test_cost_is_that_of_the_graph() -> None:
    told = json.loads(inspect("nano", "--size", "320x180", "--json").output)["cost"]["fp32-onnx"]
    cost = count_bundle_cost(open_bundle("nano"), "fp32-onnx", height=180, width=320)
    assert (told["height"], told["width"], told["frames"]) == (180, 320, 1)
    assert told["multiply_adds"] == cost.multiply_adds
    assert told["state_bytes"] == cost.state_bytes


def test_a_damaged_file_is_named(damaged: Path) -> None:
    result = inspect(damaged)
    assert isinstance(result.exception, BundleError)
    count = len(open_bundle(damaged).manifest["files"])
    assert f"1 of {count} files damaged: model_card.md" in str(result.exception)
    assert "DAMAGED" in result.output
    facts = json.loads(inspect(damaged, "--json").output)
    assert not facts["intact"]
    assert [name for name, file in facts["files"].items() if not file["intact"]] == [
        "model_card.md"
    ]


def test_a_clip_bundle_tells_its_window(clip_bundle: Path) -> None:
    facts = inspect_bundle(open_bundle(clip_bundle), size=(16, 24))
    text = "\n".join(lines(facts))
    assert f"windows of {facts['window']['frames']} frames" in text
    assert "features" in text
    assert facts["cost"]["fp32-onnx"]["frames"] == facts["window"]["frames"]


@pytest.mark.parametrize("size", ["3x", "0x4", "320", "320x180x3"])
def test_no_size(size: str) -> None:
    result = inspect("nano", "--size", size)
    assert result.exit_code == 2
    assert "320x180" in result.output
