"""Training pairs: each a function of seed, epoch and index, aligned, of one scene."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adcvsr.errors import ConfigError, TrainingDataError
from adcvsr.metrics import psnr
from adcvsr.pictures.clips import write_clip, write_png
from adcvsr.pictures.scene_cuts import score_cut
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.train.data import ClipPair, ClipPairs, DataOptions
from adcvsr.train.data.decode import Stretch, read_stretches
from adcvsr.train.data.order import find_place
from adcvsr.train.degradation import Degradation, reduce_clip
from adcvsr.train.degradation.presets import PRESETS
from adcvsr.train.settings import read_data_settings

OPTIONS = DataOptions(
    frames=3, patch_px=8, segments_per_clip=2, crops_per_clip=4, clips_at_once=3, pan_px=2
)
CLEAN = Degradation()
OpenPairs = Callable[..., ClipPairs]


def shades(path: Path, count: int, *, first: int = 0, frames: np.ndarray | None = None) -> None:
    """A video whose n-th frame has a patch of brightness 5 n, beside a texture that stays."""
    images = draw_clip(1, 64, 96).repeat(count, 0) if frames is None else frames
    for index, image in enumerate(images):
        image[:, 48:] = 5 * (first + index)
    write_clip(path, images, crf=5)


def numbers(pair: ClipPair) -> list[int]:
    """The frame numbers `shades` wrote, from a crop of the patch."""
    return [round(float(frame.float().mean()) / 5) for frame in pair.high]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    clips, images = tmp_path / "clips", tmp_path / "images"
    clips.mkdir()
    images.mkdir()
    for name, shape in (("a", (64, 96)), ("b", (72, 80))):
        write_clip(clips / f"{name}.mp4", draw_clip(8, *shape))
    for index, image in enumerate(draw_clip(2, 96, 128)):
        write_png(images / f"{index}.png", image)
    return clips, images


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def open_pairs(folders: tuple[Path, Path], lines: list[str]) -> OpenPairs:
    def build(*, seed: int = 0, degradation: Degradation = CLEAN, **changes: Any) -> ClipPairs:
        options = dataclasses.replace(OPTIONS, **changes)
        clips, images = folders
        return ClipPairs([clips], [images], options, degradation, seed=seed, report=lines.append)

    return build


def same(a: ClipPair, b: ClipPair) -> bool:
    return a.key == b.key and torch.equal(a.low, b.low) and torch.equal(a.high, b.high)


class TestPair:
    def test_a_pair_depends_on_seed_epoch_and_index_alone(self, open_pairs: OpenPairs) -> None:
        """Whatever was drawn before, on however many threads; and nothing else gives it."""
        degradation = PRESETS["camera"]
        used, fresh = (open_pairs(degradation=degradation) for _ in range(2))
        for index in range(0, len(used), 3):
            used.pair(0, index)
        threads = torch.get_num_threads()
        for index in (5, 2):
            expected = used.pair(1, index)
            torch.set_num_threads(1)
            assert same(fresh.pair(1, index), expected)
            torch.set_num_threads(threads)
        others = [used.pair(1, 6), used.pair(2, 5), open_pairs(seed=1).pair(1, 5)]
        assert not any(same(used.pair(1, 5), other) for other in others)
        assert torch.get_num_threads() == threads

    def test_shapes_types_and_key(self, open_pairs: OpenPairs) -> None:
        pair = open_pairs().pair(0, 0)
        assert pair.low.shape == (3, 3, 8, 8)
        assert pair.high.shape == (3, 3, 32, 32)
        assert pair.low.dtype == pair.high.dtype == torch.uint8
        assert pair.key == hashlib.sha256(pair.low.numpy().tobytes()).hexdigest()[:16]
        assert pair.teacher is None

    def test_low_and_high_are_aligned(self, open_pairs: OpenPairs) -> None:
        """The reduction of every high crop is its low crop, whatever flips and turns were drawn."""
        pairs = open_pairs()
        for index in range(len(pairs)):
            pair = pairs.pair(0, index)
            again = reduce_clip(np.ascontiguousarray(pair.high.permute(0, 2, 3, 1).numpy()))
            inside = (slice(None), slice(2, -2), slice(2, -2))
            low = pair.low.permute(0, 2, 3, 1).numpy()
            assert psnr(again[inside], low[inside]) > 38

    def test_an_epoch_holds_every_crop_of_every_clip_once(self, open_pairs: OpenPairs) -> None:
        pairs = open_pairs()
        # 2 videos x 2 segments, and as many clips of images: image_share is a half.
        assert len(pairs) == (4 + 4) * 4
        names = [pairs.degraded(0, index).name[1] for index in range(len(pairs))]
        assert sorted(names) == sorted(list(range(8)) * 4)
        assert len({pairs.pair(0, index).key for index in range(len(pairs))}) > len(pairs) // 2
        assert open_pairs(image_share=0.2).sources.epoch_size() == (4, 1)

    def test_memory_stays_bounded(self, open_pairs: OpenPairs) -> None:
        pairs = open_pairs()
        for index in range(len(pairs)):
            pairs.pair(0, index)
            assert len(pairs._held) <= OPTIONS.clips_at_once

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"frames": 0}, "frames=0, expected 1 or more"),
            ({"strides": ()}, "strides="),
            ({"image_share": 1.0}, "image_share=1.0"),
            ({"image_scale": (0.9, 0.1)}, "image_scale="),
            ({"patch_px": 48, "window_px": 100}, "window_px=100, expected 0 or at least 192"),
            ({"window_px": 500}, "window_px=500, expected a multiple of 8"),
            ({"max_side_px": 100}, "max_side_px=100, expected at least 192"),
            ({"frames": 100}, "take up to 17.5 GiB, more than memory_gib=4"),
        ],
    )
    def test_options_that_make_no_sense(self, changes: dict[str, Any], message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            DataOptions(**changes)


class TestOrder:
    @pytest.mark.parametrize(
        ("clips", "crops", "lanes"), [(10, 7, 4), (12, 1, 1), (3, 5, 8), (8, 2, 8), (9, 4, 4)]
    )
    def test_every_sample_once_and_few_clips_at_a_time(
        self, clips: int, crops: int, lanes: int
    ) -> None:
        places = [
            find_place(position, clips=clips, crops=crops, lanes=lanes, key=(0, 0))
            for position in range(clips * crops)
        ]
        assert sorted((p.clip, p.crop) for p in places) == list(
            itertools.product(range(clips), range(crops))
        )
        for _, lane in itertools.groupby(sorted(places, key=lambda p: p.lane), lambda p: p.lane):
            runs = [clip for clip, _ in itertools.groupby(place.clip for place in lane)]
            # A lane leaves a clip for good, but for the one it began in the middle of.
            assert len(runs) <= len(set(runs)) + 1

    def test_neighbours_come_from_different_clips_and_epochs_differ(self) -> None:
        def order(epoch: int) -> list[int]:
            return [
                find_place(i, clips=12, crops=6, lanes=4, key=(0, epoch)).clip for i in range(72)
            ]

        first = order(0)
        assert all(len(set(first[i : i + 4])) == 4 for i in range(0, 72, 4))
        assert first != order(1)


class TestVideos:
    def test_strides(self, tmp_path: Path) -> None:
        shades(tmp_path / "a.mp4", 30)
        options = dataclasses.replace(OPTIONS, strides=(1, 4), crops_per_clip=1)
        pairs = ClipPairs([tmp_path], [], options, CLEAN, seed=0, report=print)
        found = set()
        for epoch, index in itertools.product(range(8), range(len(pairs))):
            clip = pairs.degraded(epoch, index).high[:, :, :, 56:88].mean((1, 2, 3)) / 5
            steps = np.diff(np.round(clip)).astype(int)
            assert steps[0] == steps[1]
            found.add(int(steps[0]))
        assert found == {1, 4}

    def test_segments_are_spread_over_the_video_and_move_between_epochs(
        self, tmp_path: Path
    ) -> None:
        shades(tmp_path / "a.mp4", 40)
        options = dataclasses.replace(OPTIONS, segments_per_clip=4, crops_per_clip=1)
        pairs = ClipPairs([tmp_path], [], options, CLEAN, seed=0, report=print)
        starts: dict[int, set[int]] = {}
        for epoch, index in itertools.product(range(6), range(4)):
            clip = pairs.degraded(epoch, index)
            first = round(float(clip.high[0, :, :, 56:88].mean()) / 5)
            starts.setdefault(clip.source.segment, set()).add(first)
        for segment, firsts in starts.items():
            assert len(firsts) > 1
            assert min(firsts) >= 37 * segment / 4 - 1
            assert max(firsts) <= 37 * (segment + 1) / 4 + 1

    def test_a_stretch_sought_is_the_stretch_decoded_from_the_beginning(
        self, tmp_path: Path
    ) -> None:
        """With and without times in the container; two stretches in one pass as one at a time."""
        source = tmp_path / "source.mp4"
        shades(source, 40)
        for name in ("a.mp4", "a.mkv", "a.264"):
            path = tmp_path / name
            remux(source, path)
            both = [Stretch(0.8, 3, 2), Stretch(0.3, 4, 1)]
            read_stretches(path, both, max_side_px=960, cut_threshold=0.25)
            for stretch in both:
                alone = Stretch(stretch.at, stretch.frames, stretch.stride)
                read_stretches(path, [alone], max_side_px=960, cut_threshold=0.25)
                seen = [round(float(image[:, 56:].mean()) / 5) for image in alone.found]
                assert np.diff(seen).tolist() == [stretch.stride] * (stretch.frames - 1)
                assert all(
                    np.array_equal(a, b) for a, b in zip(alone.found, stretch.found, strict=True)
                )

    def test_larger_videos_are_reduced(self, tmp_path: Path) -> None:
        write_clip(tmp_path / "a.mp4", draw_clip(3, 80, 160))
        options = dataclasses.replace(OPTIONS, max_side_px=80)
        pairs = ClipPairs([tmp_path], [], options, CLEAN, seed=0, report=print)
        assert pairs.degraded(0, 0).high.shape == (3, 3, 40, 80)

    def test_a_window_of_the_frame(self, open_pairs: OpenPairs) -> None:
        pairs = open_pairs(window_px=40)
        assert {pairs.degraded(0, i).high.shape for i in range(len(pairs))} == {(3, 3, 40, 40)}

    def test_kept_decoded_gives_the_same_samples_however_much_fits(
        self, open_pairs: OpenPairs, lines: list[str]
    ) -> None:
        size = OPTIONS.held_bytes / 2**30
        all_kept = open_pairs(keep_decoded=True)
        assert "6 of 6 segments and images kept decoded" in lines[-1]
        some = open_pairs(keep_decoded=True, memory_gib=size + 1e-4)
        assert "the others are decoded when due: raise memory_gib" in lines[-1]
        for epoch, index in ((0, 3), (0, 17), (4, 29)):
            assert same(all_kept.pair(epoch, index), some.pair(epoch, index))


def remux(source: Path, target: Path) -> None:
    """Copy a video's stream into another container; a raw one (.264) has no times."""
    import av

    with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
        stream = writer.add_stream_from_template(reader.streams.video[0])
        for packet in reader.demux(video=0):
            if packet.size:
                packet.stream = stream
                writer.mux(packet)


