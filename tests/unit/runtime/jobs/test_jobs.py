"""A job's result has the same bits, whoever made its segments, and the pictures of one run."""

from __future__ import annotations

import json
import os
import shutil
import threading
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from adcvsr.errors import ConfigError, JobError, OutputExistsError, OutputNotWritableError
from adcvsr.files import file_sha256
from adcvsr.pictures.yuv_picture import YuvPicture, planes_of
from adcvsr.runtime.jobs import run, work
from adcvsr.runtime.jobs.folder import CERTIFICATE, Job, SegmentResult
from adcvsr.runtime.jobs.join import join
from adcvsr.runtime.jobs.plan import JobPlan
from adcvsr.runtime.jobs.planning import make_plan
from adcvsr.runtime.jobs.run import open_job, run_job
from adcvsr.runtime.jobs.segment_io import SegmentSource
from adcvsr.runtime.jobs.settings import JobSettings
from adcvsr.runtime.jobs.status import job_status
from adcvsr.runtime.jobs.verify import choose_sample, verify
from adcvsr.runtime.jobs.work import SegmentWorker, make_leased, work_on
from adcvsr.runtime.upscaler import Upscaler
from adcvsr.runtime.video import sink
from adcvsr.runtime.video.encoders import EncodeOptions
from adcvsr.runtime.video.read_options import ReadOptions
from adcvsr.runtime.video.sink import FileSink
from adcvsr.runtime.video.source import SourceFrame
from video_facts import VideoMaker, video_facts

TICK = 512
SEGMENT = 0.5
FRAMES = 40


@pytest.fixture
def film(make_video: VideoMaker) -> Path:
    """40 frames of 25 a second, key frames every 12, with sound and subtitles."""
    pts = tuple(range(0, FRAMES * TICK, TICK))
    return make_video("film.mp4", pts=pts, audio=True, subtitles=("one", "two"), rotation=90)


def settings_for(source: Path, output: Path, **more: Any) -> JobSettings:
    values: dict[str, Any] = {"variant": "fp32", "segment_seconds": SEGMENT, **more}
    return JobSettings(source=str(source), output=str(output), **values)


def make_job(source: Path, output: Path, folder: Path, **more: Any) -> Job:
    return Job.create(folder, make_plan(settings_for(source, output, **more)))


def finish(job: Job, *, threads: int = 1) -> str:
    with SegmentWorker(job, threads=threads) as worker:
        work_on(worker, wait=False)
    return sha_of(job)


def sha_of(job: Job) -> str:
    joined = join(job)
    output = Path(job.plan.settings.output)
    assert joined.certificate["output"]["sha256"] == file_sha256(output)
    return file_sha256(output)


def pictures_of_one_run(
    source: Path,
    output: Path,
    monkeypatch: pytest.MonkeyPatch,
    model: str,
    settings: JobSettings | None = None,
    **choices: Any,
) -> tuple[list[bytes], int | None]:
    """What `upscale` gives its encoder without a job, and the cuts it met."""
    found: list[bytes] = []
    write = FileSink.write

    def keep(self: FileSink, picture: Any, pts: int, alpha: Any) -> None:
        found.append(b"".join(plane.tobytes() for plane in planes_of(picture)))
        write(self, picture, pts, alpha)

    with monkeypatch.context() as patch, Upscaler(model, threads=1, **choices) as upscaler:
        patch.setattr(FileSink, "write", keep)
        settings = settings or settings_for(source, output)
        read, options = settings.read_options(), settings.encode_options(None)
        report = upscaler.upscale_file(
            source, output, options=options, read=read, pixels=settings.pixels
        )
    return found, report.scene_cuts


