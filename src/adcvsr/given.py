"""What a path or address seems to be, for messages: what was given, what was wanted, what to do.

f"'{path}' is not a bundle{mistaken(path, BUNDLE)}"  # "...; it is a checkpoint, expected ..."
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from .errors import InputNotFoundError
from .redaction import shown

MANIFEST = "manifest.json"
"""The file that makes a folder a bundle."""

BUNDLE, CHECKPOINT, VIDEO, SET = "bundle", "checkpoint", "video", "calibration set"

ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)
"""Of a stream or page; a `Path` has one slash less. One letter before the colon is a drive."""

STREAM = re.compile(rf"{ADDRESS.pattern}|(gst|hls):", re.IGNORECASE)
"""Of what `live` gives pictures to."""

MOST_NAMES, MOST_LETTERS = 1000, 100
"""Of a folder, and of a name, that are compared for a message; the time grows with both."""

ENDINGS = {
    **dict.fromkeys((".safetensors",), CHECKPOINT),
    **dict.fromkeys((".ckpt", ".pkl", ".pt", ".pth"), "file of published weights"),
    **dict.fromkeys((".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts"), VIDEO),
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".webp"), "picture"),
    ".onnx": "graph",
    ".toml": "recipe",
}

ADVICE = {
    (CHECKPOINT, BUNDLE): "'adcvsr export {path} -o my-bundle' makes a bundle of it",
    ("file of published weights", BUNDLE): "'adcvsr import' makes a checkpoint of it, 'adcvsr "
    "export' of that a bundle",
    (VIDEO, BUNDLE): "'adcvsr models' lists bundles; 'adcvsr upscale' takes videos",
    ("graph", BUNDLE): "give the folder that holds its manifest.json",
    ("folder of a training run", BUNDLE): "'adcvsr export {path}/checkpoint.safetensors -o "
    "my-bundle' makes a bundle of it",
    (BUNDLE, CHECKPOINT): "a bundle cannot be trained on; give the checkpoint it was exported from",
    ("folder of a training run", CHECKPOINT): "give {path}/checkpoint.safetensors",
    ("file of published weights", CHECKPOINT): "'adcvsr import' makes a checkpoint of it",
    (BUNDLE, VIDEO): "a bundle goes to --model",
    (BUNDLE, SET): "'adcvsr calibrate CLIPS -o SET --model {path}' makes a set for it",
    (VIDEO, SET): "'adcvsr calibrate {path} -o SET' makes a set of clips",
    ("folder of clips", SET): "'adcvsr calibrate {path} -o SET' makes a set of clips",
}
"""By what was given and what was wanted."""


def what_is(path: str | Path) -> str | None:
    """Name what a path seems to be, by its ending and what a folder holds; None where unknown."""
    path = Path(path)
    try:
        return _folder(path) if path.is_dir() else _file(path)
    except OSError:
        return None


def mistaken(path: str | Path, wanted: str) -> str:
    """Say what was given instead and what to do, to go on a message; empty where unknown.

    Args:
        path: As it was given.
        wanted: `BUNDLE`, `CHECKPOINT`, `VIDEO` or `SET`.
    """
    found = what_is(path)
    if found is None or found == wanted:
        return ""
    advice = ADVICE.get((found, wanted))
    article = "an" if found[0] in "aeiou" else "a"
    said = f"; it is {article} {found}, expected a {wanted}"
    return f"{said}: {advice.format(path=path)}" if advice else said


def similar(path: Path) -> str:
    """Return ", did you mean 'x'?" for the file beside a missing one whose name is nearest."""
    import difflib  # for messages alone

    try:
        names = [each.name for each in islice(path.parent.iterdir(), MOST_NAMES)]
    except OSError:
        return ""
    close = difflib.get_close_matches(path.name[:MOST_LETTERS], names, n=1, cutoff=0.75)
    return f", did you mean '{path.with_name(close[0])}'?" if close else ""


def refuse_address(path: str | Path) -> None:
    """Refuse an address where a file is wanted; what is secret in it is not shown.

    Raises:
        InputNotFoundError: It is one.
    """
    if not ADDRESS.match(str(path)) or Path(path).exists():
        return
    whole = re.sub(r":/+", "://", str(path), count=1)  # a Path keeps one slash
    raise InputNotFoundError(
        f"'{shown(whole)}' is an address, expected a file: download it first; 'adcvsr live "
        "--source ADDRESS' takes streams (rtsp, rtsps, udp)"
    )


def refuse_parted(paths: Sequence[str]) -> None:
    """Refuse a name with spaces that came without quotes, and so in parts.

    Args:
        paths: Inputs, and an output, in their order.

    Raises:
        InputNotFoundError: The first is not there, and it is with what follows it.
    """
    if os.path.lexists(paths[0]):
        return
    for count in range(2, len(paths) + 1):
        whole = " ".join(paths[:count])
        if os.path.exists(whole):
            raise InputNotFoundError(
                f"no file '{paths[0]}', and '{whole}' is there: put a name with spaces into "
                f"quotes, as in adcvsr upscale '{whole}'"
            )


def _folder(path: Path) -> str | None:
    if (path / MANIFEST).is_file():
        return SET if (path / "frames.npz").is_file() else BUNDLE
    if (path / "checkpoint.safetensors").is_file():
        return "folder of a training run"
    if any(ENDINGS.get(each.suffix.lower()) == VIDEO for each in path.iterdir()):
        return "folder of clips"
    return None


def _file(path: Path) -> str | None:
    if path.suffix.lower() == ".zip" and path.is_file():
        import zipfile

        with path.open("rb") as file:
            return BUNDLE if zipfile.is_zipfile(file) else None
    return ENDINGS.get(path.suffix.lower()) if path.is_file() else None
