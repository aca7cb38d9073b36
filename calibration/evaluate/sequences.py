"""Folders with a picture a frame: their order, the numbers in their names, and what is not there.

images_in(folder)  # frame_2.png before frame_10.png
gap_in(folder)  # "no frame between '00000003.png' and '00000005.png'"
"""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

from ...pictures.clips import IMAGE_SUFFIXES

NUMBER = re.compile(r"(\d+)$")
"""Of a frame: the digits its name ends with."""


def is_image(file: Path) -> bool:
    """Whether a file is read as a single picture, by its ending."""
    return file.suffix.lower() in IMAGE_SUFFIXES and not file.is_dir()


def images_in(folder: Path) -> list[Path]:
    """Pictures of a folder in order of their names, numbers at their ends as numbers."""
    return sorted(filter(is_image, folder.iterdir()), key=_order)


def gap_in(folder: Path) -> str | None:
    """Where the numbers of a folder's pictures leave one out; None where none or no numbers are."""
    for before, after in pairwise(images_in(folder)):
        (prefix, first), (other, second) = _order(before)[:2], _order(after)[:2]
        if prefix == other and first >= 0 and second > first + 1:
            return f"no frame between '{before.name}' and '{after.name}'"
    return None


def misplaced(folder: Path, other: Path) -> str | None:
    """Where two folders' numbers part, both taken from their first pictures; None where they agree.

    Pictures are paired by their order, so a frame that each of two folders lacks elsewhere would
    put pictures beside others' frames.
    """
    first, second = _numbered(folder), _numbered(other)
    if not first or not second:
        return None
    shift = second[0][0] - first[0][0]
    for (number, path), (beside, low) in zip(first, second, strict=False):
        if beside - number != shift:
            return f"'{path.name}' would be compared with '{low.name}' of '{other}'"
    return None


def _numbered(folder: Path) -> list[tuple[int, Path]]:
    """Pictures with their numbers; none where names differ in more than that, as `0001x4.png`."""
    found = [(*_order(path)[:2], path) for path in images_in(folder)]
    alike = len({prefix for prefix, _, _ in found}) == 1 and found[0][1] >= 0
    return [(number, path) for _, number, path in found] if alike else []


def _order(path: Path) -> tuple[str, int, str]:
    """What a name begins with, its number, -1 where it has none, and the name."""
    found = NUMBER.search(path.stem)
    number = int(found[1]) if found else -1
    return path.stem[: found.start()] if found else path.stem, number, path.name
