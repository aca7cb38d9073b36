"""Parts of files, other streams, interlaced video, side-by-side clips, limits, many files."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from click.testing import CliRunner

from adcvsr.cli.commands import cli
from adcvsr.errors import BackendUnavailableError, BatchError, ConfigError, UnsupportedVideoError
from adcvsr.metrics import resize_bicubic
from adcvsr.pictures import limits
from adcvsr.pictures.clips import read_clip
from adcvsr.runtime.upscaler import Upscaler
from adcvsr.runtime.video.encoders import EncodeOptions, encoder_options
from adcvsr.runtime.video.hardware_decode import accelerator
from adcvsr.runtime.video.read_options import ReadOptions
from adcvsr.runtime.video.source import FileSource, SourceFrame
from video_facts import VideoMaker, video_facts

SECOND = 12800
LONG_PTS = tuple(range(0, 60 * 512, 512))


@pytest.fixture(scope="module")
def upscaler() -> Any:
    with Upscaler("nano", threads=1) as ready:
        yield ready


def frames_of(path: Path, **options: Any) -> list[SourceFrame]:
    with FileSource(path, ReadOptions(**options)) as source:
        return [item for item in source if isinstance(item, SourceFrame)]


class TestStartAndDuration:
    @pytest.mark.parametrize("name", ["in.mp4", "in.mkv", "in.ts", "in.avi"])
    @pytest.mark.parametrize("start", [Fraction(0), Fraction(1, 25), Fraction(13, 10)])
    def test_exact_to_the_frame(self, make_video: VideoMaker, name: str, start: Fraction) -> None:
        """Whatever the container seeks to, the frames are those of a reading from the start."""
        rate = {"time_base": Fraction(1, 25), "pts": range(60)} if name == "in.avi" else {}
        path = make_video(name, **{"pts": LONG_PTS, **rate})
        whole = frames_of(path)
        part = frames_of(path, start=start, duration=Fraction(2, 5))
        first = round(start * 25 + Fraction(49, 100))
        assert len(part) == 10
        for old, new in zip(whole[first:], part, strict=False):
            assert np.array_equal(old.rgb, new.rgb)
        steps = np.diff([frame.pts for frame in part])
        assert np.array_equal(steps, np.diff([f.pts for f in whole[first : first + 10]]))

    def test_index_that_leads_too_far(
        self, make_video: VideoMaker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = make_video(pts=LONG_PTS)
        right = frames_of(path, start=Fraction(1))
        monkeypatch.setattr(FileSource, "_missed_some", lambda self, first: True)
        again = frames_of(path, start=Fraction(1))
        assert len(right) == len(again) == 35
        assert all(
            np.array_equal(a.rgb, b.rgb) and a.pts == b.pts
            for a, b in zip(right, again, strict=True)
        )

    def test_sound_stays_in_step(
        self, upscaler: Upscaler, make_video: VideoMaker, tmp_path: Path
    ) -> None:
        """Packets keep their distance to the picture, those outside are left out."""
        source = make_video(audio=True, pts=LONG_PTS)
        read = ReadOptions(start=Fraction(1, 5), duration=Fraction(1, 5))
        upscaler.upscale_file(source, tmp_path / "out.mp4", read=read)
        times = {}
        for path in (source, tmp_path / "out.mp4"):
            with av.open(str(path)) as container:
                times[path] = {
                    bytes(p): p.pts * p.time_base for p in container.demux(audio=0) if p.size
                }
        old, new = times.values()
        assert 1 <= len(new) < len(old)
        for data, time in new.items():
            assert time == old[data] - Fraction(1, 5)
        inside = [t for t in old.values() if Fraction(1, 5) <= t < Fraction(2, 5)]
        assert len(new) == len(inside)
        facts = video_facts(tmp_path / "out.mp4")
        assert facts.times == [Fraction(n, 25) for n in range(5)]

    def test_start_beyond_the_end(self, make_video: VideoMaker) -> None:
        with pytest.raises(ConfigError, match="ends before 99 s"):
            frames_of(make_video(), start=Fraction(99))
        with pytest.raises(ConfigError, match="duration above 0"):
            ReadOptions(duration=Fraction(0))


def test_another_stream(upscaler: Upscaler, data: Path) -> None:
    path = data / "clips/demo/nasa_13013_320x180.mp4"
    with FileSource(path, ReadOptions(video_stream=0)) as source:
        assert source.stream.index == 0
        other, size = next(
            (s.index, (s.width, s.height)) for s in source.container.streams.video if s.index
        )
    with FileSource(path, ReadOptions(video_stream=other)) as source:
        assert (source.info.width, source.info.height) == size
        assert next(i for i in source if isinstance(i, SourceFrame)).rgb.shape == (*size[::-1], 3)
        assert any(f"video stream #{other} is upscaled; left out: #0" in n for n in source.notes)
    with pytest.raises(ConfigError, match=r"no video stream #77; choose from: #0 \("):
        frames_of(path, video_stream=77)


def combed(path: Path, encoder: str, pixel_format: str) -> Path:
    """A bar that moves between the two fields of every frame, tagged as interlaced."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(encoder, rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, pixel_format
        stream.options = {"flags": "+ildct+ilme", "qmin": "1", "qmax": "2"}
        for index in range(10):
            image = np.full((64, 96, 3), 40, np.uint8)
            for field in (0, 1):
                left = 8 + 6 * (2 * index + field) % 70
                image[field::2, left : left + 16] = 220
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pixel_format)
            frame.pts, frame.time_base = index, Fraction(1, 25)
            graph = av.filter.Graph()
            source = graph.add_buffer(template=stream, time_base=Fraction(1, 25))
            graph.link_nodes(
                source, graph.add("setfield", "tff"), graph.add("buffersink")
            ).configure()
            graph.push(frame)
            tagged = graph.pull()
            tagged.pts = index
            container.mux(stream.encode(tagged))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    ("name", "encoder", "pixel_format"),
    [("in.mkv", "mpeg2video", "yuv420p"), ("in.mov", "prores_ks", "yuv422p10le")],
)
def test_deinterlaced(tmp_path: Path, name: str, encoder: str, pixel_format: str) -> None:
    path = combed(tmp_path / name, encoder, pixel_format)

    def combs(frames: list[SourceFrame]) -> float:
        """How much lines differ from both neighbours, which agree with each other."""
        luma = np.stack([f.rgb[..., 1] for f in frames]).astype(float)
        return float(np.abs(luma[:, 1:-1] - (luma[:, :-2] + luma[:, 2:]) / 2).mean())

    plain, clean = frames_of(path, deinterlace="off"), frames_of(path)
    assert len(plain) == len(clean) == 10
    assert [f.pts for f in plain] == [f.pts for f in clean]
    assert combs(clean) < combs(plain) / 4
    for mode, words in (("off", "combs included"), ("auto", "deinterlaced")):
        with FileSource(path, ReadOptions(deinterlace=mode)) as source:
            assert any(words in note for note in source.notes)
            bits = source.info.planes.bits
            source.keep(deep=bits > 8)
            (picture, *_) = (item.rgb for item in source if isinstance(item, SourceFrame))
    # Of a gradient that bwdif makes, levels lie between those of 8 bits.
    assert (picture.dtype, bits) == ((np.uint16, 10) if "10" in pixel_format else (np.uint8, 8))
    assert bits == 8 or (picture % 256 != 0).any()


