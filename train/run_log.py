"""What can be watched of a run: scalars for TensorBoard and strips of pictures.

The latest strip also lies in the run's folder as `sample.png`, for which no viewer is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import methodcaller
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from ..config import SCALE
from ..files import replace_file
from ..pictures.clips import write_png
from .data import PairBatch, PairLoader, Pairs

LOG_FOLDER = "tensorboard"
SAMPLE_FILE = "sample.png"

LOG_STEPS = 25
"""Steps whose mean makes a point of a curve: single steps are noise, and a long run has many."""

SAMPLE_CHOICE = 8
"""Samples the shown one is chosen from."""

STRIP_FRAMES, STRIP_SIDE_PX = 3, 256
"""Frames shown in a strip, and their largest side."""


class RunLog:
    """Curves and pictures of one leg of a run.

    Args:
        folder: The run's.
        step: Steps done; what an interrupted leg logged after it is replaced.
        report: Told when there is no TensorBoard, or its file cannot be written any more.
    """

    def __init__(self, folder: Path, *, step: int, report: Callable[[str], None]) -> None:
        self.folder = folder
        self.report = report
        self.sums: dict[str, float] = {}
        self.count = 0
        self.writer = _writer(folder / LOG_FOLDER, step, report)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Add one step's values."""
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.count += 1
        if step % LOG_STEPS == 0:
            self._write_means(step)

    def now(self, values: Mapping[str, float], step: int) -> None:
        """Write values that are no means of steps."""
        for name, value in values.items():
            self._write(methodcaller("add_scalar", name, value, step))

    def strip(self, picture: npt.NDArray[np.uint8], step: int) -> None:
        """Show a strip (H, W, 3).

        Raises:
            OutputNotWritableError: The disk is full.
        """
        replace_file(
            self.folder / SAMPLE_FILE,
            lambda part: write_png(part, picture),
            also=(av.FFmpegError,),
        )
        self._write(methodcaller("add_image", "sample", picture, step, dataformats="HWC"))

    def close(self, step: int) -> None:
        """Write what is left."""
        if self.count:
            self._write_means(step)
        self._write(methodcaller("close"))
        self.writer = None

    def _write_means(self, step: int) -> None:
        for name, total in self.sums.items():
            mean = total / self.count
            self._write(methodcaller("add_scalar", name, mean, step))
        self.sums, self.count = {}, 0
        self._write(methodcaller("flush"))

    def _write(self, write: Callable[[Any], None]) -> None:
        """Use the writer; curves are not worth a run, so one that fails is given up with a line."""
        if self.writer is None:
            return
        try:
            write(self.writer)
        except OSError as error:
            self.writer = None
            self.report(f"no more curves are written: {error.strerror or error}")


def choose_sample(pairs: Pairs) -> PairBatch:
    """The first samples' most detailed one, (1, T, 3, ...): plain sky shows no progress."""
    batch = next(PairLoader(pairs, batch=SAMPLE_CHOICE))
    detail = batch.high.float().diff(dim=-1).abs().mean((1, 2, 3, 4))
    best = slice(int(detail.argmax()), int(detail.argmax()) + 1)
    teacher = None if batch.teacher is None else batch.teacher[best]
    return PairBatch(batch.low[best], batch.high[best], batch.keys[best], teacher)


def draw_strip(low: Tensor, output: Tensor, target: Tensor) -> npt.NDArray[np.uint8]:
    """Put bicubic, the student's output and the target side by side, a row a frame.

    Args:
        low: (T, 3, h, w) in [-1, 1].
        output: (T, 3, 4h, 4w), clamped here.
        target: Likewise.

    Returns:
        (rows * side, 3 * side, 3) uint8: the first, middle and last frame.
    """
    shown = sorted({0, len(low) // 2, len(low) - 1})[:STRIP_FRAMES]
    bicubic = F.interpolate(low[shown], scale_factor=SCALE, mode="bicubic")
    columns = torch.cat([bicubic, output[shown], target[shown]], 3)
    side = min(STRIP_SIDE_PX, output.shape[2])
    count, colours, height, width = columns.shape
    columns = columns.view(count, colours, height, 3, width // 3)[:, :, :side, :, :side].flatten(3)
    rows = torch.cat(list(columns), 1).permute(1, 2, 0)  # (H, W, 3)
    levels: npt.NDArray[np.uint8] = ((rows.clamp(-1, 1) + 1) * 127.5 + 0.5).byte().cpu().numpy()
    return levels


def _writer(folder: Path, step: int, report: Callable[[str], None]) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        report(
            "no curves are written: the package 'tensorboard' is not installed "
            "(pip install 'adcvsr[train]')"
        )
        return None
    return SummaryWriter(str(folder), purge_step=step)
