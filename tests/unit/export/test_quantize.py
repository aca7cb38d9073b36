"""Quantized variants: integer end to end, proven, repeatable; what is not is not written."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from click.testing import CliRunner

from adcvsr.bundle import Bundle, open_bundle
from adcvsr.calibration.sets.build_set import SetOptions, build_set
from adcvsr.calibration.sets.calibration_set import CalibrationSet, open_set
from adcvsr.calibration.sets.reader import calibration_feeds
from adcvsr.cli.commands import cli
from adcvsr.errors import (
    BundleError,
    CalibrationError,
    ConfigError,
    OutputExistsError,
    ParityError,
    QuantizationError,
)
from adcvsr.export import quantize as quantize_module
from adcvsr.export.graphs.graph_edit import GraphEdit
from adcvsr.export.graphs.replay import open_session
from adcvsr.export.int8 import stream_basis
from adcvsr.export.int8.channel_groups import change_units, channel_groups
from adcvsr.export.int8.equalise import equalise
from adcvsr.export.int8.int8_ort import (
    place_int8_ort,
    prepare_int8_ort,
    quantize_int8_ort,
    quantized_tensors,
)
from adcvsr.export.int8.integer_ends import fold_ends, last_convolution
from adcvsr.export.int8.observe import (
    channel_ranges,
    least_error_ranges,
    observe,
    spread,
    tie_ranges,
)
from adcvsr.export.int8.stream_basis import fit_basis, fit_streams, output_sensitivity
from adcvsr.export.int8.weight_rounding import input_moments, round_weight, weight_scales
from adcvsr.export.quantize import quantize_bundle
from adcvsr.export.recipes import recipe as recipes
from adcvsr.export.recipes.recipe import EVEN_NOISE, read_recipe, recipe_for, recipe_names
from adcvsr.export.variants import stage_variant
from adcvsr.pictures.clips import write_clip
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.runtime.processing.backends import create_session
from adcvsr.runtime.proof.colours import ColoursFound
from adcvsr.runtime.proof.verify import verify_bundle
from adcvsr.runtime.sessions.ort_precision import why_not_judged
from held_colours import hold_few_colours

pytestmark = pytest.mark.usefixtures("few_colours")  # random weights make no picture

GATE = "psnr_db = 42.0"
GOLDEN_GATE = "golden_psnr_db = 38.0"
MIX, NO_MIX = "mix_channels = true", "mix_channels = false"
RECIPE = (recipes.FOLDER / "int8-cpu.toml").read_text().replace("frames = 300", "frames = 24")
ANY_COLOURS = "\nflat_mean = 255.0\nflat_most = 255\narea = 255.0\nclip_psnr_db = 0.0\n"
"""Random weights make no picture, whose colours could be held."""


@pytest.fixture(scope="module")
def calibration(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> CalibrationSet:
    folder = tmp_path_factory.mktemp("calibration")
    write_clip(folder / "clip.mp4", draw_clip(16, 48, 64))
    options = SetOptions(runs=3, length=4, width=48, height=32)
    bundle = open_bundle(tiny_bundle)
    return build_set([folder], folder / "set", bundle, options, report=lambda line: None)


@pytest.fixture
def bundle_path(tiny_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / "tiny"))


@pytest.fixture(scope="module")
def quantized(
    tiny_bundle: Path, calibration: CalibrationSet, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The bundle with a variant by `write_recipe` as it is."""
    folder = tmp_path_factory.mktemp("quantized")
    path = Path(shutil.copytree(tiny_bundle, folder / "tiny"))
    with pytest.MonkeyPatch.context() as patch:
        hold_few_colours(patch)
        quantize(path, write_recipe(folder), calibration)
    return path


