"""Many files in one run: what is meant by folders and patterns, and where each result goes."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError, InputNotFoundError
from ..given import ADDRESS
from ..pictures.clips import VIDEO_SUFFIXES, find_media
from .video.output_file import ENCODERS
from .video.places import WRITTEN_PICTURES, is_pipe

DEFAULT_SUFFIX = ".mp4"
"""Container of results whose input's own cannot be written."""

FOLDER_SUFFIXES = VIDEO_SUFFIXES | {".gif"}
"""Files that a folder means."""

WILDCARDS = "*?["


@dataclass(frozen=True)
class Job:
    """One file to upscale."""

    source: Path
    output: Path


def is_batch(inputs: Sequence[str], output: Path) -> bool:
    """Whether results go to a folder: several inputs, a folder, a pattern, or one that is there."""
    folders = Path(inputs[0]).is_dir() or output.is_dir()
    return len(inputs) > 1 or folders or _is_pattern(inputs[0])


def default_output(text: str, label: str = "x4") -> Path:
    """Name the result of an input where nobody did: `in.mov` beside it as `in_x4.mov`.

    Args:
        text: A file, whose ending is kept where it can be written; or a folder.
        label: Of its size, see `OutputSize.label`.

    Raises:
        ConfigError: It is a pattern, which names no place.
    """
    path = Path(text)
    if _is_pattern(text):
        raise ConfigError(f"'{text}' means several files: name a folder for the results after it")
    if path.is_dir():
        path = path.resolve()  # `.` has no name
        return path.with_name(f"{path.name}_{label}")
    if is_pipe(path):
        return path
    return path.with_name(f"{path.stem}_{label}{_suffix(path)}")


def left_out(inputs: Sequence[str], output: Path) -> Iterator[str]:
    """A line for each folder that holds files `plan` does not take.

    Args:
        inputs: As for `plan`.
        output: The folder of results; what it holds is not spoken of.
    """
    ours = output.resolve()
    for text in inputs:
        folder = Path(text)
        if not folder.is_dir():
            continue
        taken = set(find_media(folder, FOLDER_SUFFIXES))
        others = [
            path
            for path in folder.rglob("*")
            if path.is_file() and path not in taken and ours not in path.resolve().parents
        ]
        kinds = Counter(
            "hidden" if path.name.startswith(".") else path.suffix.lower() or "no ending"
            for path in others
        )
        if kinds:
            counts = ", ".join(f"{kind} ({count})" for kind, count in sorted(kinds.items()))
            yield (
                f"in '{folder}' {len(others)} files are left out, not named like videos: {counts}; "
                "name a file itself to have it upscaled"
            )


def plan(inputs: Sequence[str], folder: Path) -> list[Job]:
    """Find the files and name their results; folders keep their tree below `folder`.

    Args:
        inputs: Files, folders and patterns (`*`, `?`, `[...]`, `**`).
        folder: Where results go, under the names of their inputs; created by the caller.

    Raises:
        InputNotFoundError: A folder or pattern holds no video, or the output folder is a file.
        ConfigError: Two inputs would have one result, or the output is named like a video.
    """
    if folder.suffix.lower() in ENCODERS and not folder.is_dir():
        raise ConfigError(
            f"'{inputs[0]}' means several files, and '{folder}' is named like one; give a folder "
            "as output, or one file as input"
        )
    if folder.exists() and not folder.is_dir():
        raise InputNotFoundError(f"'{folder}' is a file; several inputs need a folder as output")
    jobs: dict[Path, Job] = {}
    for text in inputs:
        for source, below in _files(text, folder):
            output = folder / below.with_suffix(_suffix(below))
            if output in jobs and jobs[output].source != source:
                raise ConfigError(
                    f"'{jobs[output].source}' and '{source}' would both become '{output}'; "
                    "rename one, or upscale them into folders of their own"
                )
            jobs[output] = Job(source, output)
    return list(jobs.values())


def split_existing(jobs: Sequence[Job]) -> tuple[list[Job], list[Job]]:
    """Jobs whose result is not there yet, and those whose result is: results appear whole."""
    return (
        [job for job in jobs if not job.output.is_file()],
        [job for job in jobs if job.output.is_file()],
    )


def _suffix(path: Path) -> str:
    """The ending of a result: the input's, where it can be written."""
    suffix = path.suffix.lower()
    return suffix if suffix in ENCODERS or suffix in WRITTEN_PICTURES else DEFAULT_SUFFIX


def _files(text: str, output: Path) -> list[tuple[Path, Path]]:
    """The files an input means, each with the path its result gets below the output folder."""
    path = Path(text)
    if path.is_dir():
        ours = output.resolve()
        found = [p for p in find_media(path, FOLDER_SUFFIXES) if ours not in p.resolve().parents]
        if not found:
            known = ", ".join(sorted(FOLDER_SUFFIXES))
            raise InputNotFoundError(f"folder '{path}' holds no video ({known})")
        return [(each, each.relative_to(path)) for each in found]
    if _is_pattern(text):
        matches = sorted(p for p in map(Path, glob.glob(text, recursive=True)) if p.is_file())
        if not matches:
            raise InputNotFoundError(f"no file matches '{text}'")
        return [(each, Path(each.name)) for each in matches]
    return [(path, Path(path.name))]


def is_nowhere(text: str) -> bool:
    """Whether an input can only be a file or folder, and none is there: the run ends with that.

    Addresses, standard input, patterns and numbered pictures are something else.
    """
    other = text == "-" or ADDRESS.match(text) or any(mark in text for mark in (*WILDCARDS, "%"))
    return not other and not Path(text).exists()


def _is_pattern(text: str) -> bool:
    return not Path(text).exists() and any(mark in text for mark in WILDCARDS)
