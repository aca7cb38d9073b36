"""What layers do to the picture, over the shipped variants whose channels are mixed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="layers are found in onnx graphs")

import onnx
from onnx import numpy_helper

from adcvsr.arrays import Floats, Levels
from adcvsr.bundle import open_bundle
from adcvsr.calibration.profile import layer_damage as damage_module
from adcvsr.calibration.profile import picture_effect
from adcvsr.calibration.profile.channel_factors import scaled, unscaled
from adcvsr.calibration.profile.layer_damage import GraphDamage, measure_damage
from adcvsr.calibration.profile.matched_graphs import truncates_picture
from adcvsr.pictures.synthetic import draw_clip
from variant_bundle import NANO, add_variant, break_layer, load

TAP = "unet.down_blocks.0.temporal_resnets.0.conv1.taps.0/Conv"
BROKEN = "unet.down_blocks.0.resnets.2.conv1/Conv"
FRAMES = list(draw_clip(6, 64, 96))


def damage(bundle: Path, variant: str) -> GraphDamage:
    return measure_damage(open_bundle(bundle), "fp32-onnx", variant, FRAMES)


def changed_nano(folder: Path, model: onnx.ModelProto) -> Path:
    """`nano` with a further variant `int8-onnx`, whose channels have the units of `int8-ort`."""
    path = folder / "nano"
    shutil.copytree(NANO, path)
    add_variant(path, "int8-onnx", model)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["variants"]["int8-onnx"]["units"] = manifest["variants"]["int8-ort"]["units"]
    (path / "manifest.json").write_text(json.dumps(manifest))
    return path


@pytest.fixture(scope="module")
def mixed() -> GraphDamage:
    return damage(NANO, "int8-ort")


def pictures(variant: str) -> Levels:
    """What the network shows of the frames that layers are looked at."""
    from adcvsr.runtime.processing.backends import create_session

    with create_session(open_bundle(NANO), backend="ort-cpu", variant=variant) as session:
        shown = [session.infer(frame) for frame in FRAMES]
    return np.stack(shown[-4:])


def test_a_layer_that_adds_little_may_lose_all_of_it(mixed: GraphDamage) -> None:
    """The shipped network's past: the noisiest layer, and far from the worst for the picture."""
    rows = {row.layer: row for row in mixed.layers}
    assert min(mixed.layers, key=lambda row: row.isolated_db or 0).layer == TAP
    worst = min(row.picture_db for row in mixed.layers if row.picture_db is not None)
    assert (rows[TAP].picture_db or 0) > worst + 5


def test_what_all_layers_do_adds_up_to_what_the_variant_loses(mixed: GraphDamage) -> None:
    noise = 255**2 * sum(10 ** (-row.picture_db / 10) for row in mixed.layers if row.picture_db)
    difference = pictures("int8-ort").astype(float) - pictures("fp32-onnx")
    # Sums of what is rounded already are exact in the variant and not on exact inputs, so the
    # layers' sum is above the whole's, by less than twice.
    assert 0.7 < noise / np.square(difference).mean() < 2


def test_levels_that_are_rounded_later_are_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """INT8 rounds the picture to nearest, FP32 adds a half and truncates.

    The shipped graph's last biases make up for what all layers before shift the picture by, which
    on exact inputs is an error of its own; so they are put back here.
    """
    assert truncates_picture(load(NANO), "upscaled")
    model = load(NANO, "int8-ort")
    assert not truncates_picture(model, "upscaled")
    bias = "network.decoder.conv_out.bias"
    held = {each.name: each for graph in (load(NANO), model) for each in graph.graph.initializer}
    scale = numpy_helper.to_array(held[f"{bias}_quantized_scale"])
    levels = numpy_helper.to_array(held[bias]) - 0.5  # FP32 truncates
    own = held[f"{bias}_quantized"]
    own.CopyFrom(numpy_helper.from_array(np.rint(levels / scale).astype(np.int32), own.name))
    path = changed_nano(tmp_path, model)
    # What layers do to the picture is not looked at.
    monkeypatch.setattr(damage_module, "affordable_layers", lambda *_: [])

    last = damage(path, "int8-onnx").layers[-1]
    assert last.layer == "decoder.conv_out/Conv"
    monkeypatch.setattr(damage_module, "truncates_picture", lambda model, output: False)
    half_kept = damage(path, "int8-onnx").layers[-1]
    assert (last.isolated_db or 0) > 54
    assert (half_kept.isolated_db or 0) < 49  # half a level alone


def test_levels_beyond_white_are_not_clipped_by_their_scale(mixed: GraphDamage) -> None:
    (levels,) = (each for each in mixed.ranges if each.high == 255)
    assert levels.clipped == 0


def test_a_wrong_scale_in_a_mixed_variant_is_found(tmp_path: Path) -> None:
    path = changed_nano(tmp_path, break_layer(load(NANO, "int8-ort"), BROKEN, 4.0))
    known = [row for row in damage(path, "int8-onnx").layers if row.picture_db is not None]
    first, second = sorted(known, key=lambda row: row.picture_db or 0)[:2]
    assert first.layer == BROKEN
    assert (first.picture_db or 0) < (second.picture_db or 0) - 15


def test_only_so_many_layers_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_effect, "MULTIPLY_ADDS", 3.5 * 4 * 26_000 * 64 * 96)
    found = damage(NANO, "int8-ort")
    looked_at = [row for row in found.layers if row.picture_db is not None]
    assert len(looked_at) == 3
    assert TAP in {row.layer for row in looked_at}
    assert any("3 of 12 layers" in note for note in found.notes)


@pytest.mark.parametrize("shape", [None, (3,), (3, 3)])
def test_units_and_back(rng: np.random.Generator, shape: tuple[int, ...] | None) -> None:
    value: Floats = rng.standard_normal((2, 3, 4, 5)).astype(np.float32)
    factor = None if shape is None else rng.standard_normal(shape).astype(np.float32)
    assert np.allclose(unscaled(scaled(value, factor), factor), value, atol=1e-4)