@pytest.fixture
def quick_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A basis that is not the best, in a second."""
    monkeypatch.setattr(stream_basis, "STEPS", 40)
    monkeypatch.setattr(stream_basis, "SAMPLES", 4000)


def write_recipe(folder: Path, **replaced: str) -> Path:
    """With lower limits, and without the fit of a basis, which takes seconds, unless asked for."""
    text = RECIPE.replace(GATE, "psnr_db = 30.0").replace(GOLDEN_GATE, "golden_psnr_db = 30.0")
    assert MIX in text
    text = text.replace(MIX, NO_MIX) + ANY_COLOURS
    for old, new in replaced.items():
        line = next(line for line in text.splitlines() if line.startswith(f"{old} ="))
        text = text.replace(line, f"{old} = {new}")
    path = folder / "mine.toml"
    path.write_text(text)
    return path


def quantize(path: Path, recipe: Path, calibration: CalibrationSet, **options: bool) -> list[str]:
    lines: list[str] = []
    quantize_bundle(path, read_recipe(recipe), calibration, report=lines.append, **options)
    return lines


def digests(path: Path) -> dict[str, str]:
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in path.iterdir()}


@pytest.mark.usefixtures("quick_fit")
def test_the_command_adds_a_proven_variant(
    bundle_path: Path, calibration: CalibrationSet, tmp_path: Path
) -> None:
    before = digests(bundle_path)
    old = open_bundle(bundle_path).manifest
    command = ["quantize", str(bundle_path), "--precision", "int8", "--recipe"]
    recipe = write_recipe(tmp_path, mix_channels="true")
    done = CliRunner().invoke(cli, [*command, str(recipe), "--calibration", str(calibration.path)])
    assert done.exit_code == 0, done.output
    assert "100.0% of convolutions, 100.0% of multiply-adds" in done.output
    assert "fp32-onnx, int8-ort" in done.output

    bundle = open_bundle(bundle_path)
    bundle.verify_files()
    entry = bundle.manifest["variants"]["int8-ort"]
    assert entry["parity"]["judged"]
    assert entry["parity"]["psnr_db"] > 30
    assert entry["parity"]["golden_psnr_db"] > entry["parity"]["least_golden_psnr_db"] == 30
    assert verify_bundle(bundle).outcome == "passed"
    assert abs(entry["parity"]["drift_db"]) < 0.5
    still = entry["parity"]["still"]
    added = still["levels"] - still["reference_levels"]
    assert still["levels"] > 0
    assert added < entry["parity"]["most_flicker_added"] == 0.5
    assert entry["calibration"]["digest"] == calibration.digest
    assert entry["census"] == {
        "int8": {"nodes": 14, "convolutions": 1.0, "multiply_adds": 1.0, "weights": 1.0}
    }
    assert bundle.read(entry["recipe"]["file"]) == recipe.read_bytes()
    units = json.loads(bundle.read(entry["units"]["file"]))
    assert {kind for group in units for kind in group} == {"tensors", "factors", "matrix"}
    named = {name for group in units for name in group["tensors"]}
    assert {spec.name for spec in bundle.state} <= named
    # The variant that was there is as it was.
    assert bundle.manifest["variants"]["fp32-onnx"] == old["variants"]["fp32-onnx"]
    after = digests(bundle_path)
    assert {name: after[name] for name in before if name != "manifest.json"} == {
        name: digest for name, digest in before.items() if name != "manifest.json"
    }


def test_no_float_at_full_resolution(quantized: Path, tmp_path: Path) -> None:
    model = onnx.load(quantized / "int8-ort.onnx")
    readers = [n for n in model.graph.node if "frame" in n.input and n.op_type != "Shape"]
    producer = next(n for n in model.graph.node if "upscaled" in n.output)
    assert {node.op_type for node in readers} == {"Transpose"}
    assert producer.op_type == "Reshape"
    assert not [n for n in model.graph.node if n.op_type in ("Clip", "Sub")]
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(
        str(quantized / "int8-ort.onnx"), options, providers=["CPUExecutionProvider"]
    )
    kinds = [n.op_type for n in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert kinds.count("QLinearConv") == 14
    assert "Conv" not in kinds
    assert "Add" not in kinds


def test_colours_do_not_shift(
    tiny_bundle: Path, calibration: CalibrationSet, tmp_path: Path
) -> None:
    """The mean of each of the last convolution's channels over what was calibrated on is FP32's.

    That is before levels are clipped: random weights send drawn colours far beyond white, two
    thirds of their pixels, where no bias moves the picture.
    """
    bundle = open_bundle(tiny_bundle)
    recipe = read_recipe(write_recipe(tmp_path, centre_picture="true"))
    prepared = prepare_int8_ort(bundle, calibration, recipe)
    feeds = spread(calibration_feeds(bundle, calibration, prepared.model.SerializeToString()))

    def means(model: onnx.ModelProto) -> np.ndarray[Any, Any]:
        levels = last_convolution(GraphEdit(model), bundle.output_name).output[0]
        found = observe(model, [levels], feeds, lambda f: f[levels].mean((0, 2, 3)), fused=False)
        return np.mean(list(found), axis=0, dtype=np.float64)

    exact = means(prepared.model)
    left = np.abs(means(place_int8_ort(prepared, recipe)) - exact).max()
    centred = np.abs(means(quantize_int8_ort(bundle, calibration, recipe).model) - exact).max()
    assert centred < 0.1
    assert left > 2 * centred


def test_the_same_inputs_give_the_same_bytes_and_nothing_is_replaced_unasked(
    quantized: Path, calibration: CalibrationSet, tmp_path: Path
) -> None:
    """Here in a single file, whose variant was written in a folder; its figure is made wrong."""
    folder = Path(shutil.copytree(quantized, tmp_path / "tiny"))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["variants"]["int8-ort"]["parity"]["psnr_db"] = 99.0
    (folder / "manifest.json").write_text(json.dumps(manifest))
    path = Path(shutil.make_archive(str(tmp_path / "tiny"), "zip", folder))
    before = path.read_bytes()
    recipe = write_recipe(tmp_path)
    with pytest.raises(OutputExistsError, match="pass --overwrite"):
        quantize(path, recipe, calibration)
    assert path.read_bytes() == before
    quantize(path, recipe, calibration, overwrite=True)
    assert sorted(Bundle(path).variants) == ["fp32-onnx", "int8-ort"]
    with zipfile.ZipFile(path) as archive:
        found = {n: hashlib.sha256(archive.read(n)).hexdigest() for n in archive.namelist()}
    assert found == digests(quantized)


@pytest.mark.slow
@pytest.mark.usefixtures("quick_fit")
def test_another_fit_is_tried_where_only_colours_are_beyond(
    bundle_path: Path, calibration: CalibrationSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bundle keeps the recipe that passed, which gives the same bytes by itself."""
    answers = iter(["green comes out as grey"])
    with monkeypatch.context() as patch:
        patch.setattr(quantize_module, "OTHER_FITS", (6.0,))
        patch.setattr(ColoursFound, "why_beyond", lambda *_: next(answers, None))
        said = quantize(bundle_path, write_recipe(tmp_path, mix_channels="true"), calibration)
    assert "fit 1 of at most 2: int8-ort gives wrong colours: green comes out as grey" in said
    made = digests(bundle_path)
    stored = tmp_path / "stored.toml"
    shutil.copy(bundle_path / "int8-ort.recipe.toml", stored)
    assert read_recipe(stored).activations.even_noise == 6 != EVEN_NOISE
    quantize(bundle_path, stored, calibration, overwrite=True)
    del made["manifest.json"]  # it names the recipe
    assert made.items() <= digests(bundle_path).items()


