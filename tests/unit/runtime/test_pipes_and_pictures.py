"""`upscale` from and to pipes and picture files: the same pictures as through files, or a line."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from click.testing import CliRunner

from adcvsr.arrays import Levels
from adcvsr.cli.commands import load_command
from adcvsr.errors import (
    ConfigError,
    InputNotFoundError,
    OutputExistsError,
    OutputNotWritableError,
    StdoutClosedError,
    UnreadableVideoError,
)
from adcvsr.pictures.clips import read_clip, read_image, write_png
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.runtime.batch import default_output
from adcvsr.runtime.live.live_report import LiveOptions
from adcvsr.runtime.live.live_run import LiveRun
from adcvsr.runtime.upscaler import Upscaler
from adcvsr.runtime.video.encoders import EncodeOptions
from adcvsr.runtime.video.read_options import ReadOptions
from adcvsr.runtime.video.stdin_reader import StdinReader
from video_facts import VideoMaker

LOSSLESS = EncodeOptions(encoder="ffv1")


@pytest.fixture(scope="module")
def upscaler() -> Iterator[Upscaler]:
    with Upscaler("nano", variant="fp32-onnx", threads=1) as ready:
        yield ready


@contextmanager
def pipes(data: bytes = b"", out: Path | int | None = None) -> Iterator[None]:
    """Standard input holds these bytes, standard output goes elsewhere."""
    kept = os.dup(0), os.dup(1)
    read_end, write_end = os.pipe()
    child = subprocess.Popen(
        [sys.executable, "-c", FEED, str(len(data))], stdin=subprocess.PIPE, stdout=write_end
    )
    os.close(write_end)
    os.dup2(read_end, 0)
    os.close(read_end)
    target = os.open(out, os.O_WRONLY | os.O_CREAT) if isinstance(out, Path) else out
    if target is not None:
        os.dup2(target, 1)
        os.close(target)
    try:
        assert child.stdin is not None
        try:
            child.stdin.write(data)
            child.stdin.close()
        except BrokenPipeError:
            pass
        yield
    finally:
        for number, old in enumerate(kept):
            os.dup2(old, number)
            os.close(old)
        child.kill()
        child.wait()


FEED = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read(int(sys.argv[1])))"


def y4m(frames: int = 5, head: str = "YUV4MPEG2 W48 H32 F25:1 Ip A1:1 C420mpeg2") -> bytes:
    out = io.BytesIO()
    for index, picture in enumerate(draw_clip(frames, 32, 48)):
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
        planes = b"".join(
            np.frombuffer(plane, np.uint8).reshape(plane.height, -1)[:, : plane.width].tobytes()
            for plane in frame.planes
        )
        out.write((head.encode() + b"\n") * (not index) + b"FRAME\n" + planes)
    return out.getvalue()


def pictures(path: Path) -> Levels:
    return np.stack(list(read_clip(path)))


class TestPipes:
    def test_from_pipe_to_pipe_the_pictures_are_those_of_files(
        self, upscaler: Upscaler, tmp_path: Path
    ) -> None:
        (tmp_path / "in.y4m").write_bytes(y4m())
        with pipes(y4m(), tmp_path / "out.y4m"):
            report = upscaler.upscale_file("-", "-")
        assert report.pixels == "yuv"
        upscaler.upscale_file(tmp_path / "in.y4m", tmp_path / "out.mkv", options=LOSSLESS)
        np.testing.assert_array_equal(
            pictures(tmp_path / "out.y4m"), pictures(tmp_path / "out.mkv")
        )
        assert (report.frames, report.encoder, report.output) == (5, "y4m", "-")
        head = (tmp_path / "out.y4m").read_bytes().split(b"\n")[0]
        assert head == b"YUV4MPEG2 W192 H128 F25:1 Ip A1:1 C420mpeg2 XCOLORRANGE=LIMITED"

    def test_y4m_whose_matrix_players_would_mistake_is_made_of_rgb(
        self, upscaler: Upscaler, tmp_path: Path
    ) -> None:
        """16x180 is BT.601 by its lines, and four times that BT.709."""
        frame = b"FRAME\n" + bytes([128]) * (16 * 180 * 3 // 2)
        data = b"YUV4MPEG2 W16 H180 F25:1 Ip A1:1 C420mpeg2\n" + 2 * frame
        with pipes(data, tmp_path / "out.y4m"):
            report = upscaler.upscale_file("-", "-")
        assert (report.pixels, report.frames) == ("rgb", 2)
        assert "720 lines of y4m for another colour matrix" in report.pixels_reason

    @pytest.mark.parametrize("source", ["file", "pipe", "live"])
    def test_a_frame_that_did_not_come_whole_is_told(
        self, source: str, upscaler: Upscaler, tmp_path: Path
    ) -> None:
        (tmp_path / "in.y4m").write_bytes(y4m()[:-500])
        place, output = tmp_path / "in.y4m" if source == "file" else "-", tmp_path / "out.mkv"
        with pipes(y4m()[:-500]):
            if source == "live":
                notes = LiveRun(upscaler, "-", str(output), LiveOptions(policy="every")).run().notes
            else:
                report = upscaler.upscale_file(place, output)
                notes = report.notes
                assert not report.whole
        said = "the end of the file is missing: 0.160 s (4 frames) came and a part of a packet"
        assert [note for note in notes if note.startswith(said)]
        with pipes(y4m()):
            assert upscaler.upscale_file("-", tmp_path / "whole.mkv").whole

    def test_raw_frames_in_and_out(self, upscaler: Upscaler, tmp_path: Path) -> None:
        clip = draw_clip(3, 32, 48)
        read = ReadOptions(size=(48, 32), pixel_format="rgb24", rate=Fraction(30))
        with pipes(clip.tobytes(), tmp_path / "raw"):
            report = upscaler.upscale_file(
                "-", "-", read=read, options=EncodeOptions(encoder="rawvideo")
            )
        assert (tmp_path / "raw").stat().st_size == 3 * 192 * 128 * 3 // 2
        assert "raw frames: 192x128 yuv420p at 30 frames a second" in report.notes

    def test_ten_bits_and_full_range_stay(
        self, upscaler: Upscaler, make_video: VideoMaker, tmp_path: Path
    ) -> None:
        odd = (
            "YUV4MPEG2 W48 H32 F30000:1001 Ip A4:3 C420jpeg XYSCSS=420JPEG XCOLORRANGE=FULL XNOTE=x"
        )
        with pipes(y4m(2, odd), tmp_path / "out.y4m"):
            upscaler.upscale_file("-", "-")
        head = (tmp_path / "out.y4m").read_bytes().split(b"\n")[0]
        assert head.endswith(b"F30000:1001 Ip A4:3 C420mpeg2 XCOLORRANGE=FULL")

    @pytest.mark.parametrize(
        ("data", "says"),
        [
            (b"", "'-' gives no video"),
            (b"no video at all\n" * 99, "raw frames need --size and --pixel-format"),
            (b"YUV4MPEG2 W48 H32 F25:1 Cstrange\nFRAME\n", "header has 'Cstrange' for the colour"),
            (b"YUV4MPEG2 F25:1 C420\nFRAME\n", r"header has no width \(W\)"),
            (b"YUV4MPEG2 W0 H32 F25:1\nFRAME\n", "header has 'W0' for the width"),
            (b"YUV4MPEG2 W48 H-2 F25:1\nFRAME\n", "header has 'H-2' for the height"),
            (b"YUV4MPEG2 W48 H32 F25:1 Ix\nFRAME\n", "header has 'Ix' for the interlacing"),
            (y4m()[:400], "no frame of its"),
        ],
    )
    def test_what_is_no_video_is_told(
        self, data: bytes, says: str, upscaler: Upscaler, tmp_path: Path
    ) -> None:
        with pipes(data), pytest.raises(UnreadableVideoError, match=says):
            upscaler.upscale_file("-", tmp_path / "out.mp4")
        assert not list(tmp_path.iterdir())
        if data.startswith(b"YUV4MPEG2") and "header" in says:
            (tmp_path / "in.y4m").write_bytes(data)
            with pytest.raises(UnreadableVideoError, match=says):
                upscaler.upscale_file(tmp_path / "in.y4m", tmp_path / "out.mp4")

    def test_a_reader_that_leaves_is_no_fault(self, upscaler: Upscaler) -> None:
        read_end, write_end = os.pipe()
        os.close(read_end)
        with pipes(y4m(), write_end), pytest.raises(StdoutClosedError):
            upscaler.upscale_file("-", "-")

    def test_options_of_encoders_are_refused(self, upscaler: Upscaler, tmp_path: Path) -> None:
        (tmp_path / "in.y4m").write_bytes(y4m())
        for options, says in (
            (EncodeOptions(crf=20), "no --preset and no --crf"),
            (EncodeOptions(encoder="libx264"), r"ffmpeg -i - -c:v libx264 OUT"),
        ):
            with pytest.raises(ConfigError, match=says):
                upscaler.upscale_file(tmp_path / "in.y4m", "-", options=options)

    def test_live_reads_and_writes_pipes_too(self, upscaler: Upscaler, tmp_path: Path) -> None:
        with pipes(y4m(), tmp_path / "out.y4m"):
            report = LiveRun(upscaler, "-", "-", LiveOptions(policy="every")).run()
        assert (report.presented, report.sink) == (5, "-")
        assert pictures(tmp_path / "out.y4m").shape == (5, 128, 192, 3)


def test_a_sender_that_falls_silent_holds_up_no_end() -> None:
    read_end, write_end = os.pipe()
    kept = os.dup(0)
    os.dup2(read_end, 0)
    ended = threading.Event()
    try:
        reader = StdinReader(ended)
        os.write(write_end, b"abc")
        assert reader.read(100) == b"abc"
        threading.Timer(0.1, ended.set).start()
        assert reader.read(100) == b""
    finally:
        os.dup2(kept, 0)
        for each in (kept, read_end, write_end):
            os.close(each)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["-", "-", "--json"], "stdout cannot hold both"),
        (["-", "out.mkv", "--resume"], "- is not for segments"),
        (["in_%d.png", "out.mkv", "--resume"], "in_%d.png is not for segments"),
        (["-", "out.mkv", "--rate", "0"], "expected frames a second"),
        (["-", "out.mkv", "--pixel-format", "rgb24"], "need --size, too"),
    ],
)
def test_options_that_do_not_go_together(given: list[str], says: str) -> None:
    done = CliRunner().invoke(load_command("upscale"), given)
    assert done.exit_code
    assert says in done.output + str(done.exception)


def test_the_command_keeps_stdout_clean_and_its_exit_status_says_who_left(tmp_path: Path) -> None:
    (tmp_path / "in.y4m").write_bytes(y4m(40))
    command = [sys.executable, "-m", "adcvsr", "upscale", str(tmp_path / "in.y4m"), "-"]
    command += ["--model", "nano", "--variant", "fp32-onnx"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b"YUV4MPEG2 W192 H128")
        process.stdout.close()
        said = process.stderr.read()
    assert process.returncode == 141
    assert not [line for line in said.splitlines() if not line.startswith(b"note: ")], said


class TestPictures:
    def sequence(
        self, folder: Path, numbers: range | list[int], size: tuple[int, int] = (32, 48)
    ) -> list[Any]:
        clip = draw_clip(len(numbers), *size)
        for number, picture in zip(numbers, clip, strict=True):
            write_png(folder / f"frame_{number:04d}.png", picture)
        return list(clip)

    def test_numbered_pictures_keep_their_numbers_and_are_exact(
        self, upscaler: Upscaler, tmp_path: Path
    ) -> None:
        clip = self.sequence(tmp_path, range(7, 11))
        upscaler.upscale_file(
            tmp_path / "frame_%04d.png", tmp_path / "big_%03d.png", cut_reset=False
        )
        found = sorted(path.name for path in tmp_path.glob("big*"))
        assert found == ["big_007.png", "big_008.png", "big_009.png", "big_010.png"]
        upscaler.reset()
        for name, frame in zip(found, clip, strict=True):
            np.testing.assert_array_equal(read_image(tmp_path / name), upscaler(frame))
        with pytest.raises(OutputExistsError, match=r"'.*big_007.png' and 3 more"):
            upscaler.upscale_file(tmp_path / "frame_%04d.png", tmp_path / "big_%03d.png")

    def test_a_sequence_becomes_a_video_at_the_rate_asked_for(
        self, upscaler: Upscaler, tmp_path: Path
    ) -> None:
        self.sequence(tmp_path, range(3))
        read = ReadOptions(rate=Fraction(30000, 1001))
        upscaler.upscale_file(tmp_path / "frame_%04d.png", tmp_path / "out.mp4", read=read)
        with av.open(str(tmp_path / "out.mp4")) as video:
            assert video.streams.video[0].average_rate == Fraction(30000, 1001)
            assert len(list(video.decode(video=0))) == 3

    def test_gaps_are_told(self, upscaler: Upscaler, tmp_path: Path) -> None:
        self.sequence(tmp_path, [1, 2, 5])
        says = r"of the numbers 1 to 5, 2 are missing \(frame_0003.png, frame_0004.png\)"
        with pytest.raises(UnreadableVideoError, match=says):
            upscaler.upscale_file(tmp_path / "frame_%04d.png", tmp_path / "out_%04d.png")
        with pytest.raises(InputNotFoundError, match="holds no picture of that name"):
            upscaler.upscale_file(tmp_path / "none_%04d.png", tmp_path / "out_%04d.png")

    @pytest.mark.parametrize("damaged", [7, 9])
    def test_a_damaged_picture_is_named_and_the_others_keep_their_numbers(
        self, damaged: int, upscaler: Upscaler, tmp_path: Path
    ) -> None:
        self.sequence(tmp_path, range(7, 11))
        wrong = tmp_path / f"frame_{damaged:04d}.png"
        wrong.write_bytes(wrong.read_bytes()[:300])
        report = upscaler.upscale_file(tmp_path / "frame_%04d.png", tmp_path / "big_%04d.png")
        assert f"'{wrong.name}' is damaged and left out; the others keep their numbers" in (
            report.notes
        )
        assert not report.whole
        found = sorted(path.name for path in tmp_path.glob("big*"))
        assert found == [f"big_{n:04d}.png" for n in range(7, 11) if n != damaged]

    def test_numbers_are_kept_from_a_start_within(self, upscaler: Upscaler, tmp_path: Path) -> None:
        self.sequence(tmp_path, range(7, 11))
        read = ReadOptions(start=Fraction(2, 25))
        upscaler.upscale_file(tmp_path / "frame_%04d.png", tmp_path / "big_%d.png", read=read)
        assert sorted(path.name for path in tmp_path.glob("big*")) == ["big_10.png", "big_9.png"]

    def test_two_sizes_are_told_and_scaled_to_the_first(
        self, upscaler: Upscaler, tmp_path: Path
    ) -> None:
        self.sequence(tmp_path, [1, 2])
        self.sequence(tmp_path, [3], (64, 48))
        report = upscaler.upscale_file(tmp_path / "frame_%04d.png", tmp_path / "out_%d.png")
        assert any("the size changes to 48x64 at frame 2" in note for note in report.notes)
        assert read_image(tmp_path / "out_3.png").shape == (128, 192, 3)

    @pytest.mark.parametrize("ending", ["png", "jpg"])
    def test_a_picture_becomes_a_picture(
        self, ending: str, upscaler: Upscaler, tmp_path: Path
    ) -> None:
        picture = draw_clip(1, 32, 48)[0]
        write_png(tmp_path / "in.png", picture)
        upscaler.upscale_file(tmp_path / "in.png", tmp_path / f"out.{ending}")
        upscaler.reset()
        made = read_image(tmp_path / f"out.{ending}").astype(int)
        assert np.abs(made - upscaler(picture)).mean() <= (0 if ending == "png" else 4)
        assert default_output("a/in.png") == Path("a/in_x4.png")

    def test_alpha_stays_in_png(self, upscaler: Upscaler, tmp_path: Path) -> None:
        rgba = np.dstack([draw_clip(1, 32, 48)[0], np.full((32, 48), 77, np.uint8)])
        codec: Any = av.CodecContext.create("png", "w")
        codec.width, codec.height, codec.pix_fmt, codec.time_base = 48, 32, "rgba", Fraction(1, 25)
        frame = av.VideoFrame.from_ndarray(rgba, format="rgba")
        (tmp_path / "in.png").write_bytes(
            b"".join(bytes(p) for p in [*codec.encode(frame), *codec.encode(None)])
        )
        upscaler.upscale_file(tmp_path / "in.png", tmp_path / "out.png")
        with av.open(str(tmp_path / "out.png")) as made:
            (shown,) = made.decode(video=0)
        assert shown.format.name == "rgba"
        np.testing.assert_array_equal(shown.to_ndarray()[..., 3], 77)

    def test_a_video_is_not_one_picture(
        self, upscaler: Upscaler, make_video: VideoMaker, tmp_path: Path
    ) -> None:
        with pytest.raises(
            OutputNotWritableError, match="name numbered ones such as 'out_%05d.png'"
        ):
            upscaler.upscale_file(make_video(), tmp_path / "out.png")
        with pytest.raises(ConfigError, match="have no --encoder, --preset, --crf"):
            upscaler.upscale_file(make_video(), tmp_path / "o.png", options=EncodeOptions(crf=3))
