"""FP16: what is cast and what is not, from real values; refused without clips to see them."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from adcvsr.bundle.schema import StateSpec
from adcvsr.config import PRESETS
from adcvsr.errors import ConfigError, InputNotFoundError, ParityError, UnreadableVideoError
from adcvsr.export.fp16 import autocast, half_precision
from adcvsr.export.fp16.autocast import cast_graph
from adcvsr.export.fp16.half_precision import write_half
from adcvsr.export.fp16.real_crops import read_crops
from adcvsr.export.graphs.ranges import measure_ranges
from adcvsr.export.graphs.variant_files import VariantFiles, state_specs
from adcvsr.export.manifest import BundleSettings
from adcvsr.model import AdcVsr
from adcvsr.pictures.clips import write_clip
from adcvsr.pictures.synthetic import draw_clip

FLOAT, HALF = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16

needs_modelopt = pytest.mark.skipif(
    importlib.util.find_spec("modelopt") is None,
    reason="FP16 conversion needs nvidia-modelopt (the extra 'quantize')",
)


@pytest.fixture(scope="module")
def specs(network: AdcVsr) -> tuple[StateSpec, ...]:
    return state_specs(network)


def copied(files: VariantFiles, folder: Path) -> VariantFiles:
    shutil.copytree(files.folder, folder)
    return VariantFiles(folder, files.id, files.kind)


def element_types(graph: Path) -> dict[str, int]:
    """Element type of every tensor, as ONNX infers it."""
    model = onnx.shape_inference.infer_shapes(onnx.load(graph), strict_mode=True)
    values = [*model.graph.input, *model.graph.value_info, *model.graph.output]
    types = {v.name: v.type.tensor_type.elem_type for v in values}
    return types | {t.name: t.data_type for t in model.graph.initializer}


@needs_modelopt
def test_a_stream_in_half_precision(
    files: VariantFiles, specs: tuple[StateSpec, ...], tmp_path: Path
) -> None:
    source = copied(files, tmp_path / "bundle")
    half, report, conversion = write_half(source, specs, [draw_clip(3, 16, 24)])
    assert report.psnr_db > 45
    assert report.frames == 3
    assert conversion["kept_fp32_for_range"] == []
    assert 100 < conversion["largest_peak"] < 1000
    model = onnx.load(half.graph)
    assert [o.version for o in model.opset_import] == [20]
    inputs = {v.name: v.type.tensor_type.elem_type for v in model.graph.input}
    assert inputs == {
        "frame": onnx.TensorProto.UINT8,
        **{spec.name: HALF for spec in specs},
    }
    names = [node.name for node in model.graph.node]
    assert "unet.down_blocks.1.resnets.0.conv2/Conv" in names
    assert len(set(names)) == len(names)
    types = element_types(half.graph)
    assert all(types[n.output[0]] == HALF for n in model.graph.node if n.op_type == "Conv")
    readers = {n.op_type for n in model.graph.node if "frame" in n.input}
    assert readers == {"Cast"}
    assert half.graph.stat().st_size < 0.8 * source.graph.stat().st_size
    assert {f.name for f in source.folder.iterdir()} == {"fp32-onnx.onnx", "fp16-trt.onnx"}


def kept_operators(graph: Path) -> set[str]:
    """Operators that stay in FP32, after a look that convolutions and products do not."""
    types, kept = element_types(graph), set()
    for node in onnx.load(graph).graph.node:
        if node.op_type in autocast.FP32_OPERATORS:
            kept.add(node.op_type)
            assert types[node.input[0]] == types[node.output[0]] == FLOAT, node.name
        if node.op_type in ("Conv", "MatMul"):
            assert types[node.output[0]] == HALF, node.name
    return kept


@pytest.mark.slow
@needs_modelopt
def test_norms_and_softmax_stay(clip_files: VariantFiles, tmp_path: Path) -> None:
    source = copied(clip_files, tmp_path / "bundle")
    ranges, _ = measure_ranges(source, (), [draw_clip(3, 16, 24)])
    cast_graph(source.graph, tmp_path / "cast.onnx", ranges)
    kept = kept_operators(tmp_path / "cast.onnx")
    assert kept == {"InstanceNormalization", "LayerNormalization", "Softmax"}


@pytest.mark.slow
@needs_modelopt
def test_a_clip_network_in_half_precision(clip_files: VariantFiles, tmp_path: Path) -> None:
    source = copied(clip_files, tmp_path / "bundle")
    half, report, _ = write_half(source, (), [draw_clip(3, 16, 24)])
    assert report.psnr_db > 40
    assert half.decoder is not None
    assert kept_operators(half.decoder) == {"InstanceNormalization", "Softmax"}


@pytest.mark.slow
@needs_modelopt
def test_nodes_of_large_values_stay(
    files: VariantFiles, specs: tuple[StateSpec, ...], tmp_path: Path
) -> None:
    source = copied(files, tmp_path / "bundle")
    (ranges,) = measure_ranges(source, specs, [draw_clip(2, 16, 16)])
    model = onnx.load(source.graph)
    name = "unet.down_blocks.1.resnets.0.conv1/Conv"
    output = next(n for n in model.graph.node if n.name == name).output[0]
    kept = cast_graph(source.graph, tmp_path / "cast.onnx", {**ranges, output: 1e5})
    assert name in kept
    assert element_types(tmp_path / "cast.onnx")[output] == FLOAT
    # The same again gives the same bytes.
    first = (tmp_path / "cast.onnx").read_bytes()
    cast_graph(source.graph, tmp_path / "cast.onnx", {**ranges, output: 1e5})
    assert (tmp_path / "cast.onnx").read_bytes() == first


def test_too_far_from_fp32_is_refused(
    files: VariantFiles,
    specs: tuple[StateSpec, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def brightened(graph: Path, target: Path, ranges: object) -> list[str]:
        model = onnx.load(graph)
        bias = next(t for t in model.graph.initializer if t.name.endswith("conv_out.bias"))
        changed = numpy_helper.to_array(bias) + np.float32(8)
        bias.CopyFrom(numpy_helper.from_array(changed, bias.name))
        onnx.save(model, target)
        return []

    monkeypatch.setattr(half_precision, "cast_graph", brightened)
    with pytest.raises(ParityError, match="nothing was written"):
        write_half(copied(files, tmp_path / "bundle"), specs, [draw_clip(2, 16, 16)])


def test_ranges_are_those_of_the_network(
    files: VariantFiles, specs: tuple[StateSpec, ...], network: AdcVsr
) -> None:
    import torch

    clip = draw_clip(3, 16, 24)
    (ranges,) = measure_ranges(files, specs, [clip])
    assert ranges["_to_copy"] == clip.max()
    signed = torch.from_numpy(clip).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        _, state = network(signed[None])
    for spec in specs:
        assert ranges[spec.next_name] >= state[spec.name].abs().max() - 1e-5
        assert ranges[spec.name] > 0  # the state was carried
    assert [f.name for f in files.folder.iterdir()] == ["fp32-onnx.onnx"]


def test_half_precision_needs_clips() -> None:
    with pytest.raises(ConfigError, match="--clips"):
        BundleSettings(fp16=True).check(PRESETS["nano"])


def test_clips_that_show_nothing_are_refused(tmp_path: Path) -> None:
    black = np.zeros((4, 32, 32, 3), np.uint8)
    write_clip(tmp_path / "black.mp4", black)
    with pytest.raises(ConfigError, match="0 frames that show anything"):
        read_crops([tmp_path / "black.mp4"], edge_px=16, multiple=2)
    write_clip(tmp_path / "tiny.mp4", draw_clip(3, 8, 8))
    with pytest.raises(ConfigError, match="is 8x8; expected 16x16 or more"):
        read_crops([tmp_path / "tiny.mp4"], edge_px=64, multiple=16)
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(UnreadableVideoError, match="text.mp4"):
        read_crops([tmp_path / "text.mp4"], edge_px=64, multiple=16)
    with pytest.raises(InputNotFoundError, match="none.mp4"):
        read_crops([tmp_path / "none.mp4"], edge_px=64, multiple=16)
    write_clip(tmp_path / "late.mp4", [*black, *draw_clip(6, 32, 32)])
    (crop,) = read_crops([tmp_path / "late.mp4"], edge_px=20, multiple=8)
    assert crop.shape == (4, 16, 16, 3)
    assert crop[0].std() > 10
