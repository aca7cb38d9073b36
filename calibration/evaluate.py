"""How much better than bicubic a bundle is, on images and clips with known truth.

Protocol: the truth is cut to a multiple of 8 and reduced x1/4 by antialiased bicubic (a = -0.5,
uint8); the bundle and plain bicubic bring it back; PSNR and SSIM on BT.601 luma, a border of 4
pixels left out. Images start from zero state; clips run in order with carried state.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from ..clips import IMAGE_SUFFIXES, VIDEO_SUFFIXES, find_media, read_clip, read_image
from ..config import SCALE
from ..errors import InputNotFoundError, UnreadableVideoError
from ..metrics import limit_size, psnr_y, resize_bicubic, ssim_y
from ..runtime.processor import FrameProcessor

BORDER_PX = 4
TRUTH_MULTIPLE = 8
LEAST_SIDE_PX = 24
"""SSIM's window and the border must fit."""

Levels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Score:
    """Figures of one image or clip (means over its frames), or of a whole set."""

    name: str
    frames: int
    psnr_y: float
    """dB, the bundle."""
    psnr_y_bicubic: float
    """dB, plain bicubic."""
    ssim_y: float
    """The bundle."""
    ssim_y_bicubic: float
    """Plain bicubic."""

    @property
    def gain_db(self) -> float:
        """PSNR-Y of the bundle over bicubic's."""
        return self.psnr_y - self.psnr_y_bicubic


def evaluate(
    processor: FrameProcessor,
    files: Sequence[Path],
    *,
    max_frames: int = 50,
    max_side_px: int = 960,
    progress: Callable[[Score], None] | None = None,
) -> list[Score]:
    """Score files one by one.

    Args:
        processor: Of an opened session.
        files: Images and videos; a video gives its first `max_frames` frames.
        max_frames: Frames of each video.
        max_side_px: Videos with a longer side are reduced to it first, which removes camera and
            codec blur from the truth.
        progress: Called with each score as it is known.

    Returns:
        One score a file, in order.

    Raises:
        UnreadableVideoError: A file cannot be read as image or video.
    """
    scores = []
    for file in files:
        try:
            score = _score(processor, file.name, _truth(file, max_frames, max_side_px))
        except (av.FFmpegError, ValueError, OSError) as error:
            raise UnreadableVideoError(f"cannot evaluate on '{file}': {error}") from error
        scores.append(score)
        if progress is not None:
            progress(score)
    return scores


def find_truth(paths: Sequence[Path]) -> list[Path]:
    """Images and videos among the paths, those in folders included.

    Raises:
        InputNotFoundError: A path does not exist, or there is nothing to evaluate on.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += find_media(path, IMAGE_SUFFIXES | VIDEO_SUFFIXES)
        elif path.is_file():
            files.append(path)
        else:
            raise InputNotFoundError(f"no file or folder '{path}'")
    if not files:
        folders = ", ".join(f"'{path}'" for path in paths)
        raise InputNotFoundError(f"no image or video in {folders}")
    return files


def mean_score(scores: Sequence[Score], name: str = "mean") -> Score:
    """Mean over files, each counting the same."""
    return Score(
        name,
        sum(s.frames for s in scores),
        *(
            float(np.mean([getattr(s, field) for s in scores]))
            for field in ("psnr_y", "psnr_y_bicubic", "ssim_y", "ssim_y_bicubic")
        ),
    )


def _truth(file: Path, max_frames: int, max_side_px: int) -> Iterable[Levels]:
    """Frames of the truth, cut to the multiple."""
    if file.suffix.lower() in IMAGE_SUFFIXES:
        frames: Iterable[Levels] = [read_image(file)]
    else:
        frames = (limit_size(image, max_side_px) for image in islice(read_clip(file), max_frames))
    for image in frames:
        height, width = (side // TRUTH_MULTIPLE * TRUTH_MULTIPLE for side in image.shape[:2])
        yield image[:height, :width]


def _score(processor: FrameProcessor, name: str, truth: Iterable[Levels]) -> Score:
    waiting: deque[tuple[Levels, Levels]] = deque()  # truth and input, until upscaled

    def low_frames() -> Iterator[Levels]:
        for image in truth:
            height, width = image.shape[:2]
            if min(height, width) < LEAST_SIDE_PX:
                raise ValueError(f"{width}x{height} pixels, needs at least {LEAST_SIDE_PX} a side")
            low = resize_bicubic(image, height // SCALE, width // SCALE)
            waiting.append((image, low))
            yield low

    rows = []
    for upscaled in processor.clip(low_frames()):
        image, low = waiting.popleft()
        bicubic = resize_bicubic(low, *image.shape[:2])
        rows.append(
            [
                metric(picture, image, BORDER_PX)
                for metric in (psnr_y, ssim_y)
                for picture in (upscaled, bicubic)
            ]
        )
    if not rows:
        raise ValueError("no frames")
    ours_psnr, bicubic_psnr, ours_ssim, bicubic_ssim = np.mean(rows, axis=0).tolist()
    return Score(name, len(rows), ours_psnr, bicubic_psnr, ours_ssim, bicubic_ssim)
