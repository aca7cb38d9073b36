"""VMAF by an ffmpeg that has libvmaf; there is no other implementation to be had from Python.

Both pictures of a frame go into one process as one tall frame, truth above output, and a filter
takes them apart: nothing is compressed, nothing is written to disk, memory stays constant.

    with VmafProcess(find_vmaf_ffmpeg(), height, width) as vmaf:
        vmaf.add(output_luma, truth_luma)
        score = vmaf.score()
"""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import ExitStack
from types import TracebackType

import numpy as np

from ..errors import MissingProgramError
from ..host.processors import usable_processors
from ..leftovers import part_folder
from ..reading import PROFILE, read_json
from .planes import Plane, same_shape

FFMPEG_VARIABLE = "ADCVSR_FFMPEG"
"""Environment variable: the ffmpeg to use for VMAF."""

VMAF_MODEL = "vmaf_v0.6.1"
"""Netflix's model for a 1080p screen seen from three times its height."""

VMAF_LEAST_PX = 32
"""Least side: libvmaf's features halve the picture four times."""

_LOG = "vmaf.json"


def find_vmaf_ffmpeg(path: str | None = None) -> str:
    """Find an ffmpeg with the filter libvmaf.

    Args:
        path: The program; None takes `$ADCVSR_FFMPEG`, then `ffmpeg` on the PATH.

    Raises:
        MissingProgramError: There is none, or it was built without libvmaf.
    """
    name = path or os.environ.get(FFMPEG_VARIABLE) or "ffmpeg"
    program = shutil.which(name)
    remedy = f"name one that has it with --ffmpeg or ${FFMPEG_VARIABLE}"
    if program is None:
        raise MissingProgramError(
            f"VMAF needs an ffmpeg with libvmaf, and there is no program '{name}': {remedy}"
        )
    command = [program, "-hide_banner", "-filters"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    if " libvmaf " not in listed.stdout:
        raise MissingProgramError(
            f"VMAF needs an ffmpeg with libvmaf, and '{program}' was built without it: {remedy}"
        )
    return program


class VmafProcess:
    """One clip on its way through libvmaf. Use it as a context manager.

    Args:
        ffmpeg: From `find_vmaf_ffmpeg`.
        height: Of the luma planes, even, at least `VMAF_LEAST_PX`.
        width: Of the luma planes, even, at least `VMAF_LEAST_PX`.

    Raises:
        ValueError: A size ffmpeg's 4:2:0 or libvmaf cannot take.
    """

    def __init__(self, ffmpeg: str, height: int, width: int) -> None:
        if min(height, width) < VMAF_LEAST_PX or height % 2 or width % 2:
            raise ValueError(
                f"{width}x{height} pixels, VMAF needs even sides of {VMAF_LEAST_PX} or more"
            )
        self._files = ExitStack()
        self._folder = self._files.enter_context(part_folder())
        self._shape = (height, width)
        self._grey = bytes([128]) * (height * width)  # both chroma planes of the tall frame
        with (self._folder / "stderr").open("wb") as stderr:
            self._process = subprocess.Popen(
                _command(ffmpeg, height, width),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                cwd=self._folder,
            )

    def __enter__(self) -> VmafProcess:
        """Return itself; the constructor started the process."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the process and remove its files."""
        self._process.kill()
        self._process.communicate()
        self._files.close()

    def add(self, output: Plane, truth: Plane) -> None:
        """Send the next frame.

        Args:
            output: (H, W) limited-range luma.
            truth: The same shape.

        Raises:
            MissingProgramError: The process ended early; the message holds its last words.
        """
        same_shape(output, truth)
        if output.shape != self._shape:
            raise ValueError(f"a plane of shape {output.shape}, expected {self._shape}")
        assert self._process.stdin is not None
        try:
            for plane in (truth, output):
                levels = (plane + np.float32(0.5)).clip(0, 255).astype(np.uint8)
                self._process.stdin.write(levels.tobytes())
            self._process.stdin.write(self._grey)
        except BrokenPipeError as error:
            raise self._failure() from error

    def score(self) -> float:
        """End the clip: the mean VMAF of its frames, 0 to 100.

        Raises:
            MissingProgramError: The process failed; the message holds its last words.
        """
        self._process.communicate()
        log = self._folder / _LOG
        if self._process.returncode or not log.is_file():
            raise self._failure()
        found = read_json(log, error=MissingProgramError, limits=PROFILE)
        return found["pooled_metrics"]["vmaf"]["mean"].number()

    def _failure(self) -> MissingProgramError:
        self._process.wait()
        said = (self._folder / "stderr").read_text(errors="replace").split("\n")
        words = next((line for line in reversed(said) if line.strip()), "no message")
        return MissingProgramError(
            f"ffmpeg could not compute VMAF (exit {self._process.returncode}): {words.strip()}"
        )


def _command(ffmpeg: str, height: int, width: int) -> list[str]:
    size = f"{width}:{height}"
    graph = (
        f"split[a][b];[a]crop={size}:0:0[truth];[b]crop={size}:0:{height}[output];"
        f"[output][truth]libvmaf=log_fmt=json:log_path={_LOG}:n_threads={usable_processors()}"
        f":model=version={VMAF_MODEL}"
    )
    source = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-video_size", f"{width}x{2 * height}"]
    source += ["-framerate", "25", "-i", "pipe:0"]
    return [ffmpeg, "-hide_banner", "-v", "error", *source, "-lavfi", graph, "-f", "null", "-"]
