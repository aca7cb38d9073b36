"""Reads what `adcvsr report` made and a stranger sent.

report = read_report(Path("report.zip"))
for name, result in report.results.items(): ...
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...archives import ARCHIVE_ERRORS
from ...errors import BenchError
from ...reading import PROFILE, Item, parse_json
from ..bench.compare import check_result
from .report import SCHEMA

LARGEST_BYTES = 256 << 20
"""Of all files together, unpacked."""

MOST_FILES = 1000


@dataclass(frozen=True)
class ReceivedReport:
    """What is in a report."""

    steps: list[dict[str, Any]]
    """Each command, its `exit` and `seconds`."""

    results: dict[str, dict[str, Any]]
    """Results of `bench`, by their name in the archive."""

    deployments: dict[str, dict[str, Any]]
    """Reports of `deploy`, likewise."""

    doctor: dict[str, Any]
    """The machine before the measuring; empty where its step failed."""


def read_report(path: Path) -> ReceivedReport:
    """Read a report, within limits; nothing is unpacked to the disk.

    Raises:
        BenchError: The file is missing, damaged, no report, too large, or from a newer version.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            size = sum(entry.file_size for entry in entries)
            if size > LARGEST_BYTES or len(entries) > MOST_FILES:
                raise BenchError(
                    f"'{path}' holds {len(entries)} files of {size:,} bytes; a report has at most "
                    f"{MOST_FILES} of {LARGEST_BYTES:,}"
                )
            read = {
                entry.filename: archive.read(entry)
                for entry in entries
                if entry.filename.startswith(("steps.", "bench-", "deploy-", "doctor."))
            }
    except BenchError:
        raise
    except ARCHIVE_ERRORS as error:
        raise BenchError(f"'{path}' is no report of 'adcvsr report': {error}") from error
    if "steps.json" not in read:
        raise BenchError(f"'{path}' is no report of 'adcvsr report': it has no steps.json")

    def parse(name: str) -> Item:
        return parse_json(read[name], source=f"{path}: {name}", error=BenchError, limits=PROFILE)

    index = parse("steps.json")
    if (schema := index["schema"].integer(1)) > SCHEMA:
        raise BenchError(f"'{path}' has schema {schema}, this adcvsr reads {SCHEMA}; upgrade it")
    steps = []
    for step in index["steps"].items():
        step["name"].text()
        step["command"].text()
        step["seconds"].number(0)
        steps.append(step.mapping())
    by_kind = {
        kind: [name for name in sorted(read) if name.startswith(kind)]
        for kind in ("bench-", "deploy-", "doctor.")
    }
    doctors = [parse(name).mapping() for name in by_kind["doctor."]]
    return ReceivedReport(
        steps=steps,
        results={name: check_result(parse(name), name) for name in by_kind["bench-"]},
        deployments={name: parse(name).mapping() for name in by_kind["deploy-"]},
        doctor=doctors[0] if doctors else {},
    )
