"""Files in, files out: times, colours, rotation, aspect, audio and subtitles survive."""

from __future__ import annotations

import gc
import resource
import signal
import threading
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from adcvsr.errors import (
    ConfigError,
    InputNotFoundError,
    OutputExistsError,
    OutputNotWritableError,
    UnreadableVideoError,
    UnsupportedVideoError,
)
from adcvsr.pictures.clips import read_clip
from adcvsr.runtime.upscaler import Upscaler
from adcvsr.runtime.video.encoders import EncodeOptions
from adcvsr.runtime.video.read_options import ReadOptions
from adcvsr.runtime.video.source import FileSource, SourceFrame
from video_facts import VideoMaker, video_facts

VFR_PTS = (0, 700, 1100, 3000, 3100, 5000, 9000, 9500)


@pytest.fixture(scope="module")
def upscaler() -> Any:
    with Upscaler("nano") as ready:
        yield ready


@pytest.mark.parametrize("container", ["mp4", "mov", "mkv"])
def test_everything_survives(
    upscaler: Upscaler, make_video: VideoMaker, tmp_path: Path, container: str
) -> None:
    source = make_video(
        pts=VFR_PTS,
        aspect=Fraction(4, 3),
        rotation=90,
        audio=True,
        subtitles=["one", "two\nlines"],
        colour=(1, 2, 1, 1),
        metadata={"title": "A title"},
    )
    before = video_facts(source)
    output = tmp_path / f"out.{container}"
    report = upscaler.upscale_file(source, output)
    after = video_facts(output)
    assert report.frames == len(VFR_PTS)
    assert after.size == (before.size[0] * 4, before.size[1] * 4) == report.output_size
    offset = after.times[0] - before.times[0]
    tolerance = Fraction(1, 2000) if container == "mkv" else 0
    for old, new in zip(before.times, after.times, strict=True):
        assert abs(new - old - offset) <= tolerance
    if container != "mkv":
        assert offset == 0
    elif offset:
        assert any(f"shifted by {float(offset * 1000):.0f} ms" in n for n in report.notes)
    assert after.rotation == before.rotation == 90
    assert after.aspect == Fraction(4, 3)
    assert after.colour == before.colour == (1, 2, 1, 1)
    assert after.audio == before.audio
    assert {k.lower(): v for k, v in after.metadata.items()}["title"] == "A title"
    texts = [t[2:] if container != "mkv" else t for t in after.text]
    assert [t for t in texts if t] == [b"one", b"two\nlines"]


def test_picture_is_the_networks(
    upscaler: Upscaler, make_video: VideoMaker, tmp_path: Path
) -> None:
    """What comes out of the file is what the session gives, up to light compression."""
    source = make_video(size=(64, 48))
    upscaler.upscale_file(source, tmp_path / "out.mp4", options=EncodeOptions(crf=1))
    upscaler.reset()
    expected = [upscaler(frame) for frame in read_clip(source)]
    found = list(read_clip(tmp_path / "out.mp4"))
    error = np.mean((np.stack(found).astype(float) - np.stack(expected)) ** 2)
    assert 10 * np.log10(255**2 / error) > 35  # 4:2:0 chroma is the limit


def test_two_files_do_not_share_state(
    upscaler: Upscaler, make_video: VideoMaker, tmp_path: Path
) -> None:
    source = make_video()
    for name in ("a.mkv", "b.mkv"):
        upscaler.upscale_file(source, tmp_path / name)
    assert (tmp_path / "a.mkv").stat().st_size == (tmp_path / "b.mkv").stat().st_size
    pairs = zip(read_clip(tmp_path / "a.mkv"), read_clip(tmp_path / "b.mkv"), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)


def test_rotation_is_applied_where_it_cannot_be_tagged(
    upscaler: Upscaler, make_video: VideoMaker, tmp_path: Path
) -> None:
    source = make_video(size=(32, 24), rotation=90)
    report = upscaler.upscale_file(source, tmp_path / "out.avi", options=EncodeOptions(crf=1))
    facts = video_facts(tmp_path / "out.avi")
    assert facts.size == (96, 128) == report.output_size
    assert facts.rotation == 0
    upscaler.reset()
    upright = np.rot90(upscaler(next(iter(read_clip(source)))))
    found = next(iter(read_clip(tmp_path / "out.avi")))
    assert np.abs(found.astype(float) - upright).mean() < 4
    assert len(facts.times) == 8
    assert facts.times == sorted(facts.times)


