"""What was given in the place of what was wanted is named, with what to do."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from adcvsr.bundle import PACKAGED, open_bundle
from adcvsr.calibration.sets.calibration_set import open_set
from adcvsr.errors import (
    BundleError,
    BundleNotFoundError,
    CalibrationError,
    CheckpointError,
    InputNotFoundError,
    UnreadableVideoError,
)
from adcvsr.given import refuse_address, what_is
from adcvsr.pictures.clips import write_clip
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.runtime.video.source import FileSource

NANO = PACKAGED / "nano"


@pytest.fixture
def things(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/checkpoint.safetensors").write_bytes(b"weights")
    (tmp_path / "net.pkl").write_bytes(b"pickle")
    (tmp_path / "clips").mkdir()
    write_clip(tmp_path / "clips/a.mp4", draw_clip(2, 16, 16))
    (tmp_path / "set").mkdir()
    for name in ("manifest.json", "frames.npz"):
        (tmp_path / "set" / name).touch()
    with zipfile.ZipFile(tmp_path / "nano.zip", "w") as archive:
        for file in NANO.iterdir():
            archive.write(file, file.name)
    return tmp_path


def test_what_things_are(things: Path) -> None:
    assert what_is(NANO) == what_is(things / "nano.zip") == "bundle"
    assert what_is(things / "run") == "folder of a training run"
    assert what_is(things / "run/checkpoint.safetensors") == "checkpoint"
    assert what_is(things / "set") == "calibration set"
    assert what_is(things / "none.mp4") is what_is(things) is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("run/checkpoint.safetensors", "it is a checkpoint, expected a bundle: 'adcvsr export"),
        ("run", "run/checkpoint.safetensors -o my-bundle' makes a bundle of it"),
        ("net.pkl", "'adcvsr import' makes a checkpoint of it"),
        ("clips/a.mp4", "it is a video, expected a bundle"),
        ("set", "it is a calibration set, expected a bundle"),
    ],
)
def test_no_bundle(things: Path, given: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BundleError, match="is not a bundle") as raised:
        open_bundle(things / given)
    assert said in str(raised.value)
    monkeypatch.chdir(things)
    with pytest.raises(BundleError, match="is not a bundle"):
        open_bundle(given)
    assert open_bundle("nano.zip").name == "nano"


def test_a_name_where_a_path_is_wanted() -> None:
    with pytest.raises(BundleNotFoundError, match="in '.*nano': give that path, or a copy"):
        open_bundle(Path("nano"))


def test_a_name_nobody_has() -> None:
    with pytest.raises(BundleNotFoundError, match="did you mean 'nano'"):
        open_bundle("nanoo")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (NANO, "a bundle, expected a checkpoint: a bundle cannot be trained on"),
        ("nano.zip", "a bundle, expected a checkpoint"),
        ("run", "give .*run/checkpoint.safetensors"),
        ("net.pkl", "'adcvsr import' makes a checkpoint of it"),
    ],
)
def test_no_checkpoint(things: Path, given: str | Path, said: str) -> None:
    pytest.importorskip("torch", reason="checkpoints are torch's")
    from adcvsr.model import load_checkpoint

    with pytest.raises(CheckpointError, match=said):
        load_checkpoint(things / given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (NANO, "'adcvsr calibrate CLIPS -o SET --model .*nano' makes a set for it"),
        ("clips/a.mp4", "a video, expected a calibration set: 'adcvsr calibrate"),
        ("clips", "a folder of clips, expected a calibration set"),
        ("none", "has no 'manifest.json'; make one with"),
    ],
)
def test_no_calibration_set(things: Path, given: str | Path, said: str) -> None:
    with pytest.raises(CalibrationError, match=said):
        open_set(things / given)


def test_no_video(things: Path) -> None:
    with pytest.raises(InputNotFoundError, match="it is a bundle, expected a video: .* --model"):
        FileSource(NANO)
    with pytest.raises(UnreadableVideoError, match="it is a checkpoint, expected a video"):
        FileSource(things / "run/checkpoint.safetensors")


@pytest.mark.parametrize(
    "address", ["https://me:secret@host/a.mp4?token=secret", "rtsp:/me:secret@host/a", "udp://h:1"]
)
def test_an_address_is_no_file(address: str) -> None:
    with pytest.raises(InputNotFoundError, match="is an address, expected a file") as raised:
        refuse_address(address)
    assert "secret" not in str(raised.value)
    assert "://" in str(raised.value)
    with pytest.raises(InputNotFoundError, match="is an address"):
        FileSource(Path(address))


def test_files_are_no_addresses(tmp_path: Path) -> None:
    for name in ("a.mp4", "C:/a.mp4", "a: b/c.mp4", "./x:/y", tmp_path):
        assert refuse_address(name) is None
