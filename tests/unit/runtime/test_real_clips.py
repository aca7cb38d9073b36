"""Real files with real quirks; skipped, with the reason, where they are not at hand."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from adcvsr.pictures.crop import Crop
from adcvsr.runtime.upscale_report import UpscaleReport
from adcvsr.runtime.upscaler import Upscaler
from adcvsr.runtime.video.encoders import EncodeOptions
from adcvsr.runtime.video.read_options import ReadOptions
from video_facts import VideoFacts, video_facts


def upscale(
    source: Path, output: Path, crop: Crop | None = None
) -> tuple[UpscaleReport, VideoFacts, VideoFacts]:
    """With the quickest encoder: streams and times are looked at, not pictures."""
    options = EncodeOptions() if output.suffix == ".webm" else EncodeOptions(preset="ultrafast")
    with Upscaler("nano") as upscaler:
        report = upscaler.upscale_file(source, output, options=options, read=ReadOptions(crop=crop))
    return report, video_facts(source), video_facts(output)


def largest_shift(before: VideoFacts, after: VideoFacts) -> Fraction:
    """Largest difference of frame times after the common offset."""
    offset = after.times[0] - before.times[0]
    pairs = zip(before.times, after.times, strict=True)
    return max(abs(new - old - offset) for old, new in pairs)


def test_ten_bit_vp9_to_mkv(data: Path, tmp_path: Path) -> None:
    source = data / "clips/robust/vp9_10bit_426x240.webm"
    report, before, after = upscale(source, tmp_path / "out.mkv", Crop(112, 64, 100, 60))
    assert after.size == (448, 256)
    assert len(after.times) == report.frames == 72
    assert after.times[0] == before.times[0]
    assert largest_shift(before, after) <= Fraction(1, 2000)
    assert after.colour == before.colour
    assert any(note.startswith("kept: 10 bits") for note in report.notes)


@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_two_sounds_and_subtitles(data: Path, tmp_path: Path, container: str) -> None:
    source = data / "clips/demo/nasa_13013_320x180.mp4"
    report, before, after = upscale(source, tmp_path / f"out.{container}", Crop(80, 46, 120, 60))
    assert after.size == (320, 184)
    assert report.frames == len(after.times) == len(before.times) == 325
    assert largest_shift(before, after) <= (0 if container == "mp4" else Fraction(1, 2000))
    kinds = [kind for kind, _ in after.streams]
    assert kinds.count("audio") == 2
    assert kinds.count("subtitle") == 2
    assert after.packets["audio"] == before.packets["audio"]
    assert sorted(after.audio) == sorted(before.audio)
    assert any("left out: #3 (480x270)" in note for note in report.notes)


def test_phone_clip_stays_upright(data: Path, tmp_path: Path) -> None:
    source = data / "clips/robust/rot90_video1_352x288.mp4"
    _, before, after = upscale(source, tmp_path / "out.mp4")
    assert after.rotation == before.rotation == 90
    assert after.times == before.times
    assert after.audio == before.audio


def test_odd_size(data: Path, tmp_path: Path) -> None:
    source = data / "clips/robust/odd_161x121_vp9.webm"
    _, before, after = upscale(source, tmp_path / "out.webm")
    assert after.size == (644, 484)
    assert len(after.times) == len(before.times) == 30


def test_one_pixel(data: Path, tmp_path: Path) -> None:
    _, before, after = upscale(data / "clips/robust/one_pixel_1x1.mp4", tmp_path / "out.mp4")
    assert after.size == (4, 4)
    assert after.times == before.times


def test_times_that_run_backwards(data: Path, tmp_path: Path) -> None:
    source = data / "clips/robust/avi_h264_nonmonotonic_pts.avi"
    _, before, after = upscale(source, tmp_path / "out.mp4")
    assert len(after.times) == len(before.times) == 25
    steps = {b - a for a, b in zip(after.times, after.times[1:], strict=False)}
    assert steps == {Fraction(1, 25)}
    assert after.aspect == Fraction(4, 3)


def test_variable_rate_phone_clip(data: Path, tmp_path: Path) -> None:
    source = data / "clips/robust/vfr_slowmotion_1280x720.mp4"
    _, before, after = upscale(source, tmp_path / "out.mp4", Crop(320, 180, 480, 270))
    assert after.times == before.times
    assert after.colour[1] == 2


def test_raw_stream_without_times(data: Path, tmp_path: Path) -> None:
    report, _, after = upscale(data / "clips/robust/small_152x100.264", tmp_path / "out.mp4")
    assert report.frames == 10
    assert after.times == [Fraction(n, 25) for n in range(10)]


def test_cropped_stream_has_no_junk_columns(data: Path, tmp_path: Path) -> None:
    """The stream crops 26 pixels on the left, which no decoder aligns by itself."""
    report, _, after = upscale(data / "clips/robust/cropped_300x168.jsv", tmp_path / "out.mp4")
    assert after.size == (1200, 672)
    assert report.frames == 50
