"""Bundles: finding them, and refusing what is damaged, new or hostile."""

from __future__ import annotations

import json
import os
import shutil
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from adcvsr.bundle import Bundle, list_bundles, open_bundle
from adcvsr.errors import BundleError, BundleNotFoundError, ConfigError
from adcvsr.given import MANIFEST


@pytest.fixture
def bundle_copy(tmp_path: Path) -> Path:
    shutil.copytree(open_bundle("nano").path, tmp_path / "copy")
    return tmp_path / "copy"


def change_manifest(path: Path, **changes: object) -> None:
    manifest = json.loads((path / MANIFEST).read_text())
    manifest.update(changes)
    (path / MANIFEST).write_text(json.dumps(manifest))


def test_the_shipped_bundle_is_whole_and_small() -> None:
    bundle = open_bundle("nano")
    bundle.verify_files()
    assert bundle.trained
    assert bundle.config.name == "nano"
    assert sum(f.stat().st_size for f in bundle.path.iterdir()) <= 3_000_000


SHIPPED = ["nano", "nano-camera", "nano-restore", "nano-restore-half", "small", "small-restore"]


def test_names_and_paths(bundle_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_bundle(bundle_copy).name == "nano"
    assert open_bundle(str(bundle_copy)).name == "nano"
    monkeypatch.setenv("ADCVSR_MODELS", str(bundle_copy.parent))
    assert open_bundle("copy").path == bundle_copy
    assert [b.path.name for b in list_bundles()] == ["copy", *SHIPPED]
    monkeypatch.chdir(bundle_copy.parent)
    assert open_bundle("copy").path == bundle_copy


@pytest.mark.parametrize("name", SHIPPED)
def test_what_ships_is_as_it_was_written(name: str) -> None:
    """Every file of a bundle, its card too, which is edited by hand."""
    open_bundle(name).verify_files()


def test_unknown_name_lists_the_nearest() -> None:
    with pytest.raises(BundleNotFoundError, match="no bundle named 'nanoo'.*did you mean 'nano'"):
        open_bundle("nanoo")
    with pytest.raises(BundleNotFoundError, match="no bundle at"):
        open_bundle(Path("/nowhere/at/all"))


def test_zip_is_read_like_a_directory(bundle_copy: Path, tmp_path: Path) -> None:
    archive = tmp_path / "nano.zip"
    with zipfile.ZipFile(archive, "w") as target:
        for file in bundle_copy.iterdir():
            target.write(file, file.name)
    bundle = Bundle(archive)
    bundle.verify_files()
    assert bundle.manifest == Bundle(bundle_copy).manifest


def test_changed_file(bundle_copy: Path) -> None:
    graph = bundle_copy / "fp32-onnx.onnx"
    data = bytearray(graph.read_bytes())
    data[len(data) // 2] ^= 1
    graph.write_bytes(data)
    with pytest.raises(BundleError, match="was changed after the bundle was written"):
        Bundle(bundle_copy).read("fp32-onnx.onnx")


def test_longer_and_missing_file(bundle_copy: Path) -> None:
    graph = bundle_copy / "fp32-onnx.onnx"
    graph.write_bytes(graph.read_bytes() + b"more")
    with pytest.raises(BundleError, match="longer than"):
        Bundle(bundle_copy).read(graph.name)
    graph.unlink()
    with pytest.raises(BundleError, match="listed in the manifest but missing"):
        Bundle(bundle_copy).verify_files()


def test_schema_1_is_upgraded(bundle_copy: Path) -> None:
    manifest = json.loads((bundle_copy / MANIFEST).read_text())
    del manifest["colour_match"], manifest["interface"]["kind"]
    (bundle_copy / MANIFEST).write_text(json.dumps({**manifest, "schema": 1}))
    bundle = Bundle(bundle_copy)
    assert bundle.kind == "stream"
    assert bundle.colour_match.mode == "none"
    change_manifest(bundle_copy, schema=0)
    with pytest.raises(BundleError, match="schema is 0, expected a whole number of 1 or more"):
        Bundle(bundle_copy)


def test_newer_schema(bundle_copy: Path) -> None:
    change_manifest(bundle_copy, schema=99)
    with pytest.raises(BundleError, match="schema 99.*upgrade adcvsr"):
        Bundle(bundle_copy)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../b", "..\\b", ""])
def test_names_that_leave_the_bundle(bundle_copy: Path, name: str) -> None:
    change_manifest(bundle_copy, files={name: {"sha256": "0", "bytes": 1}})
    with pytest.raises(BundleError, match="leaves the bundle"):
        Bundle(bundle_copy)


def test_absurd_size_is_refused_unread(bundle_copy: Path) -> None:
    change_manifest(bundle_copy, files={"fp32-onnx.onnx": {"sha256": "0", "bytes": 100 << 30}})
    with pytest.raises(BundleError, match="declares 107374182400 bytes"):
        Bundle(bundle_copy).read("fp32-onnx.onnx")


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"schema": 1}', "\x00" * 10])
def test_manifest_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(BundleError, match="not a bundle manifest|not valid JSON|is missing"):
        Bundle(tmp_path)


def test_empty_file_and_plain_directory(tmp_path: Path) -> None:
    (tmp_path / "empty.zip").touch()
    with pytest.raises(BundleError, match="cannot be read as a bundle"):
        Bundle(tmp_path / "empty.zip")
    with pytest.raises(BundleError, match="not a bundle: it has no 'manifest.json'"):
        Bundle(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"size_multiple": 0},
        {"colour_match": {"mode": "vivid"}},
        {"files": {"a": {}}},
        {"variants": {"fp32-onnx": {"file": "a", "state_dtype": "float8"}}},
        {"interface": {}},
        {"config": {"name": "x"}},
    ],
)
def test_manifest_with_impossible_values(bundle_copy: Path, change: dict[str, object]) -> None:
    change_manifest(bundle_copy, **change)
    with pytest.raises((BundleError, ConfigError)):
        Bundle(bundle_copy)


