"""Networks that look ahead: pictures come late, one a frame, and the last ones at the end."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import onnx
import pytest
from clip_networks import conv3d, upscaling
from few_colours import few

from adcvsr.bundle import Bundle, open_bundle
from adcvsr.errors import ClipNetworkError, OutputNotWritableError
from adcvsr.export.adopt import adopt as adopting
from adcvsr.export.adopt.adopt import AdoptOptions, adopt
from adcvsr.export.graphs.replay import open_session
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.pictures.yuv_picture import planes_of
from adcvsr.runtime.jobs.run import open_job
from adcvsr.runtime.jobs.settings import JobSettings
from adcvsr.runtime.jobs.work import SegmentWorker
from adcvsr.runtime.live import model_switch
from adcvsr.runtime.live.live_report import LiveOptions
from adcvsr.runtime.live.live_run import LiveRun
from adcvsr.runtime.live.model_switch import ModelSwitch, Offer
from adcvsr.runtime.live.sink_null import NullSink
from adcvsr.runtime.live.source import LiveFrame, VideoSource
from adcvsr.runtime.proof import verify
from adcvsr.runtime.upscaler import Upscaler
from adcvsr.runtime.video.sink import FileSink
from gpu_backends import CONTRACT, prepare_backend
from video_facts import VideoMaker


@pytest.fixture(scope="module")
def ahead(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Two convolutions over the frame before and the one after: pictures come two late."""
    folder = tmp_path_factory.mktemp("ahead")
    onnx.save_model(upscaling(conv3d(before=1, after=1)), folder / "n.onnx")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adopting, "request_for", few)
        options = AdoptOptions(licence="CC0-1.0", lookahead=2, range="0-1", colour="RGB")
        return adopt(folder / "n.onnx", folder / "ahead", options, report=lambda line: None)


@pytest.fixture(scope="module")
def upscaler(ahead: Bundle) -> Iterator[Upscaler]:
    with Upscaler(ahead, backend="ort-cpu", threads=1) as ready:
        yield ready


def whole(bundle: Bundle, clip: Any) -> Any:
    """What the network over clips makes of a clip, in levels."""
    session = open_session(bundle.path.parent / "n.onnx")
    values = (clip.astype(np.float32) / 255).transpose(3, 0, 1, 2)[None]
    return session.run(None, {"x": values})[0][0].transpose(1, 2, 3, 0) * 255


def near(found: Any, expected: Any) -> bool:
    return bool(np.abs(np.stack(found) - expected.clip(0, 255)).max() <= 0.51)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_every_frame_has_the_picture_of_the_whole_clip(
    ahead: Bundle, upscaler: Upscaler, count: int
) -> None:
    assert ahead.delay == 2
    clip = draw_clip(count, 26, 38)
    assert near(list(upscaler.upscale_clip(clip)), whole(ahead, clip))
    upscaler.reset()
    pushed = [upscaler.push(frame) for frame in clip]
    assert [picture is None for picture in pushed] == [at < 2 for at in range(count)]
    found = [picture for picture in pushed if picture is not None] + list(upscaler.finish())
    assert near(found, whole(ahead, clip))


