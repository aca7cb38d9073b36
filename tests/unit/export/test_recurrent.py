"""A network whose past never ends: exported, quantized, told of, refused where it must be cut."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
import torch
from conftest import MakeOnce

from adcvsr.bundle import Bundle, open_bundle
from adcvsr.calibration.sets.build_set import SetOptions, build_set
from adcvsr.calibration.sets.calibration_set import open_set
from adcvsr.cli._bundle_text import inspect_bundle, lines
from adcvsr.config import AdcVsrConfig
from adcvsr.errors import JobError, ParityError
from adcvsr.export import endurance
from adcvsr.export.bundle_writer import export_bundle
from adcvsr.export.endurance import check_endurance
from adcvsr.export.int8 import stream_basis
from adcvsr.export.quantize import quantize_bundle
from adcvsr.export.recipes import recipe as recipes
from adcvsr.export.recipes.recipe import read_recipe
from adcvsr.model import AdcVsr, save_checkpoint
from adcvsr.pictures.clips import write_clip
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.runtime.jobs.identity import describe_network
from adcvsr.runtime.processing.backends import create_session
from adcvsr.runtime.proof.verify import verify_bundle
from tiny_configs import CAUSAL_RECURRENT

pytestmark = pytest.mark.usefixtures("few_colours")  # random weights make no picture

FEWER_FRAMES = 120
"""A thousand take ten seconds of a processor."""


def network(strength: float = 0.1) -> AdcVsr:
    """Untrained; the taps' strength decides whether what it carries shrinks or grows."""
    torch.manual_seed(0)
    made = AdcVsr(CAUSAL_RECURRENT).eval()
    made.start_as_interpolation()
    for name, parameter in made.named_parameters():
        if "temporal" in name and name.endswith("weight"):
            torch.nn.init.normal_(parameter, std=strength / parameter[0].numel() ** 0.5)
    return made


@pytest.fixture(scope="module")
def recurrent(make_once: MakeOnce) -> Path:
    def fill(folder: Path) -> None:
        checkpoint = folder / "recurrent.safetensors"
        save_checkpoint(checkpoint, network(), provenance={"licences": ["CC0-1.0"]})
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(endurance, "FRAMES", FEWER_FRAMES)
            export_bundle(checkpoint, folder / "recurrent", report=lambda line: None)

    return make_once("recurrent", fill) / "recurrent"


def test_the_bundle_says_that_its_past_never_ends(recurrent: Path) -> None:
    bundle = open_bundle(recurrent)
    assert "past_frames" not in bundle.manifest["interface"]
    assert isinstance(bundle.config, AdcVsrConfig)
    assert bundle.config.is_recurrent
    proof = bundle.manifest["variants"]["fp32-onnx"]
    assert proof["parity"]["state_error"] > 0
    assert endurance.FRAMES >= 1000
    assert FEWER_FRAMES <= proof["endurance"]["frames"] < endurance.FRAMES
    assert proof["endurance"]["mean_levels"] < 0.5
    assert any("past        never ends" in line for line in lines(inspect_bundle(bundle)))
    finite = inspect_bundle(open_bundle("nano"))
    assert finite["past_frames"] == 1
    assert any("past        1 frame:" in line for line in lines(finite))


def test_jobs_refuse_it(recurrent: Path) -> None:
    bundle = open_bundle(recurrent)
    with (
        create_session(bundle, backend="ort-cpu") as session,
        pytest.raises(JobError, match="never ends .it is recurrent.*without a job"),
    ):
        describe_network(bundle, session, "", "")


@pytest.mark.slow
def test_int8_keeps_its_contract(
    recurrent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_basis, "STEPS", 40)
    monkeypatch.setattr(stream_basis, "SAMPLES", 4000)
    path = Path(shutil.copytree(recurrent, tmp_path / "bundle"))
    write_clip(tmp_path / "clip.mp4", draw_clip(12, 48, 64))
    options = SetOptions(runs=2, length=4, width=48, height=32)
    build_set([tmp_path], tmp_path / "set", open_bundle(path), options, report=lambda line: None)
    text = (recipes.FOLDER / "int8-cpu.toml").read_text().replace("frames = 300", "frames = 24")
    for gate in ("psnr_db = 42.0", "golden_psnr_db = 38.0"):
        assert gate in text
        text = text.replace(gate, gate.replace(gate[-4:], "30.0"))
    colours = "\nflat_mean = 255.0\nflat_most = 255\narea = 255.0\nclip_psnr_db = 0.0\n"
    (tmp_path / "recipe.toml").write_text(text + colours)
    quantize_bundle(
        path,
        read_recipe(tmp_path / "recipe.toml"),
        open_set(tmp_path / "set"),
        report=lambda line: None,
    )
    bundle = Bundle(path)
    assert "int8-ort" in bundle.variants
    assert verify_bundle(bundle).outcome == "passed"


def test_a_state_that_grows_is_not_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endurance, "FRAMES", FEWER_FRAMES)
    with pytest.raises(ParityError, match="its picture wanders"):
        check_endurance(network(1.5))
    wild = network()
    for name, parameter in wild.named_parameters():
        if "temporal" in name:
            parameter.data.mul_(1e6)
    with pytest.raises(ParityError, match="nan levels"):
        check_endurance(wild)
    calm = dataclasses.replace(CAUSAL_RECURRENT, temporal_side=1)
    assert check_endurance(AdcVsr(calm).eval()).mean_levels == 0
