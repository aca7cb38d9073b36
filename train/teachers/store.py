"""The folder of a teacher cache: a header, a manifest, one lossless file a sample.

    CACHE/cache.json                what was asked for: teacher, recipe, number of samples
    CACHE/cache.copy.json           the same once more: days of a teacher's work depend on it
    CACHE/manifest*.jsonl           a line a sample, appended once its file is whole
    CACHE/samples/INDEX-KEY.avi     low, high and teacher clips (train/teachers/sample.py)
    CACHE/awaiting*                 the same, of samples whose teacher runs elsewhere

A file is written beside its name and renamed, and a line follows it, so a process killed anywhere
loses the sample it was at and nothing else. A damaged line loses its sample, which is made anew; a
damaged header comes back from its copy.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import numpy as np

from ...damaged import read_or_set_aside
from ...errors import OutputNotWritableError, TeacherCacheError
from ...files import write_beside
from ...reading import Item, parse_json, read_json
from .sample import Clip, decode_sample, encode_sample
from .teacher import clip_key

HEADER, COPY = "cache.json", "cache.copy.json"
SCHEMA_VERSION = 1
REFILL = "the command that filled it makes them again"
NAMED_ERRORS = 3
"""How many wrong samples an error names."""

_LOGGER = logging.getLogger("adcvsr")

Kept = tuple[int, int, int, int, int, int]
"""Frames, rows and columns of the low clip that a sample holds: (t0, t1, y0, y1, x0, x1)."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A manifest line: one sample."""

    index: int
    """Place in the order of the pairs: epoch * len(pairs) + index in the epoch."""

    key: str
    """`clip_key` of the low clip as stored."""

    source: str
    """`clip_key` of the low clip the teacher was given; `key` unless a part was lost."""

    kept: Kept
    """The part of the source clip that is stored."""

    file: str
    """Path in the cache."""

    bytes: int
    """Size of the file."""

    sha256: str
    """Of the file."""


