"""Clip windows: as good as the whole clip where the network's reach allows, bounded, in order."""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from adcvsr.bundle import open_bundle
from adcvsr.errors import BundleError, ClipNetworkError
from adcvsr.pictures.clips import read_clip, write_clip
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.runtime.processing.backends import create_session
from adcvsr.runtime.sessions.clip_session import ClipSession
from adcvsr.runtime.upscaler import Upscaler
from adcvsr.runtime.video.encoders import EncodeOptions
from adcvsr.runtime.video.sink import FileSink
from changed_manifest import with_manifest
from video_facts import VideoMaker, video_facts

torch = pytest.importorskip("torch", reason="making a clip bundle needs torch")

REACH = 2
"""Of the test network."""

Levels = npt.NDArray[np.uint8]
WithWindow = Callable[[int, int], Path]


@pytest.fixture(scope="module")
def with_window(clip_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> WithWindow:
    """The clip bundle with another window."""

    def make(frames: int, overlap: int) -> Path:
        folder = tmp_path_factory.mktemp("window") / "clip"
        return with_manifest(clip_bundle, folder, window={"frames": frames, "overlap": overlap})

    return make


@pytest.fixture(scope="module")
def clip() -> Levels:
    """Moving, with a jump that no frame's neighbours would guess."""
    frames = draw_clip(23, 22, 30)
    frames[11] = 255 - frames[11]
    return frames


def whole(clip: Levels) -> Levels:
    """What torch makes of the clip as one."""
    from small_bundles import clip_network

    padded = np.pad(
        clip, ((0, 0), (0, -clip.shape[1] % 4), (0, -clip.shape[2] % 4), (0, 0)), "edge"
    )
    signed = torch.from_numpy(padded).permute(0, 3, 1, 2)[None].float() / 127.5 - 1
    with torch.no_grad():
        picture = clip_network()(signed)[0][0].permute(0, 2, 3, 1) * 127.5 + 128
    levels: Levels = picture.clamp(0, 255.5).to(torch.uint8).numpy()
    return levels[:, : 4 * clip.shape[1], : 4 * clip.shape[2]]


def distance(found: Levels, expected: Levels) -> int:
    assert found.shape == expected.shape
    return int(np.abs(found.astype(int) - expected).max(initial=0))


def test_the_network_couples_frames(clip: Levels) -> None:
    """Or none of these tests could fail."""
    assert distance(whole(clip)[:9], whole(clip[:9])) > 10
    assert distance(whole(clip)[:7], whole(clip[:9])[:7]) <= 1


@pytest.mark.parametrize("window", [(5, 4), (7, 4), (8, 6), (30, 4)])
def test_windows_are_the_whole_clip(
    with_window: WithWindow, clip: Levels, window: tuple[int, int]
) -> None:
    """Neighbours that share twice the reach: every frame of every length is the whole clip's."""
    with Upscaler(with_window(*window)) as upscaler:
        for length in (1, 4, 5, 6, 7, 8, 9, 16, 23):
            found = np.stack(list(upscaler.upscale_clip(clip[:length])))
            assert distance(found, whole(clip[:length])) <= 1


@pytest.mark.parametrize(("frames", "overlap"), [(7, 2), (7, 0), (9, 3), (6, 3)])
def test_crossfaded_windows(
    with_window: WithWindow, clip: Levels, frames: int, overlap: int
) -> None:
    """Exact where one window alone counts and sees enough; a linear crossfade between."""
    path = with_window(frames, overlap)
    with create_session(open_bundle(path)) as session, Upscaler(path) as upscaler:
        assert isinstance(session, ClipSession)
        for length in (3, 7, 9, 10, 22, 23):
            found = list(upscaler.upscale_clip(iter(clip[:length])))
            expected, exact = naive(session, clip[:length], frames, overlap)
            assert distance(np.stack(found), expected) <= 1
            assert distance(np.stack(found)[exact], whole(clip[:length])[exact]) <= 1


def naive(
    session: ClipSession, clip: Levels, frames: int, overlap: int
) -> tuple[Levels, npt.NDArray[np.bool_]]:
    """All windows in memory, blended in floats; and the frames that must be exact."""
    stride, frames = frames - overlap, min(frames, len(clip))
    starts = [*range(0, len(clip) - frames, stride), len(clip) - frames]
    out = np.zeros((len(clip), 4 * clip.shape[1], 4 * clip.shape[2], 3))
    exact = np.zeros(len(clip), bool)
    for number, start in enumerate(starts):
        stop = start + frames
        pictures = list(session.upscale_window(clip[start:stop], 0, frames))
        before = starts[number - 1] + frames if number else 0
        for index in range(before - overlap if number else 0, stop):
            share = min((index - before + overlap + 1) / (overlap + 1), 1) if number else 1
            out[index] = out[index] * (1 - share) + pictures[index - start] * share
            near_start = index < start + REACH and start > 0
            near_stop = index >= stop - REACH and stop < len(clip)
            exact[index] = not near_start and not near_stop and (share == 1 or exact[index])
    return (out + 0.5).astype(np.uint8), exact


def test_equal_windows_whatever_follows(with_window: WithWindow, clip: Levels) -> None:
    """Frames that no shifted window touches do not depend on how much video follows."""
    with Upscaler(with_window(7, 2)) as upscaler:
        long = list(upscaler.upscale_clip(clip))
        short = list(upscaler.upscale_clip(clip[:20]))
    assert distance(np.stack(long[:15]), np.stack(short[:15])) == 0


@pytest.mark.parametrize("ahead", [1, 3, 64])
def test_however_the_video_is_read(with_window: WithWindow, clip: Levels, ahead: int) -> None:
    """In chunks by a reader that runs ahead, or pushed one by one: the same, bit for bit."""

    def chunks() -> Iterator[Levels]:
        for start in range(0, len(clip), ahead):
            yield from [frame.copy() for frame in clip[start : start + ahead]]

    with Upscaler(with_window(7, 2)) as upscaler:
        expected = np.stack(list(upscaler.upscale_clip(clip)))
        assert np.array_equal(np.stack(list(upscaler.upscale_clip(chunks()))), expected)
        processor = upscaler._processor
        pushed = [picture for frame in chunks() for picture in processor.push(frame)]
        assert len(pushed) < len(clip)
        pushed += processor.finish()
    assert np.array_equal(np.stack(pushed), expected)


def test_memory_is_bounded_by_the_window(with_window: WithWindow) -> None:
    frames: list[weakref.ref[Levels]] = []
    pictures: list[weakref.ref[Levels]] = []

    def alive(things: list[weakref.ref[Levels]]) -> int:
        return sum(thing() is not None for thing in things)

    def read() -> Iterator[Levels]:
        for index in range(60):
            frame = np.full((8, 8, 3), index, np.uint8)
            frames.append(weakref.ref(frame))
            yield frame
            del frame
            assert alive(frames) <= 7

    with Upscaler(with_window(7, 2)) as upscaler:
        for picture in upscaler.upscale_clip(read()):
            pictures.append(weakref.ref(picture))
            assert alive(pictures) <= 4  # held for the crossfade, and the one just given
    assert len(pictures) == 60


def test_a_dropped_clip_leaves_nothing(with_window: WithWindow, clip: Levels) -> None:
    with Upscaler(with_window(7, 2)) as upscaler:
        expected = list(upscaler.upscale_clip(clip))
        for picture in upscaler.upscale_clip(255 - clip):
            assert picture.shape == (88, 120, 3)
            break
        again = list(upscaler.upscale_clip(clip))
    assert distance(np.stack(again), np.stack(expected)) == 0


def test_a_change_of_size_is_a_new_stream(with_window: WithWindow, clip: Levels) -> None:
    small = clip[:, :16, :20]
    with Upscaler(with_window(7, 2)) as upscaler:
        apart = [*upscaler.upscale_clip(clip), *upscaler.upscale_clip(small)]
        joined = list(upscaler.upscale_clip([*clip, *small]))
    assert all(np.array_equal(a, b) for a, b in zip(apart, joined, strict=True))


def test_single_frames_are_refused(clip_bundle: Path, clip: Levels) -> None:
    with Upscaler(clip_bundle) as upscaler:
        with pytest.raises(ClipNetworkError, match=r"not causal.*upscale_clip\(frames\)"):
            upscaler(clip[0])
        for wrong in (clip[0].astype(float), clip[0, :, :, :2], [1, 2]):
            with pytest.raises(ValueError, match="expected"):
                list(upscaler.upscale_clip([clip[0], wrong]))
        upscaler.reset()
        assert len(list(upscaler.upscale_clip([]))) == 0


def test_a_stream_network_takes_clips_too(tiny_bundle: Path, clip: Levels) -> None:
    with Upscaler(tiny_bundle) as upscaler:
        one_by_one = [upscaler(frame) for frame in clip]
        found = list(upscaler.upscale_clip(clip))
    assert distance(np.stack(found), np.stack(one_by_one)) == 0


@pytest.mark.parametrize("backend", ["ort-cpu"])  # GPU ones: test_trt_session.py
def test_an_altered_interface_is_refused(
    with_window: WithWindow, backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = with_window(7, 2)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["interface"]["features"]["shape"][1] = 13
    (path / "manifest.json").write_text(json.dumps(manifest))
    with (
        pytest.raises(BundleError, match="inputs {'features': 12} .* manifest says"),
        create_session(open_bundle(path), backend=backend),
    ):
        pass
    monkeypatch.setenv("ADCVSR_CACHE", str(tmp_path / "cache"))  # where it has not run before
    with (
        pytest.raises(
            BundleError, match="'fp32-onnx.decoder.onnx' fails in the engine for one small frame"
        ),
        create_session(open_bundle(path), backend=backend),
    ):
        pass


class TestFiles:
    def test_times_sound_and_order_survive(
        self, with_window: WithWindow, make_video: VideoMaker, tmp_path: Path
    ) -> None:
        """Two windows and a bit, variable rate, with sound and text between the frames."""
        pts = (0, 700, 1100, 3000, 3100, 5000, 9000, 9500, 9600, 12000, 12345, 20000)
        source = make_video(pts=pts, audio=True, subtitles=["one", "two"], size=(36, 24))
        before = video_facts(source)
        with Upscaler(with_window(5, 1)) as upscaler:
            report = upscaler.upscale_file(
                source, tmp_path / "out.mp4", options=EncodeOptions(crf=1)
            )
            expected = list(upscaler.upscale_clip(read_clip(source)))
        after = video_facts(tmp_path / "out.mp4")
        assert report.frames == len(pts)
        assert after.times == before.times
        assert after.audio == before.audio
        found = list(read_clip(tmp_path / "out.mp4"))
        for ours, theirs in zip(expected, found, strict=True):
            assert np.abs(ours.astype(int) - theirs).mean() < 6
        facts = {"count": 3, "frames": 5, "overlap": 1, "exact": False, "reach": 2}
        assert report.to_json()["windows"] == facts
        assert any("3 windows of 5 frames sharing 1, crossfaded" in n for n in report.notes)

    @pytest.mark.parametrize("waiting", [1, 4])
    def test_queues_change_nothing(
        self,
        with_window: WithWindow,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        waiting: int,
    ) -> None:
        """However many frames wait between reading, network and writing."""
        source = tmp_path / "in.mkv"
        write_clip(source, draw_clip(12, 24, 32), rate=Fraction(25))
        monkeypatch.setattr("adcvsr.pictures.limits.QUEUE_LENGTH", waiting)
        written: list[Levels] = []
        write = FileSink.write

        def record(sink: FileSink, rgb: Levels, pts: int, alpha: Levels | None) -> None:
            written.append(rgb.copy())
            write(sink, rgb, pts, alpha)

        monkeypatch.setattr(FileSink, "write", record)
        with Upscaler(with_window(5, 1)) as upscaler:
            upscaler.upscale_file(source, tmp_path / "out.mkv")
            expected = list(upscaler.upscale_clip(read_clip(source)))
        assert np.array_equal(np.stack(written), np.stack(expected))

    def test_a_short_video_is_one_window(
        self, with_window: WithWindow, make_video: VideoMaker, tmp_path: Path
    ) -> None:
        source = make_video(pts=range(0, 3 * 512, 512))
        with Upscaler(with_window(25, 8)) as upscaler:
            report = upscaler.upscale_file(source, tmp_path / "out.mp4")
        assert report.frames == 3
        assert report.windows is not None
        assert (report.windows["count"], report.windows["frames"]) == (1, 3)
        assert report.windows["exact"]
        assert "one window of 3 frames" in report.notes

    def test_an_interrupted_file_leaves_no_frames(
        self, with_window: WithWindow, tmp_path: Path
    ) -> None:
        source = tmp_path / "in.mkv"
        write_clip(source, draw_clip(30, 24, 32), rate=Fraction(25))

        def interrupt(done: int, expected: int) -> None:
            if done == 6:
                raise KeyboardInterrupt

        with Upscaler(with_window(7, 2)) as upscaler:
            with pytest.raises(KeyboardInterrupt):
                upscaler.upscale_file(source, tmp_path / "out.mkv", progress=interrupt)
            assert upscaler.upscale_file(source, tmp_path / "out.mkv").frames == 30
