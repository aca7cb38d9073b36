"""Networks and the graphs made of them, once for all tests here."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="exporting needs torch")

from adcvsr.config import AdcVsrConfig
from adcvsr.export import bundle_writer
from adcvsr.export.graphs.variant_files import VariantFiles, write_graphs
from adcvsr.model import AdcVsr, load_checkpoint
from adcvsr.model.untrained import untrained_network

MakeOnce = Callable[[str, Callable[[Path], object]], Path]

FP32 = "fp32-onnx"

CLIP = AdcVsrConfig(
    name="tiny-clip",
    unshuffle=2,
    widths=(8,),
    down_blocks=(1,),
    mid_blocks=0,
    up_blocks=(2,),
    skip="concat",
    norm="group",
    activation="silu",
    attention_levels=(0,),
    attention_heads=(2,),
    temporal_sites=("down_blocks.0.attentions.0", "up_blocks.0.resnets.1"),
    temporal_kernel=3,
    temporal_convs=2,
    causal=False,
    decoder="vae",
    decoder_widths=(4, 4, 8, 8),
)
"""All that the published network has, at a hundred-thousandth of its weights."""


@pytest.fixture(scope="session")
def checkpoint(tiny_bundle: Path) -> Path:
    return tiny_bundle.parent / "checkpoint.safetensors"


@pytest.fixture(scope="session")
def network(checkpoint: Path) -> AdcVsr:
    """Causal, two levels, two states."""
    return load_checkpoint(checkpoint)[0]


@pytest.fixture(scope="session")
def files(tiny_bundle: Path, make_once: MakeOnce) -> VariantFiles:
    """The stream graph of `network`: the one in its bundle, which a second trace equals."""

    def copy(folder: Path) -> None:
        for file in tiny_bundle.glob(f"{FP32}.onnx*"):
            shutil.copyfile(file, folder / file.name)

    folder = make_once("graphs", copy)
    return VariantFiles(folder, FP32, "stream")


@pytest.fixture(scope="session")
def clip_network() -> AdcVsr:
    """Not causal, with norms, attention and the VAE decoder."""
    return untrained_network(CLIP)


@pytest.fixture(scope="session")
def clip_files(clip_network: AdcVsr, make_once: MakeOnce) -> VariantFiles:
    """The clip graph and the decoder graph of `clip_network`."""
    folder = make_once("clip-graphs", lambda folder: write_graphs(clip_network, folder, FP32))
    return VariantFiles(folder, FP32, "clip")


@pytest.fixture
def traced_before(
    files: VariantFiles, clip_files: VariantFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bundles get copies of graphs traced before, where tracing again would show nothing new."""

    def write(network: AdcVsr, folder: Path, variant_id: str) -> VariantFiles:
        source = files if network.config.causal else clip_files
        for file in source.folder.iterdir():
            shutil.copyfile(file, folder / file.name)
        return VariantFiles(folder, variant_id, source.kind)

    monkeypatch.setattr(bundle_writer, "write_graphs", write)
