"""Tiles: the whole frame's picture where the network's reach ends, blended where it does not."""

from __future__ import annotations

import hashlib
import json
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from adcvsr.bundle import open_bundle
from adcvsr.errors import ConfigError
from adcvsr.pictures.clips import read_clip
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.runtime.processing.backends import create_session
from adcvsr.runtime.upscaler import Upscaler
from changed_manifest import with_manifest
from video_facts import VideoMaker

Levels = npt.NDArray[np.uint8]
GRAPH = "fp32-onnx.onnx"


def distance(found: Levels, expected: Levels) -> int:
    assert found.shape == expected.shape
    return int(np.abs(found.astype(int) - expected).max())


@pytest.fixture(scope="module")
def global_bundle(clip_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that sees its whole input: features move with their mean, as norms make them."""
    onnx = pytest.importorskip("onnx", reason="changing a graph needs onnx")
    path = tmp_path_factory.mktemp("global") / "global"
    manifest = json.loads((clip_bundle / "manifest.json").read_text())
    model = onnx.load(clip_bundle / GRAPH)
    (features,) = (value.name for value in model.graph.output)
    for node in model.graph.node:
        node.output[:] = ["local" if name == features else name for name in node.output]
    make = onnx.helper.make_node
    model.graph.node.extend(
        [
            make("GlobalAveragePool", ["local"], ["mean"], name="mean"),
            make("Add", ["local", "mean"], [features], name="global"),
        ]
    )
    data = model.SerializeToString()
    digest = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    with_manifest(
        clip_bundle,
        path,
        config={**manifest["config"], "norm": "group"},
        window={"frames": 7, "overlap": 4},
        files={**manifest["files"], GRAPH: digest},
    )
    (path / GRAPH).unlink()
    (path / GRAPH).write_bytes(data)
    return path


@pytest.mark.parametrize("backend", ["ort-cpu"])  # GPU ones: test_trt_session.py
@pytest.mark.parametrize(("size", "tile"), [((62, 91), 32), ((40, 24), 29), ((128, 36), 64)])
def test_tiles_of_a_stream_are_the_whole_frame(
    tiny_bundle: Path, backend: str, size: tuple[int, int], tile: int
) -> None:
    """With carried state, over two levels and any size; then again after a reset."""
    bundle = open_bundle(tiny_bundle)
    clip = draw_clip(4, *size)
    clip[2] = 255 - clip[2]
    with (
        create_session(bundle, backend=backend) as whole,
        create_session(bundle, backend=backend, tile=tile) as tiled,
    ):
        for _ in range(2):
            for frame in clip:
                assert distance(tiled.infer(frame), whole.infer(frame)) <= 1
            whole.reset()
            tiled.reset()
        assert tiled.layout.count > 1
        assert tiled.layout.exact
        smaller = clip[0, :20, :20]
        assert distance(tiled.infer(smaller), whole.infer(smaller)) <= 1
        assert tiled.layout.count == 1


def test_without_margins_tiles_would_show(tiny_bundle: Path) -> None:
    """The network does see around each position; or the test above could not fail."""
    frame = draw_clip(1, 64, 64)[0]
    with create_session(open_bundle(tiny_bundle)) as session:
        whole = session.infer(frame)
        parts = [session.infer(frame[:, :32]), session.infer(frame[:, 32:])]
    assert distance(np.hstack(parts), whole) > 3


def test_nano_in_tiles() -> None:
    clip = draw_clip(3, 90, 160)
    with Upscaler("nano") as whole, Upscaler("nano", tile=64) as tiled:
        for frame in clip:
            assert distance(tiled(frame), whole(frame)) <= 1
        facts = tiled.session.tile_facts()
    assert facts == {
        "count": 8,
        "width": 64,
        "height": 64,
        "overlap": 20,
        "exact": True,
        "work": 2.28,
    }


def test_nano_in_tiles_on_a_camera_clip(data: Path) -> None:
    """Bit for bit: each pixel's sums are the same wherever its tile begins, and so is its past."""
    clip = list(islice(read_clip(data / "clips/demo/nasa_13013_320x180.mp4"), 3))
    with Upscaler("nano") as whole, Upscaler("nano", tile=128) as tiled:
        for frame in clip:
            assert np.array_equal(tiled(frame), whole(frame))
        assert tiled.session.layout.count == 6


def test_tiles_that_share_one_state_would_show(tiny_bundle: Path) -> None:
    """Or the tests of carried state could not fail."""
    clip = draw_clip(3, 40, 70)
    with Upscaler(tiny_bundle) as whole, Upscaler(tiny_bundle, tile=32) as tiled:
        inner = tiled.session._infer
        tiled.session._infer = lambda frame, slot: inner(frame, 0)
        assert max(distance(tiled(frame), whole(frame)) for frame in clip) > 3


@pytest.mark.parametrize("backend", ["ort-cpu"])  # GPU ones: test_trt_session.py
def test_each_tile_has_a_state_of_its_own(tiny_bundle: Path, backend: str) -> None:
    """Every slot is used once a frame; a backend may count on it."""
    seen: list[int] = []
    with create_session(open_bundle(tiny_bundle), backend=backend, tile=32) as session:
        inner = session._infer
        session._infer = lambda frame, slot: (seen.append(slot), inner(frame, slot))[1]
        for frame in draw_clip(3, 40, 70):
            session.infer(frame)
        assert seen == [*range(session.layout.count)] * 3


def test_tiles_and_windows_together(clip_bundle: Path) -> None:
    clip = draw_clip(9, 71, 75)
    with Upscaler(clip_bundle) as whole, Upscaler(clip_bundle, tile=67) as tiled:
        expected = np.stack(list(whole.upscale_clip(clip)))
        found = np.stack(list(tiled.upscale_clip(clip)))
        assert distance(found, expected) <= 1
        assert tiled.session.layout.count == 6
        assert tiled.session.layout.exact


@pytest.mark.slow
def test_blended_tiles_have_no_seam(global_bundle: Path) -> None:
    """A global network's tiles differ from the whole frame, but not from one pixel to the next."""
    clip = draw_clip(2, 64, 112)
    clip[:, :, 56:] //= 4  # a dark half, so that statistics differ from tile to tile
    with Upscaler(global_bundle) as whole, Upscaler(global_bundle, tile=64) as tiled:
        expected = np.stack(list(whole.upscale_clip(clip))).astype(int)
        parts = [np.stack(list(whole.upscale_clip(c))) for c in (clip[:, :, :56], clip[:, :, 56:])]
        found = np.stack(list(tiled.upscale_clip(clip)))
        columns = tiled.session.layout.columns
    assert [p.start for p in columns] == [0, 48]

    def steps(pictures: Levels) -> npt.NDArray[np.float64]:
        """From column to column, of the difference to the whole frame."""
        return np.abs(np.diff((pictures - expected).mean((0, 1, 3))))

    assert np.abs((found - expected).mean((0, 1, 3))).max() > 2
    cut = steps(np.concatenate(parts, 2))[4 * 56 - 1]
    assert cut > 2
    assert steps(found)[[4 * 56 - 1, 4 * 64 - 1]].max() < 0.2 * cut


def test_a_tile_too_small_is_refused_at_once(tiny_bundle: Path) -> None:
    with pytest.raises(ConfigError, match=r"tiles of 20 pixels.*at least \d+ pixels"):
        Upscaler("nano", tile=20)
    assert Upscaler("nano", tile=21).session.tiling.side == 21


@pytest.mark.usefixtures("nano_in_fp32")
def test_files_say_how_they_were_tiled(
    global_bundle: Path, make_video: VideoMaker, tmp_path: Path
) -> None:
    source = make_video(size=(72, 40))
    with Upscaler("nano", tile=48) as upscaler:
        report = upscaler.upscale_file(source, tmp_path / "exact.mp4")
        assert report.tiles is not None
        assert (report.tiles["count"], report.tiles["exact"]) == (2, True)
        assert any(note.startswith("exact tiles: 2 of 48x40 pixels") for note in report.notes)
    with Upscaler("nano", tile=100) as upscaler:
        report = upscaler.upscale_file(source, tmp_path / "whole.mp4")
        assert report.tiles is not None
        assert report.tiles["count"] == 1
        assert not report.notes
    with Upscaler(global_bundle, tile=48) as upscaler:
        report = upscaler.upscale_file(source, tmp_path / "blended.mp4")
        assert report.tiles is not None
        assert not report.tiles["exact"]
        assert any(note.startswith("blended tiles: 2 of 48x40") for note in report.notes)
