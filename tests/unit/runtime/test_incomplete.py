"""Files that end before their container says, and those that only look so."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import av
import pytest

from adcvsr.errors import ConfigError, InputNotFoundError
from adcvsr.runtime.batch import Job, left_out, plan, split_existing
from adcvsr.runtime.video.read_options import ReadOptions
from adcvsr.runtime.video.source import FileSource, SourceFrame
from adcvsr.runtime.video.torn_end import ends_within_packet
from video_facts import VideoMaker

COUNT = 75
PTS = tuple(range(0, COUNT * 512, 512))
"""Three seconds at 25 frames a second."""


def read(path: Path, **options: Fraction) -> FileSource:
    with FileSource(path, ReadOptions(**options) if options else None) as source:
        for _ in source:
            pass
    return source


def with_index_first(path: Path, target: Path) -> Path:
    """Copy a file, an mp4 with its index before the pictures."""
    options = {"movflags": "faststart"} if target.suffix in (".mp4", ".mov") else {}
    with av.open(str(path)) as reader, av.open(str(target), "w", options=options) as writer:
        streams = {
            s.index: writer.add_stream_from_template(s)
            for s in reader.streams
            if s.type in ("video", "audio")
        }
        for packet in reader.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                writer.mux(packet)
    return target


CONTAINERS = ("mp4", "mov", "mkv", "webm", "avi", "flv")


def clip_in(make_video: VideoMaker, folder: Path, container: str) -> Path:
    if container in ("webm", "avi"):
        encoder = "libvpx-vp9" if container == "webm" else "mpeg4"
        return make_video(
            f"in.{container}", pts=range(COUNT), time_base=Fraction(1, 25), encoder=encoder
        )
    clip = make_video("whole.mp4", pts=PTS, size=(64, 48))
    return with_index_first(clip, folder / f"in.{container}")


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_cut_file_says_what_is_missing(
    make_video: VideoMaker, tmp_path: Path, container: str
) -> None:
    path = clip_in(make_video, tmp_path, container)
    whole = read(path)
    assert whole.frames_read == COUNT
    assert whole.missing is None
    assert not [note for note in whole.notes if "missing" in note]
    os.truncate(path, int(path.stat().st_size * 0.6))
    cut = read(path)
    assert 0 < cut.frames_read < COUNT - 5
    assert cut.missing is not None
    assert cut.missing.announced_seconds == pytest.approx(3, abs=0.1)
    assert cut.missing.read_seconds == pytest.approx(cut.frames_read / 25, abs=0.25)
    assert [note for note in cut.notes if note.startswith("the end of the file is missing: it ann")]
    # What is asked for and is there is no less for what is missing behind it.
    assert read(path, duration=Fraction(1, 5)).missing is None
    assert read(path, duration=Fraction(5)).missing is not None


@pytest.mark.parametrize("container", ["ts", "m2ts", "mpg", "vob"])
def test_a_broadcast_that_ends_within_a_packet(
    make_video: VideoMaker, tmp_path: Path, container: str
) -> None:
    clip = make_video("whole.mp4", pts=PTS, size=(160, 120), audio=container != "mpg")
    if container in ("mpg", "vob"):
        clip = make_video(
            "in.mpg",
            pts=range(COUNT),
            time_base=Fraction(1, 25),
            size=(320, 240),
            encoder="mpeg2video",
        )
    path = with_index_first(clip, tmp_path / f"copy.{container}")
    whole = path.read_bytes()
    assert read(path).missing is None, "it announces nothing, and is whole"
    for size in (len(whole) * 2 // 3 + 1, len(whole) - 100):
        path.write_bytes(whole[:size])
        source = read(path)
        assert source.missing is not None
        assert source.missing.within_packet
        assert source.missing.to_json()["announced_seconds"] is None
        assert any("came and a part of a packet" in note for note in source.notes)


def test_a_broadcast_that_ends_between_packets_is_whole(
    make_video: VideoMaker, tmp_path: Path
) -> None:
    path = with_index_first(make_video("whole.mp4", pts=PTS), tmp_path / "copy.ts")
    os.truncate(path, path.stat().st_size // 188 // 2 * 188)
    assert read(path).missing is None
    path.write_bytes(b"no transport stream" * 1000)
    assert not ends_within_packet(path, "mpegts")
    assert not ends_within_packet(path, "mpeg")


@pytest.mark.parametrize("container", ["mkv", "ts"])
def test_a_file_that_is_cut_while_it_is_read(
    make_video: VideoMaker, tmp_path: Path, container: str
) -> None:
    clip = make_video("whole.mp4", pts=PTS, size=(320, 240))
    path = with_index_first(clip, tmp_path / f"in.{container}")
    with path.open("ab") as file:  # beyond what is read ahead at the opening
        file.write(bytes(1 << 20) if container == "ts" else b"")
    frames = 0
    with FileSource(path) as source:
        for item in source:
            frames += isinstance(item, SourceFrame)
            if frames == 1:
                os.truncate(path, path.stat().st_size // 3)
    assert source.missing is not None
    assert source.missing.shrunk_bytes > 0
    assert any("bytes shorter while it was read" in note for note in source.notes)


def test_no_false_alarm_on_a_variable_rate(make_video: VideoMaker, tmp_path: Path) -> None:
    """The last picture stands for seconds."""
    slow = make_video(pts=(0, 512, 1024, 1024 + 12800 * 3, 1024 + 12800 * 7))
    for container in ("mp4", "mkv"):
        assert read(with_index_first(slow, tmp_path / f"copy.{container}")).missing is None


def test_no_false_alarm_where_the_sound_goes_on(make_video: VideoMaker, tmp_path: Path) -> None:
    clip = make_video(audio=True, pts=tuple(range(0, 4 * 512, 512)))
    for container in ("mp4", "mkv"):
        assert read(with_index_first(clip, tmp_path / f"copy.{container}")).missing is None


def test_the_first_frame_lies_behind_the_duration(make_video: VideoMaker) -> None:
    late = make_video("late.mkv", pts=tuple(range(12800 * 3, 12800 * 4, 512)))
    with pytest.raises(ConfigError, match=r"no frame from 0 s to 2 s; the next one is at 3 s"):
        FileSource(late, ReadOptions(duration=Fraction(2)))
    assert read(late, start=Fraction(3), duration=Fraction(1)).frames_read == 25


class TestFolders:
    NAMES = ("a.mpg", "b.MTS", "c.3gp", "d.flv", "e.wmv", "f.m2ts", "g.vob", "h.mp4", "sub/i.ogv")
    OTHERS = ("notes.txt", "cover.jpg", "README", "._h.mp4", ".adcvsr-x.part.mp4")

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        clips = tmp_path / "clips"
        (clips / "sub").mkdir(parents=True)
        for name in (*self.NAMES, *self.OTHERS):
            (clips / name).write_bytes(b"x")
        return clips

    def test_every_kind_of_video_is_taken(self, folder: Path, tmp_path: Path) -> None:
        jobs = plan([str(folder)], tmp_path / "out")
        assert [str(job.source.relative_to(folder)) for job in jobs] == sorted(self.NAMES)
        assert {job.output.suffix for job in jobs} == {".mp4"}

    def test_what_is_left_out_is_said(self, folder: Path, tmp_path: Path) -> None:
        (line,) = left_out([str(folder)], tmp_path / "out")
        assert line.startswith(
            f"in '{folder}' 5 files are left out, not named like videos: "
            ".jpg (1), .txt (1), hidden (2), no ending (1)"
        )
        assert not list(left_out([str(folder / "a.mpg"), "*.mp4"], tmp_path))

    def test_only_pictures(self, tmp_path: Path) -> None:
        (tmp_path / "a.jpg").write_bytes(b"x")
        with pytest.raises(InputNotFoundError, match="holds no video"):
            plan([str(tmp_path)], tmp_path / "out")

    def test_what_is_done_is_not_done_again(self, tmp_path: Path) -> None:
        done, open_ = (Job(tmp_path / n, tmp_path / f"out-{n}") for n in ("a.mp4", "b.mp4"))
        done.output.write_bytes(b"x")
        assert split_existing([done, open_]) == ([open_], [done])