class TestCuts:
    def test_no_clip_spans_a_cut(self, tmp_path: Path) -> None:
        """Two scenes of 10 frames; the second one's negative colours tell them apart."""
        scene = draw_clip(10, 64, 96)
        negative = 255 - scene[:, ::-1]
        write_clip(tmp_path / "a.mp4", [*scene, *negative], crf=10)
        options = dataclasses.replace(OPTIONS, frames=5, crops_per_clip=1, segments_per_clip=3)
        pairs = ClipPairs([tmp_path], [], options, CLEAN, seed=0, report=print)
        seen = set()
        for epoch, index in itertools.product(range(10), range(3)):
            high = pairs.degraded(epoch, index).high.transpose(0, 2, 3, 1)
            first = [psnr(image, scene[5]) > psnr(image, negative[5]) for image in high]
            assert len(set(first)) == 1
            seen.add(first[0])
        assert seen == {True, False}

    def test_only_short_scenes(self, tmp_path: Path) -> None:
        scene = draw_clip(3, 64, 96)
        write_clip(tmp_path / "a.mp4", [*scene, *(255 - scene[:, ::-1]), *scene], crf=10)
        options = dataclasses.replace(OPTIONS, frames=4)
        lines: list[str] = []
        with pytest.raises(TrainingDataError, match="no usable video"):
            ClipPairs([tmp_path], [], options, CLEAN, seed=0, report=lines.append)
        assert "no 4 frames of one scene in a row (stride 1)" in lines[0]

    def test_motion_is_no_cut_and_a_cut_is(self) -> None:
        picture = draw_clip(1, 48, 90)[0].mean(-1).astype(np.float32)
        before = picture[4:40, 8:72]
        moved = picture[7:43, 13:77]
        assert score_cut(before, before + 2, 0.25) < 0.1
        assert score_cut(before, moved, 0.25) < 0.15
        assert score_cut(before, 255 - before[:, ::-1], 0.25) > 0.3
        # Without the search the same motion would pass for a cut.
        assert np.abs(before - moved).mean() / np.abs(before - before.mean()).mean() > 0.25

    def test_real_scenes_and_cuts_between_them(self, data: Path) -> None:
        """The clips of the training folder hold no cut; joined, each joint is one."""
        from adcvsr.pictures.scene_cuts import small_luma

        paths = sorted((data / "clips" / "train").glob("*.mp4"))
        scenes = [first_frames(path, 12, small_luma) for path in paths]
        for scene in scenes:
            assert max(score_cut(a, b, 0.25) for a, b in itertools.pairwise(scene)) < 0.25
        for a, b in itertools.pairwise(scenes):
            # Two of the walks were filmed at one place, and Sintel's clips begin in black.
            if min(np.ptp(a[-1]), np.ptp(b[0])) > 50:
                assert score_cut(a[-1], b[0], 0.25) > 0.25


