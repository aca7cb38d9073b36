"""Networks of others as bundles: what is found, what comes out, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from clip_networks import conv3d, recurrent, shift, upscaling
from few_colours import three_colours
from foreign_networks import flagged, ncnn_upscaler, plain, upscaler, weights_of, write_ncnn
from onnx import TensorProto, helper, numpy_helper

from adcvsr.adopted_network import AdoptedNetwork
from adcvsr.bundle import Bundle
from adcvsr.bundle.schema import SCHEMA_VERSION
from adcvsr.cli import adopt as command
from adcvsr.errors import AdcVsrError, AdoptError, OutputExistsError
from adcvsr.export.adopt import facts as found_facts
from adcvsr.export.adopt import known_networks as known_files
from adcvsr.export.adopt import pixels
from adcvsr.export.adopt.adopt import AdoptOptions, adopt
from adcvsr.export.adopt.facts import Wanted, find_facts
from adcvsr.export.adopt.known_networks import known_networks
from adcvsr.export.adopt.ncnn_graph import ncnn_to_onnx
from adcvsr.export.adopt.original import LAYOUTS, Asked, read_original
from adcvsr.export.adopt.reach import radius_of
from adcvsr.export.adopt.surgery import stream_of
from adcvsr.export.graphs.replay import open_session
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.runtime.processing.backends import create_session
from adcvsr.runtime.upscaler import Upscaler

NAMED = AdoptOptions(licence="CC0-1.0")


pytestmark = pytest.mark.usefixtures(three_colours.__name__)


def saved(path: Path, model: onnx.ModelProto) -> Path:
    onnx.save_model(model, path)
    return path


def adopted(tmp_path: Path, model: onnx.ModelProto, options: AdoptOptions = NAMED) -> Bundle:
    lines: list[str] = []
    source = saved(tmp_path / "theirs.onnx", model)
    return adopt(source, tmp_path / "bundle", options, report=lines.append)


def expected(path: Path, picture: Any, scale: int, unit: float = 1.0) -> Any:
    """What the network in the file makes of a picture, by its own ends."""
    session = open_session(path)
    values = (picture.astype(np.float32) / 255 * unit).transpose(2, 0, 1)[None]
    out = session.run(None, {"x": values})[0][0].transpose(1, 2, 0) / unit * 255
    return (out + 0.5).clip(0, 255.5).astype(np.uint8)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_any_scale_becomes_a_bundle_that_upscales_any_size(tmp_path: Path, scale: int) -> None:
    bundle = adopted(tmp_path, upscaler(scale=scale))
    assert (bundle.scale, bundle.size_multiple, bundle.kind) == (scale, 1, "stream")
    assert isinstance(bundle.config, AdoptedNetwork)
    assert bundle.manifest["schema"] == SCHEMA_VERSION
    assert bundle.manifest["licences"] == ["CC0-1.0"]
    assert bundle.variant("fp32-onnx").facts["parity"]["level_error"] <= 1
    picture = draw_clip(1, 37, 51)[0]
    truth = expected(tmp_path / "theirs.onnx", picture, scale)
    with create_session(bundle, backend="ort-cpu") as session:
        found = session.infer(picture)  # type: ignore[attr-defined]
    assert found.shape == (37 * scale, 51 * scale, 3)
    assert np.abs(found.astype(int) - truth).max() <= 1


def test_tiles_of_an_adopted_network_are_exact(tmp_path: Path) -> None:
    bundle = adopted(tmp_path, upscaler(scale=3))
    picture = draw_clip(1, 60, 80)[0]
    with (
        Upscaler(bundle, backend="ort-cpu") as whole,
        Upscaler(bundle, backend="ort-cpu", tile=32) as tiled,
    ):
        assert np.array_equal(whole(picture), tiled(picture))
        assert tiled.session.tile_facts() is not None


@pytest.mark.parametrize(
    "how",
    [
        {"sides": (40, 56)},
        {"sides": (40, 56), "sized": True},
        {"half": True},
        {"layout": "NHWC", "sides": (42, 56)},
        {"opset": 13},
        {"batch": "n"},
        {"unit": 255.0},
        {"stride": 2},
    ],
    ids=lambda how: "-".join(map(str, how)),
)
def test_facts_are_found(tmp_path: Path, how: dict[str, Any]) -> None:
    path = saved(tmp_path / "n.onnx", upscaler(scale=2, **how))
    original = read_original(path)
    facts = find_facts(original, Wanted())
    assert facts.scale == 2
    assert facts.size_multiple == how.get("stride", 1)
    assert facts.range == ("0-255" if "unit" in how else "0-1")
    assert facts.layout == how.get("layout", "NCHW")
    assert facts.distance < 6
    picture = draw_clip(1, 48, 64)[0]
    exact = found_facts.Runner(original).levels(picture, facts.range, facts.colour)
    stream = open_session(stream_of(original, facts).SerializeToString())
    out = stream.run(None, {"frame": picture[None]})[0][0]
    assert np.abs(out - exact.clip(0, 255)).max() <= 0.501


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_a_layout_that_no_shape_tells_is_told_by_running_it(tmp_path: Path, layout: str) -> None:
    model = upscaler(scale=2, layout=layout)
    for end in (model.graph.input[0], model.graph.output[0]):
        for at, dim in enumerate(end.type.tensor_type.shape.dim):
            dim.dim_param = f"{end.name}{at}"
    path = saved(tmp_path / "n.onnx", model)
    assert read_original(path).layout == layout
    other = next(each for each in LAYOUTS if each != layout)
    with pytest.raises(AdoptError, match=f"no 3 colours in layout {other}, in {layout} it has"):
        read_original(path, Asked(layout=other))


def test_half_is_said(tmp_path: Path) -> None:
    lines: list[str] = []
    source = saved(tmp_path / "n.onnx", upscaler(scale=2, half=True))
    adopt(source, tmp_path / "b", NAMED, report=lines.append)
    assert any("became float32" in line for line in lines)


def test_wrong_range_is_caught_with_the_right_one_named(tmp_path: Path) -> None:
    original = read_original(saved(tmp_path / "n.onnx", upscaler(scale=2, unit=1.0)))
    with pytest.raises(AdoptError, match=r"levels from the input.*with --range 0-1"):
        find_facts(original, Wanted(range="0-255"))


def test_wrong_colours_are_caught(tmp_path: Path) -> None:
    original = read_original(saved(tmp_path / "n.onnx", upscaler(scale=2, swap_colours=True)))
    with pytest.raises(AdoptError, match="no range, order of colours or layout gives a picture"):
        find_facts(original, Wanted())


def test_bgr_is_taken_where_it_is_said(tmp_path: Path) -> None:
    path = saved(tmp_path / "n.onnx", upscaler(scale=2))
    original = read_original(path)
    facts = find_facts(original, Wanted(colour="BGR"))
    picture = draw_clip(1, 32, 40)[0]
    stream = open_session(stream_of(original, facts).SerializeToString())
    out = stream.run(None, {"frame": picture[None]})[0][0]
    truth = expected(path, picture[..., ::-1], 2)[..., ::-1]
    assert np.abs(out.astype(int) - truth).max() <= 1


def test_licence_is_asked_for_and_carried(tmp_path: Path) -> None:
    source = saved(tmp_path / "n.onnx", upscaler(scale=2))
    with pytest.raises(AdoptError, match="give --licence"):
        adopt(source, tmp_path / "b", AdoptOptions(), report=print)
    for meant in ("LICENSE.txt", str(tmp_path), " "):
        with pytest.raises(AdoptError, match="is no name and no file, expected a name such as"):
            adopt(source, tmp_path / "b", AdoptOptions(licence=meant), report=print)
    assert not (tmp_path / "b").exists()
    text = tmp_path / "COPYING"
    text.write_text("The Small Licence\n\nDo as you like.\n")
    bundle = adopt(source, tmp_path / "b", AdoptOptions(licence=str(text)), report=print)
    assert bundle.manifest["licences"] == ["The Small Licence (LICENCE.txt)"]
    assert bundle.read("LICENCE.txt") == text.read_bytes()
    with pytest.raises(OutputExistsError):
        adopt(source, tmp_path / "b", AdoptOptions(licence="MIT"), report=print)


def _changed(**how: Any) -> onnx.ModelProto:
    return upscaler(scale=2, **how)


def _with_nan() -> onnx.ModelProto:
    model = _changed()
    weight = next(t for t in model.graph.initializer if t.name == "w2")
    value = numpy_helper.to_array(weight).copy()
    value.flat[3] = np.nan
    weight.CopyFrom(numpy_helper.from_array(value, "w2"))
    return model


def _with_nan_in_a_constant() -> onnx.ModelProto:
    model = _with_nan()
    weight = next(t for t in model.graph.initializer if t.name == "w2")
    constant = helper.make_node("Constant", [], ["w2"], "const/w2", value=weight)
    model.graph.node.insert(0, constant)
    model.graph.initializer.remove(weight)
    return model


def _beyond_float32() -> onnx.ModelProto:
    model = _changed()
    weight = next(t for t in model.graph.initializer if t.name == "w2")
    value = numpy_helper.to_array(weight).astype(np.float64)
    value.flat[3] = 1e300
    weight.CopyFrom(numpy_helper.from_array(value, "w2"))
    return model


def _with_too_few_weights() -> onnx.ModelProto:
    model = _changed()
    next(t for t in model.graph.initializer if t.name == "w2").dims[0] = 1 << 33
    return model


def _with_too_few_values_in_a_constant() -> onnx.ModelProto:
    model = _with_nan_in_a_constant()
    model.graph.node[0].attribute[0].t.dims[0] = 99
    return model


def _root_of_less_than_nothing() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Sub", ["mixed", "nine"], ["less"], "tail/less"),
        helper.make_node("Sqrt", ["less"], ["summed"], "tail/root"),
    ]
    model = _changed(extra=nodes)
    model.graph.initializer.append(numpy_helper.from_array(np.float32(9), "nine"))
    return model


def _with_a_function() -> onnx.ModelProto:
    node = helper.make_node("Soft", ["mixed"], ["summed"], "tail/soft", domain="theirs")
    model = _changed(extra=[node])
    inside = [helper.make_node("Sigmoid", ["a"], ["b"])]
    opset = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("theirs", "Soft", ["a"], ["b"], inside, opset))
    return model


def _with_control_flow() -> onnx.ModelProto:
    branch = helper.make_graph(
        [helper.make_node("Identity", ["mixed"], ["b"])],
        "branch",
        [],
        [helper.make_tensor_value_info("b", TensorProto.FLOAT, None)],
    )
    node = helper.make_node(
        "If", ["yes"], ["summed"], "tail/choice", then_branch=branch, else_branch=branch
    )
    model = _changed(extra=[node])
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    return model


def _classifier() -> onnx.ModelProto:
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["y"], "head"),
    ]
    graph = helper.make_graph(
        nodes,
        "classes",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _resized(high: float = 1.5, wide: float = 1.5) -> onnx.ModelProto:
    node = helper.make_node("Resize", ["x", "", "by"], ["y"], "enlarge", mode="linear")
    graph = helper.make_graph(
        [node],
        "half_more",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, "a", "b"])],
        [numpy_helper.from_array(np.array([1, 1, high, wide], np.float32), "by")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _tokens() -> onnx.ModelProto:
    node = helper.make_node("Cast", ["x"], ["y"], "embed", to=TensorProto.FLOAT)
    graph = helper.make_graph(
        [node],
        "words",
        [helper.make_tensor_value_info("x", TensorProto.INT64, [1, "length"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, "length"])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _with_state() -> onnx.ModelProto:
    model = _changed()
    state = helper.make_tensor_value_info("hidden", TensorProto.FLOAT, [1, 8, "h", "w"])
    model.graph.input.append(state)
    return model


def _five_at_once() -> onnx.ModelProto:
    return upscaling(recurrent(frames=6, backwards=True))


def _no_picture() -> onnx.ModelProto:
    model = _changed()
    dims = model.graph.input[0].type.tensor_type.shape.dim
    dims[1].dim_value = 5
    return model


def of_opset_9(opset: int = 9) -> onnx.ModelProto:
    """An Upsample, and bounds of a Clip as attributes, as such files have them."""
    node, values = helper.make_node, {**weights_of(2), "sizes": np.array([1, 1, 2, 2], np.float32)}
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["f"], pads=[1] * 4),
        node("Relu", ["f"], ["a"]),
        node("Conv", ["a", "w2", "b2"], ["u"], pads=[1] * 4),
        node("DepthToSpace", ["u"], ["d"], blocksize=2),
        node("Upsample", ["x", "sizes"], ["r"], mode="nearest"),
        node("Add", ["d", "r"], ["m"]),
        node("Clip", ["m"], ["y"], min=0.0, max=1.0),
    ]
    graph = helper.make_graph(
        nodes,
        "old",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, "hh", "ww"])],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=4)


def test_files_of_old_opsets_are_converted(tmp_path: Path) -> None:
    path = saved(tmp_path / "n.onnx", of_opset_9())
    original = read_original(path)
    assert {"Resize"} <= {node.op_type for node in original.model.graph.node}
    assert not {"Upsample", "Constant"} & {node.op_type for node in original.model.graph.node}
    picture = np.random.default_rng(0).uniform(0, 1, (1, 3, 12, 16)).astype(np.float32)
    before, after = (open_session(m.SerializeToString()) for m in (of_opset_9(), original.model))
    expected = before.run(None, {"x": picture})[0]
    assert np.abs(after.run(None, {"x": picture})[0] - expected).max() < 1e-6
    names = [node.name for node in original.model.graph.node]
    assert all(names)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("opset", "says"),
    [
        (13, r"node 'r/Upsample' \(Upsample\) .* is no operator"),
        (99, "has opset 99, newer than the"),
    ],
)
def test_what_no_conversion_brings_to_our_opset_is_refused(
    tmp_path: Path, opset: int, says: str
) -> None:
    with pytest.raises(AdoptError, match=says):
        read_original(saved(tmp_path / "n.onnx", of_opset_9(opset)))


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (
            lambda: _changed(
                extra=[
                    helper.make_node("Magic", ["mixed"], ["summed"], "tail/magic", domain="theirs")
                ]
            ),
            r"node 'tail/magic' \(Magic\) of the domain 'theirs'",
        ),
        (_with_control_flow, r"node 'tail/choice' \(If\) is control flow"),
        (_with_nan, "weight 'w2' of node 'body/last' has 1 values that are not finite"),
        (_with_nan_in_a_constant, "weight 'w2' of node 'body/last' has 1 values that are not"),
        (_beyond_float32, "'body/last' has 1 values that are not finite in float32"),
        (_classifier, r"output 'y' of node 'head' \(Flatten\) has shape \(1, 3\)"),
        (_with_too_few_weights, "tensor 'w2' of node 'body/last' has not the values that its sh"),
        (_with_too_few_values_in_a_constant, "of node 'const/w2' has not the values that its"),
        (_root_of_less_than_nothing, r"not finite, in every.*; node 'tail/root' \(Sqrt\) is the"),
        (_with_a_function, r"node 'tail/soft' \(Soft\) is a function that the file defines"),
        (lambda: _resized(2, 4), r"4 times the width and 2 times the height, by node 'enlarge'"),
        (_resized, r"makes 1.5 times the size: .* by node 'enlarge' \(Resize\)"),
        (_tokens, r"input 'x' is INT64 of shape \(1, None\), expected one picture of floats"),
        (lambda: upscaler(scale=5), "makes 5 times the size"),
        (_with_state, r"has 2 inputs and 1 outputs.*inputs 'x' .*, 'hidden' .*say it with --state"),
        (_no_picture, r"input 'x' of shape \(1, 5, None, None\) has no 3 colours"),
        (
            lambda: _changed(batch="n", mix_batch=True, opset=17),
            r"over clips: node 'tail/mean' \(ReduceMean\) does with time.* first axis is a batch",
        ),
        (_five_at_once, "over clips: a picture needs frames to the end of the clip"),
    ],
    ids=[
        *(
            "custom",
            "control-flow",
            "nan",
            "nan-in-constant",
            "beyond-float32",
            "classifier",
            "too-few-weights",
            "too-few-in-constant",
            "not-finite-inside",
            "function",
            "scale-2x4",
            "scale-1.5",
            "tokens",
            "scale-5",
        ),
        *("state", "five-colours"),
        *("batch-mixed", "backwards"),
    ],
)
def test_what_is_no_upscaler_is_refused_in_one_line(tmp_path: Path, model: Any, says: str) -> None:
    path = saved(tmp_path / "n.onnx", model())
    with pytest.raises(AdoptError, match=says) as error:
        adopt(path, tmp_path / "b", NAMED, report=print)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)
    assert sorted(tmp_path.iterdir()) == [path]


def test_a_batch_of_pictures_becomes_one(tmp_path: Path) -> None:
    original = read_original(saved(tmp_path / "n.onnx", upscaler(scale=2, batch=4)))
    assert original.notes[0].startswith("a network of 4 pictures at once that do not depend on")
    assert (original.states, find_facts(original, Wanted()).scale) == ((), 2)


def test_fixed_reshapes_are_named(tmp_path: Path) -> None:
    target = numpy_helper.from_array(np.array([1, 3, 80, 112], np.int64), "target")
    node = helper.make_node("Reshape", ["mixed", "target"], ["summed"], "tail/view")
    model = _changed(sides=(40, 56), extra=[node])
    model.graph.initializer.append(target)
    path = saved(tmp_path / "n.onnx", model)
    with pytest.raises(AdoptError, match=r"for 56x40 alone; node 'tail/view' \(Reshape"):
        adopt(path, tmp_path / "b", NAMED, report=print)


@pytest.mark.parametrize("place", ["../weights.bin", "/tmp/weights.bin", "missing.bin"])
def test_weights_outside_the_folder_are_refused(tmp_path: Path, place: str) -> None:
    model = _changed()
    onnx.save_model(
        model, tmp_path / "n.onnx", save_as_external_data=True, location="w.bin", size_threshold=0
    )
    stored = onnx.load(tmp_path / "n.onnx", load_external_data=False)
    for tensor in stored.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = place
    (tmp_path / "n.onnx").write_bytes(stored.SerializeToString())
    with pytest.raises(AdoptError, match="weights of tensor 'w1' are said to be in"):
        adopt(tmp_path / "n.onnx", tmp_path / "b", NAMED, report=print)


@pytest.mark.parametrize("how", ["cut-off", "a-link"])
def test_weights_that_cannot_be_read_are_told(tmp_path: Path, how: str) -> None:
    onnx.save_model(
        _changed(), tmp_path / "n.onnx", save_as_external_data=True, location="w.bin",
        size_threshold=0,
    )  # fmt: skip
    weights = tmp_path / "w.bin"
    if how == "cut-off":
        weights.write_bytes(weights.read_bytes()[:100])
    else:
        weights.rename(tmp_path / "other")
        weights.symlink_to(tmp_path / "other")
    with pytest.raises(AdoptError, match="weights beside it cannot be read.* 'w1'|tensor name: w1"):
        read_original(tmp_path / "n.onnx")


def test_weights_beside_the_graph_are_read(tmp_path: Path) -> None:
    model = upscaler(scale=2)
    onnx.save_model(
        model, tmp_path / "n.onnx", save_as_external_data=True, location="w.bin", size_threshold=0
    )
    bundle = adopt(tmp_path / "n.onnx", tmp_path / "b", NAMED, report=print)
    assert set(bundle.manifest["provenance"]["adopted"]["files"]) == {"n.onnx", "w.bin"}


def test_too_large_and_unknown_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, says in (
        ("x.pth", "two ways around: export it to ONNX"),
        ("x.safetensors", "weights of PyTorch"),
        ("x.tflite", r"expected a network's file: ONNX \(.onnx\), ncnn .* or PyTorch \(.pth"),
        ("x.mp4", "it is a video; expected a network's file"),
    ):
        (tmp_path / name).write_bytes(b"x")
        with pytest.raises(AdoptError, match=says):
            read_original(tmp_path / name)
    with pytest.raises(AdoptError, match="no file .*none.onnx'; expected a network's file"):
        read_original(tmp_path / "none.onnx")
    with pytest.raises(AdoptError, match="is a folder; expected a network's file"):
        read_original(tmp_path)
    (tmp_path / "empty.onnx").touch()
    with pytest.raises(AdoptError, match=r"has no network in it \(0 bytes\)"):
        read_original(tmp_path / "empty.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"\xff" * 40)
    with pytest.raises(AdoptError, match="is no ONNX file"):
        read_original(tmp_path / "bad.onnx")
    with (tmp_path / "huge.onnx").open("wb") as file:
        file.truncate((2 << 30) + 1)  # without a block on the disk
    with pytest.raises(AdoptError, match=r"has 2,147,483,649 bytes; at most 2,147,483,648"):
        read_original(tmp_path / "huge.onnx")
    monkeypatch.setattr("adcvsr.export.adopt.original.MOST_BYTES", 100)
    with pytest.raises(AdoptError, match="at most 100 are adopted"):
        read_original(saved(tmp_path / "n.onnx", _changed()))


@pytest.mark.parametrize("half", [False, True])
def test_ncnn_files_are_what_torch_computes(tmp_path: Path, half: bool) -> None:
    param = ncnn_upscaler(tmp_path / "n.param", scale=2, half=half)
    picture = draw_clip(1, 24, 32)[0]
    values = torch.from_numpy(picture.astype(np.float32) / 255).permute(2, 0, 1)[None]
    w = {k: torch.from_numpy(v) for k, v in weights_of(2).items()}
    if half:
        w |= {k: w[k].half().float() for k in ("w1", "w2")}
    slopes = torch.linspace(0.05, 0.3, len(w["b1"]))
    hidden = torch.nn.functional.conv2d(values, w["w1"], w["b1"], padding=1)
    hidden = torch.nn.functional.prelu(hidden, slopes)
    hidden = torch.nn.functional.conv2d(hidden, w["w2"], w["b2"], padding=1)
    truth = torch.nn.functional.pixel_shuffle(hidden, 2)
    truth += torch.nn.functional.interpolate(values, scale_factor=2, mode="nearest")
    session = open_session(ncnn_to_onnx(param).SerializeToString())
    found = session.run(None, {"data": values.numpy()})[0]
    assert np.abs(found - truth.numpy()).max() < 1e-5
    bundle = adopt(param, tmp_path / "b", NAMED, report=print)
    assert (bundle.scale, bundle.parameters) == (
        2,
        sum(v.size for v in weights_of(2).values()) + 10,
    )


RNG = np.random.default_rng(0)
SIX = RNG.normal(0, 0.3, (6, 3, 3, 3))
LAYERS = {
    "relu-in-conv": (["Convolution c 1 1 data out 0=6 1=3 4=1 5=0 6=162 9=1"], [flagged(SIX)]),
    "leaky-in-conv": (
        ["Convolution c 1 1 data out 0=6 1=3 4=1 5=0 6=162 9=2 -23310=1,0.2"], [flagged(SIX)]
    ),
    "stride-and-pads": (
        ["Convolution c 1 1 data out 0=6 1=3 3=2 4=1 14=2 15=0 16=1 5=0 6=162"], [flagged(SIX)]
    ),
    "depthwise": (
        ["ConvolutionDepthWise c 1 1 data out 0=3 1=3 4=1 5=1 6=27 7=3"],
        [flagged(SIX[:1]), plain([0.1, 0.2, 0.3])],
    ),
    "deconvolution": (
        ["Deconvolution c 1 1 data out 0=6 1=3 3=2 4=1 5=1 6=162"],
        [flagged(SIX), plain(np.arange(6))],
    ),
    "bilinear": (["Interp i 1 1 data out 0=2 1=2.0 2=2.0"], []),
    "bicubic": (["Interp i 1 1 data out 0=3 1=3.0 2=3.0"], []),
    "reflect": (["Padding p 1 1 data out 0=2 1=1 2=3 3=2 4=2"], []),
    "edge": (["Padding p 1 1 data out 0=2 1=1 2=3 3=2 4=1"], []),
    "crop": (["Crop c 1 1 data out -23309=2,1,2 -23310=2,7,9 -23311=2,1,2"], []),
    "average": (["Pooling p 1 1 data out 0=1 1=2 2=2 5=1"], []),
    "global": (
        ["Split s 1 2 data a b", "Pooling p 1 1 a m 0=1 4=1", "BinaryOp m 2 1 b m out 0=2"], []
    ),
    "weighted-sum": (
        ["Split s 1 2 data a b", "Eltwise e 2 1 a b out 0=1 -23301=2,0.2,1.0"], []
    ),
    "reversed": (["BinaryOp b 1 1 data out 0=7 1=1 2=1.5"], []),
    "unshuffle": (["Reorg r 1 1 data out 0=2"], []),
    "cut-and-join": (
        ["Slice s 1 2 data a b -23300=2,1,-233 1=0", "Concat c 2 1 b a out 0=0"], []
    ),
    "hard-swish": (["HardSwish h 1 1 data out 0=0.2 1=0.5"], []),
    "swish": (["Swish h 1 1 data out"], []),
    "clip": (["Clip h 1 1 data out 0=0.2 1=0.6"], []),
    "square-root": (["UnaryOp u 1 1 data out 0=5"], []),
    "norm": (
        ["BatchNorm b 1 1 data out 0=3 1=0.001"],
        [plain(RNG.uniform(0.5, 2, 3)) for _ in range(4)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_is_as_ncnn_computes_it(tmp_path: Path, name: str) -> None:
    ncnn = pytest.importorskip("ncnn", reason="ncnn itself is what layers are held to")
    param = write_ncnn(tmp_path / "n.param", *LAYERS[name])
    picture = RNG.uniform(0, 1, (3, 8, 12)).astype(np.float32)
    net = ncnn.Net()
    for option in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
        setattr(net.opt, f"use_{option}", False)
    assert not net.load_param(str(param))
    assert not net.load_model(str(param.with_suffix(".bin")))
    extractor = net.create_extractor()
    extractor.input("data", ncnn.Mat(picture).clone())
    truth = np.array(extractor.extract("out")[1])
    session = open_session(ncnn_to_onnx(param).SerializeToString())
    found = session.run(None, {"data": picture[None]})[0][0]
    assert found.shape == truth.shape
    assert np.abs(found - truth).max() < 2e-5


def test_damaged_ncnn_files_are_refused(tmp_path: Path) -> None:
    param = ncnn_upscaler(tmp_path / "n.param")
    weights = param.with_suffix(".bin").read_bytes()
    for data, says in (
        (weights[:-8], "ends within the weights of layer 'last'"),
        (weights + b"1234", "4 bytes more than its .param has weights for"),
        (b"\x38\x4b\x0d\x00" + weights[4:], "layer 'first' has weights of 8 bits"),
    ):
        param.with_suffix(".bin").write_bytes(data)
        with pytest.raises(AdoptError, match=says):
            ncnn_to_onnx(param)
    infinite = weights[:4] + b"\x00\x7c" + weights[6:]  # in half precision
    param.with_suffix(".bin").write_bytes(infinite)
    with pytest.raises(AdoptError, match="of node 'first' has 1 values that are not finite"):
        read_original(param)
    text = param.read_text()
    for changed, says in (
        (text.replace("PReLU act", "LSTM act"), r"'act' \(LSTM\).*Adopt an ONNX file"),
        (text.replace("7767517", "7767518"), "is no .param of ncnn"),
        (text.replace("PReLU act 1 1", "PReLU act 1 x"), "line 6 is no layer"),
    ):
        param.write_text(changed)
        with pytest.raises(AdoptError, match=says):
            ncnn_to_onnx(param)


def test_reach_is_that_of_the_picture(tmp_path: Path) -> None:
    """One pixel of the input changed: nothing beyond the reach may change."""
    for scale in (2, 3):
        original = read_original(saved(tmp_path / "n.onnx", upscaler(scale=scale, stride=1)))
        model = stream_of(original, find_facts(original, Wanted()))
        radius = radius_of(model, scale)
        assert radius is not None
        assert 2 <= radius <= 4
        session = open_session(model.SerializeToString())
        picture = draw_clip(1, 40, 40)[0].copy()
        before = session.run(None, {"frame": picture[None]})[0][0].astype(int)
        picture[20, 20] ^= 255
        after = session.run(None, {"frame": picture[None]})[0][0].astype(int)
        rows = np.flatnonzero(np.abs(after - before).max((1, 2))) // scale
        assert rows.min() >= 20 - radius
        assert rows.max() <= 20 + radius


def test_known_networks_are_whole() -> None:
    found = known_networks()
    assert found
    for each in found:
        assert each.range in pixels.RANGES
        assert each.colour in pixels.COLOUR_ORDERS
        assert all(len(sha) == 64 for sha in each.sha256)
    hashes = [sha for each in found for sha in each.sha256]
    assert len(hashes) == len(set(hashes))


def test_choices_of_the_command_are_those_of_the_code() -> None:
    assert set(command.RANGES) == set(pixels.RANGES)
    assert tuple(LAYOUTS) == command.LAYOUTS
    assert command.COLOURS == pixels.COLOUR_ORDERS


def test_a_manifest_that_says_another_scale_is_refused(tmp_path: Path) -> None:
    bundle = adopted(tmp_path, upscaler(scale=2))
    path = bundle.path / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["scale"] = 4
    path.write_text(json.dumps(manifest))
    with pytest.raises(AdcVsrError, match="scale is 4, expected 2, as its network makes"):
        Bundle(bundle.path)


@pytest.mark.parametrize("name", ["conv3d", "shift", "recurrent"])
def test_a_network_over_clips_becomes_a_stream(tmp_path: Path, name: str) -> None:
    model = upscaling({"conv3d": conv3d, "shift": shift, "recurrent": recurrent}[name]())
    lines: list[str] = []
    source = saved(tmp_path / "n.onnx", model)
    bundle = adopt(source, tmp_path / "b", NAMED, report=lines.append)
    assert "a network over clips, streamed" in lines[0]
    assert bundle.kind == "stream"
    assert bundle.state
    assert bundle.variant("fp32-onnx").facts["parity"]["level_error"] <= 1
    clip = draw_clip(6, 30, 44)
    with (
        Upscaler(bundle, backend="ort-cpu") as upscaler_,
        Upscaler(bundle, backend="ort-cpu") as other,
    ):
        first = [upscaler_(frame) for frame in clip]
        assert first[0].shape == (60, 88, 3)
        assert all(map(np.array_equal, other.upscale_clip(clip), first))
        upscaler_.reset()
        assert np.array_equal(upscaler_(clip[0]), first[0])
        assert not np.array_equal(upscaler_(clip[0]), first[0])  # it has a past now


def test_a_network_that_looks_ahead_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "n.onnx", upscaling(conv3d(before=1, after=1)))
    with pytest.raises(
        AdoptError, match=r"is a network over clips: a picture needs 2 frames after"
    ):
        adopt(path, tmp_path / "b", NAMED, report=print)


def test_a_known_file_needs_no_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its hash tells range, colours, licence and source, as they are in the package's TOML."""
    source = saved(tmp_path / "n.onnx", upscaler(scale=2))
    sha256 = read_original(source).sha256
    (tmp_path / "known").mkdir()
    (tmp_path / "known" / "small.toml").write_text(
        'name = "small x2"\nrange = "0-1"\ncolour = "RGB"\nscale = 2\nlicence = "BSD-3-Clause"\n'
        f'source = "https://example.org/small"\nsha256 = ["{sha256}"]\n'
    )
    monkeypatch.setattr(known_files, "FOLDER", tmp_path / "known")
    known_files.known_networks.cache_clear()
    lines: list[str] = []
    try:
        bundle = adopt(source, tmp_path / "b", AdoptOptions(), report=lines.append)
    finally:
        known_files.known_networks.cache_clear()
    assert lines[0] == "known: small x2, BSD-3-Clause, from https://example.org/small"
    assert bundle.manifest["licences"] == ["BSD-3-Clause"]
    found = bundle.manifest["provenance"]["adopted"]
    assert (found["known"], found["facts"]["range"]) == ("small x2", "0-1")
    assert list(found["facts"]["tried"]) == ["0-1 RGB"]  # nothing is guessed
