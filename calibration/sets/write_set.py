"""Writing a calibration set: whole or not at all."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import av
import numpy as np

from ...errors import OutputNotWritableError
from ...files import check_new, file_entry, json_bytes
from ...leftovers import move_in, part_folder
from ...pictures.clips import ffmpeg_reason, write_png
from .calibration_set import FRAMES, MANIFEST, SHEET, StoredRun, run_name
from .contact_sheet import draw_contact_sheet


def check_set_output(output: Path, *, overwrite: bool) -> None:
    """Refuse an output that must not be replaced: only a set may be, and only when asked.

    Raises:
        OutputExistsError: It exists and `overwrite` is off.
        OutputNotWritableError: It exists and is no set; its folder is missing or not writable.
    """
    check_new(output, overwrite=overwrite)
    if not output.exists():
        return
    if not (output / MANIFEST).is_file() or not (output / FRAMES).is_file():
        raise OutputNotWritableError(
            f"output '{output}' is no calibration set and is not replaced; choose another name"
        )


def write_set(output: Path, manifest: dict[str, Any], runs: Sequence[StoredRun]) -> None:
    """Write beside the output and move it there when it is whole.

    Args:
        output: The folder; an old set there is replaced.
        manifest: All but the files' hashes.
        runs: In the manifest's order.

    Raises:
        OutputNotWritableError: It cannot be written; an old set stays.
    """
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        parts = ExitStack()
        part = parts.enter_context(part_folder(output.parent))
    except OSError as error:
        raise OutputNotWritableError(f"cannot write '{output}': {error.strerror}") from error
    try:
        folder = part / "set"
        folder.mkdir()
        buffer = io.BytesIO()
        arrays = {run_name(index): run.frames for index, run in enumerate(runs)}
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        (folder / FRAMES).write_bytes(buffer.getvalue())
        write_png(folder / SHEET, draw_contact_sheet(runs))
        files = {name: file_entry(folder / name) for name in (FRAMES, SHEET)}
        (folder / MANIFEST).write_bytes(json_bytes({**manifest, "files": files}))
        move_in(folder, output)
    except (OSError, av.FFmpegError) as error:
        reason = ffmpeg_reason(error)
        raise OutputNotWritableError(f"cannot write the set '{output}': {reason}") from error
    finally:
        parts.close()  # an old set that has no successor comes back
