"""Quantizing clip networks, and graphs whose weights lie beside them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx_ir
import pytest

pytest.importorskip("torch", reason="exporting needs torch")

from adcvsr.bundle import Bundle
from adcvsr.calibration.sets.build_set import SetOptions, build_set
from adcvsr.calibration.sets.calibration_set import CalibrationSet
from adcvsr.calibration.sets.reader import graph_feeds, probe_runs
from adcvsr.config import AdcVsrConfig
from adcvsr.errors import QuantizationError
from adcvsr.export import bundle_writer
from adcvsr.export.gate import Comparison
from adcvsr.export.graphs import onnx_file
from adcvsr.export.graphs.replay import open_session
from adcvsr.export.graphs.variant_files import VariantFiles
from adcvsr.export.modelopt import thin_graph
from adcvsr.export.modelopt.thin_graph import make_thin, put_back
from adcvsr.export.quantize import quantize_bundle
from adcvsr.export.recipes.recipe import Recipe, recipe_for

from .conftest import CLIP

IGNORE_LINES = lambda line: None  # noqa: E731

WIDE = replace(CLIP, name="wide", widths=(32,), decoder_widths=(32, 32, 32, 32))
"""Wide enough for ModelOpt to quantize it."""


@pytest.fixture
def beside(clip_files: VariantFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The clip graph with its weights in a file that has two names, as in a bundle's stage."""
    monkeypatch.setattr(onnx_file, "EMBEDDED_LIMIT_BYTES", 0)
    monkeypatch.setattr(onnx_file, "EXTERNAL_TENSOR_BYTES", 256)
    path = tmp_path / "fp32-onnx.onnx"
    onnx_file.save_graph(onnx_ir.load(clip_files.graph), path)
    os.link(path.with_name("fp32-onnx.onnx.data"), tmp_path / "another")
    return path


def make_set(bundle: Bundle, folder: Path, clip: Path) -> CalibrationSet:
    options = SetOptions(runs=2, length=3, width=48, height=32, max_frames=60, reduce=4)
    return build_set([clip], folder, bundle, options, report=IGNORE_LINES)


def test_a_thin_twin_has_the_shapes_of_its_graph_and_turns_back_into_it(
    beside: Path, clip_files: VariantFiles, rng: np.random.Generator
) -> None:
    thin = make_thin(beside, beside.with_name("thin.onnx"))
    twin = onnx.load(beside.with_name("thin.onnx"))
    weights = {tensor.name: tensor for tensor in twin.graph.initializer}
    assert len(thin.kernels) > 5
    for node in twin.graph.node:
        if node.name in thin.kernels:
            assert weights[node.input[1]].dims[2:] == [1, 1]
    clip = {"clip": rng.integers(0, 256, (3, 16, 32, 3), np.uint8)}
    (thinned,) = open_session(twin.SerializeToString()).run(None, clip)
    target = beside.with_name("back.onnx")
    written = put_back(twin, thin, {}, "int8", target)
    assert any(tensor.external_data for tensor in written.graph.initializer)
    (back,) = open_session(target).run(None, clip)
    (expected,) = open_session(clip_files.graph).run(None, clip)
    assert np.array_equal(back, expected)
    assert thinned.shape == expected.shape
    assert not np.allclose(thinned, expected, atol=0.1)


def test_a_twin_that_is_too_large_is_refused(beside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thin_graph.onnx.checker, "MAXIMUM_PROTOBUF", 5000)
    with pytest.raises(QuantizationError, match="GB of weights that are not in convolutions"):
        make_thin(beside, beside.with_name("thin.onnx"))


@pytest.mark.slow
@pytest.mark.usefixtures("traced_before")
def test_clip_networks_are_read_compared_and_kept_from_the_cpu(tmp_path: Path, data: Path) -> None:
    path = tmp_path / "bundle"
    bundle = bundle_writer.export_untrained(CLIP, path, report=IGNORE_LINES)
    clip = data / "clips/train/puppy_grass_640x360.mp4"
    calibration = make_set(bundle, tmp_path / "set", clip)
    clips, features = graph_feeds(bundle, calibration)
    drawn = probe_runs(calibration)
    lengths = [3] * len(calibration.runs) + [len(frames) for frames in drawn]
    assert [feed["clip"].shape for feed in clips] == [(length, 32, 48, 3) for length in lengths]
    assert len(features) == calibration.frames + sum(map(len, drawn))
    assert {feed["features"].shape for feed in features} == {(1, 8, 16, 24)}
    recipe = recipe_for("int8", "cpu")
    report = Comparison(recipe.gate, calibration).of(bundle, "fp32-onnx")
    assert bundle.window is not None
    assert report.frames == bundle.window.frames
    assert report.psnr_db == report.calibration_psnr_db == 99.0
    assert report.drift_db == 0.0
    with pytest.raises(QuantizationError, match="int8-ort is for stream networks .* pass --target"):
        quantize_bundle(path, recipe, calibration, report=IGNORE_LINES)


@pytest.mark.slow
@pytest.mark.parametrize("causal", [False, True])
def test_large_graphs_become_what_modelopt_makes_of_small_ones(
    causal: bool, tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same network, once with its weights in the ONNX file and once beside it."""
    pytest.importorskip("modelopt", reason="needs ModelOpt")
    config: AdcVsrConfig = replace(WIDE, causal=causal)
    folders = {limit: tmp_path / f"limit-{limit}" for limit in (1 << 30, 0)}
    bundles = {}
    for limit, folder in folders.items():
        monkeypatch.setattr(onnx_file, "EMBEDDED_LIMIT_BYTES", limit)
        bundles[limit] = bundle_writer.export_untrained(config, folder, report=IGNORE_LINES)
    clip = data / "clips/train/puppy_grass_640x360.mp4"
    calibration = make_set(bundles[0], tmp_path / "set", clip)
    for precision, target in (("int8", "orin-nano"), ("fp8", "rtx-40")):
        recipe = _lenient(recipe_for(precision, target))
        for limit, folder in folders.items():
            monkeypatch.setattr(onnx_file, "EMBEDDED_LIMIT_BYTES", limit)
            bundles[limit] = quantize_bundle(folder, recipe, calibration, report=IGNORE_LINES)
        variant = bundles[0].variant(recipe.variant)
        assert f"{recipe.variant}.onnx.data" in variant.data_files
        assert not bundles[1 << 30].variant(recipe.variant).data_files
        assert variant.facts["census"][precision]["multiply_adds"] > 0.9
        for name in variant.graph_files:
            one, other = (onnx.load(folder / name) for folder in folders.values())
            assert _parts(one) == _parts(other)


def _lenient(recipe: Recipe) -> Recipe:
    """Random weights lose more than trained ones, and the twin's channels keep their units."""
    plain = replace(recipe.activations, equalise=False, mix_channels=False)
    gate = replace(recipe.gate, psnr_db=8, golden_psnr_db=8, frames=8)
    gate = replace(gate, flat_mean=255.0, flat_most=255, area=255.0, clip_psnr_db=0.0)
    return replace(recipe, activations=plain, gate=gate)


def _parts(model: onnx.ModelProto) -> tuple[set[bytes], dict[str, bytes]]:
    """Nodes, and weights by name."""
    weights = {t.name: onnx.numpy_helper.to_array(t).tobytes() for t in model.graph.initializer}
    attributes = [sorted(e.SerializeToString() for e in n.attribute) for n in model.graph.node]
    nodes = {
        repr((n.op_type, n.name, list(n.input), list(n.output), found)).encode()
        for n, found in zip(model.graph.node, attributes, strict=True)
    }
    return nodes, weights