def two_scenes(path: Path, count: int = 36, *, gop: int = 9, pixel_format: str = "yuv420p") -> Path:
    """Frames whose second half is another scene, with B-frames and open groups of pictures."""
    rng = np.random.default_rng(3)
    scenes = [rng.integers(0, 256, (12, 16, 3), np.uint8).repeat(4, 0).repeat(4, 1) for _ in "ab"]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixel_format
        stream.codec_context.gop_size = gop
        stream.options = {"x264-params": f"open-gop=1:bframes=2:scenecut=0:keyint={gop}"}
        for at in range(count):
            image = np.roll(scenes[at >= count // 2], at, 1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    ("model", "variant"),
    [
        ("nano", "fp32"),
        # A longer past, in INT8; the two others add nothing to these.
        ("small", "int8"),
        pytest.param("nano", "int8", marks=pytest.mark.slow),
        pytest.param("small", "fp32", marks=pytest.mark.slow),
    ],
)
def test_segments_have_the_pictures_of_one_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, variant: str
) -> None:
    source = two_scenes(tmp_path / "in.mp4")
    job = make_job(source, tmp_path / "out.mp4", tmp_path / "job", model=model, variant=variant)
    assert job.plan.scan == "packets"
    assert (job.plan.network.yuv, job.plan.network.why_not_yuv) == (True, "")
    assert len(job.plan.segments) >= 3
    assert {each.warm_up for each in job.plan.segments[1:]} == {job.plan.network.past_frames}
    finish(job)
    one_run, cuts = pictures_of_one_run(
        source, tmp_path / "plain.mp4", monkeypatch, model, variant=variant
    )
    begin = 0
    for segment in job.plan.segments:
        expected = 0
        for picture in one_run[begin : begin + segment.frames]:
            expected = zlib.crc32(picture, expected)
        result = job.verified(segment.index)
        assert result is not None
        assert result.pictures == f"{expected:08x}", segment.index
        begin += segment.frames
    assert begin == len(one_run)
    results = [job.result(each.index) for each in job.plan.segments]
    assert cuts == sum(each.scene_cuts or 0 for each in results if each) == 1


@pytest.mark.parametrize("asked", ["auto", "yuv"])
def test_a_job_keeps_video_as_it_is_where_upscale_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    """A part, another size and the report's words; a source that no YUV comes of is refused."""
    source = two_scenes(tmp_path / "in.mp4", 27)
    more = {"crop": "32x24+8+4", "scale": 3 if asked == "auto" else 2, "pixels": asked}
    job = make_job(source, tmp_path / "out.mp4", tmp_path / "job", **more)
    finish(job)
    one_run, _ = pictures_of_one_run(
        source, tmp_path / "plain.mp4", monkeypatch, "nano", job.plan.settings, variant="fp32"
    )
    assert_pictures(job, one_run)
    report = join(job).report
    assert (report.pixels, report.pixels_reason) == ("yuv", "")
    other = {"crop": "32x24+9+4", "pixels": asked}
    if asked == "auto":
        made = make_plan(settings_for(source, tmp_path / "o.mp4", **other))
        assert "between two pixels of chroma" in made.network.why_not_yuv
    else:
        with pytest.raises(ConfigError, match="--pixels yuv is not possible.*pixels of chroma"):
            make_plan(settings_for(source, tmp_path / "o.mp4", **other))


def test_every_segment_means_colours_as_the_first_frame_of_all_does(tmp_path: Path) -> None:
    """A stream may change its range on the way; the output has one."""
    source = two_scenes(tmp_path / "in.mp4", 27)
    plan = make_plan(settings_for(source, tmp_path / "out.mp4"))
    full = replace(plan.video.colours, full_range=True)
    other = replace(plan, video=replace(plan.video, colours=full))
    lumas = []
    for each in (plan, other):
        with SegmentSource(source, each, each.segments[1], ReadOptions()) as reader:
            reader.keep(yuv=True)
            picture = next(item for item in reader if isinstance(item, SourceFrame)).picture
        assert isinstance(picture, YuvPicture)
        assert picture.colours == each.video.colours
        lumas.append(picture.luma.astype(float))
    assert np.abs((lumas[0] - 16) * 255 / 219 - lumas[1]).max() < 2


