"""Networks that take and give YUV, or luma alone: RGB at the bundle's ends, their own inside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from clip_networks import conv3d, upscaling
from few_colours import three_colours
from foreign_networks import of_luma, of_yuv, upscaler

from adcvsr.bundle.schema import Window
from adcvsr.errors import AdoptError
from adcvsr.export.adopt.adopt import AdoptOptions, adopt
from adcvsr.export.adopt.facts import Wanted, find_facts
from adcvsr.export.adopt.original import read_original
from adcvsr.export.adopt.pixels import RANGES, levels_of, planes_of
from adcvsr.export.adopt.surgery import stream_of
from adcvsr.export.graphs.replay import open_session
from adcvsr.export.quantize import fit_recipe
from adcvsr.export.recipes.recipe import recipe_for
from adcvsr.graph.yuv_ends import YuvEnds
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.runtime.upscaler import Upscaler

pytestmark = pytest.mark.usefixtures(three_colours.__name__)

NAMED: dict[str, Any] = {"licence": "CC0-1.0"}


def saved(path: Path, model: onnx.ModelProto) -> Path:
    onnx.save_model(model, path)
    return path


def made(path: Path, picture: Any, colour: str, range_: str = "0-1") -> Any:
    """What a stream of the network makes of a picture."""
    original = read_original(path)
    facts = find_facts(original, Wanted(colour=colour, range=range_))
    assert (facts.range, facts.colour) == (range_, colour)
    stream = open_session(stream_of(original, facts).SerializeToString())
    return stream.run(None, {"frame": picture[None]})[0][0].astype(int)


@pytest.mark.parametrize("range_", ["0-1", "-1-1", "0-255"])
def test_yuv_inside_is_rgb_at_the_ends(tmp_path: Path, range_: str) -> None:
    """The same network with its own matrix around it, of colours that a wrong one would shift."""
    picture = draw_clip(1, 32, 40)[0]
    rgb = saved(tmp_path / "rgb.onnx", upscaler(scale=2))
    white, black = (RANGES[range_][0], RANGES[range_][1])
    ends = (-black / white, (255 - black) / white)
    yuv = saved(tmp_path / "yuv.onnx", of_yuv(upscaler(scale=2), range_=ends))
    assert np.abs(made(yuv, picture, "YUV", range_) - made(rgb, picture, "RGB")).max() <= 1


@pytest.mark.parametrize("range_", list(RANGES))
def test_colours_come_back(range_: str) -> None:
    clip = np.random.default_rng(1).integers(0, 256, (2, 8, 10, 3), np.uint8)
    for colour in ("RGB", "BGR", "YUV"):
        planes = planes_of(clip, range_, colour)
        assert planes.shape == (2, 3, 8, 10)
        assert np.abs(levels_of(planes, range_, colour) - clip).max() < 1e-3
    grey = planes_of(np.full((1, 1, 3), 90, np.uint8), "0-255", "YUV").ravel()
    assert np.allclose(grey, [90, 128, 128])


def test_a_network_of_luma_leaves_colours_to_the_chroma(tmp_path: Path) -> None:
    """Grey pictures are the network's own; saturated flat colours come out as they went in."""
    source = saved(tmp_path / "n.onnx", of_luma(3))
    lines: list[str] = []
    bundle = adopt(source, tmp_path / "b", AdoptOptions(**NAMED), report=lines.append)
    assert "luma alone" in lines[0]
    assert bundle.scale == 3
    assert bundle.variant("fp32-onnx").facts["parity"]["level_error"] <= 1
    luma = np.random.default_rng(2).integers(0, 256, (20, 24), np.uint8)
    own = open_session(source).run(None, {"x": luma[None, None].astype(np.float32) / 255})[0]
    with Upscaler(bundle, backend="ort-cpu") as ready:
        found = ready(np.repeat(luma[..., None], 3, -1)).astype(float)
        assert np.abs(found - own[0, 0, ..., None].clip(0, 1) * 255).max() <= 1
        flat = np.broadcast_to(np.array([230, 20, 40], np.uint8), (20, 24, 3)).copy()
        inner = ready(flat)[9:-9, 9:-9].astype(int)
    gain = float(own.mean() * 255 / luma.mean())  # of the network's luma
    assert np.abs(inner - inner[0, 0]).max() <= 1
    assert abs(inner[0, 0] @ [0.299, 0.587, 0.114] - 85.1 * gain) < 4
    assert np.abs(np.diff(inner[0, 0]) - np.diff([230, 20, 40])).max() <= 2
    with pytest.raises(AdoptError, match="takes luma alone, --colour BGR is of three colours"):
        adopt(source, tmp_path / "c", AdoptOptions(colour="BGR", **NAMED), report=print)