@pytest.mark.slow
@pytest.mark.usefixtures("quick_fit")
@pytest.mark.parametrize(
    ("changed", "added", "why"),
    [
        ({"flat_mean": "0.0"}, "", "wrong colours: .*nothing was written.*calibrate"),
        ({}, "flicker = -255.0\n", "flickers: .*nothing was written"),
    ],
)
def test_where_no_fit_is_within_nothing_is_written(
    bundle_path: Path,
    calibration: CalibrationSet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changed: dict[str, str],
    added: str,
    why: str,
) -> None:
    monkeypatch.setattr(quantize_module, "OTHER_FITS", (6.0,))
    before = digests(bundle_path)
    lines: list[str] = []
    recipe = write_recipe(tmp_path, mix_channels="true", **changed)
    recipe.write_text(recipe.read_text() + added)
    with pytest.raises(ParityError, match=why):
        quantize_bundle(bundle_path, read_recipe(recipe), calibration, report=lines.append)
    assert sum(line.startswith("fit 1 of at most 2: ") for line in lines) == 1
    assert digests(bundle_path) == before


def test_what_is_not_proven_is_not_written(
    bundle_path: Path, calibration: CalibrationSet, tmp_path: Path
) -> None:
    before = digests(bundle_path)
    with pytest.raises(ParityError, match="PSNR .* at least 90 is required"):
        quantize(bundle_path, write_recipe(tmp_path, psnr_db="90.0"), calibration)
    steady = write_recipe(tmp_path)
    steady.write_text(steady.read_text() + "flicker = -255.0\n")
    with pytest.raises(ParityError, match=r"flickers: .* at most -255 more is allowed"):
        quantize(bundle_path, steady, calibration)
    kept = write_recipe(tmp_path, keep_float='["unet.down_blocks.1.*"]')
    with pytest.raises(QuantizationError, match=r"expects 100.0%; not in it: unet.down_blocks.1"):
        quantize(bundle_path, kept, calibration)
    graph = bundle_path / "fp32-onnx.onnx"
    raw = graph.read_bytes()
    graph.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    with pytest.raises(BundleError, match="changed after"):
        quantize(bundle_path, write_recipe(tmp_path), calibration)
    after = digests(bundle_path)
    assert {k: v for k, v in after.items() if k != graph.name} == {
        k: v for k, v in before.items() if k != graph.name
    }
    assert [p.name for p in bundle_path.parent.iterdir() if p.name.startswith(".")] == []


