"""Graphs: the interface a bundle promises, readable names, no trace of the exporter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir
import pytest
import torch
from onnx import numpy_helper

from adcvsr.bundle import open_bundle
from adcvsr.calibration.sets.parallel import open_graph
from adcvsr.config import PRESETS, AdcVsrConfig
from adcvsr.errors import ConfigError
from adcvsr.export.graphs import onnx_file
from adcvsr.export.graphs.onnx_file import data_files, save_graph
from adcvsr.export.graphs.replay import open_session, replay
from adcvsr.export.graphs.traced import StreamGraph, stream_graph
from adcvsr.export.graphs.variant_files import VariantFiles, state_specs
from adcvsr.model import AdcVsr
from adcvsr.model.untrained import untrained_network
from adcvsr.pictures.synthetic import draw_clip


def shape(value: onnx.ValueInfoProto) -> list[object]:
    return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]


def interface(path: Path) -> tuple[dict[str, onnx.ValueInfoProto], dict[str, onnx.ValueInfoProto]]:
    graph = onnx.load(path).graph
    return {v.name: v for v in graph.input}, {v.name: v for v in graph.output}


def test_interface_of_the_stream_graph(files: VariantFiles) -> None:
    inputs, outputs = interface(files.graph)
    first, *states = inputs
    assert first == "frame"
    assert list(outputs) == ["upscaled", *(f"{name}_next" for name in states)]
    assert inputs["frame"].type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert shape(inputs["frame"]) == [1, "2*rows", "2*columns", 3]
    fine = inputs["state_up_blocks_1_resnets_0_conv1"]
    coarse = inputs["state_down_blocks_1_resnets_0_conv1"]
    assert shape(fine) == [1, 8, "2*rows", "2*columns"]
    assert shape(coarse) == [1, 12, "rows", "columns"]


def test_interface_of_clip_and_decoder_graph(clip_files: VariantFiles) -> None:
    inputs, outputs = interface(clip_files.graph)
    assert shape(inputs["clip"]) == ["frames", "2*rows", "2*columns", 3]
    assert inputs["clip"].type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert list(inputs) == ["clip"]
    assert list(outputs) == ["features"]
    assert outputs["features"].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert clip_files.decoder is not None
    inputs, outputs = interface(clip_files.decoder)
    assert shape(inputs["features"]) == [1, 8, "rows", "columns"]
    assert shape(outputs["upscaled"]) == [1, "8*rows", "8*columns", 3]
    assert outputs["upscaled"].type.tensor_type.elem_type == onnx.TensorProto.UINT8


def test_casts_are_first_and_last(files: VariantFiles, clip_files: VariantFiles) -> None:
    """TensorRT takes uint8 only between casts."""
    assert clip_files.decoder is not None
    for path in (files.graph, clip_files.graph, clip_files.decoder):
        nodes = onnx.load(path).graph.node
        for name in ("frame", "clip"):
            assert {n.op_type for n in nodes if name in n.input} <= {"Cast"}
        assert {n.op_type for n in nodes if "upscaled" in n.output} <= {"Cast"}
    readers = [n.op_type for n in onnx.load(files.graph).graph.node if "frame" in n.input]
    assert "Cast" in readers


def test_names_come_from_modules_and_metadata_is_gone(
    files: VariantFiles, clip_files: VariantFiles
) -> None:
    names: dict[Path, list[str]] = {}
    for path in (*files.graphs, *clip_files.graphs):
        names[path] = [node.name for node in onnx.load(path).graph.node]
        assert len(set(names[path])) == len(names[path])
        raw = path.read_bytes()
        assert b"/site-packages/" not in raw
        assert str(Path.cwd()).encode() not in raw
        assert b"pkg.torch" not in raw
    assert {
        "unet.down_blocks.1.resnets.0.conv2/Conv",
        "unet.up_blocks.1.temporal_resnets.0.conv1.taps.0/Conv",
        "decoder.conv_out/Conv",
    } <= set(names[files.graph])
    assert {
        "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q/MatMul",
        "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1/Softmax",
        "unet.down_blocks.0.temporal_attentions.0.conv2.taps.2/Conv",
        "unet.up_blocks.0.resnets.1.norm2/InstanceNormalization",
    } <= set(names[clip_files.graph])
    assert clip_files.decoder is not None
    assert {
        "decoder.mid_block.attentions.0.to_v/MatMul",
        "decoder.up_blocks.2.upsamplers.0.conv/Conv",
        "decoder.conv_out/Conv",
    } <= set(names[clip_files.decoder])


def test_tracing_leaves_the_network_alone() -> None:
    """Its last convolution is scaled to levels in a copy; everything else is shared."""
    network = untrained_network(PRESETS["nano"])
    before = {key: value.clone() for key, value in network.state_dict().items()}
    module = StreamGraph(network)
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert module.network.unet is network.unet
    assert module.network.decoder.conv_out is not network.decoder.conv_out
    assert torch.allclose(
        module.network.decoder.conv_out.weight, network.decoder.conv_out.weight * 127.5
    )


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_a_clip_graph_takes_any_number_of_frames(
    clip_network: AdcVsr, clip_files: VariantFiles, frames: int
) -> None:
    clip = draw_clip(frames, 16, 24)
    (run,) = replay(clip_files, (), [clip])
    assert run.picture.shape == (frames, 64, 96, 3)
    signed = torch.from_numpy(clip).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        expected = clip_network(signed[None])[0][0].permute(0, 2, 3, 1) * 127.5 + 127.5
    assert np.abs(run.picture - expected.clamp(0, 255).numpy()).max() <= 1


def test_pixel_shuffle_networks_have_clip_graphs_too(clip_bundle: Path) -> None:
    bundle = open_bundle(clip_bundle)
    assert isinstance(bundle.config, AdcVsrConfig)
    assert bundle.config.decoder == "pixel_shuffle"
    assert bundle.state == ()
    (run,) = replay(VariantFiles(clip_bundle, "fp32-onnx", "clip"), (), [draw_clip(3, 12, 16)])
    assert run.picture.shape == (3, 48, 64, 3)
    assert run.beside["features"][0].shape == (12, 6, 8)


def test_large_weights_lie_beside_the_graph(
    network: AdcVsr, files: VariantFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file, "EMBEDDED_LIMIT_BYTES", 1 << 10)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        save_graph(onnx_ir.load(files.graph), tmp_path / name / "fp32-onnx.onnx")
    path = tmp_path / "a" / "fp32-onnx.onnx"
    (data,) = data_files(path)
    assert data.name == "fp32-onnx.onnx.data"
    assert path.stat().st_size + data.stat().st_size == pytest.approx(
        files.graph.stat().st_size, rel=0.1
    )
    for file in (path, data):
        assert (tmp_path / "b" / file.name).read_bytes() == file.read_bytes()
    original = {t.name: numpy_helper.to_array(t) for t in onnx.load(files.graph).graph.initializer}
    for tensor in onnx.load(path).graph.initializer:
        assert np.array_equal(numpy_helper.to_array(tensor), original[tensor.name])
    clip = draw_clip(2, 16, 16)
    specs = state_specs(network)
    (embedded,) = replay(files, specs, [clip])
    (beside,) = replay(VariantFiles(tmp_path / "a", files.id, "stream"), specs, [clip])
    assert np.array_equal(embedded.picture, beside.picture)


def test_no_thread_spins_for_work(files: VariantFiles) -> None:
    """Between short runs it would take a processor from everything else."""
    for session in (open_session(files.graph), open_graph(files.graph, threads=2)):
        options = session.get_session_options()
        assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_a_network_with_future_has_no_stream_graph() -> None:
    with torch.device("meta"):
        paper = AdcVsr(PRESETS["paper"])
    with pytest.raises(ConfigError, match="not causal and has no stream graph"):
        stream_graph(paper)