def test_damaged_bundles_and_missing_folders_are_reported(
    bundle_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_manifest(bundle_copy, schema=99)
    monkeypatch.setenv("ADCVSR_MODELS", f"{bundle_copy.parent}{os.pathsep}/nowhere/at/all")
    lines: list[str] = []
    assert [b.path.name for b in list_bundles(lines.append)] == SHIPPED
    assert len(lines) == 2
    assert "schema 99" in lines[0]
    assert "'/nowhere/at/all' in $ADCVSR_MODELS is no folder" in lines[1]


def test_a_damaged_zip_is_one_error(bundle_copy: Path, tmp_path: Path) -> None:
    archive = tmp_path / "nano.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for file in bundle_copy.iterdir():
            target.write(file, file.name)
    data = bytearray(archive.read_bytes())
    for position in range(100, len(data) - 400, 37):
        data[position] ^= 0x55
    archive.write_bytes(data)
    with pytest.raises(BundleError):
        Bundle(archive).verify_files()


def test_missing_variant_lists_those_there() -> None:
    with pytest.raises(BundleError, match="no variant 'int4'; it has: .*fp32-onnx"):
        open_bundle("nano").variant("int4")


def zip_with(bundle: Path, target: Path, entries: dict[str, bytes]) -> Path:
    """A bundle as one file, some entries in the place of its own or beside them."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in bundle.iterdir():
            if file.name not in entries:
                archive.write(file, file.name)
        for name, data in entries.items():
            archive.writestr(name, data)
    return target


@pytest.mark.parametrize("name", ["../evil", "/tmp/adcvsr-evil", "a/../../evil"])
def test_archive_entries_that_leave_the_bundle(
    bundle_copy: Path, tmp_path: Path, name: str
) -> None:
    """Beside the listed files they are never unpacked; listed, the bundle is refused."""
    before = sorted(tmp_path.rglob("*"))
    archive = zip_with(bundle_copy, tmp_path / "inner.zip", {name: b"evil"})
    bundle = Bundle(archive)
    bundle.verify_files()
    with bundle.graph(bundle.variant("fp32-onnx"), "fp32-onnx.onnx") as graph:
        assert isinstance(graph, bytes)
    assert sorted(tmp_path.rglob("*")) == sorted([*before, archive])
    assert not Path("/tmp/adcvsr-evil").exists()
    change_manifest(bundle_copy, files={name: {"sha256": "0", "bytes": 4}})
    with pytest.raises(BundleError, match="leaves the bundle"):
        Bundle(zip_with(bundle_copy, tmp_path / "listed.zip", {name: b"evil"}))


@pytest.mark.parametrize("name", [MANIFEST, "fp32-onnx.onnx"])
def test_an_entry_that_unpacks_to_more_than_it_says(
    bundle_copy: Path, tmp_path: Path, name: str
) -> None:
    """A zip bomb ends at what the manifest declares, in bounded memory."""
    archive = zip_with(bundle_copy, tmp_path / "bomb.zip", {name: bytes(256 << 20)})
    assert archive.stat().st_size < 3 << 20
    tracemalloc.start()
    try:
        with pytest.raises(BundleError, match=r"is longer than the \d+ bytes expected"):
            Bundle(archive).verify_files()
        assert tracemalloc.get_traced_memory()[1] < 80 << 20
    finally:
        tracemalloc.stop()