class CacheFolder:
    """A teacher cache on disk.

    Args:
        folder: Where its header lies.
        part: Name of the manifest to append to; several processes fill one cache with one each.

    Raises:
        TeacherCacheError: No cache there, from a newer version, or a header that is damaged and has
            no copy.
    """

    def __init__(self, folder: Path, part: str = "") -> None:
        self.folder = folder
        self.header = _read_header(folder)
        self.entries, broken = _read_lines(folder, "manifest")
        self.awaiting, broken_awaiting = _read_lines(folder, "awaiting")
        self._broken = broken if len(self.entries) < self.header["samples"] else []
        self._part = part
        for line in (*self._broken, *broken_awaiting):
            _LOGGER.warning("note: %s; its sample counts as missing", line)

    @property
    def teacher(self) -> str:
        """Identity of the teacher."""
        return str(self.header["teacher"])

    def add(
        self, index: int, clips: Sequence[Clip], *, source: str = "", kept: Kept | None = None
    ) -> Entry:
        """Store a sample: low, high and, unless the truth is the teacher, the teacher's clip.

        Args:
            index: Its place.
            clips: (T, 3, h, w), (T, 3, 4h, 4w), (T, 3, 4h, 4w) uint8.
            source: Key of the clip the teacher was given, where it is not the low clip.
            kept: Which part of that clip the low clip is.

        Raises:
            OutputNotWritableError: The disk is full or not writable; earlier samples are intact.
        """
        entry = self._write("samples", index, clips, source, kept)
        self._append("manifest", entry)
        self.entries[index] = entry
        return entry

    def add_awaiting(self, index: int, low: Clip, high: Clip) -> Entry:
        """Store a sample whose teacher's clip is still to come; like `add`."""
        entry = self._write("awaiting", index, [low, high], "", None)
        self._append("awaiting", entry)
        self.awaiting[index] = entry
        return entry

    def read(self, entry: Entry, *, start: int = 0, stop: int | None = None) -> list[Clip]:
        """Read a sample's clips, or some of their frames.

        Raises:
            TeacherCacheError: The file is missing or not the one that was written.
        """
        path = self.folder / entry.file
        try:
            data = path.read_bytes()
        except OSError as error:
            raise TeacherCacheError(f"cannot read '{path}': {error.strerror}") from error
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            raise TeacherCacheError(
                f"'{path}' was damaged or changed: {len(data)} bytes whose SHA-256 is not the "
                f"manifest's ({entry.bytes} bytes); delete it and fill the cache again"
            )
        return decode_sample(data, start=start, stop=stop)

    def damaged(self) -> list[Entry]:
        """Samples whose file is missing or of another size than was written."""
        return [e for e in self.entries.values() if _size(self.folder / e.file) != e.bytes]

    def check(self) -> None:
        """Check that every sample is there in full.

        Raises:
            TeacherCacheError: Some are not, or were lost with their line; the first are named.
        """
        if self._broken:
            raise TeacherCacheError(
                f"'{self.folder}' lost samples with {len(self._broken)} damaged lines, as "
                f"{self._broken[0]}; {REFILL}"
            )
        damaged = self.damaged()
        if damaged:
            named = ", ".join(
                f"{e.file} ({_size(self.folder / e.file)} of {e.bytes} bytes)"
                for e in damaged[:NAMED_ERRORS]
            )
            raise TeacherCacheError(
                f"'{self.folder}' lacks {len(damaged)} of its {len(self.entries)} samples: "
                f"{named}; {REFILL}"
            )

    def _write(
        self, kind: str, index: int, clips: Sequence[Clip], source: str, kept: Kept | None
    ) -> Entry:
        low = clips[0]
        frames, _, height, width = low.shape
        data = encode_sample(clips)
        if not all(map(np.array_equal, decode_sample(data), clips)):
            raise TeacherCacheError(
                "this FFmpeg's 'utvideo' does not give back what it was given; use PyAV's wheels"
            )
        key = clip_key(low)
        file = f"{kind}/{index:08d}-{key}.avi"
        try:
            (self.folder / kind).mkdir(exist_ok=True)
            write_beside(self.folder / file, lambda part: part.write_bytes(data))
        except OSError as error:
            raise self._not_writable(file, error) from error
        return Entry(
            index=index,
            key=key,
            source=source or key,
            kept=kept or (0, frames, 0, height, 0, width),
            file=file,
            bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
        )

    def _append(self, kind: str, entry: Entry) -> None:
        path = self.folder / f"{kind}{self._part}.jsonl"
        line = json.dumps(dataclasses.asdict(entry)) + "\n"
        try:
            with path.open("ab+") as file:
                _cut_unfinished_line(file)
                file.write(line.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise self._not_writable(path.name, error) from error

    def _not_writable(self, file: str, error: OSError) -> OutputNotWritableError:
        return OutputNotWritableError(
            f"cannot write '{self.folder / file}': {error.strerror}; the {len(self.entries)} "
            "samples before it are intact, and the same command goes on after them"
        )


def open_cache(
    folder: Path,
    *,
    teacher: str,
    recipe: Mapping[str, Any],
    samples: int,
    part: str = "",
    licences: Sequence[str] = (),
    trained_on: Mapping[str, int] | None = None,
) -> CacheFolder:
    """Create a cache, or open one that the same teacher and recipe began.

    Args:
        folder: Where.
        teacher: Identity of the teacher.
        recipe: JSON-ready facts that decide the pairs.
        samples: How many are wanted; a cache may grow.
        part: See `CacheFolder`.
        licences: Of the teacher's weights, for what is trained on the cache.
        trained_on: Files the clips are of, by folder, likewise.

    Raises:
        TeacherCacheError: Another teacher's or another recipe's cache is there; the first
            difference is named.
        OutputNotWritableError: The folder cannot be written.
    """
    header = {
        "schema": SCHEMA_VERSION,
        "teacher": teacher,
        "recipe": parse_json(
            json.dumps(recipe), source="the recipe", error=TeacherCacheError
        ).mapping(),
        "samples": samples,
        "licences": list(licences),
        "trained_on": dict(trained_on or {}),
    }
    names = [HEADER, COPY]
    if _was_begun(folder):
        there = _read_header(folder)
        _check_same(folder, there, header)
        if there["samples"] >= samples:
            header, names = there, [] if (folder / COPY).is_file() else [COPY]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Processes that begin a cache together write its header at the same time.
        for name in names:
            _write_header(folder / name, header)
    except OSError as error:
        raise OutputNotWritableError(f"cannot write in '{folder}': {error.strerror}") from error
    return CacheFolder(folder, part)


def check_teacher(store: CacheFolder, wanted: str) -> None:
    """Check whose outputs a cache holds.

    Args:
        store: The cache.
        wanted: An identity, or its kind alone, such as `dove`.

    Raises:
        TeacherCacheError: They are another's.
    """
    if wanted not in (store.teacher, store.teacher.split(":")[0]):
        raise TeacherCacheError(
            f"'{store.folder}' holds outputs of the teacher '{store.teacher}', expected '{wanted}'"
        )


def _was_begun(folder: Path) -> bool:
    """Whether a cache is there, its header or at least the copy of it.

    Raises:
        TeacherCacheError: Samples are there without either: whose they are nobody knows.
    """
    if (folder / HEADER).exists() or (folder / COPY).exists():
        return True
    if any(folder.glob("*.jsonl")):
        raise TeacherCacheError(
            f"'{folder}' has samples, but neither {HEADER} nor {COPY}, which say whose they are; "
            "put one of them back, or fill the cache again, in another folder"
        )
    return False


def _read_header(folder: Path) -> dict[str, Any]:
    path = folder / HEADER
    if not _was_begun(folder):
        raise TeacherCacheError(
            f"no teacher cache in '{folder}': no {HEADER} there; 'adcvsr train cache-teacher' "
            "makes one"
        )
    spare = None
    with suppress(TeacherCacheError):  # caches of before have none
        spare = _parse_header(folder / COPY)
    if spare is None:
        header = _parse_header(path)
    elif not path.exists():
        header = spare
        _write_header(path, spare)
        _LOGGER.warning("'%s' is gone and is made again from '%s'", path, COPY)
    else:
        found = read_or_set_aside(path, lambda: _parse_header(path), TeacherCacheError)
        header = found or spare
        if found is None:
            _write_header(path, spare)
    if (schema := header["schema"]) != SCHEMA_VERSION:
        raise TeacherCacheError(f"'{path}' has schema {schema}, expected {SCHEMA_VERSION}")
    return header


def _parse_header(path: Path) -> dict[str, Any]:
    header = read_json(
        path, error=TeacherCacheError, advice="fill the cache again, in another folder"
    )
    schema = header["schema"].integer()
    if schema == SCHEMA_VERSION:
        header["teacher"].text()
        header["recipe"].mapping()
        header["samples"].integer(0)
    return header.mapping()


def _write_header(path: Path, header: Mapping[str, Any]) -> None:
    text = json.dumps(header, indent=1).encode()
    write_beside(path, lambda part: part.write_bytes(text))


def _read_lines(folder: Path, kind: str) -> tuple[dict[int, Entry], list[str]]:
    """Read all manifests of a kind; a last line without its end was cut off and does not count.

    Returns:
        The samples by index, and what is wrong with the lines that are damaged.
    """
    entries: dict[int, Entry] = {}
    broken = []
    for path in sorted(folder.glob(f"{kind}*.jsonl")):
        for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
            source = f"'{path}', line {number} is damaged: it"
            try:
                entry = _entry(parse_json(line, source=source, error=TeacherCacheError))
            except TeacherCacheError as error:
                broken.append(str(error))
            else:
                entries[entry.index] = entry
    return dict(sorted(entries.items())), broken


def _entry(line: Item) -> Entry:
    t0, t1, y0, y1, x0, x1 = (each.integer(0) for each in line["kept"].items(least=6, most=6))
    file = line["file"]
    if PurePosixPath(file.text()).is_absolute() or ".." in PurePosixPath(file.text()).parts:
        file.expected("a path in the cache")
    return Entry(
        index=line["index"].integer(0),
        key=line["key"].text(),
        source=line["source"].text(),
        kept=(t0, t1, y0, y1, x0, x1),
        file=file.text(),
        bytes=line["bytes"].integer(0),
        sha256=line["sha256"].text(),
    )


def _cut_unfinished_line(file: BinaryIO) -> None:
    """Cut off what a killed process left behind the last line's end."""
    if not file.tell():
        return
    file.seek(-1, os.SEEK_END)
    if file.read(1) != b"\n":
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _check_same(folder: Path, there: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    if there["teacher"] != asked["teacher"]:
        raise TeacherCacheError(
            f"'{folder}' holds outputs of the teacher '{there['teacher']}', this one is "
            f"'{asked['teacher']}'; choose another folder"
        )
    before, now = _flatten(there["recipe"]), _flatten(asked["recipe"])
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            raise TeacherCacheError(
                f"'{folder}' was begun with {name}={before.get(name)!r}, this run has "
                f"{now.get(name)!r}: its clips would be others; choose another folder"
            )


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat.update(_flatten(value, f"{prefix}{name}."))
        else:
            flat[prefix + name] = value
    return flat
