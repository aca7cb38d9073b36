"""Making a calibration set from videos.

build_set([Path("clips")], Path("set"), open_bundle("nano"), SetOptions(), report=print)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np

from ...arrays import Levels
from ...bundle import Bundle
from ...errors import AdcVsrError, CalibrationError, ConfigError, InputNotFoundError
from ...files import file_sha256
from ...given import refuse_address
from ...pictures.clips import IMAGE_SUFFIXES, VIDEO_SUFFIXES, find_media
from ...pictures.synthetic import draw_clip
from ...runtime.video.source import FileSource
from ...version import __version__
from .calibration_set import (
    SET_SCHEMA,
    CalibrationSet,
    StoredRun,
    network_facts,
    open_set,
    require_content,
)
from .selection import CUT_SHARE, Run, choose_runs, coverage
from .survey import ClipSurvey, frames_of, survey_clip
from .write_set import check_set_output, write_set

Report = Callable[[str], None]

GOLDEN_SHARES = (0.7548776662466927, 0.5698402909980532)
"""Steps of the crops' positions from run to run (the plane's R2 sequence, Roberts 2018): evenly
spread without a random number."""


@dataclass(frozen=True, kw_only=True)
class SetOptions:
    """How a set is made."""

    runs: int = 24
    """Runs wanted."""

    length: int = 6
    """Frames of each; 2 or more. The first is cold."""

    height: int = 64
    """Of the crops, pixels."""

    width: int = 128
    """Likewise."""

    reduce: int = 1
    """Divide the clips' sides by it first."""

    max_frames: int = 300
    """Frames looked at in each clip."""

    drawn: bool = True
    """Add one run of drawn graphics: hard edges and full contrast as in titles and screens, which
    footage hardly has and which clip badly without (docs/quantization.md)."""

    overwrite: bool = False
    """Replace an existing set."""

    def check(self, multiple: int) -> None:
        """Refuse values that make no set.

        Raises:
            ConfigError: A value out of range, or a size the network does not take.
        """
        for name, least in (("runs", 1), ("length", 2), ("reduce", 1), ("max_frames", 2)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} = {getattr(self, name)}; expected {least} or more")
        if min(self.height, self.width) < 1 or self.height % multiple or self.width % multiple:
            raise ConfigError(
                f"size {self.width}x{self.height}; the network takes multiples of {multiple}"
            )


