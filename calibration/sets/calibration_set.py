"""Calibration sets: runs of consecutive frames on disk, with what they cover and for which network.

A set holds frames and marks, never activations or states: those are recomputed by running the
network (`adcvsr.calibration.sets.reader`), so they are always those of its present weights.

    calibration = open_set(Path("nano-set"))
    calibration.require_fit(open_bundle("nano"))
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...archives import ARCHIVE_ERRORS
from ...arrays import Levels
from ...bundle import Bundle
from ...errors import CalibrationError
from ...files import json_bytes
from ...given import SET, mistaken
from ...reading import Item, read_json, read_limited
from .selection import LEAST_CONTRAST

MANIFEST, FRAMES, SHEET = "manifest.json", "frames.npz", "contact_sheet.png"

SET_SCHEMA = 1

FRAMES_LIMIT_BYTES = 2 << 30
"""Largest set of frames, unpacked; the default one has 4 MB. They are held in memory."""

MOST_RUNS = 10_000
"""Of a set; the default one has about thirty."""

AGAIN = "make the set again"
"""What to do about a damaged set."""


@dataclass(frozen=True)
class StoredRun:
    """One run: the network starts it without a past and carries its state to the end."""

    frames: Levels
    """(T, H, W, 3) uint8 RGB."""

    cut: int | None
    """Index of the first frame of another scene; the state is carried across it."""

    facts: dict[str, Any]
    """What the manifest says of it: clip, first frame, crop, traits."""


@dataclass(frozen=True)
class CalibrationSet:
    """An opened set; its files have been checked."""

    path: Path
    """The folder."""

    manifest: dict[str, Any]
    """Network, coverage, runs, hashes."""

    runs: tuple[StoredRun, ...]
    """In the manifest's order."""

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest, which holds those of the other files."""
        return hashlib.sha256(json_bytes(self.manifest)).hexdigest()

    @property
    def height(self) -> int:
        """Of all frames, pixels."""
        return int(self.runs[0].frames.shape[1])

    @property
    def width(self) -> int:
        """Likewise."""
        return int(self.runs[0].frames.shape[2])

    @property
    def frames(self) -> int:
        """Of all runs together."""
        return sum(len(run.frames) for run in self.runs)

    def describe(self) -> list[str]:
        """Lines for people: what is in it and how many runs fall where."""
        covered = self.manifest["coverage"]
        traits = {name: entry["runs"] for name, entry in covered.items() if isinstance(entry, dict)}
        lines = [
            f"{self.path}: {len(self.runs)} runs, {self.frames} frames of "
            f"{self.width}x{self.height}, {covered['cold_frames']} cold, {covered['cuts']} cuts"
        ]
        lines += [f"  {name:9} low to high: {runs}" for name, runs in traits.items()]
        return lines

    def require_fit(self, bundle: Bundle) -> None:
        """Refuse a bundle the set was not made for.

        Raises:
            CalibrationError: It is of another network, or its frames do not fit the bundle's size
                multiple.
        """
        mine, its = self.manifest["network"], network_facts(bundle)
        before = _digest(bundle.config.to_dict())  # sets of 0.1 have the name in it
        if mine["config_sha256"] not in (its["config_sha256"], before):
            raise CalibrationError(
                f"calibration set '{self.path}' was made for the network '{mine['name']}' (config "
                f"{mine['config_sha256'][:12]}…), the bundle '{bundle.name}' holds another (config "
                f"{its['config_sha256'][:12]}…); make one for it: adcvsr calibrate CLIPS "
                f"--model {bundle.path} -o SET"
            )
        multiple = bundle.size_multiple
        if self.height % multiple or self.width % multiple:
            raise CalibrationError(
                f"calibration set '{self.path}' has frames of {self.width}x{self.height}, "
                f"'{bundle.name}' takes multiples of {multiple}; make a set with such a --size"
            )


def network_facts(bundle: Bundle) -> dict[str, Any]:
    """What ties a set to a network: its shape, not its weights or its name, which others share."""
    config = bundle.config.to_dict()
    return {
        "name": bundle.name,
        "config_sha256": _digest({key: config[key] for key in config if key != "name"}),
        "size_multiple": bundle.size_multiple,
    }


def _digest(config: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def open_set(path: Path) -> CalibrationSet:
    """Read and check a set.

    Raises:
        CalibrationError: It is no set, was changed after it was written, is empty, or its frames
            show nothing.
    """
    manifest = _read_manifest(path)
    entry = manifest["files"][FRAMES]
    size, sha256 = entry["bytes"].integer(0, FRAMES_LIMIT_BYTES), entry["sha256"].text()
    try:
        data = read_limited(path / FRAMES, size, error=CalibrationError)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise CalibrationError(
                f"calibration set '{path}': '{FRAMES}' was changed after the set was written; make "
                "the set again"
            )
        runs = tuple(_runs(path, data, manifest["runs"].items(most=MOST_RUNS)))
    except ARCHIVE_ERRORS as error:
        if isinstance(error, CalibrationError):
            raise
        raise CalibrationError(
            f"calibration set '{path}' is damaged ({type(error).__name__}: {error}); make it again"
        ) from error
    require_content([run.frames for run in runs], f"calibration set '{path}'")
    return CalibrationSet(path, manifest.mapping(), runs)


def require_content(runs: Sequence[Levels], what: str) -> None:
    """Refuse runs that would calibrate nothing: none at all, or frames without a picture.

    Args:
        runs: (T, H, W, 3) each.
        what: Begins the message.

    Raises:
        CalibrationError: There is no run, all are black or of one colour, or nothing moves.
    """
    if not runs:
        raise CalibrationError(f"{what} is empty: it has no runs of frames")
    contrast = max(float(run.std(axis=(1, 2)).max()) for run in runs)
    if contrast < LEAST_CONTRAST:
        raise CalibrationError(
            f"{what} shows nothing: its frames vary by at most {contrast:.2f} levels (standard "
            f"deviation; expected {LEAST_CONTRAST:g} or more). Ranges of a black or even picture "
            "would clip every other; use clips with content"
        )
    if all((run == run[:1]).all() for run in runs):
        raise CalibrationError(
            f"{what} holds stills only: no frame differs from the one before. State would be "
            "calibrated on a past that equals the present; use clips with motion"
        )


def _read_manifest(path: Path) -> Item:
    if wrong := mistaken(path, SET):
        raise CalibrationError(f"'{path}' is no calibration set{wrong}")
    if not (path / MANIFEST).is_file():
        raise CalibrationError(
            f"'{path}' is no calibration set: it has no '{MANIFEST}'; make one with: adcvsr "
            f"calibrate CLIPS -o {path}"
        )
    manifest = read_json(path / MANIFEST, error=CalibrationError, advice=AGAIN)
    if (schema := manifest["calibration_schema"].integer()) != SET_SCHEMA:
        raise CalibrationError(
            f"calibration set '{path}' has schema {schema}, this adcvsr reads {SET_SCHEMA}; make "
            "the set again or upgrade adcvsr"
        )
    network = manifest["network"]
    network["name"].text()
    network["config_sha256"].text()
    _check_coverage(manifest["coverage"])
    return manifest


def _check_coverage(coverage: Item) -> None:
    for key, entry in coverage.fields():
        if isinstance(entry.value, dict):
            for name in ("edges", "runs"):
                for each in entry[name].items():
                    each.number()
        elif key in ("cold_frames", "cuts"):
            entry.integer(0)
    coverage["cold_frames"].integer(0)
    coverage["cuts"].integer(0)


def _runs(path: Path, data: bytes, entries: Sequence[Item]) -> list[StoredRun]:
    runs: list[StoredRun] = []
    with np.load(io.BytesIO(data), allow_pickle=False) as stored:
        declared = sum(info.file_size for info in stored.zip.infolist())
        if declared > FRAMES_LIMIT_BYTES:
            raise CalibrationError(
                f"calibration set '{path}' declares {declared} bytes of frames, more than "
                f"{FRAMES_LIMIT_BYTES}"
            )
        for index, entry in enumerate(entries):
            frames = stored[run_name(index)]
            if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3:
                raise ValueError(f"run {index} has shape {frames.shape} of {frames.dtype}")
            cut = entry.get("cut")
            at = None if cut is None else cut.integer(0, len(frames))
            runs.append(StoredRun(frames, at, entry.mapping()))
    if len({run.frames.shape[1:] for run in runs}) > 1:
        raise ValueError("runs of different sizes")
    return runs


def run_name(index: int) -> str:
    """Name of a run's array in the file."""
    return f"run_{index:03d}"
