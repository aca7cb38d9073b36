"""A bundle that differs from another in its manifest alone."""

from __future__ import annotations

import json
from pathlib import Path


def with_manifest(bundle: Path, folder: Path, **entries: object) -> Path:
    """Link a bundle's files into a new folder, with these entries of its manifest replaced."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    folder.mkdir()
    for name in manifest["files"]:
        (folder / name).symlink_to(bundle / name)
    (folder / "manifest.json").write_text(json.dumps({**manifest, **entries}))
    return folder
