"""Networks that look ahead: pictures come late, one a frame, and the last ones at the end."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from clip_networks import conv3d, upscaling
from few_colours import few

from adcvsr.bundle import Bundle
from adcvsr.errors import ClipNetworkError
from adcvsr.export.adopt import adopt as adopting
from adcvsr.export.adopt.adopt import AdoptOptions, adopt
from adcvsr.export.graphs.replay import open_session
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.runtime.jobs.identity import open_network
from adcvsr.runtime.jobs.settings import JobSettings
from adcvsr.runtime.live.live_report import LiveOptions
from adcvsr.runtime.live.live_run import LiveRun
from adcvsr.runtime.live.sink_null import NullSink
from adcvsr.runtime.live.source import LiveFrame, VideoSource
from adcvsr.runtime.proof import verify
from adcvsr.runtime.upscaler import Upscaler
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


def test_jobs_refuse_what_looks_beyond_a_segment(ahead: Bundle) -> None:
    with pytest.raises(ClipNetworkError, match="looks 2 frames ahead, beyond a segment's end"):
        open_network(JobSettings(source="a.mp4", output="b.mp4", model=str(ahead.path)))


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