@pytest.mark.parametrize("encoder", ["libx264", "libx265", "mpeg4", "ffv1"])
@pytest.mark.parametrize("full", [False, True])
def test_colours_are_right_whatever_the_encoder(
    upscaler: Upscaler, make_video: VideoMaker, tmp_path: Path, encoder: str, full: bool
) -> None:
    """Read back by its own tags the file shows the network's picture, or a line warns."""
    source = make_video(
        size=(64, 48), time_base=Fraction(1, 25), pts=range(5), colour=(1, 1 + full, 1, 1)
    )
    output = tmp_path / "out.mkv"
    report = upscaler.upscale_file(source, output, options=EncodeOptions(encoder=encoder))
    if any("carries no colour matrix" in note for note in report.notes):
        return
    first = upscaler(next(read_clip(source)))
    found = next(read_clip(output))
    assert np.abs(found.astype(float) - first).mean() < 6, report


def test_transport_stream_times_and_mp3(
    upscaler: Upscaler, make_video: VideoMaker, tmp_path: Path
) -> None:
    source = make_video(audio=True, audio_encoder="libmp3lame")
    report = upscaler.upscale_file(source, tmp_path / "out.ts")
    before, after = video_facts(source), video_facts(tmp_path / "out.ts")
    assert ("audio", "mp3float") in after.streams
    offset = after.times[0] - before.times[0]
    for old, new in zip(before.times, after.times, strict=True):
        assert abs(new - old - offset) <= Fraction(1, 90000)
    said = [n for n in report.notes if "shifted by" in n]
    assert said or offset <= Fraction(1, 1000), (offset, report.notes)


def test_joined_recordings(upscaler: Upscaler, make_video: VideoMaker, tmp_path: Path) -> None:
    """Two recordings one after the other: the clock jumps back in the middle, nothing is lost."""
    single = make_video("a.ts", audio=True, pts=range(0, 50 * 512, 512))
    joined = tmp_path / "joined.ts"
    joined.write_bytes(single.read_bytes() * 2)
    report = upscaler.upscale_file(joined, tmp_path / "out.mkv")
    facts = video_facts(tmp_path / "out.mkv")
    assert report.frames == 100
    assert facts.times == sorted(set(facts.times))
    assert float(facts.times[-1] - facts.times[0]) == pytest.approx(99 / 25, abs=0.1)
    assert facts.packets["audio"] == 2 * video_facts(single).packets["audio"]
    assert any("clock jumps once, back by" in note for note in report.notes)


def test_chapters_are_carried(upscaler: Upscaler, make_video: VideoMaker, tmp_path: Path) -> None:
    source = tmp_path / "chapters.mkv"
    with av.open(str(make_video())) as reader, av.open(str(source), "w") as writer:
        stream = writer.add_stream_from_template(reader.streams.video[0])
        mark = {"id": 1, "start": 0, "end": 200, "time_base": Fraction(1, 1000)}
        writer.set_chapters([{**mark, "metadata": {"title": "First"}}])
        for packet in reader.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                writer.mux(packet)
    upscaler.upscale_file(source, tmp_path / "out.mkv")
    with av.open(str(tmp_path / "out.mkv")) as written:
        (chapter,) = written.chapters()
    assert chapter["metadata"]["title"] == "First"
    assert chapter["end"] * chapter["time_base"] == Fraction(1, 5)


def test_a_name_with_a_colon(upscaler: Upscaler, make_video: VideoMaker, tmp_path: Path) -> None:
    source = make_video().rename(tmp_path / "clip-10:30.mp4")
    upscaler.upscale_file(source, tmp_path / "12:30.mp4")
    assert len(video_facts(tmp_path / "12:30.mp4").times) == 8


def test_interlaced_is_said(upscaler: Upscaler, data: Path, tmp_path: Path) -> None:
    with FileSource(data / "clips/robust/interlaced_dv_pal_720x576.mov") as source:
        assert any("interlaced" in note and "bwdif" in note for note in source.notes)


def test_hidden_alpha_and_damage_are_said(data: Path) -> None:
    with FileSource(data / "clips/robust/transparent_vp9.webm") as source:
        assert source.info.planes.alpha
    with FileSource(data / "clips/robust/flip_mp4_80bits.mp4") as source:
        assert sum(isinstance(item, SourceFrame) for item in source) == 30
        assert 0 < source.damaged_frames < 30


