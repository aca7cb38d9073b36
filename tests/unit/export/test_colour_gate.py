"""What spoils colours is not written, and every calibration has colours in it."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from onnx import numpy_helper

from adcvsr.bundle import Bundle, open_bundle
from adcvsr.calibration.sets.build_set import SetOptions, build_set
from adcvsr.calibration.sets.calibration_set import CalibrationSet
from adcvsr.calibration.sets.reader import (
    calibration_feeds,
    calibration_runs,
    graph_feeds,
    probe_runs,
)
from adcvsr.cli.commands import cli
from adcvsr.errors import ParityError
from adcvsr.export import gate, quantize
from adcvsr.export.colour_gate import gate_colours
from adcvsr.export.graphs.variant_files import VariantFiles
from adcvsr.export.int8.quantized import Quantized
from adcvsr.export.modelopt.modelopt_quantize import _few
from adcvsr.export.recipes.recipe import FOLDER, Gate
from adcvsr.pictures.clips import write_clip
from adcvsr.pictures.colour_probes import NAMED, flat_colours
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.runtime.processing.backends import create_session
from adcvsr.runtime.proof.colours import ColourLimits, ColourRequest
from adcvsr.runtime.sessions.session import Session
from variant_bundle import NANO, copy_of_nano


@pytest.fixture(scope="module")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> CalibrationSet:
    """Of drawn clips without a saturated colour, as footage is."""
    folder = tmp_path_factory.mktemp("calibration")
    write_clip(folder / "clip.mp4", draw_clip(16, 48, 64))
    options = SetOptions(runs=2, length=4, width=48, height=32, drawn=False)
    return build_set(
        [folder], folder / "set", open_bundle("nano"), options, report=lambda line: None
    )


def shipped(cut: float) -> onnx.ModelProto:
    """The shipped INT8 of `nano` with the ranges of its residual stream this much as wide."""
    model = onnx.load(NANO / "int8-ort.onnx")
    streams = {o for node in model.graph.node if node.op_type == "Add" for o in node.output}
    scales = {
        node.input[1]
        for node in model.graph.node
        if node.op_type == "QuantizeLinear" and node.input[0] in streams
    }
    assert len(scales) >= 4
    for tensor in model.graph.initializer:
        if tensor.name in scales:
            value = (numpy_helper.to_array(tensor) * cut).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    return model


def run_quantize(
    path: Path, model: onnx.ModelProto, calibration: CalibrationSet, patch: pytest.MonkeyPatch
) -> Result:
    recipe = path.parent / "quick.toml"
    text = (FOLDER / "int8-cpu.toml").read_text().replace("frames = 300", "frames = 12")
    # Means alone would let it pass: that is the point.
    text = text.replace("psnr_db = 42.0", "psnr_db = 20.0").replace(
        "golden_psnr_db = 38.0", "golden_psnr_db = 20.0"
    )
    recipe.write_text(text)
    patch.setitem(quantize.QUANTIZERS, "onnxruntime", lambda *_: Quantized(model, {}))
    patch.setattr(quantize, "OTHER_FITS", (6.0,))  # each gives the same graph here
    command = ["quantize", str(path), "--precision", "int8", "--recipe", str(recipe)]
    return CliRunner().invoke(cli, [*command, "--calibration", str(calibration.path)])


def test_a_cut_range_is_refused_with_the_worst_colour(
    tmp_path: Path, calibration: CalibrationSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = copy_of_nano(tmp_path / "nano")
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    opened: list[str] = []

    def open_variant(bundle: Bundle, variant: str) -> Session:
        opened.append(variant)
        return create_session(bundle, backend="ort-cpu", variant=variant)

    monkeypatch.setattr(gate, "_open", open_variant)
    done = run_quantize(path, shipped(0.5), calibration, monkeypatch)
    assert done.exit_code == 1, done.output
    assert opened == ["fp32-onnx", "int8-ort", "int8-ort"]  # FP32 is the same for both fits
    assert isinstance(done.exception, ParityError)  # which the command line makes a line of
    assert "gives wrong colours: colour (" in str(done.exception)
    assert "comes out as (" in str(done.exception)
    assert "levels off, at most 6 allowed; nothing was written" in str(done.exception)
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before


def test_the_same_graph_whole_is_written_with_its_worst_colour(
    tmp_path: Path, calibration: CalibrationSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = copy_of_nano(tmp_path / "nano")
    done = run_quantize(path, shipped(1.0), calibration, monkeypatch)
    assert done.exit_code == 0, done.output
    assert f"colours: worst of {len(flat_colours())} flat colours" in done.output
    parity = Bundle(path).manifest["variants"]["int8-ort"]["parity"]
    colours = json.loads(json.dumps(parity["colours"]))
    assert colours["flat_most"] <= colours["limits"]["flat_most"]
    assert colours["reference"]["against"] == "input"


def test_every_calibration_has_the_probes(calibration: CalibrationSet) -> None:
    probes = probe_runs(calibration)
    runs = calibration_runs(calibration)
    assert len(runs) == len(calibration.runs) + len(probes)
    bundle = open_bundle("nano")
    feeds = calibration_feeds(bundle, calibration)
    assert len(feeds) == sum(map(len, runs))
    assert graph_feeds(bundle, calibration)[0][-1].keys() == feeds[-1].keys()
    drawn = np.concatenate([feed["frame"].reshape(-1, 3) for feed in feeds])
    own = np.concatenate([run.frames.reshape(-1, 3) for run in calibration.runs])
    for name in ("green", "magenta", "blue", "yellow", "red", "cyan", "white", "black"):
        assert name in ("white", "black") or not (own == NAMED[name]).all(1).any(), name
        assert (drawn == NAMED[name]).all(1).any(), name


@pytest.mark.parametrize("frames", [8, 200, 1000])
def test_modelopt_gets_every_probe(calibration: CalibrationSet, frames: int) -> None:
    probes = sum(map(len, probe_runs(calibration)))
    feeds = [{"frame": np.array([index])} for index in range(frames + probes)]
    few = _few(feeds, calibration, whole_runs=False)
    assert few[-probes:] == feeds[-probes:]
    assert len(few) <= 64 + probes
    spread = _few(feeds, calibration, whole_runs=True)
    assert len(spread) <= 64


def test_limits_of_recipes_are_the_runtimes() -> None:
    usual, limits = Gate(psnr_db=40.0), ColourLimits()
    assert isinstance(usual, ColourLimits)
    assert usual.colours_json() == limits.colours_json() == asdict(limits)


def named_colours() -> ColourRequest:
    return ColourRequest(64, 80, np.array(list(NAMED.values()), np.uint8), clips=False)


@pytest.fixture
def graphs(tmp_path: Path) -> tuple[VariantFiles, VariantFiles]:
    """FP32 and FP16 of `nano`, as an export has them before there is a bundle."""
    names = ("fp32-onnx", "fp16-trt")
    for name in names:
        shutil.copyfile(NANO / f"{name}.onnx", tmp_path / f"{name}.onnx")
    exact, half = (VariantFiles(tmp_path, name, "stream") for name in names)
    return exact, half


def test_fp16_is_held_to_its_colours_at_export(graphs: tuple[VariantFiles, VariantFiles]) -> None:
    exact, half = graphs
    lines: list[str] = []
    state = open_bundle("nano").state
    entries = gate_colours(exact, [half], state, named_colours(), report=lines.append)
    assert entries[half.id]["against"] == "fp32-onnx"
    assert entries[half.id]["flat_most"] <= 1
    assert entries[exact.id]["against"] == "input"
    assert all(each["limits"] == ColourLimits().colours_json() for each in entries.values())
    assert [line.split(":")[0] for line in lines] == [
        "colours of fp32-onnx",
        "colours of fp16-trt",
    ]


def test_fp16_of_wrong_colours_is_refused(graphs: tuple[VariantFiles, VariantFiles]) -> None:
    exact, half = graphs
    darken(half.graph, 9)
    with pytest.raises(ParityError, match=r"fp16-trt gives wrong colours: .* nothing was written"):
        gate_colours(exact, [half], open_bundle("nano").state, named_colours(), report=str)


def test_wrong_colours_of_fp32_are_said_and_no_error(
    graphs: tuple[VariantFiles, VariantFiles],
) -> None:
    exact, _ = graphs
    darken(exact.graph, 9)
    lines: list[str] = []
    state = open_bundle("nano").state
    entries = gate_colours(exact, [], state, named_colours(), report=lines.append)
    assert entries[exact.id]["reference"]["flat_most"] >= 8
    (note,) = (line for line in lines if line.startswith("note: "))
    assert "levels off, at most 6 allowed; that is the network itself" in note


def darken(graph: Path, levels: float) -> None:
    """Take so many levels off every pixel, by the last biases."""
    model = onnx.load(graph)
    (bias,) = (t for t in model.graph.initializer if t.name == "network.decoder.conv_out.bias")
    value = numpy_helper.to_array(bias)
    bias.CopyFrom(numpy_helper.from_array((value - levels).astype(value.dtype), bias.name))
    onnx.save(model, graph)
