"""The published network at its full size: files, streaming, graphs. Minutes and gigabytes each."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from adcvsr.config import PRESETS
from adcvsr.export import parity
from adcvsr.export.graphs.variant_files import state_specs, write_graphs
from adcvsr.model.published import import_adcsr, read_tensors
from adcvsr.model.untrained import untrained_network
from published_files import write_adcsr

PAPER = PRESETS["paper"]

pytestmark = [pytest.mark.slow, pytest.mark.golden]


def listed_shapes(table: Path) -> dict[str, list[int]]:
    """Keys and shapes from a two-column table of a published file."""
    rows = [line.split("\t") for line in table.read_text().splitlines()[1:]]
    return {key: [int(n) for n in shape.strip("()").split(",") if n.strip()] for key, shape in rows}


def shapes(tensors: dict[str, Tensor]) -> dict[str, list[int]]:
    return {key: list(tensor.shape) for key, tensor in tensors.items()}


@torch.no_grad()
def test_files_of_the_published_shapes(tmp_path: Path, data: Path) -> None:
    """Written with random weights, read by the real loader; about 4 GB on disk, 8 GB of memory."""
    network, net_params, half_decoder = write_adcsr(tmp_path, PAPER)
    written = read_tensors(net_params)
    assert len(written) == 1076
    own = {k.removeprefix("module."): v for k, v in written.items()}
    published = listed_shapes(data.parent / "design" / "adcsr_net_keys.tsv")
    assert len(written) - len(published) == 524
    assert published.items() <= shapes(own).items()
    decoder = {
        k.removeprefix("decoder."): v
        for k, v in read_tensors(half_decoder).items()
        if k.startswith("decoder.")
    }
    assert shapes(decoder) == listed_shapes(data.parent / "design" / "halfdecoder_keys.tsv")
    del written, own, decoder
    imported, _ = import_adcsr(net_params, half_decoder, config=PAPER)
    clip = torch.rand(1, 2, 3, 16, 16) * 2 - 1
    assert sum(p.numel() for p in imported.parameters()) == 572_935_443
    assert (imported(clip)[0] - network(clip)[0]).abs().max() <= 1e-4


@torch.no_grad()
@pytest.mark.parametrize("name", ["small", "paper"])
def test_stream_is_clip(name: str) -> None:
    """Frame by frame with carried state as the clip at once, temporal blocks that do something."""
    network = untrained_network(dataclasses.replace(PRESETS[name], causal=True))
    clip = torch.rand(1, 4, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    whole, _ = network(clip)
    state, parts = None, []
    for frame in clip.split(1, 1):
        part, state = network(frame, state)
        parts.append(part)
    assert (torch.cat(parts, 1) - whole).abs().max() <= 1e-4
    alone, _ = network(clip[:, 3:])
    assert (alone - whole[:, 3:]).abs().max() > 1e-2  # the state matters


@torch.no_grad()
def test_graphs_are_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One 64x64 frame through ONNX Runtime and torch."""
    network = untrained_network(PAPER)
    files = write_graphs(network, tmp_path, "fp32-onnx")
    assert len(files.data) == 1
    monkeypatch.setattr(parity, "FRAMES", 1)
    monkeypatch.setattr(parity, "SIZES", ((64, 64),))
    report, golden = parity.check_parity(network, files, state_specs(network))
    assert 0 < report.float_error <= 1e-4
    assert report.level_error <= 1
    assert golden.upscaled.shape == (1, 256, 256, 3)
    assert np.ptp(golden.upscaled) > 100