def test_the_warm_up_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above can fail: a segment without its warm-up has other pictures."""
    source = two_scenes(tmp_path / "in.mp4")
    job = make_job(source, tmp_path / "out.mp4", tmp_path / "job")
    finish(job)
    second = job.plan.segments[1]
    cold = replace(second, warm_up=0, begin_pts=second.pts)
    with SegmentWorker(job, threads=1) as worker:
        before = job.result(1)
        monkeypatch.setattr(job, "plan", replace(job.plan, segments=(job.plan.segments[0], cold)))
        after = worker.make_at(1, tmp_path / "cold.mp4")
    assert before is not None
    assert after.pictures != before.pictures


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", pytest.param(".mov", marks=pytest.mark.slow)])
def test_the_same_bytes_however_made(tmp_path: Path, film: Path, suffix: str) -> None:
    output = tmp_path / f"out{suffix}"
    one = finish(make_job(film, output, tmp_path / "one"))
    output.unlink()

    two = make_job(film, output, tmp_path / "two")
    with SegmentWorker(two, threads=1) as first, SegmentWorker(two, threads=2) as second:
        for index in reversed(range(len(two.plan.segments))):
            assert make_leased(first if index % 2 else second, index)
    assert sha_of(two) == one
    output.unlink()

    # Killed between segments, in a segment, and between a segment's file and what is said of it.
    three = make_job(film, output, tmp_path / "three")
    with SegmentWorker(three, threads=1) as worker:
        assert make_leased(worker, 0)
        worker.make_at(1, three.video_of(1))
    (three.folder / "segments" / ".adcvsr-0-0-1-1-0.part.mp4").write_bytes(b"half")
    assert finish(three) == one
    output.unlink()

    with three.video_of(1).open("rb+") as file:
        file.seek(200)
        file.write(b"\xff\x00\xff")
    with pytest.raises(JobError, match="damaged"):
        join(three)
    notes: list[str] = []
    run_job(three, threads=1, note=notes.append)
    assert any("segment 1 is made again" in line for line in notes)
    assert file_sha256(output) == one


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_everything_else_is_as_without_a_job(tmp_path: Path, film: Path, suffix: str) -> None:
    output, plain = tmp_path / f"out{suffix}", tmp_path / f"plain{suffix}"
    job = make_job(film, output, tmp_path / "job")
    finish(job)
    with Upscaler("nano", variant="fp32", threads=1) as upscaler:
        upscaler.upscale_file(film, plain)
    ours, theirs = video_facts(output), video_facts(plain)
    assert len(ours.times) == FRAMES
    for facts in (ours, theirs):  # with identifiers that are not drawn mkv names no version
        facts.metadata.pop("ENCODER", facts.metadata.pop("encoder", None))
    assert ours == theirs
    with av.open(str(output)) as one, av.open(str(plain)) as other:
        assert one.duration == other.duration
        assert one.streams.video[0].average_rate == other.streams.video[0].average_rate
        steps = [packet.dts for packet in one.demux(video=0) if packet.dts is not None]
        assert steps == sorted(set(steps))


@pytest.mark.parametrize(
    ("pixel_format", "asked", "written"),
    [
        ("yuv420p", {"pixels": "rgb"}, (256, 192, "yuv420p")),
        ("yuv420p10le", {"crop": "32x24+8+4"}, (128, 96, "yuv420p10le")),
        ("yuv444p10le", {"bits": 8, "height": 120, "preset": "auto"}, (160, 120, "yuv444p")),
        ("yuv422p", {"chroma": "420", "output_size": "90x90", "fit": True}, (90, 68, "yuv420p")),
        ("yuv420p", {"bits": 10, "scale": 2, "variant": None}, (128, 96, "yuv420p10le")),
    ],
)
def test_what_upscale_can_be_asked_for_a_job_can_be_too(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pixel_format: str,
    asked: dict[str, Any],
    written: tuple[int, int, str],
) -> None:
    source = two_scenes(tmp_path / "in.mp4", 27, pixel_format=pixel_format)
    made = make_plan(settings_for(source, tmp_path / "out.mp4", **asked))
    job = Job.create(tmp_path / "job", made)
    assert job.plan == made
    assert job.plan.network.deep == (written[2] == "yuv420p10le")
    assert not job.plan.network.yuv
    assert job.plan.network.why_not_yuv
    finish(job)
    settings = job.plan.settings
    one_run, _ = pictures_of_one_run(
        source,
        tmp_path / "plain.mp4",
        monkeypatch,
        "nano",
        settings,
        variant=settings.variant,
    )
    assert_pictures(job, one_run)
    for name in ("out.mp4", "plain.mp4"):
        with av.open(str(tmp_path / name)) as container:
            video = container.streams.video[0]
            assert (video.width, video.height, video.pix_fmt) == written, name
    other = replace(settings, crop="16x16+0+0", scale=3, bits=8, chroma="420", fit=True)
    found = "; ".join(settings.differences(other))
    assert all(f"{name} is" in found for name in ("crop", "scale"))


def test_ten_bits_that_cannot_come_are_refused_when_planned(tmp_path: Path) -> None:
    source = two_scenes(tmp_path / "in.mp4", 3)
    for more in ({"variant": "int8"}, {"colour_match": "frame"}):
        with pytest.raises(ConfigError, match="--bits 10 is not possible"):
            make_plan(settings_for(source, tmp_path / "out.mp4", bits=10, **more))
    with pytest.raises(ConfigError, match="another shape"):
        make_plan(settings_for(source, tmp_path / "out.mp4", output_size="90x90"))


def irregular(count: int) -> list[int]:
    steps = np.random.default_rng(1).integers(200, 3000, count)
    return [int(each) for each in np.cumsum(steps)]


def test_a_variable_rate_keeps_every_time(tmp_path: Path, make_video: VideoMaker) -> None:
    pts = [1000 + each for each in irregular(30)]
    source = make_video("vfr.mp4", pts=pts)
    job = make_job(source, tmp_path / "out.mp4", tmp_path / "job")
    assert len(job.plan.segments) > 2
    finish(job)
    expected = video_facts(source).times
    assert video_facts(tmp_path / "out.mp4").times == expected


def test_a_part_of_a_file(tmp_path: Path, film: Path) -> None:
    job = make_job(
        film, tmp_path / "out.mp4", tmp_path / "job", start="0.3", duration="1.1", audio="none"
    )
    assert job.plan.scan == "packets"
    finish(job)
    with Upscaler("nano", variant="fp32", threads=1) as upscaler:
        upscaler.upscale_file(
            film,
            tmp_path / "plain.mp4",
            read=ReadOptions(start=Fraction("0.3"), duration=Fraction("1.1")),
            options=EncodeOptions(audio="none"),
        )
    ours, theirs = video_facts(tmp_path / "out.mp4"), video_facts(tmp_path / "plain.mp4")
    assert ours.times == theirs.times
    assert len(ours.times) == 27


def test_one_giant_group_of_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = two_scenes(tmp_path / "in.mp4", gop=1000)
    job = make_job(source, tmp_path / "out.mp4", tmp_path / "job")
    assert len(job.plan.segments) > 1
    assert all(each.seek is None for each in job.plan.segments)
    finish(job)
    one_run, _ = pictures_of_one_run(
        source, tmp_path / "p.mp4", monkeypatch, "nano", variant="fp32"
    )
    assert_pictures(job, one_run)


def assert_pictures(job: Job, one_run: Sequence[bytes]) -> None:
    begin = 0
    for segment in job.plan.segments:
        expected = 0
        for picture in one_run[begin : begin + segment.frames]:
            expected = zlib.crc32(picture, expected)
        result = job.result(segment.index)
        assert result is not None
        assert result.pictures == f"{expected:08x}", segment.index
        begin += segment.frames
    assert begin == len(one_run)


@pytest.mark.parametrize("container", [".ts", ".avi"])
def test_sources_without_an_index_are_decoded_to_be_planned(
    tmp_path: Path, make_video: VideoMaker, monkeypatch: pytest.MonkeyPatch, container: str
) -> None:
    source = make_video(f"in{container}", pts=range(30), time_base=Fraction(1, 25))
    job = make_job(source, tmp_path / "out.mp4", tmp_path / "job")
    assert job.plan.scan == "frames"
    assert any("decoded once" in line for line in job.plan.notes)
    finish(job)
    one_run, _ = pictures_of_one_run(
        source, tmp_path / "p.mp4", monkeypatch, "nano", variant="fp32"
    )
    assert_pictures(job, one_run)
    assert video_facts(tmp_path / "out.mp4").times == video_facts(tmp_path / "p.mp4").times
    with pytest.raises(JobError, match="--scan frames"):
        make_plan(settings_for(source, tmp_path / "other.mp4"), mode="packets")


def test_sound_longer_than_the_video(tmp_path: Path, make_video: VideoMaker) -> None:
    source = make_video("in.mp4", pts=range(0, 16 * 100, 100), audio=True)
    job = make_job(source, tmp_path / "out.mkv", tmp_path / "job")
    finish(job)
    assert video_facts(tmp_path / "out.mkv").audio == video_facts(source).audio


def test_other_settings_or_another_source_are_refused(tmp_path: Path, film: Path) -> None:
    settings = settings_for(film, tmp_path / "out.mp4")
    folder = tmp_path / "job"
    open_job(settings, folder, resume=True, overwrite=False)
    with pytest.raises(JobError, match="--resume continues"):
        open_job(settings, folder, resume=False, overwrite=False)
    other = replace(settings, crf=30, model="small")
    with pytest.raises(JobError, match="model is 'nano', not 'small'; crf is the default, not 30"):
        open_job(other, folder, resume=True, overwrite=False)
    shutil.copy(film, tmp_path / "kept.mp4")
    with film.open("ab") as file:
        file.write(b"more")
    with pytest.raises(JobError, match="was changed after the job was planned"):
        open_job(settings, folder, resume=True, overwrite=False)
    data = bytearray((tmp_path / "kept.mp4").read_bytes())
    data[-1] ^= 1
    film.write_bytes(data)
    with pytest.raises(JobError, match="sha256"):
        open_job(settings, folder, resume=True, overwrite=False)
    shutil.copy(tmp_path / "kept.mp4", film)  # another time, the same bytes
    open_job(settings, folder, resume=True, overwrite=False)


def test_a_worker_of_another_version_is_refused(
    tmp_path: Path, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(film, tmp_path / "out.mp4", tmp_path / "job")
    monkeypatch.setattr(av, "__version__", "1.2.3")
    with pytest.raises(JobError, match=r"av is 1\.2\.3 here"):
        SegmentWorker(job)


def test_a_full_disk_keeps_what_is_finished(
    tmp_path: Path, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(film, tmp_path / "out.mp4", tmp_path / "job")

    with SegmentWorker(job, threads=1) as worker:
        with monkeypatch.context() as patch:
            patch.setattr(FileSink, "_mux", _full_from(1))
            with pytest.raises(OutputNotWritableError, match="No space"):
                work_on(worker, wait=False)
        assert job.is_done(0)
        assert not job.is_done(1)
        assert not list((job.folder / "leases").iterdir())
        assert sorted(each.name for each in (job.folder / "segments").iterdir()) == [
            "00000.json",
            "00000.mp4",
        ]
        work_on(worker, wait=False)
    assert not job.open_segments()


def test_a_segment_that_cannot_be_made_keeps_no_other_from_it(
    tmp_path: Path, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(film, tmp_path / "out.mp4", tmp_path / "job")
    make = SegmentWorker.make_at

    def poisonous(self: SegmentWorker, index: int, *more: Any) -> SegmentResult:
        if index == 1:
            raise JobError("segment 1 is damaged")
        return make(self, index, *more)

    monkeypatch.setattr(SegmentWorker, "make_at", poisonous)
    count = len(job.plan.segments)
    with (
        SegmentWorker(job, threads=1) as worker,
        pytest.raises(
            JobError, match=rf"1 of {count} segments .*: segment 1 is damaged; the other"
        ),
    ):
        work_on(worker, wait=True)
    assert job.open_segments() == [1]


def _full_from(index: int) -> Callable[[Any, Any], None]:
    mux = FileSink._mux

    def write(self: Any, packet: Any) -> None:
        if self.segment.index >= index:
            raise OutputNotWritableError("No space left on device")
        mux(self, packet)

    return write


@pytest.mark.parametrize("pixels", ["rgb", "yuv"])
def test_a_worker_that_gives_other_bits_is_refused(
    tmp_path: Path, film: Path, monkeypatch: pytest.MonkeyPatch, pixels: str
) -> None:
    more = {"pixels": pixels}
    job = make_job(film, tmp_path / "out.mp4", tmp_path / "job", **more)
    within = make_job(film, tmp_path / "out2.mp4", tmp_path / "within", equal_within=2, **more)
    for each in (job, within):
        with SegmentWorker(each, threads=1) as worker:
            make_leased(worker, 0)
    from adcvsr.runtime.sessions.ort_cpu import OrtCpuSession

    name = "_infer" if pixels == "rgb" else "_infer_yuv"
    infer = getattr(OrtCpuSession, name)

    def off_by_two(*words: Any) -> Any:
        picture = infer(*words)
        planes_of(picture)[-1][4, 4, 0] ^= 2
        return picture

    monkeypatch.setattr(OrtCpuSession, name, off_by_two)
    with pytest.raises(JobError, match="differ by up to 2 levels"), SegmentWorker(job, threads=1):
        pass
    with SegmentWorker(within, threads=1) as worker:
        work_on(worker, wait=False)
        compared = list(verify(worker, [0]))
    assert not compared[0].pictures_equal
    assert join(within).certificate["equal"] == "within 2 levels"


def test_verify_makes_segments_again(tmp_path: Path, film: Path) -> None:
    job = make_job(film, tmp_path / "out.mp4", tmp_path / "job")
    with pytest.raises(JobError, match="no finished segment"):
        choose_sample(job, 2, 0)
    finish(job)
    with SegmentWorker(job, threads=1) as worker:
        found = list(verify(worker, choose_sample(job, 2, 0)))
    assert [each.equal for each in found] == [True, True]
    assert (job.folder / CERTIFICATE).is_file()


@pytest.mark.parametrize(
    "pixel_format", ["yuv422p", pytest.param("yuv420p10le", marks=pytest.mark.slow)]
)
def test_a_segment_whose_pictures_differ_is_told_by_how_much(
    tmp_path: Path, pixel_format: str
) -> None:
    source = two_scenes(tmp_path / "in.mp4", 27, pixel_format=pixel_format)
    job = make_job(source, tmp_path / "out.mp4", tmp_path / "job")
    finish(job)
    other = make_job(source, tmp_path / "out2.mp4", tmp_path / "other", crf=40)
    finish(other)
    shutil.copy(other.video_of(1), job.video_of(1))
    facts = json.loads(other.facts_of(1).read_text())
    job.facts_of(1).write_text(json.dumps(facts))
    with SegmentWorker(job, threads=1) as worker:
        (found,) = verify(worker, [1])
    assert found.pictures_equal
    assert not found.equal
    assert 0 < found.level_difference < 1024


def test_segments_of_another_encoder_are_not_joined(tmp_path: Path, film: Path) -> None:
    job = make_job(film, tmp_path / "out.mp4", tmp_path / "job")
    with SegmentWorker(job, threads=1) as worker:
        make_leased(worker, 0)
        worker._options = replace(worker._options, preset="slow")
        work_on(worker, wait=False)
    with pytest.raises(JobError, match="another header"):
        join(job)
    assert not (tmp_path / "out.mp4").exists()


def test_two_drivers_on_one_job(tmp_path: Path, film: Path) -> None:
    """At once: each makes some, both join, and the second finds the output its own."""
    settings = settings_for(film, tmp_path / "out.mp4")
    barrier = threading.Barrier(2)

    def drive() -> dict[str, Any]:
        job = open_job(settings, tmp_path / "job", resume=True, overwrite=False)
        barrier.wait()
        return run_job(job, threads=1, note=lambda line: None).certificate

    open_job(settings, tmp_path / "job", resume=True, overwrite=False)
    with ThreadPoolExecutor(2) as drivers:
        one, again = (each.result() for each in [drivers.submit(drive) for _ in range(2)])
    assert one["output"] == again["output"]
    assert one["segments"] == again["segments"]


def test_a_join_that_ends_before_its_last_step_is_done_again(
    tmp_path: Path, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The certificate comes first, so that no output is there that the job does not know."""
    settings, folder = settings_for(film, tmp_path / "out.mp4"), tmp_path / "job"
    job = open_job(settings, folder, resume=True, overwrite=False)
    with SegmentWorker(job, threads=1) as worker:
        work_on(worker, wait=False)
    with monkeypatch.context() as patch:
        patch.setattr(sink, "move_in", lambda *words, **more: pytest.fail("killed"))
        with pytest.raises(pytest.fail.Exception, match="killed"):
            join(job)
    known = json.loads((folder / CERTIFICATE).read_text())["output"]
    assert not job_status(job).joined
    for _ in range(2):  # the second finds the output, and that it is its own
        again = open_job(settings, folder, resume=True, overwrite=False)
        assert run_job(again, note=lambda line: None).certificate["output"] == known
    assert job_status(job).joined
    (tmp_path / "out.mp4").write_bytes(b"another's")
    with pytest.raises(OutputExistsError):
        join(job)
    job.remove()
    with pytest.raises(JobError, match="is gone: another run finished the job"):
        join(job)
    assert not folder.exists()


