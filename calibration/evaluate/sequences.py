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
    pairs = zip(images_in(folder), images_in(other), strict=False)
    counted = [(a, b, _order(a)[1], _order(b)[1]) for a, b in pairs]
    if not counted or min(min(m, n) for _, _, m, n in counted) < 0:
        return None
    shift = counted[0][3] - counted[0][2]
    for a, b, first, second in counted:
        if second - first != shift:
            return f"'{a.name}' would be compared with '{b.name}' of '{other}'"
    return None


def _order(path: Path) -> tuple[str, int, str]:
    """What a name begins with, its number, -1 where it has none, and the name."""
    found = NUMBER.search(path.stem)
    number = int(found[1]) if found else -1
    return path.stem[: found.start()] if found else path.stem, number, path.name