def test_refusals_of_the_command(bundle_path: Path, tmp_path: Path) -> None:
    command = ["quantize", str(bundle_path), "--precision", "fp8"]
    alone = CliRunner().invoke(cli, command)
    assert isinstance(alone.exception, CalibrationError)
    assert "adcvsr calibrate" in str(alone.exception)
    given = [*command, "--calibration", str(tmp_path), "--target"]
    orin = CliRunner().invoke(cli, [*given, "orin-nano"])
    assert isinstance(orin.exception, ConfigError)
    assert "no fp8 on orin-nano" in str(orin.exception)
    unknown = CliRunner().invoke(cli, [*given, "orin-nan"])
    assert "did you mean 'orin-nano'" in str(unknown.exception)


def test_recipes_are_read_strictly(tmp_path: Path) -> None:
    assert recipe_names() == ["fp8-rtx", "int8-cpu", "int8-orin", "int8-rtx"]
    for name in recipe_names():
        assert read_recipe(recipes.FOLDER / f"{name}.toml").precision == name.split("-")[0]
    assert recipe_for("int8", "agx-orin").name == "int8-orin"
    assert recipe_for("fp8", "thor").name == "fp8-rtx"
    for old, new, message in (
        ("equalise", '"yes"', r"\[activations\] equalise='yes', expected true or false"),
        ("equalise", "1", "equalise=1, expected true or false"),
        ("rounding", '"up"', "rounding 'up'"),
        ("tool", '"onnxruntme"', "did you mean 'onnxruntime'"),
    ):
        with pytest.raises(ConfigError, match=message):
            read_recipe(write_recipe(tmp_path, **{old: new}))
    path = write_recipe(tmp_path)
    path.write_text(path.read_text().replace("equalise", "equalize"))
    with pytest.raises(ConfigError, match="did you mean 'equalise'"):
        read_recipe(path)


