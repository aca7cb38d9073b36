"""Whatever is wrong with a zip archive, its reader says so in a line of its own error."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from adcvsr.errors import AdcVsrError, BenchError, BundleError, JobError
from adcvsr.runtime.jobs import probe
from adcvsr.runtime.proof.golden import golden_clip
from adcvsr.runtime.proof.runs import golden_runs
from adcvsr.runtime.report.received import read_report


def archive_of(*names: str) -> bytes:
    """Arrays and text, packed."""
    packed, member = io.BytesIO(), io.BytesIO()
    np.save(member, np.arange(4096, dtype=np.uint8).reshape(4, 16, 64))
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, member.getvalue())
    return packed.getvalue()


def wrong_bytes(data: bytes) -> bytes:
    """The first entry's packed bytes are no deflated ones, which zlib finds."""
    begin = 30 + int.from_bytes(data[26:28], "little")  # behind the header and the name
    return data[:begin] + b"\xff" * 16 + data[begin + 16 :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut off": lambda data: data[: len(data) // 2],
    "wrong bytes": wrong_bytes,
    "another method": lambda data: data.replace(b"\x08\x00", b"\x63\x00"),
    "nothing": lambda data: b"",
}


def bundle(data: bytes) -> Any:
    return SimpleNamespace(
        path="bundle", manifest={"golden": {"file": "g"}}, scale=4, read=lambda name: data
    )


def read_golden(path: Path) -> object:
    return golden_clip(bundle(path.read_bytes()))


def read_runs(path: Path) -> object:
    variant: Any = SimpleNamespace(facts={"statement": {"runs_file": "r"}})
    return golden_runs(bundle(path.read_bytes()), variant)


READERS: dict[str, tuple[Callable[[Path], object], tuple[str, ...], type[AdcVsrError]]] = {
    "golden clip": (read_golden, ("frames.npy", "upscaled.npy"), BundleError),
    "golden runs": (read_runs, ("run_0.npy",), BundleError),
    "report": (read_report, ("steps.json",), BenchError),
    "probe": (probe._load, ("checksum.npy", "middles.npy"), JobError),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_an_error_of_the_reader(reader: str, damage: str, tmp_path: Path) -> None:
    read, names, error = READERS[reader]
    path = tmp_path / "archive"
    path.write_bytes(DAMAGES[damage](archive_of(*names)))
    with pytest.raises(error, match=r"no golden|is no report|is damaged"):
        read(path)
