"""What comes after adopt takes such bundles by their own scale: files, plans, recipes, truth."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import av
import numpy as np
import onnx
import pytest
from av.video.reformatter import VideoReformatter
from foreign_networks import upscaler

from adcvsr.bundle import Bundle, describe, open_bundle
from adcvsr.calibration.evaluate.methods import baselines
from adcvsr.calibration.evaluate.truth import TruthOptions, read_pairs
from adcvsr.calibration.profile.graph_runs import FRAMES, run_graph
from adcvsr.cli._bundle_text import inspect_bundle
from adcvsr.cli._bundle_text import lines as inspect_lines
from adcvsr.errors import ConfigError, GraphError, UnsupportedVideoError
from adcvsr.export.adopt import adopt as adopting
from adcvsr.export.adopt.adopt import AdoptOptions, adopt
from adcvsr.export.adopt.facts import Wanted, find_facts
from adcvsr.export.adopt.original import Original
from adcvsr.export.adopt.surgery import stream_of
from adcvsr.export.quantize import fit_recipe
from adcvsr.export.recipes.recipe import read_recipe, recipe_for
from adcvsr.graph.cost import count_cost
from adcvsr.graph.file import read_graph
from adcvsr.graph.memory import ENGINE_SHARE, NetworkMemory, memory_of
from adcvsr.graph.past import past_of
from adcvsr.graph.receptive import spatial_radius, temporal_reach
from adcvsr.graph.rules import infer_read_types
from adcvsr.graph.shapes import infer_types
from adcvsr.graph.yuv_ends import YuvEnds, with_yuv_ends
from adcvsr.pictures import limits
from adcvsr.pictures.clips import read_clip
from adcvsr.pictures.colour import Colours
from adcvsr.pictures.output_size import OutputSize
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.pictures.yuv_picture import YuvPicture
from adcvsr.plan.planning import Source, plan_bundle
from adcvsr.runtime.jobs.run import open_job
from adcvsr.runtime.jobs.settings import JobSettings
from adcvsr.runtime.jobs.work import SegmentWorker
from adcvsr.runtime.live.live_report import LiveOptions
from adcvsr.runtime.live.live_run import LiveRun
from adcvsr.runtime.live.source import LiveFrame, VideoSource
from adcvsr.runtime.proof.colours import ColourRequest, colour_request
from adcvsr.runtime.upscaler import Upscaler
from adcvsr.targets import target
from live_streams import free_port
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


class TwoScenes(VideoSource):
    """Black frames, and from the fourth on white ones."""

    def frames(self) -> Generator[LiveFrame, None, None]:
        for index in range(6):
            picture = np.full((32, 48, 3), 255 * (index > 2), np.uint8)
            yield LiveFrame(picture, index / 25, self.clock())


@pytest.mark.parametrize("past", [False, True])
def test_a_network_without_a_past_forgets_none(twice: Bundle, tmp_path: Path, past: bool) -> None:
    """At a cut; nothing is looked for, counted or said, as it is where there is state."""
    with Upscaler("nano" if past else twice, backend="ort-cpu", variant="fp32-onnx") as upscaler_:
        run = LiveRun(upscaler_, "test://", "null://", LiveOptions(policy="every"))
        run.source = TwoScenes(run.source.address, run.source.stop)
        assert run.run().resets == ({"cut": 1} if past else {})
        with av.open(str(tmp_path / "in.mkv"), "w") as container:
            stream = container.add_stream("ffv1", rate=25)
            stream.width, stream.height, stream.pix_fmt = 48, 32, "bgr0"
            for index in range(6):
                picture = np.full((32, 48, 3), 255 * (index > 2), np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode(None))
        report = upscaler_.upscale_file(tmp_path / "in.mkv", tmp_path / "out.mp4")
    assert report.scene_cuts == (1 if past else None)
    assert any("scene cut" in note for note in report.notes) is past


def test_networks_of_another_scale_are_not_offered_with_the_reason(twice: Bundle) -> None:
    page = f"http://127.0.0.1:{free_port()}"
    with Upscaler(twice, backend="ort-cpu") as upscaler_:
        source = "test://?size=64x64&frames=2"
        run = LiveRun(upscaler_, source, page, LiveOptions(), offer=[open_bundle("nano")])
        notes = run.run().notes
    assert "not offered: nano: it makes 4 times the size, the stream has 2 times" in notes


def test_facts_are_its_own(twice: Bundle) -> None:
    assert describe(twice)["scale"] == 2
    assert "preset" not in describe(twice)
    first = next(inspect_lines(inspect_bundle(twice)))
    assert first == f"twice: n, adopted from onnx, {twice.parameters:,} parameters"
    assert temporal_reach(twice.config) == (0, 0)
    assert spatial_radius(twice.config) == twice.config.radius  # type: ignore[union-attr]
    assert past_of(twice.read("fp32-onnx.onnx"), (), "upscaled", twice.config) == 0
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


@pytest.mark.parametrize("full", [False, True])
def test_video_stays_yuv_at_both_ends(twice: Bundle, full: bool) -> None:
    """Planes out are those of the picture in RGB by the stream's matrix, to a level."""
    ends = YuvEnds(1, full)
    rgb = draw_clip(1, 34, 46)[0]
    levels = rgb.astype(np.float64) @ ends.from_rgb().T + [ends.black, 128, 128]
    planes = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
    chroma = np.ascontiguousarray(planes[::2, ::2, 1:])
    given = YuvPicture(np.ascontiguousarray(planes[..., 0]), chroma, Colours(1, full_range=full))
    with Upscaler(twice, backend="ort-cpu") as upscaler_:
        assert upscaler_.why_not_yuv() == ""
        upscaler_.open_yuv(ends)
        made = upscaler_.upscale_yuv(given)
        assert made.luma.shape == (68, 92)
        picture = upscaler_(given.rgb(VideoReformatter())).astype(np.float64)
    exact = picture @ ends.from_rgb().T + [ends.black, 128, 128]
    columns = (exact[::2, ::2, 1:] + exact[1::2, ::2, 1:]) / 2
    # The network got this picture in RGB as floats, and here rounded to levels.
    assert np.abs(made.luma - exact[..., 0]).mean() < 1
    assert np.abs(made.chroma - columns).mean() < 1