def test_equalised_and_folded_graphs_are_the_same_function(
    tiny_bundle: Path, calibration: CalibrationSet
) -> None:
    bundle = open_bundle(tiny_bundle)
    state = {spec.name: spec.next_name for spec in bundle.state}
    model = onnx.load(tiny_bundle / "fp32-onnx.onnx")
    edit = GraphEdit(model)
    ends = fold_ends(edit, "frame", "upscaled")
    outputs = [n.output[0] for n in edit.of_type("Conv") if n.name != "decoder.conv_out/Conv"]
    outputs += list(state)
    folded = edit.finish()
    feeds = calibration_feeds(bundle, calibration, folded.SerializeToString())
    ranges = channel_ranges(folded, outputs, feeds)
    edit = GraphEdit(folded)
    factors = equalise(channel_groups(edit, state), ranges)
    change_units(edit, factors)
    equal = edit.finish()
    assert set(state) <= set(factors)
    feeds = calibration_feeds(bundle, calibration, equal.SerializeToString())
    spans = channel_ranges(equal, list(state), feeds)
    for low, high in spans.values():
        widest = np.maximum(-low, high)
        assert widest.min() > 0.3 * widest.max()
    # Without rounding and limits, which are uint8's: all but the border is half a level lower.
    convolution = ends.picture_out
    original = calibration_feeds(bundle, calibration)
    pairs = zip(
        observe(model, [convolution], original[:6], dict),
        observe(equal, [convolution], feeds[:6], dict),
        strict=True,
    )
    for one, other in pairs:
        difference = one[convolution] - other[convolution] - 0.5
        assert np.abs(difference[..., 10:-10, 10:-10]).max() < 0.02


@pytest.mark.parametrize("between", ["PRelu", "LeakyRelu"])
def test_units_pass_through_slopes(between: str) -> None:
    """What a slope is given in other positive units comes out in them, channel by channel."""
    rng = np.random.default_rng(0)
    weights = {
        "w1": rng.normal(size=(4, 3, 3, 3)),
        "w2": rng.normal(size=(3, 4, 3, 3)),
        "slopes": rng.uniform(0.05, 0.4, (4, 1, 1)),
    }
    node = onnx.helper.make_node
    reads = ["f", "slopes"] if between == "PRelu" else ["f"]
    nodes = [
        node("Conv", ["x", "w1"], ["f"], "first", pads=[1] * 4),
        node(between, reads, ["a"], "slope"),
        node("Conv", ["a", "w2"], ["y"], "last", pads=[1] * 4),
    ]
    ends = [onnx.helper.make_tensor_value_info(name, 1, [1, 3, 8, 9]) for name in "xy"]
    made = onnx.helper.make_graph(
        nodes,
        "slopes",
        ends[:1],
        ends[1:],
        [onnx.numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()],
    )
    opset = [onnx.helper.make_opsetid("", 20)]
    model = onnx.helper.make_model(made, opset_imports=opset, ir_version=9)
    edit = GraphEdit(model)
    (group,) = channel_groups(edit, {})
    assert (set(group.tensors), group.mixable) == ({"f", "a"}, False)
    change_units(edit, dict.fromkeys(group.tensors, np.array([1, 7, 0.2, 3], np.float32)))
    picture = {"x": rng.normal(size=(1, 3, 8, 9)).astype(np.float32)}
    before, after = (open_session(m.SerializeToString()) for m in (model, edit.finish()))
    assert np.allclose(before.run(None, picture)[0], after.run(None, picture)[0], atol=1e-4)


@pytest.mark.usefixtures("quick_fit")
def test_mixed_channels_are_the_same_function(
    tiny_bundle: Path, calibration: CalibrationSet
) -> None:
    bundle = open_bundle(tiny_bundle)
    state = {spec.name: spec.next_name for spec in bundle.state}
    edit = GraphEdit(onnx.load(tiny_bundle / "fp32-onnx.onnx"))
    picture = last_convolution(edit, "upscaled").output[0]
    groups = channel_groups(edit, state)
    tensors = quantized_tensors(edit, recipe_for("int8", "cpu"))
    model = edit.finish()
    feeds = calibration_feeds(bundle, calibration)
    streams = fit_streams(model, groups, tensors, picture, feeds)
    assert set(state) <= set(streams)
    assert not {name for node in edit.of_type("Relu") for name in node.output} & set(streams)
    assert all(basis.low < 0 < basis.high for basis in streams.values())
    edit = GraphEdit(model)
    change_units(edit, {name: basis.matrix for name, basis in streams.items()})
    mixed = edit.finish()
    other_feeds = calibration_feeds(bundle, calibration, mixed.SerializeToString())
    for one, other in zip(
        observe(model, [picture], feeds, dict),
        observe(mixed, [picture], other_feeds, dict),
        strict=True,
    ):
        assert np.abs(one[picture] - other[picture]).max() < 0.01