def test_compare(upscaler: Upscaler, make_video: VideoMaker, tmp_path: Path) -> None:
    source, beside = make_video(size=(64, 48), rotation=90, audio=True), tmp_path / "beside.mp4"
    upscaler.upscale_file(source, tmp_path / "out.mp4", compare=beside)
    facts, main = video_facts(beside), video_facts(tmp_path / "out.mp4")
    assert facts.size == (2 * 48 * 4, 64 * 4)
    assert facts.rotation == 0
    assert facts.times == main.times
    assert "audio" not in facts.packets
    low, picture = next(read_clip(source)), next(read_clip(tmp_path / "out.mp4"))
    both = next(read_clip(beside)).astype(float)
    halves = (resize_bicubic(low, 192, 256), picture)
    for half, found in zip(halves, np.split(both, 2, axis=1), strict=True):
        assert np.abs(np.rot90(half) - found).mean() < 4
    assert np.abs(np.subtract(*np.split(both, 2, axis=1))).mean() > 1
    with pytest.raises(ConfigError, match="at once"):
        upscaler.upscale_file(source, tmp_path / "x.mp4", compare=tmp_path / "x.mp4")


def test_a_size_change_starts_the_network_anew(
    upscaler: Upscaler, data: Path, tmp_path: Path
) -> None:
    """The pictures after it are the network's for the new size, scaled to the first one's."""
    source = data / "clips/robust/resolution_change_midstream.264"
    upscaler.upscale_file(source, tmp_path / "out.mkv", options=EncodeOptions(crf=1))
    frames = [frame.rgb for frame in frames_of(source)]
    assert [frame.shape[:2] for frame in frames] == [
        size for size in ((288, 352), (480, 640), (288, 352)) for _ in range(2)
    ]
    upscaler.reset()
    alone = upscaler(frames[2])
    found = list(read_clip(tmp_path / "out.mkv"))[2]
    assert found.shape == (288 * 4, 352 * 4, 3)
    expected = resize_bicubic(alone, 288 * 4, 352 * 4).astype(float)
    assert np.abs(expected - found).mean() < 2


