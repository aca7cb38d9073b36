"""The same network with pictures of YUV 4:2:0 at both ends: colours, siting, sizes, precisions."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from av.video.reformatter import VideoReformatter
from onnx import TensorProto, helper, numpy_helper

from adcvsr.bundle import Bundle, open_bundle
from adcvsr.errors import GraphError
from adcvsr.graph.edited import EditedGraph
from adcvsr.graph.float_ends import with_float_ends
from adcvsr.graph.yuv_ends import LUMA_WEIGHTS, YuvEnds, with_yuv_ends
from adcvsr.pictures.colour import Colours, frame_from_rgb, rgb_from_frame, tag_left
from adcvsr.pictures.colour_probes import flat_colours
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.pictures.yuv import yuv_from_frame
from adcvsr.pictures.yuv_picture import YuvPicture
from adcvsr.runtime.sessions.ort_cpu import OrtCpuSession

BT601 = YuvEnds(6, full_range=False)
ALL = [YuvEnds(matrix, full) for matrix in LUMA_WEIGHTS for full in (False, True)]


def nearest(kind: Any = np.float32) -> bytes:
    """A graph of an export's form whose network repeats each pixel."""
    element = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    weights = np.zeros((48, 3, 3, 3), kind)
    weights[np.arange(48), np.arange(48) % 3, 1, 1] = 1
    constants = {
        "weights": weights,
        "bias": np.full(48, 0.5, kind),
        "low": np.array(0, kind),
        "high": np.array(255.5, kind),
        "apart": np.array([1, 0, 0, 4, 12], np.int64),
        "size": np.array([1, -1, 4, 12], np.int64),
    }
    node = helper.make_node
    nodes = [
        node("Cast", ["frame"], ["levels"], to=element),
        node("Transpose", ["levels"], ["planes"], perm=[0, 3, 1, 2]),
        node("Conv", ["planes", "weights", "bias"], ["made"], kernel_shape=[3, 3], pads=[1] * 4),
        node("Clip", ["made", "low", "high"], ["clipped"]),
        node("Transpose", ["clipped"], ["blocks"], perm=[0, 2, 3, 1]),
        node("Reshape", ["blocks", "apart"], ["split"]),
        node("Transpose", ["split"], ["turned"], perm=[0, 1, 3, 2, 4]),
        node("Reshape", ["turned", "size"], ["whole"]),
        node("Cast", ["whole"], ["upscaled"], to=TensorProto.UINT8),
    ]
    graph = helper.make_graph(
        nodes,
        "nearest",
        [helper.make_tensor_value_info("frame", TensorProto.UINT8, [1, "h", "w", 3])],
        [helper.make_tensor_value_info("upscaled", TensorProto.UINT8, [1, "a", "b", "c"])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return bytes(model.SerializeToString())


def run(graph: bytes, luma: Any, chroma: Any, *more: str) -> list[Any]:
    """The planes that leave, and further tensors of the graph."""
    model = onnx.load_from_string(graph)
    onnx.checker.check_model(model, full_check=True)
    for name in more:
        model.graph.output.append(onnx.ValueInfoProto(name=name))
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    feeds = {"frame": luma[None, ..., None], "frame_chroma": chroma[None]}
    upscaled, pairs, *rest = session.run(["upscaled", "upscaled_chroma", *more], feeds)
    height, width = luma.shape
    return [upscaled.reshape(4 * height, 4 * width), pairs.reshape(2 * height, -1, 2), *rest]


def flat(colour: Any, side: int = 6) -> tuple[Any, Any]:
    luma = np.full((side, side), colour[0], np.uint8)
    return luma, np.broadcast_to(np.array(colour[1:], np.uint8), (side // 2, side // 2, 2)).copy()


@pytest.mark.parametrize("ends", ALL, ids=str)
def test_flat_colours_come_back(ends: YuvEnds) -> None:
    """Every colour that RGB has, exactly; those beyond by rounding the clipped one."""
    graph = with_yuv_ends(nearest(), "frame", "upscaled", ends, bytes_inside=True)
    rng = np.random.default_rng(int(ends.matrix))
    for rgb in [*rng.integers(0, 256, (12, 3)), (255, 255, 255), (0, 0, 0), (0, 255, 0)]:
        exact = ends.from_rgb() @ rgb + [ends.black, 128, 128]
        colour = np.clip(np.rint(exact), 0, 255)
        back = ends.to_rgb() @ (colour - [ends.black, 128, 128])
        within = (back >= 0).all() and (back <= 255).all()
        luma, chroma = run(graph, *flat(colour))
        errors = [np.abs(luma - colour[0]).max(), np.abs(chroma - colour[1:]).max()]
        assert max(errors) <= (0 if within else 1), (rgb, colour, back)


@pytest.mark.parametrize("full", [False, True])
def test_the_matrix_is_swscales(full: bool) -> None:
    """Colours of RGB are the same YUV by FFmpeg and by the graph's numbers, but for rounding."""
    for matrix in (1, 5, 7, 9):
        ends, colours = YuvEnds(matrix, full), Colours(matrix, full_range=full)
        for rgb in ((200, 40, 90), (16, 240, 16), (128, 128, 128)):
            picture = np.broadcast_to(np.array(rgb, np.uint8), (8, 8, 3)).copy()
            frame = frame_from_rgb(picture, colours, "yuv420p", VideoReformatter())
            found = [int(np.frombuffer(plane, np.uint8)[0]) for plane in frame.planes]  # type: ignore[call-overload]
            exact = ends.from_rgb() @ rgb + [ends.black, 128, 128]
            assert np.abs(found - exact).max() <= 1.01


@pytest.mark.parametrize(("height", "width"), [(24, 32), (17, 23), (1, 1)])
@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_the_network_sees_what_swscale_makes(height: int, width: int, kind: Any) -> None:
    """Chroma is read from the left by the same filter, at borders and of odd sizes, too."""
    rng = np.random.default_rng(height)
    colours = Colours(6, full_range=False)
    luma = rng.integers(16, 236, (height, width), np.uint8)
    chroma = rng.integers(60, 196, ((height + 1) // 2, (width + 1) // 2, 2), np.uint8)
    graph = with_yuv_ends(nearest(kind), "frame", "upscaled", BT601)
    *_, planes = run(graph, luma, chroma, "planes")
    expected = YuvPicture(luma, chroma, colours).rgb(VideoReformatter())
    found = planes[0].astype(np.float32).transpose(1, 2, 0)
    assert found.shape == expected.shape
    # swscale weighs the third row otherwise than all others.
    errors = np.delete(np.abs(found - expected), 2, 0) if height > 3 else np.abs(found - expected)
    assert errors.max() <= (1.3 if height > 3 else 6)


def test_int8_takes_rounded_levels() -> None:
    """Quantized from the input on: the same levels as bytes."""
    bundle = open_bundle("nano")
    graph = with_yuv_ends(stored(bundle, "int8-ort"), "frame", "upscaled", BT601)
    rng = np.random.default_rng(2)
    luma = rng.integers(16, 236, (12, 16), np.uint8)
    chroma = rng.integers(110, 146, (6, 8, 2), np.uint8)
    model = onnx.load_from_string(graph)
    (name,) = (node.output[0] for node in model.graph.node if node.name == "ends/permute")
    model.graph.output.append(onnx.ValueInfoProto(name=name))
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (state,) = bundle.state
    feeds = {"frame": luma[None, ..., None], "frame_chroma": chroma[None]}
    feeds[state.name] = np.zeros(state.shape(12, 16), np.float32)
    (levels,) = session.run([name], feeds)
    expected = YuvPicture(luma, chroma, Colours(6, full_range=False)).rgb(VideoReformatter())
    assert levels.dtype == np.uint8
    assert np.abs(levels[0].transpose(1, 2, 0).astype(int) - expected).max() <= 1


def stored(bundle: Bundle, name: str) -> bytes:
    variant = bundle.variant(name)
    with bundle.graph(variant, variant.file) as graph:
        assert isinstance(graph, bytes)
        return graph


def pictures(bundle: Bundle, name: str, size: tuple[int, int]) -> tuple[list[Any], list[Any]]:
    """What the two sessions of a variant make of the same drawn frames, both as YUV of floats.

    That of RGB has float pictures where it can: FP32's is the float conversion of the float output.
    """
    colours = Colours(6, full_range=False)
    reader, ends = VideoReformatter(), BT601
    floats = name == "fp32-onnx"
    plain = OrtCpuSession(bundle, bundle.variant(name), threads=1, deep=floats)
    planes = plain.of_yuv(ends)
    by_rgb, by_yuv = [], []
    with plain, planes:
        for drawn in draw_clip(3, *size):
            soft = (drawn // 4 + 96).astype(np.uint8)  # within RGB, after the network, too
            frame = frame_from_rgb(soft, colours, "yuv420p", reader)
            source = yuv_from_frame(frame, colours, reader)
            given = rgb_from_frame(tag_left(frame), VideoReformatter(), deep=floats)
            rgb = plain.infer(given) / (256 if floats else 1)
            levels = rgb @ ends.from_rgb().T + [16, 128, 128]
            rows = (levels[0::2] + levels[1::2]) / 2
            by_rgb.append((levels[..., 0], rows[:, ::2, 1:]))
            made = planes.infer_yuv(source)
            by_yuv.append((made.luma.astype(float), made.chroma.astype(float)))
    return by_rgb, by_yuv


SHIPPED = ["nano", "nano-camera", "nano-restore", "small", "small-restore"]


@pytest.mark.parametrize("name", SHIPPED)
def test_pictures_are_those_of_rgb(name: str) -> None:
    """Within a level of luma and two of chroma, frame after frame: state is carried alike."""
    for (luma, chroma), (luma_2, chroma_2) in zip(
        *pictures(open_bundle(name), "fp32-onnx", (30, 34)), strict=True
    ):
        assert np.abs(luma - luma_2).max() <= 1
        assert np.abs(chroma - chroma_2).max() <= 2


@pytest.mark.parametrize("name", SHIPPED)
def test_int8_is_as_near_to_fp32_as_in_rgb(name: str) -> None:
    """Folded and rounded again, the last convolution is no worse than it was."""
    bundle = open_bundle(name)
    exact, exact_yuv = pictures(bundle, "fp32-onnx", (30, 34))
    coarse, coarse_yuv = pictures(bundle, "int8-ort", (30, 34))
    for plane in range(2):
        before = np.mean([(a[plane] - b[plane]) ** 2 for a, b in zip(exact, coarse, strict=True)])
        after = np.mean(
            [(a[plane] - b[plane]) ** 2 for a, b in zip(exact_yuv, coarse_yuv, strict=True)]
        )
        # Both planes of `after` are rounded to levels twice, those of `before` are not.
        assert after <= 1.1 * before + 2 / 12 + 0.05


def test_fp16_colours_are_those_of_fp32() -> None:
    kinds = (np.float32, np.float16)
    graphs = [with_yuv_ends(nearest(kind), "frame", "upscaled", BT601) for kind in kinds]
    for rgb in flat_colours()[::97]:
        exact = BT601.from_rgb() @ np.asarray(rgb, float) + [16, 128, 128]
        a, b = (run(graph, *flat(np.rint(exact))) for graph in graphs)
        assert np.abs(a[0].astype(int) - b[0]).max() <= 1
        assert np.abs(a[1].astype(int) - b[1]).max() <= 1


def test_what_no_export_wrote_is_refused() -> None:
    graph = stored(open_bundle("nano"), "fp32-onnx")
    with pytest.raises(GraphError, match="not of 8 bits"):
        with_yuv_ends(with_float_ends(graph, "frame", "upscaled"), "frame", "upscaled", BT601)
    with pytest.raises(GraphError, match="no weights of luma"):
        with_yuv_ends(graph, "frame", "upscaled", YuvEnds(8, full_range=False))
    with pytest.raises(GraphError, match="damaged"):
        EditedGraph(graph[:-7])


def test_unread_parts_are_left_out_and_the_rest_is_kept() -> None:
    """Weights that are not touched keep their bytes; those of RGB's tail are gone."""
    graph = stored(open_bundle("nano"), "fp32-onnx")
    changed = onnx.load_from_string(with_yuv_ends(graph, "frame", "upscaled", BT601))
    before = {each.name: each for each in onnx.load_from_string(graph).graph.initializer}
    after = {each.name: each for each in changed.graph.initializer}
    kept = [name for name in after if name in before]
    assert all(after[name] == before[name] for name in kept)
    assert len([name for name in kept if "unet" in name]) > 20
    assert not [name for name in kept if "conv_out" in name]


def test_rgb_of_a_frame_is_its_own() -> None:
    """The planes of a frame, taken and shown, are the frame's RGB."""
    colours = Colours(1, full_range=False)
    drawn = draw_clip(1, 24, 40)[0]
    frame = frame_from_rgb(drawn, colours, "yuv420p", VideoReformatter())
    picture = yuv_from_frame(frame, colours, VideoReformatter())
    shown = picture.rgb(VideoReformatter())
    assert np.abs(shown.astype(int) - rgb_from_frame(frame, VideoReformatter())).max() <= 1


def reduced(rgb: Any, ends: YuvEnds) -> Any:
    """Chroma of a picture reduced by areas to half of its sides, unrounded."""
    height, width, _ = rgb.shape
    small = rgb.reshape(height // 2, 2, width // 2, 2, 3).mean((1, 3), dtype=np.float64)
    chroma = small[:, ::2] @ ends.from_rgb()[1:].T + 128
    return chroma.reshape(height // 4, 2, width // 4, 2).mean(1)


@pytest.mark.parametrize("ends", [YuvEnds(1, False, halved=True), YuvEnds(6, True, halved=True)])
def test_half_the_size_is_made_by_the_last_convolution(ends: YuvEnds) -> None:
    """Each pixel repeated: the mean of four of them, wherever the input's pixels change."""
    random = np.random.default_rng(0)
    luma = random.integers(60, 190, (6, 8), np.uint8)
    chroma = random.integers(118, 138, (3, 4, 2), np.uint8)
    graph = with_yuv_ends(nearest(), "frame", "upscaled", ends)
    model = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    feeds = {"frame": luma[None, ..., None], "frame_chroma": chroma[None]}
    made, pairs = model.run(["upscaled", "upscaled_chroma"], feeds)
    assert (made.shape, pairs.shape) == ((1, 6, 2, 16), (1, 6, 1, 16))
    assert np.abs(made.reshape(12, 16).astype(int) - luma.repeat(2, 0).repeat(2, 1)).max() <= 1
    whole = with_yuv_ends(nearest(), "frame", "upscaled", YuvEnds(ends.matrix, ends.full_range))
    _, four = run(whole, luma, chroma)
    expected = four.reshape(6, 2, 8, 2, 2).astype(float).mean((1, 3))
    assert np.abs(pairs.reshape(6, 8, 2) - expected).max() <= 1


@pytest.mark.parametrize(("variant", "most"), [("fp32-onnx", 1.0), ("int8-ort", 2.0)])
def test_half_the_size_is_the_networks_picture_reduced(variant: str, most: float) -> None:
    """Of `nano` itself, odd sizes too: what areas make of its picture, where nothing clips."""
    bundle, ends = open_bundle("nano"), YuvEnds(6, full_range=False, halved=True)
    colours, scaler = Colours(6, full_range=False), VideoReformatter()
    frame = 96 + draw_clip(1, 32, 42)[0] // 4
    given = yuv_from_frame(frame_from_rgb(frame, colours, "yuv420p", scaler), colours, scaler)
    with OrtCpuSession(bundle, bundle.variant(variant), threads=1) as session:
        rgb = session.infer(given.rgb(scaler))
        with session.of_yuv(YuvEnds(6, full_range=False)) as whole:
            large = whole.infer_yuv(given).luma
        with session.of_yuv(ends) as half:
            picture = half.infer_yuv(given)
            odd = half.infer_yuv(YuvPicture(given.luma[:31, :41], given.chroma, colours))
    assert (picture.shape, odd.shape) == ((64, 84), (62, 82))
    means = large.reshape(64, 2, 84, 2).mean((1, 3), dtype=np.float64)
    assert np.abs(picture.luma - means).max() <= most
    assert np.abs(picture.chroma - reduced(rgb, ends)).max() <= 1 + most
