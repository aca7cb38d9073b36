"""Parity: graphs that are the network pass, graphs that are not are refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from adcvsr.errors import ParityError
from adcvsr.export import parity
from adcvsr.export.graphs.variant_files import VariantFiles, state_specs, write_graphs
from adcvsr.model import AdcVsr
from adcvsr.model.untrained import untrained_network
from tiny_configs import CAUSAL_WIDE

Change = Callable[[onnx.ModelProto], None]


def changed(files: VariantFiles, folder: Path, change: Change) -> VariantFiles:
    """A copy of a variant, `change` made to every graph."""
    shutil.copytree(files.folder, folder)
    copy = VariantFiles(folder, files.id, files.kind)
    for path in copy.graphs:
        model = onnx.load(path)
        change(model)
        onnx.save(model, path)
    return copy


def scaled(name: str, factor: float) -> Change:
    """Scale one weight."""

    def change(model: onnx.ModelProto) -> None:
        for tensor in model.graph.initializer:
            if tensor.name.endswith(name):
                value = numpy_helper.to_array(tensor) * np.float32(factor)
                tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))

    return change


def test_stream_graph_is_the_network(network: AdcVsr, files: VariantFiles) -> None:
    report, golden = parity.check_parity(network, files, state_specs(network))
    assert 0 < report.float_error <= 1e-4
    assert 0 < report.state_error <= 1e-4
    assert report.features_error == 0
    assert report.level_error <= 1
    assert report.frames == 16
    assert golden.frames.shape == (8, 48, 64, 3)
    assert golden.upscaled.shape == (8, 4 * 48, 4 * 64, 3)
    assert [p.name for p in files.folder.iterdir()] == ["fp32-onnx.onnx"]


@pytest.mark.slow
def test_taps_of_more_than_a_pixel_are_the_networks(tmp_path: Path) -> None:
    """States of several frames, read by 3x3 convolutions, one of them after every block."""
    one_level = replace(CAUSAL_WIDE, widths=(8,), down_blocks=(2,), up_blocks=(0,), skip="none")
    network = untrained_network(one_level)
    report, _ = parity.check_parity(
        network, write_graphs(network, tmp_path, "fp32-onnx"), state_specs(network)
    )
    assert 0 < report.float_error <= 1e-4
    assert 0 < report.state_error <= 1e-4


def test_clip_and_decoder_graph_are_the_network(
    clip_network: AdcVsr, clip_files: VariantFiles
) -> None:
    report, golden = parity.check_parity(clip_network, clip_files, state_specs(clip_network))
    assert 0 < report.float_error <= 1e-4
    assert 0 < report.features_error <= 1e-4
    assert report.state_error == 0
    assert report.level_error <= 1
    assert golden.upscaled.shape == (8, 4 * 48, 4 * 64, 3)


@pytest.mark.parametrize(
    ("initializer", "factor"),
    [
        ("decoder.conv_out.weight", 1.02),
        ("unet.down_blocks.0.resnets.0.conv1.weight", 1.5),
        ("unet.conv_in.weight", np.nan),
    ],
)
def test_a_changed_weight_fails(
    network: AdcVsr, files: VariantFiles, tmp_path: Path, initializer: str, factor: float
) -> None:
    broken = changed(files, tmp_path / "broken", scaled(initializer, factor))
    with pytest.raises(ParityError, match="differs from the network"):
        parity.check_parity(network, broken, state_specs(network))


def test_a_changed_clip_network_fails(
    clip_network: AdcVsr, clip_files: VariantFiles, tmp_path: Path
) -> None:
    tap = "temporal_attentions.0.conv2.taps.2.weight"
    broken = changed(clip_files, tmp_path / "unet", scaled(tap, 1.1))
    with pytest.raises(ParityError, match="features by"):
        parity.check_parity(clip_network, broken, state_specs(clip_network))
    broken = changed(clip_files, tmp_path / "decoder", scaled("decoder.conv_out.bias", 1.001))
    with pytest.raises(ParityError, match="picture .float. by"):
        parity.check_parity(clip_network, broken, state_specs(clip_network))


def test_an_error_in_the_state_alone_fails(
    network: AdcVsr, files: VariantFiles, tmp_path: Path
) -> None:
    """A state that is wrong by 1e-3 and hardly visible in the picture is still refused."""
    name = "state_up_blocks_1_resnets_0_conv1_next"

    def offset(model: onnx.ModelProto) -> None:
        producer = next(n for n in model.graph.node if name in n.output)
        for node in model.graph.node:  # what read the state inside the graph reads the clean value
            for index, used in enumerate(node.input):
                if used == name:
                    node.input[index] = "clean"
        producer.output[list(producer.output).index(name)] = "clean"
        model.graph.initializer.append(numpy_helper.from_array(np.array(1e-3, np.float32), "off"))
        model.graph.node.append(onnx.helper.make_node("Add", ["clean", "off"], [name], name="add"))

    with pytest.raises(ParityError, match="state by 0.001"):
        parity.check_parity(
            network, changed(files, tmp_path / "broken", offset), state_specs(network)
        )