def test_the_fitted_basis_loses_less_than_equal_channels(rng: np.random.Generator) -> None:
    """Three wide channels that the picture is made of, among narrow ones; all correlated."""
    mixing = np.diag([1.0] * 3 + [0.1] * 5) + 0.05 * rng.standard_normal((8, 8))
    values = (mixing @ rng.standard_normal((8, 4000))).astype(np.float32)
    sensitivity = np.diag([9.0] * 3 + [1.0] * 5)
    share = np.full(4000, 1 / 4000)
    basis = fit_basis(values, share, sensitivity, 1)
    again = fit_basis(values, share, sensitivity, 1)
    assert np.array_equal(basis.matrix, again.matrix)

    def loss(matrix: np.ndarray, low: float, high: float) -> float:
        step = (high - low) / 255
        stored = np.clip(np.round((matrix @ values - low) / step), 0, 255) * step + low
        lost = np.linalg.inv(matrix) @ stored - values
        return float(np.einsum("cn,cd,dn->", lost, sensitivity, lost))

    equal = np.diag(1 / np.abs(values).max(1))
    assert loss(basis.matrix, basis.low, basis.high) < 0.4 * loss(equal, -1.0, 1.0)


def test_sensitivity_is_what_noise_does() -> None:
    """Of a convolution it can be written down: sums of squares of its weights."""
    weights = np.random.default_rng(0).standard_normal((4, 3, 1, 1)).astype(np.float32)
    value_info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("Identity", ["x"], ["t"], name="t"),
            onnx.helper.make_node("Conv", ["t", "w"], ["y"], name="y"),
        ],
        "g",
        [value_info("x", 1, [1, 3, "h", "w"])],
        [value_info("y", 1, [1, 4, "h", "w"])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)])
    model.ir_version = 10
    feed = {"x": np.random.default_rng(1).standard_normal((1, 3, 60, 60)).astype(np.float32)}
    found = output_sensitivity(model, ["t"], "y", [feed])
    flat = weights[:, :, 0, 0].astype(np.float64)
    wanted = flat.T @ flat / 4 * (1 + EVEN_NOISE**2)
    share = np.trace(found) / np.trace(wanted)
    assert 0.6 < share < 1.6  # of the blocks' noise there are few samples
    assert np.allclose(found, share * wanted, atol=1e-3 * np.abs(found).max())


def test_compensated_rounding_loses_less_on_its_inputs() -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(8, 6, 3, 3)).astype(np.float32)
    mixed = rng.normal(size=(6, 3)) @ rng.normal(size=(3, 40 * 40))  # correlated channels
    image = mixed.reshape(1, 6, 40, 40).astype(np.float32)
    node = onnx.helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])
    moments = input_moments(node, weight, [image])
    scales = weight_scales(weight) * 8  # coarse, so that rounding matters
    compensated = round_weight(weight, scales, moments)
    steps = scales[:, None, None, None]
    nearest = np.round(weight / steps) * steps
    assert np.allclose(compensated / steps, np.round(compensated / steps), atol=1e-3)

    def loss(rounded: np.ndarray) -> float:
        error = (rounded - weight).reshape(8, -1).astype(np.float64)
        return float(np.einsum("oi,ij,oj->", error, moments, error))

    assert loss(compensated) < 0.5 * loss(nearest)


