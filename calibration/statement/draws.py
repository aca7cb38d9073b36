"""Runs drawn at random from footage: the unit of a statement's test.

Frames of one clip are alike, so a thousand of them are no thousand witnesses. Here a unit is a run:
a few consecutive frames of one scene, a part of the picture as large as is cheap, the network
starting without a past. Each is drawn by itself, with replacement, every place in time of the
footage as probable as any other. Draws are therefore independent whatever the footage is like, and
what is shown holds for the footage they were drawn from. Whether it holds for other footage of the
kind is a question to the clips, of which there are few: the statement counts them apart.

    footage = survey_footage(paths, note=print)
    draws = draw_runs(footage, seed=0, count=400, height=72, width=128)
    for run in read_runs(footage, draws[:50]):
        ...  # run.frames (6, 72, 128, 3), run.traits
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from ...arrays import Levels
from ...errors import AdcVsrError, InputNotFoundError, UnreadableVideoError
from ...metrics import luma
from ...pictures.content import ContentTraits, measure_content
from ...pictures.scene_cuts import Small, score_cut, small_luma
from ...pictures.yuv_picture import AnyPicture, YuvPicture, rgb_of
from ...runtime.video.source import FileSource, SourceFrame
from ..sets.survey import CUT_THRESHOLD

RUN_FRAMES = 6
"""Of a run: flicker shows in four and more, and the first is without a past."""

MOST_FRAMES = 300
"""Looked at in each clip: ten seconds."""


@dataclass(frozen=True)
class Scene:
    """Frames of a clip without a cut."""

    path: Path
    begin: int
    end: int
    """Behind the last frame."""

    height: int
    width: int

    @property
    def starts(self) -> int:
        """Places a run may begin at."""
        return max(self.end - self.begin - RUN_FRAMES + 1, 0)


@dataclass(frozen=True)
class Draw:
    """Where a run is."""

    path: Path
    first: int
    """Index of its first frame in the clip."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class DrawnRun:
    """A run, read."""

    draw: Draw
    frames: Levels
    """(T, h, w, 3) uint8 RGB."""

    traits: ContentTraits
    """Of the whole picture, in the middle of the run."""


def survey_footage(
    paths: Sequence[Path], *, note: Callable[[str], None], most_frames: int = MOST_FRAMES
) -> list[Scene]:
    """Find the scenes of all clips.

    Args:
        paths: Videos.
        note: Called with a line for each that is left out, and one for those that are longer.
        most_frames: Looked at in each.

    Raises:
        InputNotFoundError: None has a scene of `RUN_FRAMES` frames.
    """
    scenes: list[Scene] = []
    longer = []
    for path in paths:
        try:
            found, more = _scenes(path, most_frames)
        except AdcVsrError as error:
            note(f"left out of the statement: {error}")
            continue
        longer += [f"'{path.name}'"] * more
        scenes += [scene for scene in found if scene.starts]
        if not any(scene.starts for scene in found):
            note(f"left out of the statement: '{path}' has no scene of {RUN_FRAMES} frames")
    if not scenes:
        raise InputNotFoundError(f"no clip has {RUN_FRAMES} frames of one scene, as runs need")
    if longer:
        note(f"the statement is of the first {most_frames} frames of {', '.join(longer)}")
    return scenes


