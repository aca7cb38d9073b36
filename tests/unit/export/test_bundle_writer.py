"""Export: the graph is the network, and a graph that is not is refused."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir
import pytest
import torch

from adcvsr.bundle import Bundle, graph_trial, open_bundle
from adcvsr.bundle.schema import ColourMatch, Window
from adcvsr.config import PRESETS
from adcvsr.errors import (
    BundleError,
    CheckpointError,
    ConfigError,
    OutputExistsError,
    OutputNotWritableError,
    ParityError,
)
from adcvsr.export import bundle_writer, parity
from adcvsr.export.graphs import onnx_file
from adcvsr.export.graphs.variant_files import VariantFiles
from adcvsr.export.manifest import BundleSettings
from adcvsr.model import AdcVsr, save_checkpoint
from adcvsr.model.untrained import untrained_network
from adcvsr.runtime.sessions.ort_cpu import OrtCpuSession

pytestmark = pytest.mark.usefixtures("few_colours")  # random weights make no picture

IGNORE_LINES = lambda line: None  # noqa: E731


@pytest.mark.usefixtures("traced_before")
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


@pytest.mark.slow
def test_same_bytes_twice_and_as_one_file(
    tiny_bundle: Path, checkpoint: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "tiny.zip"
    bundle_writer.export_bundle(checkpoint, archive, report=IGNORE_LINES)
    Bundle(archive).verify_files()
    with zipfile.ZipFile(archive) as opened:
        assert {entry.date_time for entry in opened.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert opened.namelist() == sorted(f.name for f in tiny_bundle.iterdir())
        for file in tiny_bundle.iterdir():
            assert opened.read(file.name) == file.read_bytes(), file.name


@pytest.mark.usefixtures("traced_before")
def test_clip_bundle(clip_network: AdcVsr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADCVSR_CACHE", str(tmp_path / "cache"))
    save_checkpoint(tmp_path / "clip.safetensors", clip_network, provenance={})
    settings = BundleSettings(window=Window(5, 2), colour_match=ColourMatch("ema", 30.0))
    lines: list[str] = []
    bundle = bundle_writer.export_bundle(
        tmp_path / "clip.safetensors", tmp_path / "clip", settings, report=lines.append
    )
    assert bundle.kind == "clip"
    assert bundle.trained
    assert bundle.state == ()
    assert bundle.window == Window(5, 2)
    assert bundle.colour_match == ColourMatch("ema", 30.0)
    assert bundle.features is not None
    assert bundle.features.shape(16, 32, 5) == (5, 8, 8, 16)
    assert bundle.manifest["interface"]["input"]["shape"][0] == "T"
    variant = bundle.variant("fp32-onnx")
    assert (variant.file, variant.decoder_file) == ("fp32-onnx.onnx", "fp32-onnx.decoder.onnx")
    assert variant.data_files == ()
    assert "features" in lines[0]
    with np.load(tmp_path / "clip" / "golden.npz") as golden:
        assert golden["upscaled"].shape == (8, 192, 256, 3)
    # Their parity has run the graphs here: nothing is left to be tried in a child.
    monkeypatch.setattr(graph_trial.subprocess, "run", lambda *_, **__: pytest.fail("tried"))
    for file in variant.graph_files:
        with bundle.graph(variant, file):
            pass


def test_settings_must_fit_the_network(network: AdcVsr, clip_network: AdcVsr) -> None:
    with pytest.raises(ConfigError, match="takes no window"):
        BundleSettings(window=Window(5, 2)).check(network.config)
    with pytest.raises(ConfigError, match="5 frames cannot overlap by 5"):
        BundleSettings(window=Window(5, 5)).check(clip_network.config)
    with pytest.raises(ConfigError, match="half-life"):
        BundleSettings(colour_match=ColourMatch("ema", 0.0)).check(network.config)


def test_untrained_bundle_says_so_and_follows_its_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = dataclasses.replace(PRESETS["nano"], widths=(4,), down_blocks=(1,))
    bundle = bundle_writer.export_untrained(config, tmp_path / "a", report=IGNORE_LINES)
    assert not bundle.trained
    assert bundle.manifest["provenance"]["untrained"]["seed"] == 0
    once, again, other = (untrained_network(config, seed=n).state_dict() for n in (0, 0, 1))
    assert all(torch.equal(once[key], again[key]) for key in once)
    assert not all(torch.equal(once[key], other[key]) for key in once)

    def given(network: AdcVsr, provenance: dict[str, Any], *_: object, **more: object) -> None:
        asked.append((provenance["untrained"]["seed"], more["trained"]))
        weights = network.state_dict()
        assert all(torch.equal(weights[key], other[key]) for key in other)

    asked: list[object] = []
    monkeypatch.setattr(bundle_writer, "_write_bundle", given)
    bundle_writer.export_untrained(config, tmp_path / "b", seed=1, report=IGNORE_LINES)
    assert asked == [(1, False)]
    frame = np.full((8, 8, 3), 100, np.uint8)
    bundle = Bundle(tmp_path / "a")
    with OrtCpuSession(bundle, bundle.variant("fp32-onnx"), threads=1) as session:
        assert np.abs(session.infer(frame).astype(int) - 100).mean() < 40  # about a picture


@pytest.fixture(scope="module")
def large(network: AdcVsr, files: VariantFiles, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose weights lie beside the graph, as those of a network beyond the limit do."""
    folder = tmp_path_factory.mktemp("large")
    save_checkpoint(folder / "c.safetensors", network, provenance={})

    def write(_: AdcVsr, target: Path, variant_id: str) -> VariantFiles:
        onnx_file.save_graph(onnx_ir.load(files.graph), target / files.graph.name)
        return VariantFiles(target, variant_id, files.kind)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_file, "EMBEDDED_LIMIT_BYTES", 1 << 10)
        patch.setattr(bundle_writer, "write_graphs", write)  # traced before
        bundle_writer.export_bundle(folder / "c.safetensors", folder / "large", report=IGNORE_LINES)
    return folder / "large"