def test_ten_bits_are_kept_and_said(
    upscaler: Upscaler, make_video: VideoMaker, tmp_path: Path
) -> None:
    source = make_video(pixel_format="yuv420p10le")
    report = upscaler.upscale_file(source, tmp_path / "out.mp4")
    assert any(note.startswith("kept: 10 bits") for note in report.notes)


def test_size_change_in_mid_stream(upscaler: Upscaler, data: Path, tmp_path: Path) -> None:
    source = data / "clips/robust/resolution_change_midstream.264"
    report = upscaler.upscale_file(source, tmp_path / "out.mkv")
    assert any("the size changes to 640x480" in note for note in report.notes)
    assert video_facts(tmp_path / "out.mkv").size == (352 * 4, 288 * 4)


class TestBadInput:
    def test_missing_file_and_directory(self, upscaler: Upscaler, tmp_path: Path) -> None:
        with pytest.raises(InputNotFoundError, match="no file"):
            upscaler.upscale_file(tmp_path / "none.mp4", tmp_path / "out.mp4")
        with pytest.raises(InputNotFoundError, match="is a directory"):
            upscaler.upscale_file(tmp_path, tmp_path / "out.mp4")

    def test_text_named_mp4(self, upscaler: Upscaler, tmp_path: Path) -> None:
        text = tmp_path / "in.mp4"
        text.write_text("this is no video " * 100)
        with pytest.raises(UnreadableVideoError, match="cannot be opened as video"):
            upscaler.upscale_file(text, tmp_path / "out.mp4")

    def test_sound_alone(self, upscaler: Upscaler, make_video: VideoMaker, tmp_path: Path) -> None:
        both = make_video(audio=True)
        alone = tmp_path / "sound.mp4"
        with av.open(str(both)) as reader, av.open(str(alone), "w") as writer:
            stream = writer.add_stream_from_template(reader.streams.audio[0])
            for packet in reader.demux(audio=0):
                if packet.dts is not None:
                    packet.stream = stream
                    writer.mux(packet)
        with pytest.raises(UnreadableVideoError, match="no video stream; it holds: audio #0"):
            upscaler.upscale_file(alone, tmp_path / "out.mp4")

    def test_cut_file_gives_what_is_there(
        self, upscaler: Upscaler, make_video: VideoMaker, tmp_path: Path
    ) -> None:
        whole = make_video("in.mkv", pts=tuple(range(0, 60 * 512, 512)), size=(64, 64))
        cut = tmp_path / "cut.mkv"
        cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
        report = upscaler.upscale_file(cut, tmp_path / "out.mkv")
        assert 10 < report.frames < 60
        assert len(video_facts(tmp_path / "out.mkv").times) == report.frames


