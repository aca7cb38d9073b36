"""Other programs' teachers: their inputs are exact, their results fit to the pixel or are refused.

The programs themselves need a GPU and weights; what they do to files is done here by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
import torch
from click.testing import CliRunner

from adcvsr.cli.commands import cli
from adcvsr.errors import TeacherCacheError
from adcvsr.pictures.clips import read_clip, write_clip, write_png
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.train.teachers.cached import CachedOutputs, CachedPairs
from adcvsr.train.teachers.external import ForeignKind, export_inputs, import_results, kept_part
from adcvsr.train.teachers.store import CacheFolder, open_cache
from drawn_pairs import DrawnPairs

Frames = npt.NDArray[np.uint8]


def export(folder: Path, pairs: DrawnPairs, kind: ForeignKind, samples: int = 0) -> CacheFolder:
    store = open_cache(folder / "cache", teacher=f"{kind}:revision=1", recipe={}, samples=3)
    export_inputs(
        store,
        pairs,
        folder / "inputs",
        kind,
        samples=samples or len(pairs),
        report=lambda line: None,
        progress=lambda done, total: None,
    )
    return store


def take(folder: Path, kind: ForeignKind) -> list[str]:
    lines: list[str] = []
    import_results(
        CacheFolder(folder / "cache"),
        folder / "results",
        kind,
        report=lines.append,
        progress=lambda done, total: None,
    )
    return lines


def inputs(folder: Path) -> dict[str, Frames]:
    """What a program reads: (T, h, w, 3) by name."""
    files = sorted((folder / "inputs").rglob("*.mp4"))
    return {path.stem: np.stack(list(read_clip(path))) for path in files}


def upscale(frames: Frames) -> Frames:
    return 255 - frames.repeat(4, 1).repeat(4, 2)


def write_pictures(folder: Path, frames: Sequence[Frames], first: int) -> None:
    folder.mkdir(parents=True)
    for number, image in enumerate(frames, start=first):
        write_png(folder / f"frame_{number:04d}.png", image)


def write_rgb(path: Path, frames: Frames) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264rgb", rate=8, options={"qp": "0"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "rgb24"
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


@pytest.mark.parametrize("size", [(12, 20), (13, 17)])
def test_inputs_are_exact_and_sorted_by_size(tmp_path: Path, size: tuple[int, int]) -> None:
    pairs = DrawnPairs(2, size=size)
    export(tmp_path, pairs, "other")
    written = inputs(tmp_path)
    assert written.keys() == {pairs.pair(0, index).key for index in range(2)}
    for index in range(2):
        pair = pairs.pair(0, index)
        assert np.array_equal(written[pair.key].transpose(0, 3, 1, 2), pair.low)
    # SeedVR2 reads every file of the folder it is given, whatever its name.
    folder = tmp_path / "inputs" / f"{size[1]}x{size[0]}"
    assert {path.stem for path in folder.iterdir()} == written.keys()
    assert list((tmp_path / "inputs").iterdir()) == [folder]


def test_export_goes_on_and_grows(tmp_path: Path) -> None:
    pairs = DrawnPairs(3)
    export(tmp_path, pairs, "other", samples=2)
    first = next(iter(sorted((tmp_path / "inputs").rglob("*.mp4"))))
    first.unlink()
    store = export(tmp_path, pairs, "other", samples=3)
    assert len(inputs(tmp_path)) == len(store.awaiting) == 3
    with pytest.raises(TeacherCacheError, match="the training folders or the software"):
        export(tmp_path, DrawnPairs(4, seed=1), "other", samples=4)


def test_dloral_loses_the_first_frame_of_all_three(tmp_path: Path) -> None:
    """N frames in, frame_0001.png to frame_000(N-1).png out, beside a folder of prompts."""
    pairs = DrawnPairs(2, frames=4)
    export(tmp_path, pairs, "dloral")
    (tmp_path / "results" / "txt").mkdir(parents=True)
    (tmp_path / "results" / "txt" / "frame_0000.txt").write_text("a street")
    for key, frames in inputs(tmp_path).items():
        write_pictures(tmp_path / "results" / key, upscale(frames[1:]), first=1)
    lines = take(tmp_path, "dloral")
    assert lines[0].startswith("2 results taken; reduced x1/4 they match their inputs by")
    cached = CachedPairs(tmp_path / "cache", teacher="dloral")
    for index in range(2):
        entry, source = CacheFolder(tmp_path / "cache").entries[index], pairs.pair(0, index)
        pair = next(p for p in (cached.pair(0, i) for i in range(2)) if p.key == entry.key)
        assert np.array_equal(pair.low, source.low[1:])
        assert np.array_equal(pair.high, source.high[1:])
        assert np.array_equal(pair.teacher, 255 - source.low[1:].repeat(4, 2).repeat(4, 3))
        assert entry.source == source.key
        assert entry.kept == (1, 4, 0, 12, 0, 20)
    live = torch.from_numpy(pairs.pair(0, 0).low)[None].float() / 255
    with CachedOutputs(tmp_path / "cache") as teacher:
        with pytest.raises(TeacherCacheError, match="holds only a part of it"):
            teacher.teach(live)
        assert teacher.teach(live[:, 1:]).shape == (1, 3, 3, 48, 80)


@pytest.mark.parametrize("size", [(12, 20), (13, 18), (16, 15)])
def test_seedvr2_is_aligned_after_its_centred_cut(tmp_path: Path, size: tuple[int, int]) -> None:
    """Output sides are cut to multiples of 16 around the centre: 52x72 becomes 48x64, at (2, 4)."""
    pairs = DrawnPairs(1, size=size)
    export(tmp_path, pairs, "seedvr2")
    ((key, frames),) = inputs(tmp_path).items()
    full = upscale(frames)
    height, width = (4 * side // 16 * 16 for side in size)
    top, left = (
        round((4 * side - cut) / 2) for side, cut in zip(size, (height, width), strict=True)
    )
    cut = full[:, top : top + height, left : left + width]
    write_rgb(tmp_path / "results" / f"{key}.mp4", cut)
    take(tmp_path, "seedvr2")
    pair = CachedPairs(tmp_path / "cache").pair(0, 0)
    _, _, y0, y1, x0, x1 = CacheFolder(tmp_path / "cache").entries[0].kept
    source = pairs.pair(0, 0)
    assert np.array_equal(pair.low, source.low[:, :, y0:y1, x0:x1])
    assert np.array_equal(pair.high, source.high[:, :, 4 * y0 : 4 * y1, 4 * x0 : 4 * x1])
    inverted = 255 - pair.low.repeat_interleave(4, -1).repeat_interleave(4, -2)
    assert torch.equal(pair.teacher, inverted)
    # Nothing whole was given away: one more low row or column is not covered by the result.
    assert (y0 - 1) * 4 < top <= y0 * 4
    assert y1 * 4 <= top + height < (y1 + 1) * 4
    assert (x0 - 1) * 4 < left <= x0 * 4
    assert x1 * 4 <= left + width < (x1 + 1) * 4


def test_parts_kept() -> None:
    assert kept_part("seedvr2", 25, 128, 128) == (0, 25, 0, 128, 0, 128)
    assert kept_part("seedvr2", 25, 13, 18) == (0, 25, 1, 12, 1, 17)
    assert kept_part("dloral", 25, 13, 18) == (1, 25, 0, 13, 0, 18)
    assert kept_part("other", 25, 13, 18) == (0, 25, 0, 13, 0, 18)


def test_lossy_video_is_taken_and_said(tmp_path: Path) -> None:
    """mediapy, which SeedVR2 writes with, gives H.264 in 4:2:0."""
    export(tmp_path, DrawnPairs(1, size=(16, 16)), "seedvr2")
    ((key, frames),) = inputs(tmp_path).items()
    (tmp_path / "results").mkdir()
    write_clip(tmp_path / "results" / f"{key}.mp4", frames.repeat(4, 1).repeat(4, 2), crf=28)
    lines = take(tmp_path, "seedvr2")
    assert "1 of them came as lossy video with subsampled colour" in lines[1]


def test_untagged_video_is_what_ffmpeg_makes_of_rgb(tmp_path: Path) -> None:
    """BT.601 even at 720 lines, where untagged video is BT.709 by broadcast practice."""
    export(tmp_path, DrawnPairs(1, frames=2, size=(180, 8)), "other")
    ((key, frames),) = inputs(tmp_path).items()
    (tmp_path / "results").mkdir()
    with av.open(str(tmp_path / "results" / f"{key}.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=8, options={"qp": "4"})
        stream.height, stream.width, stream.pix_fmt = 720, 32, "yuv420p"
        for image in frames.repeat(4, 1).repeat(4, 2):
            flat = np.full_like(image, (200, 30, 40))
            frame = av.VideoFrame.from_ndarray(flat, format="rgb24").reformat(format="yuv420p")
            frame.colorspace = 2
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    take(tmp_path, "other")
    teacher = CachedPairs(tmp_path / "cache").pair(0, 0).teacher
    assert (teacher.float() - torch.tensor([200, 30, 40]).view(3, 1, 1)).abs().max() < 5


def test_results_may_come_in_parts(tmp_path: Path) -> None:
    pairs = DrawnPairs(3)
    export(tmp_path, pairs, "other")
    clips = inputs(tmp_path)
    keys = [pairs.pair(0, index).key for index in range(3)]
    write_pictures(tmp_path / "results" / "run" / keys[2], upscale(clips[keys[2]]), first=0)
    assert f"2 clips still wait for a result, the first is {keys[0]}" in take(tmp_path, "other")
    cached = CachedPairs(tmp_path / "cache")
    assert len(cached) == 1
    assert cached.missing == 2
    for key in keys[:2]:
        write_pictures(tmp_path / "results" / key, upscale(clips[key]), first=1)
    take(tmp_path, "other")
    assert len(CachedPairs(tmp_path / "cache")) == 3
    assert not any((tmp_path / "cache" / "awaiting").iterdir())


def test_colours_of_another_clip_show_in_the_likeness(tmp_path: Path) -> None:
    export(tmp_path, DrawnPairs(1), "other")
    ((key, frames),) = inputs(tmp_path).items()
    write_pictures(tmp_path / "results" / key, frames.repeat(4, 1).repeat(4, 2), first=0)
    assert "by inf dB or more" in take(tmp_path, "other")[0]
    export(tmp_path / "b", DrawnPairs(1), "other")
    write_pictures(tmp_path / "b" / "results" / key, upscale(frames), first=0)
    (line,) = take(tmp_path / "b", "other")
    assert float(line.split(" dB")[0].rsplit(" ", 1)[1]) < 15


class TestBadResults:
    def test_the_good_ones_are_taken_and_the_first_bad_ones_named(self, tmp_path: Path) -> None:
        pairs = DrawnPairs(3, frames=4)
        export(tmp_path, pairs, "dloral")
        clips = inputs(tmp_path)
        keys = [pairs.pair(0, index).key for index in range(3)]
        write_pictures(tmp_path / "results" / keys[0], upscale(clips[keys[0]]), first=0)
        write_pictures(tmp_path / "results" / keys[1], upscale(clips[keys[1]][1:, :8]), first=1)
        write_pictures(tmp_path / "results" / keys[2], upscale(clips[keys[2]][1:]), first=1)
        message = (
            rf"2 results do not fit, 1 were taken: .*{keys[0]}': 4 pictures, expected 3; "
            rf".*{keys[1]}': 3 frames of 80x32, expected 3 of 80x48"
        )
        with pytest.raises(TeacherCacheError, match=message):
            take(tmp_path, "dloral")
        assert len(CachedPairs(tmp_path / "cache")) == 1

    def test_a_gap_in_the_numbers(self, tmp_path: Path) -> None:
        export(tmp_path, DrawnPairs(1, frames=4), "dloral")
        ((key, frames),) = inputs(tmp_path).items()
        write_pictures(tmp_path / "results" / key, upscale(frames[1:]), first=1)
        (tmp_path / "results" / key / "frame_0002.png").unlink()
        with pytest.raises(TeacherCacheError, match="2 pictures, expected 3, number 2 is missing"):
            take(tmp_path, "dloral")

    def test_an_unreadable_video(self, tmp_path: Path) -> None:
        export(tmp_path, DrawnPairs(1), "seedvr2")
        (key,) = inputs(tmp_path)
        (tmp_path / "results").mkdir()
        (tmp_path / "results" / f"{key}.mp4").write_bytes(b"nothing")
        with pytest.raises(TeacherCacheError, match="cannot be read: Invalid data"):
            take(tmp_path, "seedvr2")

    def test_two_of_one_name(self, tmp_path: Path) -> None:
        export(tmp_path, DrawnPairs(1), "other")
        ((key, frames),) = inputs(tmp_path).items()
        for run in "ab":
            write_pictures(tmp_path / "results" / run / key, upscale(frames), first=0)
        with pytest.raises(TeacherCacheError, match="two results of the name"):
            take(tmp_path, "other")

    def test_results_of_other_inputs(self, tmp_path: Path) -> None:
        export(tmp_path, DrawnPairs(1), "other")
        write_pictures(tmp_path / "results" / "clip", [np.zeros((4, 4, 3), np.uint8)], first=0)
        with pytest.raises(TeacherCacheError, match="no result for any of the 1 waiting clips"):
            take(tmp_path, "other")
        with pytest.raises(TeacherCacheError, match="no folder of results"):
            import_results(
                CacheFolder(tmp_path / "cache"),
                tmp_path / "none",
                "other",
                report=lambda line: None,
                progress=lambda done, total: None,
            )

    @pytest.mark.parametrize(
        ("pairs", "message"),
        [
            (DrawnPairs(1, size=(13, 20)), "20x13 pixels: DLoRAL squeezes"),
            (DrawnPairs(1, frames=1), "a clip of 1 frame: 'dloral' needs 2"),
        ],
    )
    def test_clips_the_program_cannot_take(
        self, tmp_path: Path, pairs: DrawnPairs, message: str
    ) -> None:
        with pytest.raises(TeacherCacheError, match=message):
            export(tmp_path, pairs, "dloral")
        assert not (tmp_path / "inputs").exists()


def test_command_line_there_and_back(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    write_clip(tmp_path / "clips" / "a.mp4", draw_clip(4, 64, 96))
    recipe = tmp_path / "r.toml"
    recipe.write_text('network = "nano"\n[data]\nframes = 3\npatch_px = 8\nsegments_per_clip = 2\n')
    common = ["train", "cache-teacher", "--teacher", "dloral", "-o", str(tmp_path / "cache")]
    out = ["--config", str(recipe), "--clips", str(tmp_path / "clips")]
    out += ["--export-inputs", str(tmp_path / "inputs"), "--revision", "2025-10@f025ab9"]
    done = CliRunner().invoke(cli, [*common, *out], catch_exceptions=False)
    assert done.stdout == f"{tmp_path / 'inputs' / '24x16'}\n"
    for key, frames in inputs(tmp_path).items():
        write_pictures(tmp_path / "results" / key, upscale(frames[1:]), first=1)
    back = [*common, "--import-from", str(tmp_path / "results"), "--revision"]
    done = CliRunner().invoke(cli, [*back, "another"])
    assert isinstance(done.exception, TeacherCacheError)
    done = CliRunner().invoke(cli, [*back, "2025-10@f025ab9"], catch_exceptions=False)
    assert "2 results taken, 2 samples" in done.stdout
    assert CachedPairs(tmp_path / "cache").teacher == "dloral:revision=2025-10@f025ab9"
