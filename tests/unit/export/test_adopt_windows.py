"""Networks over clips in windows, and those that make one picture of several frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from clip_networks import one_of, recurrent, upscaling
from few_colours import three_colours

from adcvsr.bundle.schema import Window
from adcvsr.errors import AdoptError
from adcvsr.export.adopt.adopt import AdoptOptions, adopt
from adcvsr.export.adopt.original import Asked, read_original
from adcvsr.export.graphs.replay import open_session
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.runtime.upscaler import Upscaler

pytestmark = pytest.mark.usefixtures(three_colours.__name__)

NAMED: dict[str, Any] = {"licence": "CC0-1.0", "range": "0-1", "colour": "RGB"}


def saved(tmp_path: Path, model: onnx.ModelProto) -> Path:
    onnx.save_model(model, tmp_path / "n.onnx")
    return tmp_path / "n.onnx"


def over_clip(path: Path, frames: Any, axis: int) -> Any:
    """What the network in the file makes of frames, in levels."""
    planes = (np.stack(frames).astype(np.float32) / 255).transpose(0, 3, 1, 2)
    given = planes[None] if axis == 1 else planes.transpose(1, 0, 2, 3)[None]
    found = open_session(path).run(None, {"x": given})[0][0]
    return (found if axis == 1 else found.transpose(1, 0, 2, 3)).transpose(0, 2, 3, 1) * 255


def near(found: Any, expected: Any) -> bool:
    return bool(np.abs(np.stack(found) - expected.clip(0, 255)).max() <= 0.51)


def test_backwards_through_the_clip_runs_in_windows(tmp_path: Path) -> None:
    """A file that fixes T: windows of its length, shorter clips filled with their last frame."""
    source = saved(tmp_path, upscaling(recurrent(frames=6, backwards=True)))
    options = AdoptOptions(window=Window(0, 2), **NAMED)
    lines: list[str] = []
    bundle = adopt(source, tmp_path / "b", options, report=lines.append)
    assert (bundle.kind, bundle.window) == ("clip", Window(6, 2, filled=True))
    assert "in windows of 6 frames that share 2; shorter clips are filled" in lines[0]
    assert bundle.variant("fp32-onnx").facts["parity"]["level_error"] <= 1
    clip = draw_clip(10, 24, 32)
    with Upscaler(bundle, backend="ort-cpu") as upscaler:
        assert near(list(upscaler.upscale_clip(clip[:6])), over_clip(source, clip[:6], 1))
        short = [*clip[:4], clip[3], clip[3]]
        assert near(list(upscaler.upscale_clip(clip[:4])), over_clip(source, short, 1)[:4])
        assert "filled with its last one to the 6" in upscaler._clips.notes()[0]
        found = list(upscaler.upscale_clip(clip))
        assert (
            "2 windows of 6 frames sharing 2, crossfaded: the network sees all frames"
            in (upscaler._clips.notes()[0])
        )
    # Frames that one window alone has are its own.
    assert near(found[:4], over_clip(source, clip[:6], 1)[:4])
    assert near(found[6:], over_clip(source, clip[4:], 1)[2:])


@pytest.mark.parametrize("frames", [4, 9])
def test_any_number_of_frames_is_taken_where_the_network_does(tmp_path: Path, frames: int) -> None:
    from clip_networks import conv3d

    source = saved(tmp_path, upscaling(conv3d(before=1, after=1)))
    options = AdoptOptions(window=Window(frames, -1), **NAMED)
    bundle = adopt(source, tmp_path / "b", options, report=lambda line: None)
    assert bundle.window == Window(frames, frames // 3)
    clip = draw_clip(3, 26, 30)
    with Upscaler(bundle, backend="ort-cpu") as upscaler:
        assert near(list(upscaler.upscale_clip(clip)), over_clip(source, clip, 2))


@pytest.mark.parametrize(
    ("window", "says"),
    [
        (Window(5, 1), "takes clips of 6 frames, not windows of 5"),
        (Window(6, 6), "windows of 6 frames cannot share 6"),
    ],
)
def test_windows_that_make_no_sense_are_refused(tmp_path: Path, window: Window, says: str) -> None:
    source = saved(tmp_path, recurrent(frames=6, backwards=True))
    with pytest.raises(AdoptError, match=says):
        adopt(source, tmp_path / "b", AdoptOptions(window=window, **NAMED), report=print)


@pytest.mark.parametrize(
    ("how", "ahead"),
    [
        ({"frames": 5, "shown": 2}, 2),
        ({"frames": 3, "shown": 2}, 0),
        ({"frames": 3, "shown": 1}, 1),
        ({"frames": 3, "shown": 1, "layout": "stacked"}, 1),
        ({"frames": 3, "shown": 1, "layout": "channels-first", "with_axis": True}, 1),
    ],
    ids=["middle-of-5", "last-of-3", "middle-of-3", "stacked", "with-axis"],
)
def test_one_picture_of_several_frames_is_a_stream(
    tmp_path: Path, how: dict[str, Any], ahead: int
) -> None:
    source = saved(tmp_path, one_of(**how))
    if ahead:
        with pytest.raises(AdoptError, match=f"--lookahead {ahead} lets pictures come {ahead}"):
            adopt(source, tmp_path / "b", AdoptOptions(**NAMED), report=print)
    with pytest.raises(AdoptError, match=f"each of its frames: --lookahead {ahead} in place of"):
        read_original(source, Asked(window=Window(0, 2)))
    options = AdoptOptions(lookahead=ahead, **NAMED)
    bundle = adopt(source, tmp_path / "b", options, report=lambda line: None)
    assert (bundle.kind, bundle.delay) == ("stream", ahead)
    session = open_session(source)
    for count in (1, 2, 6):
        clip = draw_clip(count, 22, 30)
        with Upscaler(bundle, backend="ort-cpu") as upscaler:
            found = list(upscaler.upscale_clip(clip))
        for at, picture in enumerate(found):
            seen = [
                clip[min(max(at + k - how["shown"], 0), count - 1)] for k in range(how["frames"])
            ]
            planes = (np.stack(seen).astype(np.float32) / 255).transpose(0, 3, 1, 2)
            given = {
                "stacked": planes.reshape(1, -1, *planes.shape[2:]),
                "channels-first": planes.transpose(1, 0, 2, 3)[None],
            }.get(how.get("layout", ""), planes[None])
            exact = session.run(None, {"x": given})[0].squeeze()
            assert near([picture], exact.transpose(1, 2, 0)[None] * 255)
