"""Files in, files out: times, colours, rotation, aspect, audio and subtitles survive."""

from __future__ import annotations

import errno
import threading
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from adcvsr.clips import read_clip
from adcvsr.errors import (
    ConfigError,
    InputNotFoundError,
    OutputExistsError,
    OutputNotWritableError,
    UnreadableVideoError,
    UnsupportedVideoError,
)
from adcvsr.runtime.sink import EncodeOptions, FileSink
from adcvsr.runtime.upscaler import Upscaler
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


def test_webm_leaves_aac_out_with_a_line(
    upscaler: Upscaler, make_video: VideoMaker, tmp_path: Path
) -> None:
    report = upscaler.upscale_file(make_video(audio=True), tmp_path / "out.webm")
    assert "audio" not in video_facts(tmp_path / "out.webm").packets
    assert "audio stream #1 is left out: webm cannot hold aac" in report.notes


def test_ten_bits_are_reduced_and_said(
    upscaler: Upscaler, make_video: VideoMaker, tmp_path: Path
) -> None:
    source = make_video(pixel_format="yuv420p10le")
    report = upscaler.upscale_file(source, tmp_path / "out.mp4")
    assert "yuv420p10le is reduced to 8 bits" in report.notes


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_hdr_is_refused(
    upscaler: Upscaler, make_video: VideoMaker, tmp_path: Path, transfer: int, name: str
) -> None:
    source = make_video(pixel_format="yuv420p10le", colour=(9, 1, 9, transfer))
    with pytest.raises(UnsupportedVideoError, match=f"HDR \\({name}.*ffmpeg -i IN"):
        upscaler.upscale_file(source, tmp_path / "out.mp4")
    assert not list(tmp_path.glob("*out*"))


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

    def test_full_disk(
        self,
        upscaler: Upscaler,
        make_video: VideoMaker,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """The encoder's write fails in the middle: a clear error, and nothing is left."""
        source = make_video()
        write = FileSink.write

        def fail(sink: FileSink, rgb: np.ndarray, pts: int) -> None:
            if pts >= 1536:
                sink._guard(lambda: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")))
            write(sink, rgb, pts)

        monkeypatch.setattr(FileSink, "write", fail)
        with pytest.raises(OutputNotWritableError, match="No space left"):
            upscaler.upscale_file(source, tmp_path / "out.mp4")
        assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]
        assert not [t for t in threading.enumerate() if t.name.startswith("adcvsr-")]


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
