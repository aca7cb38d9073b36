"""VMAF and CAMBI by an ffmpeg that has libvmaf; Python has no other implementation of them.

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
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from functools import lru_cache
from types import TracebackType

import numpy as np

from ..errors import MissingProgramError
from ..host.processors import usable_processors
from ..leftovers import part_folder
from ..reading import PROFILE, read_json
from .planes import Plane, as_levels, same_shape

FFMPEG_VARIABLE = "ADCVSR_FFMPEG"
"""Environment variable: the ffmpeg to use for VMAF."""

MODELS = {
    "vmaf": "vmaf_v0.6.1",
    "vmaf_neg": "vmaf_v0.6.1neg",
    "vmaf_v1": "vmaf_v1.0.16_3d0h",
}
"""Netflix's models for a 1080p screen seen from three times its height: that of 2018, the same
without a gain for sharpening, and that of 2026, which looks at chroma and banding too."""

VMAF_MEASURES = frozenset({*MODELS, "cambi"})
"""What libvmaf measures: the models, and CAMBI, the banding of the output alone."""

VMAF_LEAST_PX = 32
"""Least side: libvmaf's features halve the picture four times."""

CAMBI_LEAST_PX = 216
"""Least side for CAMBI, and for `vmaf_v1`, which looks at banding too: libvmaf refuses less."""

_LOG = "vmaf.json"


def find_vmaf_ffmpeg(path: str | None = None, measure: str = "vmaf") -> str:
    """Find an ffmpeg with the filter libvmaf.

    Args:
        path: The program; None takes `$ADCVSR_FFMPEG`, then `ffmpeg` on the PATH.
        measure: What it is to measure, one of `VMAF_MEASURES`.

    Raises:
        MissingProgramError: There is none, it was built without libvmaf, or with one that does not
            know the model.
    """
    name = path or os.environ.get(FFMPEG_VARIABLE) or "ffmpeg"
    program = shutil.which(name)
    remedy = f"name one that has it with --ffmpeg or ${FFMPEG_VARIABLE}"
    if program is None:
        raise MissingProgramError(
            f"VMAF needs an ffmpeg with libvmaf, and there is no program '{name}': {remedy}"
        )
    if not _has_libvmaf(program):
        raise MissingProgramError(
            f"VMAF needs an ffmpeg with libvmaf, and '{program}' was built without it: {remedy}"
        )
    if measure == "vmaf_v1" and not _knows(program, measure):
        raise MissingProgramError(
            f"{measure} needs an ffmpeg with libvmaf 3.2 or newer; '{program}' does not know "
            f"the model {MODELS[measure]}: {remedy}"
        )
    return program


@lru_cache(maxsize=8)
def _has_libvmaf(program: str) -> bool:
    """Whether it was built with the filter; asked for every measure, looked up once."""
    command = [program, "-hide_banner", "-filters"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    return " libvmaf " in listed.stdout


def _knows(program: str, measure: str) -> bool:
    """Whether it runs the model on two frames."""
    graph = f"format=yuv420p,split[a][b];[a][b]libvmaf=model=version={MODELS[measure]}"
    source = ["-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25:duration=0.08"]
    command = [program, "-v", "error", *source, "-lavfi", graph, "-f", "null", "-"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


class VmafProcess:
    """One clip on its way through libvmaf. Use it as a context manager.

    Args:
        ffmpeg: From `find_vmaf_ffmpeg`.
        height: Of the luma planes, even, at least `VMAF_LEAST_PX`.
        width: Of the luma planes, even, at least `VMAF_LEAST_PX`.
        measures: Of `VMAF_MEASURES`.

    Raises:
        ValueError: A size ffmpeg's 4:2:0 or libvmaf cannot take.
    """

    def __init__(
        self, ffmpeg: str, height: int, width: int, measures: Collection[str] = ("vmaf",)
    ) -> None:
        if min(height, width) < VMAF_LEAST_PX or height % 2 or width % 2:
            raise ValueError(
                f"{width}x{height} pixels, VMAF needs even sides of {VMAF_LEAST_PX} or more"
            )
        self._files = ExitStack()
        self._folder = self._files.enter_context(part_folder())
        self._shape = (height, width)
        self.measures = tuple(sorted(measures))
        with (self._folder / "stderr").open("wb") as stderr:
            self._process = subprocess.Popen(
                _command(ffmpeg, height, width, self.measures),
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

    @property
    def sees_chroma(self) -> bool:
        """Whether chroma makes a difference."""
        return "vmaf_v1" in self.measures

    def add(self, output: Plane, truth: Plane, chroma: tuple[Plane, Plane] | None = None) -> None:
        """Send the next frame.

        Args:
            output: (H, W) limited-range luma.
            truth: The same shape.
            chroma: The output's and the truth's, (2, H / 2, W / 2) each; None sends grey.

        Raises:
            MissingProgramError: The process ended early; the message holds its last words.
        """
        same_shape(output, truth)
        if output.shape != self._shape:
            raise ValueError(f"a plane of shape {output.shape}, expected {self._shape}")
        assert self._process.stdin is not None
        try:
            for plane in (truth, output):
                self._process.stdin.write(_bytes(plane))
            grey = np.full((self._shape[0] // 2, self._shape[1] // 2), 128, np.float32)
            of_output, of_truth = ((grey, grey), (grey, grey)) if chroma is None else chroma
            for each in range(2):  # the tall frame's Cb, then its Cr
                self._process.stdin.write(_bytes(of_truth[each]) + _bytes(of_output[each]))
        except BrokenPipeError as error:
            raise self._failure() from error

    def scores(self) -> dict[str, float]:
        """End the clip: means over its frames, of VMAF 0 to 100, by measure.

        Raises:
            MissingProgramError: The process failed; the message holds its last words.
        """
        self._process.communicate()
        log = self._folder / _LOG
        if self._process.returncode or not log.is_file():
            raise self._failure()
        found = read_json(log, error=MissingProgramError, limits=PROFILE)
        return {name: found["pooled_metrics"][name]["mean"].number() for name in self.measures}

    def score(self) -> float:
        """End the clip: its `vmaf`; see `scores`."""
        return self.scores()["vmaf"]

    def _failure(self) -> MissingProgramError:
        self._process.wait()
        said = (self._folder / "stderr").read_text(errors="replace").split("\n")
        words = next((line for line in reversed(said) if line.strip()), "no message")
        return MissingProgramError(
            f"ffmpeg could not compute VMAF (exit {self._process.returncode}): {words.strip()}"
        )


def _bytes(plane: Plane) -> bytes:
    return as_levels(plane).tobytes()


def _command(ffmpeg: str, height: int, width: int, measures: Sequence[str]) -> list[str]:
    models = "|".join(
        rf"version={MODELS[name]}\\:name={name}" for name in measures if name in MODELS
    )
    wanted = f":model={models}" if models else f":model=version={MODELS['vmaf']}"
    wanted += ":feature=name=cambi" if "cambi" in measures else ""
    size = f"{width}:{height}"
    graph = (
        f"split[a][b];[a]crop={size}:0:0[truth];[b]crop={size}:0:{height}[output];"
        f"[output][truth]libvmaf=log_fmt=json:log_path={_LOG}:n_threads={usable_processors()}"
        f"{wanted}"
    )
    source = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-video_size", f"{width}x{2 * height}"]
    source += ["-framerate", "25", "-i", "pipe:0"]
    return [ffmpeg, "-hide_banner", "-v", "error", *source, "-lavfi", graph, "-f", "null", "-"]