def draw_runs(
    scenes: Sequence[Scene], *, seed: int, count: int, height: int, width: int, multiple: int = 1
) -> list[Draw]:
    """Draw runs, each by itself; the same scenes and seed give the same ones, fewer a part of them.

    Args:
        scenes: See `survey_footage`.
        seed: Decides what is drawn.
        count: Runs.
        height: Most pixels of the part of the picture.
        width: Likewise.
        multiple: What the network's sizes are multiples of.
    """
    names = ",".join(scene.path.name for scene in scenes)
    random = np.random.default_rng((seed, zlib.crc32(names.encode())))
    ends = np.cumsum([scene.starts for scene in scenes])
    draws = []
    for _ in range(count):
        at = int(random.integers(ends[-1]))
        index = int(np.searchsorted(ends, at, side="right"))
        scene = scenes[index]
        first = scene.begin + at - int(ends[index] - scene.starts)
        sides = [
            max(min(most, side) // multiple * multiple, multiple)
            for most, side in ((height, scene.height), (width, scene.width))
        ]
        rooms = (scene.height - sides[0], scene.width - sides[1])
        top, left = (int(random.integers(max(room, 0) + 1)) for room in rooms)
        draws.append(Draw(scene.path, first, top, left, sides[0], sides[1]))
    return draws


def read_runs(draws: Sequence[Draw]) -> list[DrawnRun]:
    """Read runs, in their order; each clip is decoded once, up to its last one.

    Raises:
        UnreadableVideoError: A clip ends earlier than before.
    """
    by_clip: dict[Path, list[int]] = defaultdict(list)
    for index, draw in enumerate(draws):
        by_clip[draw.path].append(index)
    found: dict[int, DrawnRun] = {}
    for path, indices in by_clip.items():
        found |= _read_clip(path, {index: draws[index] for index in indices})
    return [found[index] for index in range(len(draws))]


def _read_clip(path: Path, draws: dict[int, Draw]) -> dict[int, DrawnRun]:
    parts: dict[int, list[Levels]] = {index: [] for index in draws}
    traits: dict[int, ContentTraits] = {}
    stop = max(draw.first for draw in draws.values()) + RUN_FRAMES
    before: Small | None = None
    reformatter = VideoReformatter()
    with FileSource(path) as source:
        for at, picture in enumerate(islice(_pictures(source), stop)):
            small = _small(picture)
            here = {
                index: draw
                for index, draw in draws.items()
                if draw.first <= at < draw.first + RUN_FRAMES
            }
            image = rgb_of(picture, reformatter) if here else None
            for index, draw in here.items():
                assert image is not None
                rows = slice(draw.top, draw.top + draw.height)
                columns = slice(draw.left, draw.left + draw.width)
                parts[index].append(np.ascontiguousarray(image[rows, columns]))
                if at == draw.first + RUN_FRAMES // 2:
                    traits[index] = measure_content(luma(image), small, before)
            before = small
    short = [index for index in draws if len(parts[index]) < RUN_FRAMES]
    if short:
        raise UnreadableVideoError(f"'{path}' ends before frame {stop}: it was longer a moment ago")
    return {
        index: DrawnRun(draw, np.stack(parts[index]), traits[index])
        for index, draw in draws.items()
    }


def _scenes(path: Path, most_frames: int) -> tuple[list[Scene], bool]:
    """Scenes of a clip, and whether it is longer; one ends where the size changes, too."""
    begins: list[tuple[int, int, int]] = []
    count = 0
    before: Small | None = None
    with FileSource(path) as source:
        pictures = _pictures(source)
        for picture in islice(pictures, most_frames):
            small = _small(picture)
            size = picture.shape[0], picture.shape[1]
            if before is None or begins[-1][1:] != size or _is_cut(before, small):
                begins.append((count, *size))
            before = small
            count += 1
        more = count == most_frames and next(pictures, None) is not None
    ends = [*(begin for begin, _, _ in begins[1:]), count]
    return [
        Scene(path, begin, end, height, width)
        for (begin, height, width), end in zip(begins, ends, strict=True)
    ], more


def _pictures(source: FileSource) -> Iterator[AnyPicture]:
    """Frames as they were decoded: most are looked at as small luma alone."""
    if source.why_not_yuv() is None:
        source.keep(yuv=True)
    return (item.picture for item in source if isinstance(item, SourceFrame))


def _small(picture: AnyPicture) -> Small:
    if isinstance(picture, YuvPicture):
        return small_luma(picture.frame())
    return small_luma(av.VideoFrame.from_ndarray(picture, format="rgb24"))


def _is_cut(before: Small, after: Small) -> bool:
    return score_cut(before, after, CUT_THRESHOLD) >= CUT_THRESHOLD