class TestBadOutput:
    def test_existing_output(
        self, upscaler: Upscaler, make_video: VideoMaker, tmp_path: Path
    ) -> None:
        output = tmp_path / "out.mp4"
        output.write_text("precious")
        with pytest.raises(OutputExistsError, match="--overwrite"):
            upscaler.upscale_file(make_video(), output)
        assert output.read_text() == "precious"
        upscaler.upscale_file(make_video(), output, options=EncodeOptions(overwrite=True))
        assert len(video_facts(output).times) == 8

    def test_output_is_input(self, upscaler: Upscaler, make_video: VideoMaker) -> None:
        source = make_video()
        with pytest.raises(OutputNotWritableError, match="is the input"):
            upscaler.upscale_file(source, source, options=EncodeOptions(overwrite=True))

    def test_missing_folder(
        self, upscaler: Upscaler, make_video: VideoMaker, tmp_path: Path
    ) -> None:
        with pytest.raises(OutputNotWritableError, match="does not exist; create it"):
            upscaler.upscale_file(make_video(), tmp_path / "none" / "out.mp4")

    def test_unknown_container_and_encoder(
        self, upscaler: Upscaler, make_video: VideoMaker, tmp_path: Path
    ) -> None:
        with pytest.raises(ConfigError, match=r"ends in '\.xyz'; expected one of: \.mp4"):
            upscaler.upscale_file(make_video(), tmp_path / "out.xyz")
        for encoder, message in (("nonsense", "no encoder"), ("aac", "expected one for video")):
            with pytest.raises(ConfigError, match=message):
                upscaler.upscale_file(
                    make_video(), tmp_path / "out.mp4", options=EncodeOptions(encoder=encoder)
                )
        with pytest.raises(ConfigError, match="has no crf"):
            upscaler.upscale_file(
                make_video(), tmp_path / "out.avi", options=EncodeOptions(encoder="mpeg4", crf=3)
            )
        assert not [p for p in tmp_path.iterdir() if "out" in p.name]

    @pytest.mark.parametrize(
        ("encoder", "container", "message"),
        [
            ("libx264rgb", "mkv", "expected one that takes yuv420p"),
            ("png", "mov", "expected one that takes yuv420p"),
            ("libx265", "webm", "cannot hold video of encoder 'libx265'"),
            ("mjpeg", "mkv", "refuses 128x96 yuv420p for '.mkv' with time base 1/12800"),
        ],
    )
    def test_encoders_that_do_not_fit(
        self,
        upscaler: Upscaler,
        make_video: VideoMaker,
        tmp_path: Path,
        encoder: str,
        container: str,
        message: str,
    ) -> None:
        with pytest.raises(ConfigError, match=message):
            upscaler.upscale_file(
                make_video(),
                tmp_path / f"out.{container}",
                options=EncodeOptions(encoder=encoder),
            )
        assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]

    def test_preset_nonsense_and_crf_out_of_range(
        self, upscaler: Upscaler, make_video: VideoMaker, tmp_path: Path
    ) -> None:
        for options, message in (
            (EncodeOptions(preset="nonsense"), "refuses .* preset nonsense"),
            (EncodeOptions(crf=63), "'libx264' takes 0 to 51"),
        ):
            with pytest.raises(ConfigError, match=message):
                upscaler.upscale_file(make_video(), tmp_path / "out.mp4", options=options)

    def test_somebody_else_makes_the_output_meanwhile(
        self, upscaler: Upscaler, make_video: VideoMaker, tmp_path: Path
    ) -> None:
        output = tmp_path / "out.mp4"

        def interfere(done: int, expected: int) -> None:
            output.write_text("theirs")

        with pytest.raises(OutputExistsError, match="made by somebody else meanwhile"):
            upscaler.upscale_file(make_video(), output, progress=interfere)
        assert output.read_text() == "theirs"
        assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]

    def test_full_disk(self, upscaler: Upscaler, make_video: VideoMaker, tmp_path: Path) -> None:
        """A real write failure in the middle (a file size limit): an error, and nothing left."""
        source = make_video(pts=tuple(range(0, 60 * 512, 512)), size=(64, 48))
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, before[1]))
        try:
            with pytest.raises(OutputNotWritableError, match="writing .* failed: .*nothing was"):
                upscaler.upscale_file(source, tmp_path / "out.mkv")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, ignored)
        assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]
        assert not [t for t in threading.enumerate() if t.name.startswith("adcvsr-")]


def test_memory_of_a_file_is_free_when_it_is_done(
    upscaler: Upscaler, make_video: VideoMaker, tmp_path: Path
) -> None:
    """Also of one that is refused: thousands of files must not add up to gigabytes."""
    hdr = make_video("hdr.mp4", pixel_format="yuv420p10le", colour=(9, 1, 9, 16))

    def frames_alive() -> int:
        return sum(type(each) in (av.VideoFrame, FileSource) for each in gc.get_objects())

    gc.collect()
    before = frames_alive()
    for index in range(3):
        with pytest.raises(UnsupportedVideoError):
            upscaler.upscale_file(hdr, tmp_path / "none.mp4", read=ReadOptions(hdr="refuse"))
        upscaler.upscale_file(make_video(), tmp_path / f"{index}.mp4")
        assert frames_alive() <= before + 1  # the last one's, until the next


def test_interrupt_stops_all_stages_and_leaves_nothing(
    upscaler: Upscaler, make_video: VideoMaker, tmp_path: Path
) -> None:
    source = make_video(pts=tuple(range(0, 200 * 512, 512)), size=(128, 96))

    def interrupt(done: int, expected: int) -> None:
        assert expected == 200
        if done == 3:
            raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        upscaler.upscale_file(source, tmp_path / "out.mp4", progress=interrupt)
    assert time.monotonic() - began < 10
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]
    assert not [t for t in threading.enumerate() if t.name.startswith("adcvsr-")]
    # The upscaler is as good as before.
    assert upscaler.upscale_file(make_video("b.mp4"), tmp_path / "out.mp4").frames == 8