def test_a_file_of_yuv_is_upscaled_as_yuv(
    twice: Bundle, tmp_path: Path, make_video: VideoMaker
) -> None:
    source = make_video(size=(48, 32), pts=(0, 512))
    with Upscaler(twice, backend="ort-cpu") as upscaler_:
        report = upscaler_.upscale_file(source, tmp_path / "out.mp4", pixels="yuv")
    assert (report.pixels, report.output_size) == ("yuv", (96, 64))


def test_three_times_the_size_stays_rgb_with_the_reason() -> None:
    data = three_times().SerializeToString()
    with pytest.raises(GraphError, match="3 times the size have chroma of half a pixel"):
        with_yuv_ends(data, "frame", "upscaled", YuvEnds(1, full_range=False), scale=3)


def three_times() -> onnx.ModelProto:
    original = read_original_of(upscaler(scale=3))
    return stream_of(original, find_facts(original, Wanted(range="0-1", colour="RGB")))


def read_original_of(model: onnx.ModelProto) -> Original:
    return Original("onnx", (Path("n.onnx"),), model, "NCHW", None)


def test_memory_is_the_networks_own(twice: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network of many channels takes more than nano, by its graph, and is refused in time."""
    found = memory_of(twice, "fp32-onnx")
    graph = onnx.load_from_string(twice.read("fp32-onnx.onnx"))
    cost = count_cost(graph, {"frame": (1, 128, 128, 3)})
    assert found.activation_bytes == int(ENGINE_SHARE * cost.peak_activation_bytes / 128**2)
    wide = NetworkMemory(20_000, 70 << 20, twice.scale)
    need = limits.estimate_bytes(640, 360, activation_bytes=20_000, weight_bytes=70 << 20)
    assert need > limits.estimate_bytes(640, 360) + 18_000 * 640 * 360
    monkeypatch.setattr("adcvsr.runtime.upscaler.memory_of", lambda *_: wide)
    monkeypatch.setattr(limits, "available_bytes", lambda: need - 1)
    with (
        Upscaler(twice, backend="ort-cpu") as upscaler_,
        pytest.raises(UnsupportedVideoError, match="--tile 256 takes"),
    ):
        upscaler_.check_memory("x.mp4", 1280, 720)


def test_memory_that_cannot_be_counted_is_told(
    twice: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise GraphError("node 'q' (Odd) cannot be inferred")

    monkeypatch.setattr("adcvsr.graph.memory.count_bundle_cost", refuse)
    memory_of.cache_clear()
    try:
        with Upscaler(twice, backend="ort-cpu") as upscaler_:
            (note,) = (n for n in upscaler_.backend_notes() if n.startswith("memory is checked"))
    finally:
        memory_of.cache_clear()
    assert "1100 bytes an input pixel" in note
    assert note.endswith("cannot be counted (node 'q' (Odd) cannot be inferred)")


def test_graphs_of_others_are_counted_without_onnx() -> None:
    """Plans on a board have no onnx: the same sizes by the rules of `graph.rules`."""
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.normal(size=(8, 3, 3, 3)).astype(np.float32),
        "t": rng.normal(size=(8, 12, 4, 4)).astype(np.float32),
        "slopes": np.full((12, 1, 1), 0.1, np.float32),
        "pads": np.array([0, 0, 1, 2, 0, 0, 3, 4], np.int64),
        "from": np.array([1, 2], np.int64),
        "to": np.array([-1, 1 << 40], np.int64),
        "axes": np.array([2, 3], np.int64),
        "order": np.array([2, 1, 0, 5], np.int64),
        "parts": np.array([3, 1], np.int64),
    }
    node = onnx.helper.make_node
    nodes = [
        node("Conv", ["x", "w"], ["a"], "conv", pads=[1] * 4, strides=[2, 2]),
        node("ConvTranspose", ["a", "t"], ["b"], "up", strides=[2, 2], pads=[1] * 4),
        node("PRelu", ["b", "slopes"], ["c"], "act"),
        node("DepthToSpace", ["c"], ["d"], "shuffle", blocksize=2),
        node("SpaceToDepth", ["d"], ["e"], "unshuffle", blocksize=2),
        node("Pad", ["e", "pads"], ["f"], "pad"),
        node("Slice", ["f", "from", "to", "axes"], ["g"], "cut"),
        node("Gather", ["g", "order"], ["h"], "channels", axis=1),
        node("Split", ["h", "parts"], ["i", "j"], "split", axis=1),
        node("MaxPool", ["i"], ["k"], "max", kernel_shape=[2, 2], strides=[2, 2]),
        node("GlobalAveragePool", ["k"], ["l"], "mean"),
        node("Mul", ["k", "l"], ["y"], "scaled"),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "all",
        [onnx.helper.make_tensor_value_info("x", 1, [1, 3, "H", "W"])],
        [onnx.helper.make_tensor_value_info("y", 1, None)],
        [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)])
    sizes = {"x": (1, 3, 26, 34)}
    found = infer_read_types(read_graph(model.SerializeToString()), sizes)
    assert found == infer_types(model, sizes)


def test_layers_of_a_network_without_state_are_looked_at(twice: Bundle) -> None:
    model = onnx.load_from_string(twice.read("fp32-onnx.onnx"))
    frames = list(draw_clip(FRAMES + 2, 16, 24))
    found = run_graph(twice, model, "fp32-onnx", frames, lambda: None)
    assert found["upscaled"].shape == (FRAMES, 32, 48, 3)


def test_a_job_makes_its_size(twice: Bundle, tmp_path: Path, make_video: VideoMaker) -> None:
    source = make_video(size=(48, 32), pts=(0, 512))
    settings = JobSettings(
        source=str(source), output=str(tmp_path / "o.mp4"), model=str(twice.path)
    )
    job = open_job(settings, tmp_path / "o.job", resume=False, overwrite=False)
    with SegmentWorker(job, threads=1) as worker:
        worker.make(0)
    made = next(iter(read_clip(job.video_of(0))))
    assert made.shape == (64, 96, 3)
