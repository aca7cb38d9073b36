"""What comes after adopt takes such bundles by their own scale: files, plans, recipes, truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from foreign_networks import upscaler

from adcvsr.bundle import Bundle, describe
from adcvsr.calibration.evaluate.methods import baselines
from adcvsr.calibration.evaluate.truth import TruthOptions, read_pairs
from adcvsr.errors import ConfigError
from adcvsr.export.adopt import adopt as adopting
from adcvsr.export.adopt.adopt import AdoptOptions, adopt
from adcvsr.export.quantize import fit_recipe
from adcvsr.export.recipes.recipe import read_recipe, recipe_for
from adcvsr.graph.past import past_of
from adcvsr.graph.receptive import spatial_radius, temporal_reach
from adcvsr.pictures.output_size import OutputSize
from adcvsr.plan.planning import Source, plan_bundle
from adcvsr.runtime.proof.colours import ColourRequest, colour_request
from adcvsr.runtime.upscaler import Upscaler
from adcvsr.targets import target
from video_facts import VideoMaker


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """An adopted network that makes twice the size."""
    folder = tmp_path_factory.mktemp("adopted")
    onnx.save_model(upscaler(scale=2), folder / "n.onnx")
    with pytest.MonkeyPatch.context() as patch:
        colours = np.array([(0, 0, 0), (90, 200, 30)], np.uint8)
        small = ColourRequest(32, 48, colours, clips=False, scale=2)
        patch.setattr(adopting, "request_for", lambda kind, multiple, scale: small)
        options = AdoptOptions(licence="CC0-1.0")
        return adopt(folder / "n.onnx", folder / "twice", options, report=lambda line: None)


def test_files_are_twice_as_large(twice: Bundle, tmp_path: Path, make_video: VideoMaker) -> None:
    source = make_video(size=(48, 32), pts=(0, 512, 1024))
    with Upscaler(twice, backend="ort-cpu") as upscaler_:
        report = upscaler_.upscale_file(source, tmp_path / "out.mp4")
        assert report.output_size == (96, 64)
        with pytest.raises(ConfigError, match="a scale of 3; the network makes 2 times"):
            Upscaler(twice, backend="ort-cpu", scale=3)


def test_facts_are_its_own(twice: Bundle) -> None:
    assert describe(twice)["scale"] == 2
    assert temporal_reach(twice.config) == (0, 0)
    assert spatial_radius(twice.config) == twice.config.radius  # type: ignore[union-attr]
    assert past_of(twice.read("fp32-onnx.onnx"), {}, "upscaled", twice.config) == 0
    assert colour_request(twice).scale == 2


def test_sizes_and_plans_are_by_its_scale(twice: Bundle) -> None:
    assert OutputSize(made=2).of(64, 48).width == 128
    assert OutputSize(made=2).label == "x2"
    assert "enlarged" in OutputSize(made=2, scale=3).of(64, 48).notes[0]
    plan = plan_bundle(twice, target("cpu"), Source(64, 48, 25.0))
    assert plan.output == (128, 96)


def test_truth_is_reduced_by_the_scale(tmp_path: Path, make_video: VideoMaker) -> None:
    clip = make_video(size=(64, 48), pts=(0, 512))
    pairs = list(read_pairs(clip, TruthOptions(scale=2)))
    assert [low.shape for _, low in pairs] == [(24, 32, 3)] * 2
    (enlarged, *_) = baselines(2)[0].upscale(iter([pairs[0][1]]))
    assert enlarged.shape == (48, 64, 3)


def test_recipes_find_the_ends_by_their_place(twice: Bundle, tmp_path: Path) -> None:
    lines: list[str] = []
    on_cpu = fit_recipe(twice, recipe_for("int8", "cpu"), lines.append)
    assert not on_cpu.activations.integer_ends
    assert "pictures stay float inside the graph" in lines[0]
    on_gpu = fit_recipe(twice, recipe_for("int8", "rtx-40"), lines.append)
    assert on_gpu.activations.keep_float == ("body/first", "body/last")
    for recipe in (on_cpu, on_gpu):
        path = tmp_path / f"{recipe.name}.toml"
        path.write_text(recipe.text)
        assert read_recipe(path).activations == recipe.activations