def infer(path: Path) -> np.ndarray:
    bundle = Bundle(path)
    with OrtCpuSession(bundle, bundle.variant("fp32-onnx"), threads=1) as session:
        return session.infer(np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3))


def zipped(path: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for file in path.iterdir():
            archive.write(file, file.name)
    return target


def test_weights_beside_the_graph(
    large: Path, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a directory and as one file; nothing stays behind in the temporary folder."""
    assert Bundle(large).variant("fp32-onnx").data_files == ("fp32-onnx.onnx.data",)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "unpacked"))
    (tmp_path / "unpacked").mkdir()
    expected = infer(tiny_bundle)
    assert np.array_equal(infer(large), expected)
    assert np.array_equal(infer(zipped(large, tmp_path / "large.zip")), expected)
    assert list((tmp_path / "unpacked").iterdir()) == []


def test_changed_weights_beside_the_graph(large: Path, tmp_path: Path) -> None:
    shutil.copytree(large, tmp_path / "copy")
    data = tmp_path / "copy" / "fp32-onnx.onnx.data"
    raw = bytearray(data.read_bytes())
    raw[1000] ^= 1
    data.write_bytes(raw)
    for path in (tmp_path / "copy", zipped(tmp_path / "copy", tmp_path / "copy.zip")):
        with pytest.raises(BundleError, match=r"data' was changed after the bundle was written"):
            infer(path)
    data.unlink()
    for path in (tmp_path / "copy", zipped(tmp_path / "copy", tmp_path / "gone.zip")):
        with pytest.raises(BundleError, match="listed in the manifest but missing"):
            infer(path)


@pytest.mark.parametrize("where", ["/etc/hostname", "../secret", "other.data"])
def test_weights_outside_the_bundle(large: Path, tmp_path: Path, where: str) -> None:
    """The graph itself may be listed and hashed rightly: where it points is looked at too."""
    shutil.copytree(large, tmp_path / "copy")
    graph = tmp_path / "copy" / "fp32-onnx.onnx"
    graph.write_bytes(redirected(graph.read_bytes(), where))
    rehash(tmp_path / "copy", graph.name)
    with pytest.raises(BundleError, match="wants weights from .* not among the data files"):
        infer(tmp_path / "copy")


def test_no_room_to_unpack(large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = zipped(large, tmp_path / "large.zip")
    opened = Path.open

    def full(path: Path, mode: str = "r", **options: Any) -> Any:
        if mode == "wb":
            raise OSError(28, "No space left on device")
        return opened(path, mode, **options)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(BundleError, match="No space left on device; set TMPDIR"):
        infer(archive)


def redirected(graph: bytes, where: str) -> bytes:
    """The ONNX file with one tensor's external data elsewhere."""
    model = onnx.load_model_from_string(graph)
    entry = next(e for t in model.graph.initializer for e in t.external_data if e.key == "location")
    entry.value = where
    return bytes(model.SerializeToString())


def rehash(bundle: Path, name: str) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    data = (bundle / name).read_bytes()
    manifest["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (bundle / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.usefixtures("traced_before")
def test_existing_output_is_kept(checkpoint: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "precious").touch()
    with pytest.raises(OutputExistsError, match="--overwrite"):
        bundle_writer.export_bundle(checkpoint, target, report=IGNORE_LINES)
    settings = BundleSettings(overwrite=True)
    with pytest.raises(OutputNotWritableError, match="is no bundle and is not replaced"):
        bundle_writer.export_bundle(checkpoint, target, settings, report=IGNORE_LINES)
    assert (target / "precious").exists()


@pytest.mark.usefixtures("traced_before")
def test_a_bundle_is_replaced_and_comes_back_when_that_fails(
    tiny_bundle: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out"
    shutil.copytree(tiny_bundle, target)
    marker = target / "manifest.json"
    old = marker.read_bytes()

    settings = BundleSettings(name="new", overwrite=True)

    def fail(*paths: object) -> None:
        raise OSError("no luck")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(OutputNotWritableError, match="no luck"):
            bundle_writer.export_bundle(checkpoint, target, settings, report=IGNORE_LINES)
    assert marker.read_bytes() == old
    bundle_writer.export_bundle(checkpoint, target, settings, report=IGNORE_LINES)
    assert Bundle(target).name == "new"
    Bundle(target).verify_files()
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint"):
        bundle_writer.export_bundle(tmp_path / "x", tmp_path / "out", report=IGNORE_LINES)
