"""Zip files whose bytes depend on their contents alone.

zip_folder(folder, Path("nano.zip"))
"""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

from .graphs.onnx_file import DATA_SUFFIX

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""Zip files carry times; a fixed one keeps bytes reproducible."""


def zip_folder(folder: Path, path: Path) -> None:
    """Write all files below a folder as one zip file, in the order of their names.

    Raises:
        OSError: It cannot be written.
    """
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(each for each in folder.rglob("*") if each.is_file()):
            entry = zip_entry(file.relative_to(folder).as_posix())
            # Trained weights hardly shrink: deflating gigabytes takes minutes and gains little.
            stored = file.suffix == DATA_SUFFIX
            entry.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
            with file.open("rb") as source, archive.open(entry, "w", force_zip64=True) as member:
                shutil.copyfileobj(source, member, 1 << 20)


def zip_entry(name: str) -> zipfile.ZipInfo:
    """An entry of a fixed time, that everybody may read."""
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.external_attr = 0o644 << 16
    return entry
