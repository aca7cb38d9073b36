"""Which runs of frames go into a calibration set: few, and as unlike each other as there are.

Every scene is cut into runs. The first run chosen adds the most bins of luminance, motion and
noise that no run had; so does each further one, and where all add the same number the one least
like those chosen comes first. Nothing is drawn: the same clips give the same runs.

    runs = choose_runs(surveys, count=16, length=6)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...pictures.content import CLASS_EDGES, count_classes
from .survey import ClipSurvey

CHOSEN_BY = ("luminance", "motion", "noise")
"""Traits that runs are chosen by; compression is counted alone, as clips hardly vary in it."""

BIN_EDGES = {name: CLASS_EDGES[name] for name in CHOSEN_BY}
"""Borders of their bins, in levels (see `FrameTraits`)."""

LEAST_CONTRAST = 2.0
"""Standard deviation of luma, levels, below which a run shows nothing: black, a fade, a cap on the
lens. Ranges measured on it would be those of the noise."""

CUT_SHARE = 4
"""One run in so many goes across a cut, where there are cuts; where there are none, as many are
made by joining scenes."""


@dataclass(frozen=True)
class Run:
    """Consecutive frames of one clip."""

    path: Path
    """The clip."""

    start: int
    """Index of its first frame."""

    length: int
    """Frames."""

    cut: int | None
    """Index within the run of the first frame of another scene; None stays in one scene."""

    traits: tuple[float, float, float]
    """Means over the run of luminance, motion and noise."""

    contrast: float
    """Largest of the run."""

    compression: float = 0.0
    """Mean over the run."""

    @property
    def bins(self) -> dict[str, int]:
        """Bin of each trait."""
        return {
            name: int(np.searchsorted(edges, value, side="right"))
            for (name, edges), value in zip(BIN_EDGES.items(), self.traits, strict=True)
        }


def choose_runs(surveys: Sequence[ClipSurvey], *, count: int, length: int) -> list[Run]:
    """Choose the runs of a set.

    Args:
        surveys: Of the clips, in order.
        count: Runs wanted; fewer where the clips have no more that show something.
        length: Frames of each run.

    Returns:
        In the order of clips and frames.
    """
    steady = [run for survey in surveys for run in _steady_runs(survey, length)]
    cuts = [run for survey in surveys for run in _cut_runs(survey, length)]
    chosen = _spread(cuts, min(len(cuts), count // CUT_SHARE), [])
    chosen += _spread(steady, count - len(chosen), chosen)
    order = {survey.path: index for index, survey in enumerate(surveys)}
    return sorted(chosen, key=lambda run: (order[run.path], run.start))


def coverage(runs: Sequence[Run]) -> dict[str, Any]:
    """How many runs fall into each class of each trait."""
    values = {name: [run.traits[at] for run in runs] for at, name in enumerate(CHOSEN_BY)}
    values["compression"] = [run.compression for run in runs]
    return {name: count_classes(name, each) for name, each in values.items()}


def _steady_runs(survey: ClipSurvey, length: int) -> list[Run]:
    """All runs within scenes, one after the other."""
    borders = [0, *survey.cuts, len(survey.frames)]
    starts = [
        start
        for begin, end in pairwise(borders)
        for start in range(begin, end - length + 1, length)
    ]
    return _visible([_run(survey, start, length, None) for start in starts])


def _cut_runs(survey: ClipSurvey, length: int) -> list[Run]:
    """A run around every cut that has half a run of the scenes on each side."""
    before = length // 2
    borders = [0, *survey.cuts, len(survey.frames)]
    runs = [
        _run(survey, cut - before, length, before)
        for begin, cut, end in zip(borders, borders[1:], borders[2:], strict=False)
        if cut - begin >= before and end - cut >= length - before
    ]
    return _visible(runs)


def _visible(runs: list[Run]) -> list[Run]:
    return [run for run in runs if run.contrast >= LEAST_CONTRAST]


def _run(survey: ClipSurvey, start: int, length: int, cut: int | None) -> Run:
    frames = survey.frames[start : start + length]
    moving = [frame.motion for frame in frames[1:]] or [0.0]
    traits = (
        float(np.mean([frame.luminance for frame in frames])),
        float(np.mean(moving)),
        float(np.mean([frame.noise for frame in frames])),
    )
    contrast = max(frame.contrast for frame in frames)
    compression = float(np.mean([frame.compression for frame in frames]))
    return Run(survey.path, start, length, cut, traits, contrast, compression)


def _spread(candidates: Sequence[Run], count: int, chosen: Sequence[Run]) -> list[Run]:
    """Take the run that adds most, again and again."""
    if not candidates or count < 1:
        return []
    points = _points(candidates)
    seen = {item for run in chosen for item in run.bins.items()}
    nearest = np.full(len(candidates), np.inf)
    taken: list[int] = []
    for _ in range(min(count, len(candidates))):
        added = [len(set(run.bins.items()) - seen) for run in candidates]
        keys = [(added[i], nearest[i], -i) for i in range(len(candidates)) if i not in taken]
        best = -max(keys)[2]
        taken.append(best)
        seen |= set(candidates[best].bins.items())
        nearest = np.minimum(nearest, np.abs(points - points[best]).sum(1))
    return [candidates[index] for index in taken]


def _points(candidates: Sequence[Run]) -> npt.NDArray[np.float64]:
    """Traits on comparable scales; motion and noise by their logarithms, as bins are."""
    traits = np.array([run.traits for run in candidates])
    traits[:, 1:] = np.log(traits[:, 1:] + 0.1)
    spread: npt.NDArray[np.float64] = traits / (traits.std(0) + 1e-9)
    return spread