def test_ranges_cut_off_what_is_rare() -> None:
    values = np.random.default_rng(0).normal(size=(1, 1, 1000, 1000)).astype(np.float32)
    values[0, 0, 0, 0] = 12.0
    value_info = onnx.helper.make_tensor_value_info
    shape = [1, 1, "h", "w"]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["x"], ["y"])],
        "g",
        [value_info("x", 1, shape)],
        [value_info("y", 1, shape)],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)])
    model.ir_version = 10
    ranges = least_error_ranges(model, {"x": (float(values.min()), 12.0)}, [{"x": values}])
    assert 4 < ranges["x"][1] < 10
    tied = tie_ranges({"a": (-1.0, 2.0), "b": (-3.0, 1.0)}, {"a": "b"})
    assert tied == {"a": (-3.0, 2.0), "b": (-3.0, 2.0)}


def test_where_this_machine_cannot_judge() -> None:
    assert why_not_judged("int8", "float32", "1.23.2") is None
    assert why_not_judged("int8", "float16", "1.31.0") is None
    assert "truncates" in str(why_not_judged("int8", "float16", "1.30.2"))
    assert why_not_judged("fp16", "float16", "1.23.2") is None
    assert "fp8" in str(why_not_judged("fp8", "float16", "1.32.0"))


def test_a_failing_stage_leaves_the_bundle(bundle_path: Path) -> None:
    before = digests(bundle_path)
    (bundle_path / "notes.txt").write_text("mine")

    def fail() -> None:
        with stage_variant(bundle_path) as stage:
            stage.write("x.onnx", b"x")
            entry = {"file": "x.onnx", "state_dtype": "float32"}
            stage.put("int8-ort", entry, ["x.onnx"])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with stage_variant(bundle_path) as stage:
        stage.write("x.onnx", b"x")
        stage.put("int8-ort", {"file": "x.onnx", "state_dtype": "float32"}, ["x.onnx"])
        stage.commit()
    after = digests(bundle_path)
    assert after.keys() == {*before, "x.onnx", "notes.txt"}
    assert (bundle_path / "x.onnx").read_bytes() == b"x"
    with pytest.raises(BundleError, match=r"'x.onnx' is no ONNX file"):
        Bundle(bundle_path).read("x.onnx")


@pytest.mark.slow
def test_int8_for_tensorrt_by_modelopt(tmp_path: Path, data: Path) -> None:
    """The shipped network: what the recipe keeps is kept, state is half, the bytes repeat."""
    pytest.importorskip("modelopt", reason="needs ModelOpt")
    nano = open_bundle("nano")
    clips = [data / "clips/train/puppy_grass_640x360.mp4"]
    options = SetOptions(runs=4, length=4, reduce=4, max_frames=60)
    report = lambda line: None  # noqa: E731
    calibration = build_set(clips, tmp_path / "set", nano, options, report=report)
    graphs = []
    for name in "ab":
        path = Path(shutil.copytree(nano.path, tmp_path / name))
        recipe = recipe_for("int8", "orin-nano")
        # Its colours are refused, 3.4 levels at worst, which is why nano ships without it; so is
        # its flicker on still parts, 0.55 levels more than FP32's.
        gate = replace(recipe.gate, flat_mean=5.0, flat_most=10, flicker=0.6)
        recipe = replace(recipe, gate=gate)
        quantize_bundle(path, recipe, open_set(calibration.path), overwrite=True, report=report)
        graphs.append((path / "int8-trt.onnx").read_bytes())
    assert graphs[0] == graphs[1]
    bundle = open_bundle(tmp_path / "a")
    entry = bundle.manifest["variants"]["int8-trt"]
    assert entry["state_dtype"] == "float16"
    assert entry["census"]["int8"]["nodes"] == 10
    assert entry["parity"]["psnr_db"] > 38
    with create_session(bundle, variant="int8-trt") as session:
        assert session.infer(np.zeros((9, 16, 3), np.uint8)).shape == (36, 64, 3)
    with pytest.raises(QuantizationError, match="0.0% of convolutions are in fp8"):
        quantize_bundle(tmp_path / "a", recipe_for("fp8", "rtx-40"), calibration, report=report)
