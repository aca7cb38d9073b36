"""Lists of training files in the place of folders: text or CSV, as data sets come with them.

A folder of a million videos takes minutes to list, at the start of every run; a list of their names
is read in a second:

    find OpenVid -name '*.mp4' > openvid.txt
    adcvsr train pretrain --clips openvid.txt ...
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from ...errors import TrainingDataError

LISTS = frozenset({".txt", ".list", ".csv"})
"""Endings of files that are read as lists."""

COLUMNS = ("path", "file", "file_name", "filename", "video", "video_path", "image", "image_path")
"""Names of the column that holds the files, the first of them that a CSV has."""


def read_list(path: Path, suffixes: frozenset[str], kind: str) -> list[Path]:
    """Files that a list names, in its order, each once; they are opened when they are due.

    Args:
        path: A text of one name a line (empty lines and those that begin with # say nothing), or a
            CSV with a header. Names are relative to the list's folder, or absolute.
        suffixes: Endings of the wanted kind.
        kind: Its name, for messages.

    Raises:
        TrainingDataError: The list cannot be read, names something else, or its first file is not
            there.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            names = list(_column(path, file) if path.suffix.lower() == ".csv" else _lines(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TrainingDataError(f"cannot read the list '{path}': {error}") from error
    if not names:
        raise TrainingDataError(f"the list '{path}' names no {kind}")
    for number, name in names:
        if Path(name).suffix.lower() not in suffixes:
            raise TrainingDataError(
                f"'{path}', line {number}: '{name[:200]}' is no {kind}; expected names ending in "
                f"{', '.join(sorted(suffixes))}"
            )
    found = list(dict.fromkeys(path.parent / name for _, name in names))
    if not found[0].is_file():
        raise TrainingDataError(
            f"the list '{path}' names '{found[0]}', which is not there; names are relative to the "
            "folder of the list"
        )
    return found


def _lines(file: Iterator[str]) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(file, 1):
        name = line.strip()
        if name and not name.startswith("#"):
            yield number, name


def _column(path: Path, file: Iterator[str]) -> Iterator[tuple[int, str]]:
    rows = csv.reader(file)
    header = [name.strip().lower() for name in next(rows, [])]
    column = next((header.index(name) for name in COLUMNS if name in header), None)
    if column is None:
        raise TrainingDataError(
            f"'{path}' has the columns {', '.join(header)[:200]}; expected one of "
            f"{', '.join(COLUMNS)}"
        )
    for row in rows:
        if len(row) > column and row[column].strip():
            yield rows.line_num, row[column].strip()