def first_frames(path: Path, count: int, convert: Callable[[Any], Any]) -> list[Any]:
    import av

    with av.open(str(path)) as container:
        return [convert(frame) for frame in itertools.islice(container.decode(video=0), count)]


class TestImages:
    def test_without_a_pan_all_frames_are_the_same_and_with_one_not(
        self, open_pairs: OpenPairs
    ) -> None:
        for pan, still, expected in ((0, 0.0, True), (2, 1.0, True), (2, 0.0, False)):
            pairs = open_pairs(pan_px=pan, still_share=still)
            images = [
                clip
                for clip in (pairs.degraded(0, i) for i in range(len(pairs)))
                if not clip.source.video
            ]
            assert images
            for clip in images:
                assert bool((clip.high == clip.high[:1]).all()) == expected

    def test_images_take_turns_over_the_epochs(self, open_pairs: OpenPairs) -> None:
        pairs = open_pairs(image_share=0.2)
        files = [pairs.sources.choose(epoch, 4).file for epoch in range(6)]
        assert sorted(files) == [0, 0, 0, 1, 1, 1]


class TestUnusableFiles:
    def test_they_are_named_once_and_the_others_are_used(
        self, folders: tuple[Path, Path], open_pairs: OpenPairs, lines: list[str]
    ) -> None:
        (folders[0] / "a0-broken.mp4").write_bytes(b"nothing")
        (folders[1] / "0-broken.png").write_bytes(b"nothing")
        write_png(folders[1] / "small.png", np.zeros((16, 16, 3), np.uint8))
        pairs = open_pairs()
        for epoch, index in itertools.product(range(2), range(len(pairs))):
            pairs.pair(epoch, index)
        assert sorted(line.split("'")[1].rsplit("/", 1)[1] for line in lines) == [
            "0-broken.png",
            "a0-broken.mp4",
            "small.png",
        ]
        assert "16x16 pixels, needs at least" in next(line for line in lines if "small" in line)
        assert pairs.sources.unusable == 3

    def test_a_broken_file_does_not_make_samples_depend_on_what_was_met(
        self, folders: tuple[Path, Path], open_pairs: OpenPairs
    ) -> None:
        (folders[0] / "a0-broken.mp4").write_bytes(b"nothing")
        used, fresh = open_pairs(), open_pairs()
        for index in range(len(used)):
            used.pair(0, index)
        for index in range(0, len(used), 5):
            assert same(used.pair(1, index), fresh.pair(1, index))

    def test_interlaced_video_is_refused(self, data: Path, lines: list[str]) -> None:
        path = data / "clips" / "robust" / "interlaced_xdcam_1080i50.mov"
        with pytest.raises(ValueError, match="interlaced"):
            read_stretches(path, [Stretch(0, 2, 1)], max_side_px=960, cut_threshold=0.25)

    def test_nothing_usable(self, tmp_path: Path, lines: list[str]) -> None:
        def build(clips: list[Path], images: list[Path]) -> ClipPairs:
            return ClipPairs(clips, images, OPTIONS, CLEAN, seed=0, report=lines.append)

        with pytest.raises(TrainingDataError, match="is not a directory"):
            build([tmp_path / "none"], [])
        with pytest.raises(TrainingDataError, match="no data folder given"):
            build([], [])
        write_png(tmp_path / "image.png", draw_clip(1, 96, 128)[0])
        with pytest.raises(
            TrainingDataError, match=f"no video in the training folder '{tmp_path}'"
        ):
            build([tmp_path], [tmp_path])
        (tmp_path / "broken.mp4").write_bytes(b"nothing")
        with pytest.raises(TrainingDataError, match="no usable video among 1 files"):
            build([tmp_path], [tmp_path])
        assert len(lines) == 1


def test_sharpened_truth(open_pairs: OpenPairs) -> None:
    """RealBasicVSR's truth: edges are lifted in both clips, so that they still belong together."""
    plain, sharp = open_pairs(), open_pairs(sharpen=0.5)
    a, b = plain.degraded(0, 0), sharp.degraded(0, 0)
    assert b.high.std() > a.high.std()
    assert b.low.std() > a.low.std()
    assert np.array_equal(b.low, reduce_clip(b.high.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2))


def test_a_mistyped_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("[data]\nframe = 3")
    with pytest.raises(ConfigError, match=r"\[data\]: unknown key 'frame', did you mean 'frames'"):
        read_data_settings(path)
    path.write_text("[data]\npatch_px = 4.5")
    with pytest.raises(ConfigError, match=r"patch_px=4.5, expected whole number"):
        read_data_settings(path)