def test_a_source_that_changes_on_the_way_is_found_at_the_join(tmp_path: Path, film: Path) -> None:
    job = make_job(film, tmp_path / "out.mp4", tmp_path / "job")
    with SegmentWorker(job, threads=1) as worker:
        work_on(worker, wait=False)
    data, facts = bytearray(film.read_bytes()), film.stat()
    data[-1] ^= 1
    film.write_bytes(data)
    os.utime(film, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    with pytest.raises(JobError, match=r"was changed after the job was planned: sha256"):
        join(job)
    assert not (tmp_path / "out.mp4").exists()


def test_two_drivers_that_begin_at_once(
    tmp_path: Path, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, folder = settings_for(film, tmp_path / "out.mp4"), tmp_path / "job"

    def late(*words: Any, **more: Any) -> JobPlan:
        plan = make_plan(*words, **more)
        if not Job.is_in(folder):
            Job.create(folder, plan)  # the other driver's
        return plan

    monkeypatch.setattr(run, "make_plan", late)
    job = open_job(settings, folder, resume=True, overwrite=False)
    assert job.plan.settings == settings
    with SegmentWorker(job, threads=1) as worker:
        shutil.rmtree(folder)  # the other one joined it
        with pytest.raises(JobError, match="is gone: another run finished the job"):
            work_on(worker, wait=True)


def test_status_tells_each_segment(tmp_path: Path, film: Path) -> None:
    job = make_job(film, tmp_path / "out.mp4", tmp_path / "job")
    with SegmentWorker(job, threads=1) as worker:
        make_leased(worker, 0)
        make_leased(worker, 1)
    job.video_of(1).write_bytes(b"short")
    lease = job.lease(2)
    assert lease.take()
    with lease:
        found = job_status(job)
        assert [each.state for each in found.segments[:3]] == ["done", "damaged", "working"]
        assert found.counts["done"] == 1
        assert found.done_frames == job.plan.segments[0].frames
    assert job_status(job).segments[2].state == "open"


def test_waiting_for_a_segment_that_somebody_else_makes(
    tmp_path: Path, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(film, tmp_path / "out.mp4", tmp_path / "job")
    lease = Job(job.folder).lease(0)
    assert lease.take()
    monkeypatch.setattr(work, "WAIT_S", 0.01)
    with SegmentWorker(job, threads=1) as worker:
        work_on(worker, wait=False)
        assert job.open_segments() == [0]
        lease.path.unlink()
        assert work_on(worker, wait=True) == [0]
