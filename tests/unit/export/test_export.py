"""Export: the graph is the network, and a graph that is not is refused."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from adcvsr.bundle import Bundle, open_bundle
from adcvsr.config import PRESETS
from adcvsr.errors import (
    CheckpointError,
    ConfigError,
    OutputExistsError,
    OutputNotWritableError,
    ParityError,
)
from adcvsr.export import bundle_writer, parity
from adcvsr.export.graph import stream_graph
from adcvsr.model import AdcVsr, load_checkpoint

IGNORE_LINES = lambda line: None  # noqa: E731


@pytest.fixture(scope="module")
def checkpoint(tiny_bundle: Path) -> Path:
    return tiny_bundle.parent / "checkpoint.safetensors"


@pytest.fixture(scope="module")
def network(checkpoint: Path) -> AdcVsr:
    return load_checkpoint(checkpoint)[0]


@pytest.fixture(scope="module")
def graph(network: AdcVsr) -> onnx.ModelProto:
    return stream_graph(network)


@pytest.fixture(scope="module")
def float_graph(network: AdcVsr) -> onnx.ModelProto:
    return stream_graph(network, float_output=True)


def test_interface_of_the_graph(graph: onnx.ModelProto) -> None:
    def shape(value: onnx.ValueInfoProto) -> list[object]:
        return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]

    inputs = {value.name: value for value in graph.graph.input}
    outputs = [value.name for value in graph.graph.output]
    first, *states = inputs
    assert first == "frame"
    assert outputs == ["upscaled", *(f"{name}_next" for name in states)]
    assert inputs["frame"].type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert shape(inputs["frame"]) == [1, "2*rows", "2*columns", 3]
    fine = inputs["state_up_blocks_1_resnets_0_conv1"]
    coarse = inputs["state_down_blocks_1_resnets_0_conv1"]
    assert shape(fine) == [1, 8, "2*rows", "2*columns"]
    assert shape(coarse) == [1, 12, "rows", "columns"]


def test_casts_are_first_and_last(graph: onnx.ModelProto) -> None:
    """TensorRT takes uint8 only between casts."""
    consumers = [n.op_type for n in graph.graph.node if "frame" in n.input and n.op_type != "Shape"]
    producers = [n.op_type for n in graph.graph.node if "upscaled" in n.output]
    assert consumers == ["Cast"]
    assert producers == ["Cast"]


def test_names_come_from_modules_and_metadata_is_gone(graph: onnx.ModelProto) -> None:
    names = [node.name for node in graph.graph.node]
    assert "unet.down_blocks.1.resnets.0.conv2/Conv" in names
    assert "unet.up_blocks.1.temporal_resnets.0.conv1.taps.0/Conv" in names
    assert "decoder.conv_out/Conv" in names
    assert len(set(names)) == len(names)
    raw = graph.SerializeToString()
    assert b"/site-packages/" not in raw
    assert str(Path.cwd()).encode() not in raw
    assert b"pkg.torch" not in raw


def test_parity_holds(
    network: AdcVsr, graph: onnx.ModelProto, float_graph: onnx.ModelProto
) -> None:
    report, golden = parity.check_parity(network, graph, float_graph)
    assert 0 < report.float_error <= 1e-4
    assert 0 < report.state_error <= 1e-4
    assert report.level_error <= 1
    assert report.frames == 16
    assert golden.upscaled.shape == (8, 4 * 96, 4 * 128, 3)


@pytest.mark.parametrize(
    ("initializer", "factor"),
    [("decoder.conv_out.weight", 1.02), ("unet.down_blocks.0.resnets.0.conv1.weight", 1.5)],
)
def test_a_changed_graph_fails(
    network: AdcVsr,
    graph: onnx.ModelProto,
    float_graph: onnx.ModelProto,
    initializer: str,
    factor: float,
) -> None:
    """A changed weight is found, in the graph that ships and in the one with float output."""
    for which in (0, 1):
        graphs = [onnx.ModelProto(), onnx.ModelProto()]
        for copy, original in zip(graphs, (graph, float_graph), strict=True):
            copy.CopyFrom(original)
        tensor = next(t for t in graphs[which].graph.initializer if t.name.endswith(initializer))
        tensor.CopyFrom(
            numpy_helper.from_array(numpy_helper.to_array(tensor) * factor, tensor.name)
        )
        with pytest.raises(ParityError, match="differs from the network"):
            parity.check_parity(network, *graphs)


def test_an_error_in_the_state_alone_fails(
    network: AdcVsr, graph: onnx.ModelProto, float_graph: onnx.ModelProto
) -> None:
    """A state that is wrong by 1e-3 and hardly visible in the picture is still refused."""
    broken = onnx.ModelProto()
    broken.CopyFrom(graph)
    name = "state_up_blocks_1_resnets_0_conv1_next"
    producer = next(n for n in broken.graph.node if name in n.output)
    for node in broken.graph.node:  # what read the state inside the graph reads the clean value
        for index, used in enumerate(node.input):
            if used == name:
                node.input[index] = "clean"
    producer.output[list(producer.output).index(name)] = "clean"
    broken.graph.initializer.append(numpy_helper.from_array(np.array(1e-3, np.float32), "offset"))
    broken.graph.node.append(onnx.helper.make_node("Add", ["clean", "offset"], [name], name="off"))
    with pytest.raises(ParityError, match="state by 0.001"):
        parity.check_parity(network, broken, float_graph)


def test_a_failed_export_writes_nothing(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity, "FLOAT_TOLERANCE", 0.0)
    with pytest.raises(ParityError, match="nothing was written"):
        bundle_writer.export_bundle(checkpoint, tmp_path / "out", report=IGNORE_LINES)
    assert list(tmp_path.iterdir()) == []


def test_manifest(tiny_bundle: Path) -> None:
    bundle = open_bundle(tiny_bundle)
    manifest = bundle.manifest
    assert bundle.size_multiple == 2
    assert [s.name for s in bundle.state] == [
        "state_down_blocks_1_resnets_0_conv1",
        "state_up_blocks_1_resnets_0_conv1",
    ]
    assert [s.shape(10, 8) for s in bundle.state] == [(1, 12, 5, 4), (1, 8, 10, 8)]
    assert manifest["licences"] == ["CC0-1.0"]
    assert manifest["provenance"]["recipe"] == "random"
    assert manifest["parameters"] == bundle.parameters > 0
    for name, entry in manifest["files"].items():
        data = (tiny_bundle / name).read_bytes()
        assert hashlib.sha256(data).hexdigest() == entry["sha256"]


def test_same_bytes_twice_and_as_one_file(
    tiny_bundle: Path, checkpoint: Path, tmp_path: Path
) -> None:
    for name in ("a", "b.zip", "c.zip"):
        bundle_writer.export_bundle(checkpoint, tmp_path / name, name="tiny", report=IGNORE_LINES)
    for file in tiny_bundle.iterdir():
        assert (tmp_path / "a" / file.name).read_bytes() == file.read_bytes(), file.name
    assert (tmp_path / "b.zip").read_bytes() == (tmp_path / "c.zip").read_bytes()
    Bundle(tmp_path / "b.zip").verify_files()


def test_existing_output_is_kept(checkpoint: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "precious").touch()
    with pytest.raises(OutputExistsError, match="--overwrite"):
        bundle_writer.export_bundle(checkpoint, target, report=IGNORE_LINES)
    with pytest.raises(OutputNotWritableError, match="is no bundle and is not replaced"):
        bundle_writer.export_bundle(checkpoint, target, overwrite=True, report=IGNORE_LINES)
    assert (target / "precious").exists()


def test_a_bundle_is_replaced_and_comes_back_when_that_fails(
    tiny_bundle: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out"
    shutil.copytree(tiny_bundle, target)
    marker = target / "manifest.json"
    old = marker.read_bytes()

    def fail(*paths: object) -> None:
        raise OSError("no luck")

    with monkeypatch.context() as patch:
        patch.setattr(bundle_writer.os, "replace", fail)
        with pytest.raises(OutputNotWritableError, match="no luck"):
            bundle_writer.export_bundle(
                checkpoint, target, name="new", overwrite=True, report=IGNORE_LINES
            )
    assert marker.read_bytes() == old
    bundle_writer.export_bundle(checkpoint, target, name="new", overwrite=True, report=IGNORE_LINES)
    assert Bundle(target).name == "new"
    Bundle(target).verify_files()
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_not_a_number_is_a_difference(
    network: AdcVsr, graph: onnx.ModelProto, float_graph: onnx.ModelProto
) -> None:
    broken = onnx.ModelProto()
    broken.CopyFrom(float_graph)
    tensor = next(t for t in broken.graph.initializer if t.name.endswith("conv_out.weight"))
    nan = np.full_like(numpy_helper.to_array(tensor), np.nan)
    tensor.CopyFrom(numpy_helper.from_array(nan, tensor.name))
    with pytest.raises(ParityError, match="picture .float. by inf"):
        parity.check_parity(network, graph, broken)


def test_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint"):
        bundle_writer.export_bundle(tmp_path / "x", tmp_path / "out", report=IGNORE_LINES)


def test_a_network_with_future_has_no_stream_graph() -> None:
    with torch.device("meta"):
        paper = AdcVsr(PRESETS["paper"])
    with pytest.raises(ConfigError, match="not causal and has no stream graph"):
        stream_graph(paper)