def test_a_network_of_yuv_that_is_taken_for_rgb_is_told(tmp_path: Path) -> None:
    original = read_original(saved(tmp_path / "n.onnx", of_yuv(upscaler(scale=2))))
    with pytest.raises(AdoptError, match=r"with range 0-1 and RGB.*--range 0-1 --colour YUV it is"):
        find_facts(original, Wanted())


def test_what_is_said_against_the_picture_is_doubted(tmp_path: Path) -> None:
    """A wrong word that gives a fair picture: taken, and what is clearly nearer is named."""
    original = read_original(saved(tmp_path / "rgb.onnx", upscaler(scale=2)))
    doubt = find_facts(original, Wanted(colour="YUV")).doubt() or ""
    assert doubt.startswith("with --range 0-1 --colour RGB the output is nearer to the input, 1.")
    assert "0-1 and YUV, as was said, give 2." in doubt
    for wanted in (
        Wanted(colour="BGR"),  # as near as RGB: nobody can tell
        Wanted(range="0-1", colour="RGB"),
        Wanted(colour="YUV", known=True),
        Wanted(),
    ):
        assert find_facts(original, wanted).doubt() is None
    ends = of_yuv(upscaler(scale=2), range_=(-1, 1))
    original = read_original(saved(tmp_path / "yuv.onnx", ends))
    assert find_facts(original, Wanted(colour="YUV")).range == "-1-1"
    lines: list[str] = []
    options = AdoptOptions(colour="RGB", range="-1-1", **NAMED)
    with pytest.raises(AdoptError, match="--range -1-1 --colour YUV it is"):
        adopt(tmp_path / "yuv.onnx", tmp_path / "b", options, report=lines.append)
    adopt(
        tmp_path / "rgb.onnx",
        tmp_path / "b",
        AdoptOptions(colour="YUV", **NAMED),
        report=lines.append,
    )
    assert f"note: {doubt}" in lines


def test_no_upscaler_of_one_channel_is_refused(tmp_path: Path) -> None:
    model = of_luma(2)
    model.graph.node.append(onnx.helper.make_node("Flatten", ["y"], ["flat"], "head/flat"))
    model.graph.output[0].name = "flat"
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    source = saved(tmp_path / "n.onnx", model)
    with pytest.raises(AdoptError, match="or one channel of luma and as many out"):
        adopt(source, tmp_path / "b", AdoptOptions(**NAMED), report=print)


def test_recipes_keep_the_colours_float_and_find_the_ends_behind_them(tmp_path: Path) -> None:
    source = saved(tmp_path / "n.onnx", of_yuv(upscaler(scale=2)))
    options = AdoptOptions(colour="YUV", **NAMED)
    bundle = adopt(source, tmp_path / "b", options, report=print)
    both = ("adopted/in/Colours", "adopted/out/Colours")
    on_cpu = fit_recipe(bundle, recipe_for("int8", "cpu"), lambda line: None)
    assert set(on_cpu.activations.keep_float) == set(both)
    assert not on_cpu.activations.integer_ends
    on_gpu = fit_recipe(bundle, recipe_for("int8", "rtx-40"), lambda line: None)
    assert set(on_gpu.activations.keep_float) == {"head/rgb", "tail/yuv", *both}
    with Upscaler(bundle, backend="ort-cpu") as ready:
        ready.open_yuv(YuvEnds(1, full_range=False))  # video stays YUV 4:2:0 outside


def test_windows_of_yuv(tmp_path: Path) -> None:
    """A clip network that adds little is near its input in YUV and would not be in RGB."""
    source = saved(tmp_path / "n.onnx", upscaling(conv3d(before=1, after=1)))
    options = AdoptOptions(colour="YUV", range="0-1", window=Window(4, 1), **NAMED)
    bundle = adopt(source, tmp_path / "b", options, report=print)
    assert bundle.variant("fp32-onnx").facts["parity"]["level_error"] <= 1
    recipe = fit_recipe(bundle, recipe_for("int8", "rtx-40"), lambda line: None)
    # Its 3D convolutions were laid out as they are; the decoder's is in a graph of its own.
    assert recipe.activations.keep_float == ("net/f", "net/c", "adopted/in/Colours")