class TestLimits:
    def test_huge_frames_are_refused_with_the_number(self) -> None:
        with pytest.raises(UnsupportedVideoError, match="16384x16384 = 268 megapixels; the limit"):
            limits.check_frame_size(Path("x.mp4"), 16384, 16384)
        limits.check_frame_size(Path("x.mp4"), 7680, 4320)

    def test_memory_is_estimated_before_the_start(
        self, upscaler: Upscaler, make_video: VideoMaker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source = make_video()
        monkeypatch.setattr(limits, "available_bytes", lambda: 100 << 20)
        with pytest.raises(UnsupportedVideoError, match=r"takes about .* GiB .* are free"):
            upscaler.upscale_file(source, source.with_name("out.mp4"))
        assert not source.with_name("out.mp4").exists()
        monkeypatch.setenv("ADCVSR_IGNORE_MEMORY", "1")
        upscaler.upscale_file(source, source.with_name("out.mp4"))

    def test_tiles_are_offered_where_they_help(self, monkeypatch: pytest.MonkeyPatch) -> None:
        need = limits.estimate_bytes(1920, 1080)
        assert limits.estimate_bytes(1920, 1080, tile=256) < need
        monkeypatch.setattr(limits, "available_bytes", lambda: need - 1)
        with pytest.raises(UnsupportedVideoError, match="--tile 256 takes"):
            limits.check_memory(Path("x.mp4"), 1920, 1080)


def test_gpu_that_is_not_there_is_said() -> None:
    assert accelerator("cpu") is None
    if accelerator("auto") is not None:
        pytest.skip("this machine decodes on a GPU")
    with pytest.raises(BackendUnavailableError, match="--decoder cpu"):
        accelerator("cuda")


@pytest.mark.gpu
def test_gpu_decoder_gives_the_same_frames(make_video: VideoMaker) -> None:
    path = make_video(size=(256, 144), pts=LONG_PTS)
    with FileSource(path, ReadOptions(decoder="cuda")) as source:
        assert source.decoder == "cuda"
        found = [item for item in source if isinstance(item, SourceFrame)]
    for a, b in zip(found, frames_of(path, decoder="cpu"), strict=True):
        assert a.pts == b.pts
        assert np.abs(a.rgb.astype(int) - b.rgb).max() <= 2


def test_nvenc_takes_crf_as_its_constant_quality() -> None:
    options = encoder_options("h264_nvenc", EncodeOptions(encoder="h264_nvenc", crf=25))
    assert (options["rc"], options["cq"]) == ("vbr", "25")


def test_frames_that_share_a_millisecond_are_said(
    upscaler: Upscaler, make_video: VideoMaker, tmp_path: Path
) -> None:
    source = make_video(pts=(0, 512, 513, 514, 1024))
    report = upscaler.upscale_file(source, tmp_path / "out.mkv")
    assert any("2 frames come less than a millisecond after" in note for note in report.notes)
    exact = upscaler.upscale_file(source, tmp_path / "out.mp4")
    assert not any("millisecond" in note for note in exact.notes)
    assert video_facts(tmp_path / "out.mp4").times[2] == Fraction(513, SECOND)


class TestManyFiles:
    def test_a_broken_file_does_not_end_the_run(
        self, make_video: VideoMaker, tmp_path: Path
    ) -> None:
        folder = tmp_path / "clips"
        (folder / "sub").mkdir(parents=True)
        make_video("a.mp4").rename(folder / "a.mp4")
        make_video("b.mkv").rename(folder / "sub" / "b.mkv")
        (folder / "broken.mp4").write_text("no video")
        out = tmp_path / "out"
        done = CliRunner().invoke(cli, ["upscale", str(folder), str(out), "--json"])
        assert isinstance(done.exception, BatchError)
        assert str(done.exception) == "1 of 3 files failed: broken.mp4"
        answer = json.loads(done.stdout)
        assert [Path(each["output"]) for each in answer["files"]] == [
            out / "a.mp4",
            out / "sub" / "b.mkv",
        ]
        assert "cannot be opened as video" in answer["failed"][0]["error"]
        assert sorted(p.name for p in out.rglob("*.*")) == ["a.mp4", "b.mkv"]

    def test_a_fault_in_one_file_does_not_end_the_run(
        self, make_video: VideoMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An error that nobody expected: the other files are done, and its traceback is kept."""
        folder, out, faults = tmp_path / "clips", tmp_path / "out", tmp_path / "faults"
        for place in (folder, faults):
            place.mkdir()
        for name in ("a.mp4", "b.mp4", "c.mp4"):
            make_video(name).rename(folder / name)
        upscale_file = Upscaler.upscale_file

        def faulty(self: Upscaler, source: Path, *arguments: Any, **options: Any) -> Any:
            if source.name == "b.mp4":
                raise KeyError("side data nobody met")
            return upscale_file(self, source, *arguments, **options)

        monkeypatch.setattr(Upscaler, "upscale_file", faulty)
        monkeypatch.setattr("tempfile.tempdir", str(faults))
        done = CliRunner().invoke(cli, ["upscale", str(folder), str(out), "--json"])
        assert isinstance(done.exception, BatchError)
        assert str(done.exception) == "1 of 3 files failed: b.mp4"
        assert [path.name for path in sorted(out.iterdir())] == ["a.mp4", "c.mp4"]
        (failed,) = json.loads(done.stdout)["failed"]
        (written,) = faults.glob("adcvsr-fault-*.txt")
        assert failed["input"] == str(folder / "b.mp4")
        assert "KeyError" in failed["error"]
        assert str(written) in failed["error"]
        assert "Traceback" in written.read_text()
        assert f"error: {failed['error']}" in done.stderr
        assert "Traceback" not in done.output

    def test_patterns_and_lists(self, make_video: VideoMaker, tmp_path: Path) -> None:
        for name in ("a.mp4", "b.mp4"):
            make_video(name)
        out = tmp_path / "out"
        done = CliRunner().invoke(
            cli, ["upscale", str(tmp_path / "?.mp4"), str(out), "--duration", "0:00.1"]
        )
        assert done.exit_code == 0, done.output
        assert {len(video_facts(path).times) for path in out.iterdir()} == {3}
        done = CliRunner().invoke(cli, ["upscale", str(tmp_path / "z*.mp4"), str(out)])
        assert "no file matches" in str(done.exception)

    def test_one_file_into_a_folder(self, make_video: VideoMaker, tmp_path: Path) -> None:
        source, out = make_video("a.mp4"), tmp_path / "out"
        out.mkdir()
        arguments = ["upscale", str(source), str(out), "--duration", "0.1"]
        assert CliRunner().invoke(cli, arguments).exit_code == 0
        assert [path.name for path in out.iterdir()] == ["a.mp4"]
        arguments[2] = str(source.parent)
        assert isinstance(CliRunner().invoke(cli, arguments).exception, BatchError)
        assert len(video_facts(source).times) == 8  # not overwritten by its own result

    def test_two_results_of_one_name(self, make_video: VideoMaker, tmp_path: Path) -> None:
        (tmp_path / "sub").mkdir()
        inputs = [make_video("a.mp4"), make_video("b.mp4").rename(tmp_path / "sub" / "a.mp4")]
        arguments = ["upscale", *map(str, inputs), str(tmp_path / "out")]
        done = CliRunner().invoke(cli, arguments)
        assert "would both become" in str(done.exception)
        assert not (tmp_path / "out").exists()
