"""The frames of all segments of real, odd files are those of the file read as a whole."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from adcvsr.errors import AdcVsrError, JobError
from adcvsr.runtime.jobs.cutting import cut
from adcvsr.runtime.jobs.plan import JobPlan, Network, SourceFile
from adcvsr.runtime.jobs.scan import Mode, scan
from adcvsr.runtime.jobs.segment_io import SegmentSource
from adcvsr.runtime.jobs.settings import JobSettings
from adcvsr.runtime.video.read_options import ReadOptions
from adcvsr.runtime.video.source import FileSource, SourceFrame

WARM_UP = 3
LARGEST = 800_000
"""Pixels of a frame, so that the test takes seconds."""

Frames = list[tuple[int, int]]
"""Time and checksum of each."""


def whole(path: Path) -> Frames:
    with FileSource(path) as source:
        if source.info.width * source.info.height > LARGEST:
            return []
        return [crc(item) for item in source if isinstance(item, SourceFrame)]


def crc(item: SourceFrame) -> tuple[int, int]:
    return item.pts, zlib.crc32(item.rgb.tobytes())


def segmented(path: Path, seconds: float, mode: Mode = "auto") -> tuple[str, Frames, list[int]]:
    """How the frames were found, those of all segments, and how many frames warmed each up."""
    found = scan(path, ReadOptions(), mode)
    segments = cut(found, seconds, WARM_UP)
    plan = JobPlan(
        settings=JobSettings(source=str(path), output="out.mp4"),
        source=SourceFile(0, 0, ""),
        network=Network("", "", "", {}, WARM_UP, False, "", False, ""),
        encoder="libx264",
        preset=None,
        encoder_threads=1,
        versions={},
        video=found.info,
        scan=found.how,
        damaged_packets=0,
        damaged_frames=0,
        notes=(),
        segments=tuple(segments),
    )
    frames: Frames = []
    warmed: list[int] = []
    for segment in segments:
        with SegmentSource(path, plan, segment, ReadOptions()) as source:
            came = [crc(item) for item in source if isinstance(item, SourceFrame)]
        warmed.append(len(came) - segment.frames)
        assert warmed[-1] == segment.warm_up
        before = frames[-segment.warm_up :] if segment.warm_up else []
        assert came[: segment.warm_up] == before
        frames += came[segment.warm_up :]
    return found.how, frames, warmed


CLIPS = (
    # As the next one, at five times the pixels.
    pytest.param("demo/friday_640x480.mp4", marks=pytest.mark.slow),
    "demo/nasa_13013_320x180.mp4",
    "robust/av1_640x360.mkv",
    "robust/editlist_854x480.mp4",
    "robust/avi_h264_nonmonotonic_pts.avi",
)


@pytest.mark.parametrize("name", CLIPS)
def test_frames_of_segments_are_those_of_the_file(data: Path, name: str) -> None:
    path = data / "clips" / name
    expected = whole(path)
    assert expected
    how, frames, _ = segmented(path, max(len(expected) / 120, 0.5))
    assert frames == expected, how


def test_damage_that_packets_do_not_show_is_told(data: Path) -> None:
    path = data / "clips/robust/flip_mp4_80bits.mp4"
    with pytest.raises(JobError, match="damaged.*--scan frames"):
        segmented(path, 0.5)
    how, frames, _ = segmented(path, 0.5, "frames")
    assert how == "frames"
    assert frames == whole(path)


@pytest.mark.slow
def test_frames_of_segments_of_all_odd_files(data: Path) -> None:
    wrong = []
    for path in sorted((data / "clips" / "robust").iterdir()):
        try:
            expected = whole(path)
        except AdcVsrError:
            continue
        if not expected:
            continue
        try:
            how, frames, _ = segmented(path, 0.5)
        except JobError as error:
            if "--scan frames" in str(error):
                continue
            wrong.append(f"{path.name}: {error}")
            continue
        if frames != expected:
            wrong.append(f"{path.name} ({how}): {len(frames)} frames of {len(expected)}")
    assert not wrong