@pytest.mark.parametrize("name", CONTRACT)
def test_every_backend_says_that_a_stream_is_over(
    name: str, ahead: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    backend = prepare_backend(name, monkeypatch, tmp_path)
    clip = draw_clip(4, 26, 38)
    with Upscaler(ahead, backend=backend) as other:
        for _ in range(2):  # the second stream has no past of the first one's end
            assert near(list(other.upscale_clip(clip)), whole(ahead, clip))


def test_no_network_takes_its_place_while_pictures_are_late(
    upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would be lost, also where another variant of the same bundle follows."""
    monkeypatch.setattr(model_switch, "pick_variants", lambda *_: ["fp32-onnx", "int8-ort"])
    monkeypatch.setattr(model_switch, "choose_backend", lambda *_, **__: None)
    bundles = (open_bundle("nano"),)
    switch = ModelSwitch(upscaler, bundles, size=lambda: (38, 26), note=print)
    assert switch.offers == (Offer("ahead", upscaler.session.variant.id),)
    with Upscaler("nano", threads=1) as nano:
        offers = ModelSwitch(nano, [upscaler.bundle], size=lambda: None, note=print).offers
    assert {offer.model for offer in offers} == {"nano"}


def test_tiles_each_end_for_themselves(ahead: Bundle, upscaler: Upscaler) -> None:
    clip = draw_clip(3, 40, 64)
    with Upscaler(ahead, backend="ort-cpu", tile=48) as tiled:
        tiles = np.stack(list(tiled.upscale_clip(clip)))
        assert tiled.session.layout is not None
        assert tiled.session.layout.count > 1
    assert near(tiles[:, 4:-4, :60], whole(ahead, clip)[:, 4:-4, :60])


def test_one_by_one_is_refused_with_the_way(upscaler: Upscaler) -> None:
    with pytest.raises(ClipNetworkError, match=r"needs the frames after each, too; use upscaler"):
        upscaler(np.zeros((8, 8, 3), np.uint8))


def cut_in_two(path: Path, cut: int, count: int) -> Path:
    """Frames of two scenes, a key frame every 9."""
    rng = np.random.default_rng(3)
    scenes = [rng.integers(0, 256, (6, 8, 3), np.uint8).repeat(4, 0).repeat(4, 1) for _ in "ab"]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
        stream.codec_context.gop_size = 9
        for at in range(count):
            image = np.roll(scenes[at >= cut], at, 1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("cut", [12, 99], ids=["cut-behind-a-segment", "one-scene"])
def test_segments_see_the_frames_behind_them(
    ahead: Bundle, upscaler: Upscaler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: int
) -> None:
    """A job has the pictures of one run, and needs what it reads behind its segments."""
    source = cut_in_two(tmp_path / "in.mp4", cut, 33)
    pictures: list[bytes] = []
    write = FileSink.write

    def keep(self: FileSink, picture: Any, pts: int, alpha: Any = None) -> None:
        pictures.append(b"".join(plane.tobytes() for plane in planes_of(picture)))
        write(self, picture, pts, alpha)

    monkeypatch.setattr(FileSink, "write", keep)
    report = upscaler.upscale_file(source, tmp_path / "plain.mp4")
    one_run = pictures[:]
    settings = JobSettings(
        source=str(source), output=str(tmp_path / "o.mp4"), model=str(ahead.path),
        segment_seconds=0.5,
    )  # fmt: skip
    job = open_job(settings, tmp_path / "job", resume=False, overwrite=False)
    segments = job.plan.segments
    assert len(segments) >= 3
    if report.scene_cuts:  # in what a segment sees behind itself
        assert any(each.times()[-1] < cut * 512 <= (each.end_pts or 0) for each in segments)
    pictures.clear()
    with SegmentWorker(job, threads=1) as worker:
        made = [worker.make_at(n, tmp_path / f"{n}.mp4") for n in range(len(segments))]
        assert pictures == one_run
        assert sum(each.scene_cuts or 0 for each in made) == report.scene_cuts == int(cut < 33)
        first = replace(segments[0], end_pts=None)
        monkeypatch.setattr(job, "plan", replace(job.plan, segments=(first, *segments[1:])))
        assert worker.make_at(0, tmp_path / "short.mp4").pictures != made[0].pictures or cut < 33


def test_a_job_of_fewer_frames_than_it_looks_ahead(
    ahead: Bundle, tmp_path: Path, make_video: VideoMaker
) -> None:
    source = make_video(size=(48, 32), pts=(0,))
    settings = JobSettings(
        source=str(source), output=str(tmp_path / "o.mp4"), model=str(ahead.path)
    )
    job = open_job(settings, tmp_path / "job", resume=False, overwrite=False)
    with SegmentWorker(job, threads=1) as worker:
        assert worker.make_at(0, tmp_path / "0.mp4").frames == 1


def test_verify_takes_pictures_as_late_as_they_come(
    ahead: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "colour_request", lambda *_: few("stream", 1, scale=2))
    (found,) = verify.verify_bundle(ahead, backend="ort-cpu").variants
    assert (found.outcome, found.max_level_error) in {("passed", 0), ("passed", 1)}


def test_a_file_has_all_its_frames_and_starts_anew_at_cuts(
    upscaler: Upscaler, tmp_path: Path, make_video: VideoMaker
) -> None:
    source = make_video(size=(48, 32), pts=tuple(range(0, 7 * 512, 512)))
    report = upscaler.upscale_file(source, tmp_path / "out.mp4")
    assert report.frames == 7
    assert any("looks 2 frames ahead" in note for note in report.notes)


class TwoScenes(VideoSource):
    """Five frames, a frame of another size, and two more of that."""

    def frames(self) -> Generator[LiveFrame, None, None]:
        index = 0
        for count, sides in ((5, (26, 38)), (3, (24, 32))):
            for picture in draw_clip(count, *sides):
                yield LiveFrame(picture, index / 25, self.clock())
                index += 1


def test_live_pictures_are_in_their_order_and_times_to_the_last(
    ahead: Bundle, upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[float, Any, Any]] = []

    def encode(self: NullSink, frame: Any) -> Any:
        seen.append((frame.time, frame.source, frame.picture))
        return frame

    monkeypatch.setattr(NullSink, "encode", encode)
    options = LiveOptions(policy="every", cut_reset=False)
    run = LiveRun(upscaler, "test://", "null://", options)
    run.source = TwoScenes(run.source.address, run.source.stop)
    report = run.run()
    assert (report.captured, report.presented, report.drops) == (8, 8, {})
    assert report.resets == {"size": 1}
    assert report.pixels_reason == "pictures of a network that looks ahead come in RGB"
    np.testing.assert_allclose([time for time, _, _ in seen], np.arange(8) / 25, atol=1e-6)
    for clip, part in ((draw_clip(5, 26, 38), seen[:5]), (draw_clip(3, 24, 32), seen[5:])):
        assert all(np.array_equal(a, b) for a, (_, b, _) in zip(clip, part, strict=True))
        assert near([picture for _, _, picture in part], whole(ahead, clip))


def test_a_run_that_fails_amid_late_pictures_lets_go_of_its_network(
    upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 0

    def encode(self: NullSink, frame: Any) -> Any:
        nonlocal count
        if (count := count + 1) == 4:  # the first one behind the end of its scene
            raise OutputNotWritableError("the disk is full")
        return frame

    monkeypatch.setattr(NullSink, "encode", encode)
    run = LiveRun(upscaler, "test://", "null://", LiveOptions(policy="every", cut_reset=False))
    run.source = TwoScenes(run.source.address, run.source.stop)
    with pytest.raises(OutputNotWritableError, match="the disk is full"):
        run.run()
    upscaler.reset()