def build_set(
    paths: Sequence[Path],
    output: Path,
    bundle: Bundle,
    options: SetOptions,
    *,
    report: Report,
    progress: Callable[[int, int], None] | None = None,
) -> CalibrationSet:
    """Choose runs from videos and write them.

    The same clips and options give the same bytes.

    Args:
        paths: Videos, and folders of them.
        output: The folder to write.
        bundle: The network the set is for.
        options: See there.
        report: Called with lines to show: what was left out and what the set covers.
        progress: Called with clips looked at and clips in all.

    Raises:
        InputNotFoundError: A path is not there, or there is no video.
        CalibrationError: Stills only, nothing long or large enough, or nothing to see.
        OutputExistsError, OutputNotWritableError: The output.
        ConfigError: See `SetOptions.check`.
    """
    options.check(bundle.size_multiple)
    check_set_output(output, overwrite=options.overwrite)
    surveys = _survey(find_videos(paths), options, report, progress)
    chosen = choose_runs(surveys, count=options.runs, length=options.length)
    if len(chosen) < options.runs:
        report(f"{len(chosen)} runs of {options.runs}: the clips have no more that show something")
    runs = _read_runs(chosen, options)
    runs += _joined_runs(runs, options.runs // CUT_SHARE - _cuts(runs), report)
    require_content([run.frames for run in runs], "the calibration set")
    if options.drawn:
        frames = draw_clip(options.length, options.height, options.width)
        runs.append(StoredRun(frames, None, {"drawn": True, "frames": len(frames), "cut": None}))
    manifest = {
        "calibration_schema": SET_SCHEMA,
        "network": network_facts(bundle),
        "options": {k: v for k, v in asdict(options).items() if k != "overwrite"},
        "clips": [_clip_facts(survey) for survey in surveys],
        "coverage": {**coverage(chosen), "cold_frames": len(runs), "cuts": _cuts(runs)},
        "runs": [run.facts for run in runs],
        "made_with": {"adcvsr": __version__, "av": av.__version__},
    }
    write_set(output, manifest, runs)
    return open_set(output)


def find_videos(paths: Sequence[Path]) -> list[Path]:
    """Videos among the paths, those in folders included.

    Raises:
        InputNotFoundError: A path is not there, or there is nothing.
        CalibrationError: There are stills only.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += find_media(path, VIDEO_SUFFIXES | IMAGE_SUFFIXES)
        elif path.is_file():
            files.append(path)
        else:
            refuse_address(path)
            raise InputNotFoundError(f"no file or folder '{path}'")
    videos = [file for file in files if file.suffix.lower() not in IMAGE_SUFFIXES]
    if files and not videos:
        raise CalibrationError(
            f"{len(files)} stills and no video: state tensors are calibrated too, which needs "
            "consecutive frames; give videos"
        )
    if not videos:
        raise InputNotFoundError(f"no video in {', '.join(repr(str(path)) for path in paths)}")
    return list(dict.fromkeys(videos))


def _survey(
    videos: Sequence[Path],
    options: SetOptions,
    report: Report,
    progress: Callable[[int, int], None] | None,
) -> list[ClipSurvey]:
    """Look at every video; those of no use are named."""
    surveys: list[ClipSurvey] = []
    for index, video in enumerate(videos):
        try:
            survey = survey_clip(video, max_frames=options.max_frames, reduce=options.reduce)
        except AdcVsrError as error:
            report(f"left out: {error}")
            continue
        finally:
            if progress is not None:
                progress(index + 1, len(videos))
        reason = _unusable(survey, options)
        if reason:
            report(f"left out: '{video}' {reason}")
        else:
            surveys.append(survey)
    if not surveys:
        raise CalibrationError(f"none of {len(videos)} files can be calibrated on (see above)")
    return surveys


def _unusable(survey: ClipSurvey, options: SetOptions) -> str | None:
    if len(survey.frames) < options.length:
        return f"has {len(survey.frames)} frames; a run takes {options.length}"
    if survey.height < options.height or survey.width < options.width:
        return (
            f"has frames of {survey.width}x{survey.height}; crops take "
            f"{options.width}x{options.height} (--size)"
        )
    return None


def _read_runs(chosen: Sequence[Run], options: SetOptions) -> list[StoredRun]:
    """Decode the chosen runs, each clip once, up to its last chosen frame."""
    places = {id(run): index for index, run in enumerate(chosen)}
    stored: dict[int, StoredRun] = {}
    for path in dict.fromkeys(run.path for run in chosen):
        mine = [run for run in chosen if run.path == path]
        images: dict[int, list[Levels]] = {places[id(run)]: [] for run in mine}
        with FileSource(path) as source:
            stop = max(run.start + run.length for run in mine)
            for at, image in enumerate(islice(frames_of(source, options.reduce), stop)):
                for run in mine:
                    if run.start <= at < run.start + run.length:
                        index = places[id(run)]
                        images[index].append(_crop(image, index, options))
        for run in mine:
            index = places[id(run)]
            stored[index] = StoredRun(
                np.stack(images[index]), run.cut, _run_facts(run, index, image.shape, options)
            )
    return [stored[index] for index in range(len(chosen))]


def _crop(image: Levels, index: int, options: SetOptions) -> Levels:
    top, left = _corner(index, image.shape, options)
    crop: Levels = image[top : top + options.height, left : left + options.width].copy()
    return crop


def _corner(index: int, shape: tuple[int, ...], options: SetOptions) -> tuple[int, int]:
    """Where the crop of a run is; the same in all its frames."""
    shares = [(0.5 + step * index) % 1.0 for step in GOLDEN_SHARES]
    rooms = (shape[0] - options.height, shape[1] - options.width)
    top, left = (int(share * (room + 1)) for share, room in zip(shares, rooms, strict=True))
    return top, left


def _run_facts(run: Run, index: int, shape: tuple[int, ...], options: SetOptions) -> dict[str, Any]:
    top, left = _corner(index, shape, options)
    luminance, motion, noise = (round(value, 2) for value in run.traits)
    return {
        "clip": run.path.name,
        "first_frame": run.start,
        "frames": run.length,
        "cut": run.cut,
        "crop": {"top": top, "left": left},
        "traits": {
            "luminance": luminance,
            "motion": motion,
            "noise": noise,
            "compression": round(run.compression, 3),
        },
    }


def _cuts(runs: Sequence[StoredRun]) -> int:
    return sum(run.cut is not None for run in runs)


def _joined_runs(runs: Sequence[StoredRun], count: int, report: Report) -> list[StoredRun]:
    """Runs across a cut that the clips do not have: the begin of one and the end of another."""
    steady = [run for run in runs if run.cut is None]
    count = min(count, len(steady) // 2)
    joined: list[StoredRun] = []
    for index in range(count):
        first, second = steady[index], steady[len(steady) // 2 + index]
        cut = len(first.frames) // 2
        frames = np.concatenate([first.frames[:cut], second.frames[cut:]])
        facts = {"joined": [first.facts["clip"], second.facts["clip"]], "frames": len(frames)}
        joined.append(StoredRun(frames, cut, {**facts, "cut": cut}))
    if joined:
        report(f"the clips have too few cuts: {len(joined)} made by joining runs")
    return joined


def _clip_facts(survey: ClipSurvey) -> dict[str, Any]:
    return {
        "name": survey.path.name,
        "sha256": file_sha256(survey.path),
        "size": [survey.width, survey.height],
        "frames_seen": len(survey.frames),
        "cuts": survey.cuts,
    }
