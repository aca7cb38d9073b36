"""The cache: exact to the bit, whole or absent after any death, refused where it does not fit."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

from adcvsr import files
from adcvsr.cli.commands import cli
from adcvsr.config import PRESETS
from adcvsr.errors import ConfigError, OutputNotWritableError, TeacherCacheError
from adcvsr.model import AdcVsr, save_checkpoint
from adcvsr.pictures.clips import read_clip, write_clip
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.train.teachers import GroundTruth, Teacher, TeacherSettings, open_teacher
from adcvsr.train.teachers.cached import CachedOutputs, CachedPairs
from adcvsr.train.teachers.fill_cache import fill_cache
from adcvsr.train.teachers.sample import decode_sample, encode_sample
from adcvsr.train.teachers.store import CacheFolder, open_cache
from drawn_pairs import DrawnPairs

RECIPE = {"seed": 0, "degradation": {"clean_share": 0.5}}
TESTS = Path(__file__).resolve().parents[3]


class Doubling(Teacher):
    """A teacher simple enough to know its outputs: every pixel four by four times, inverted."""

    identity = "doubling:version=1"

    def _teach(self, low: Tensor, high: Tensor | None) -> Tensor:
        return 1 - low.repeat_interleave(4, -1).repeat_interleave(4, -2)


def fill(
    folder: Path,
    pairs: DrawnPairs,
    teacher: Teacher | None = None,
    *,
    samples: int = 4,
    share: tuple[int, int] = (1, 1),
    recipe: Any = RECIPE,
) -> list[str]:
    """Fill a cache; returns the lines reported."""
    teacher = teacher or Doubling()
    part = f"-{share[0]}of{share[1]}" if share[1] > 1 else ""
    store = open_cache(folder, teacher=teacher.identity, recipe=recipe, samples=samples, part=part)
    lines: list[str] = []
    fill_cache(
        store,
        pairs,
        teacher,
        samples=samples,
        share=share,
        report=lines.append,
        progress=lambda done, total: None,
    )
    return lines


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def pairs() -> DrawnPairs:
    return DrawnPairs(3)


class TestLossless:
    @pytest.mark.parametrize("size", [(1, 1), (3, 5), (16, 24), (33, 31)])
    def test_noise_of_any_size(self, rng: np.random.Generator, size: tuple[int, int]) -> None:
        """Noise has every value beside every other; odd sizes and one pixel included."""
        clips = [
            rng.integers(0, 256, (3, 3, size[0] * s, size[1] * s), np.uint8) for s in (1, 4, 4)
        ]
        for one, two in zip(decode_sample(encode_sample(clips)), clips, strict=True):
            assert np.array_equal(one, two)

    def test_every_colour_level(self) -> None:
        levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
        clip = np.stack([[levels, levels.T, 255 - levels], [levels[::-1]] * 3])
        assert np.array_equal(decode_sample(encode_sample([clip]))[0], clip)

    def test_a_real_clip(self, data: Path) -> None:
        frames = list(read_clip(data / "clips" / "val" / "sam2_bedroom_960x540.mp4", stop=4))
        clip = np.stack(frames).transpose(0, 3, 1, 2)
        assert np.array_equal(decode_sample(encode_sample([clip]))[0], clip)

    def test_players_see_the_same_colours(self, tmp_path: Path) -> None:
        clip = draw_clip(2, 24, 32)
        (tmp_path / "a.avi").write_bytes(encode_sample([clip.transpose(0, 3, 1, 2)]))
        assert np.array_equal(np.stack(list(read_clip(tmp_path / "a.avi"))), clip)

    def test_some_frames_alone(self, rng: np.random.Generator) -> None:
        clip: npt.NDArray[np.uint8] = rng.integers(0, 256, (6, 3, 8, 8), np.uint8)
        data = encode_sample([clip, clip[:, ::-1]])
        one, two = decode_sample(data, start=2, stop=5)
        assert np.array_equal(one, clip[2:5])
        assert np.array_equal(two, clip[2:5, ::-1])

    def test_no_sample(self) -> None:
        with pytest.raises(ValueError, match="not a readable sample"):
            decode_sample(b"RIFF nothing")


class TestFill:
    def test_each_sample_holds_its_pair_and_the_teacher_s_output(
        self, tmp_path: Path, pairs: DrawnPairs
    ) -> None:
        """More samples than pairs: the next epoch's follow."""
        lines = fill(tmp_path, pairs)
        assert "4 samples to do, about" in lines[0]
        assert "free at" in lines[0]
        cached = CachedPairs(tmp_path, teacher="doubling")
        assert len(cached) == 4
        assert cached.missing == 0
        sources = {pair.key: pair for pair in (pairs.pair(*divmod(i, 3)) for i in range(4))}
        for index in range(4):
            low, high, key, teacher = dataclasses.astuple(cached.pair(7, index))
            source = sources.pop(key)
            assert np.array_equal(low, source.low)
            assert np.array_equal(high, source.high)
            assert np.array_equal(teacher, 255 - source.low.repeat(4, 2).repeat(4, 3))
        assert not sources

    def test_the_truth_is_stored_once(self, tmp_path: Path, pairs: DrawnPairs) -> None:
        fill(tmp_path, pairs, GroundTruth(), samples=1)
        pair = CachedPairs(tmp_path).pair(0, 0)
        assert torch.equal(pair.teacher, pair.high)
        (entry,) = CacheFolder(tmp_path).entries.values()
        assert len(CacheFolder(tmp_path).read(entry)) == 2

    def test_it_goes_on_and_grows(self, tmp_path: Path, pairs: DrawnPairs) -> None:
        fill(tmp_path / "whole", pairs, samples=4)
        fill(tmp_path / "grown", pairs, samples=2)
        kept = (tmp_path / "grown" / "samples").stat().st_mtime_ns
        assert fill(tmp_path / "grown", pairs, samples=2) == ["all 2 samples are there"]
        assert (tmp_path / "grown" / "samples").stat().st_mtime_ns == kept
        assert fill(tmp_path / "grown", pairs, samples=4)[0].startswith("2 samples to do")
        assert contents(tmp_path / "grown") == contents(tmp_path / "whole")

    def test_shares_make_one_cache(self, tmp_path: Path, pairs: DrawnPairs) -> None:
        fill(tmp_path / "whole", pairs, samples=5)
        for k in (2, 1, 3):
            fill(tmp_path / "shared", pairs, samples=5, share=(k, 3))
        whole, shared = (CacheFolder(tmp_path / name).entries for name in ("whole", "shared"))
        assert whole == shared

    def test_damaged_samples_are_made_anew(self, tmp_path: Path, pairs: DrawnPairs) -> None:
        fill(tmp_path, pairs)
        before = contents(tmp_path)
        files = sorted((tmp_path / "samples").iterdir())
        files[1].unlink()
        files[2].write_bytes(b"")
        assert fill(tmp_path, pairs)[0].startswith("2 samples to do")
        after = contents(tmp_path)
        del before["manifest.jsonl"], after["manifest.jsonl"]
        assert after == before
        CachedPairs(tmp_path)

    @pytest.mark.parametrize(
        ("name", "call", "kept"),
        [
            pytest.param("replace", 4, 1, id="file", marks=pytest.mark.slow),
            pytest.param("fsync", 6, 2, id="manifest"),
        ],
    )
    def test_killed_then_resumed_equals_uninterrupted(
        self, tmp_path: Path, pairs: DrawnPairs, name: str, call: int, kept: int
    ) -> None:
        """SIGKILL from within, before the second sample's rename or after its line was written."""
        script = f"""
            import os, signal, sys
            sys.path += [{str(TESTS)!r}, {str(Path(__file__).parent)!r}]
            from pathlib import Path
            import test_cache as tests
            done, calls = os.{name}, []
            def die_at_last(*arguments):
                calls.append(arguments)
                if len(calls) == {call}:
                    os.kill(os.getpid(), signal.SIGKILL)
                done(*arguments)
            os.{name} = die_at_last
            tests.fill(Path({str(tmp_path / "parts")!r}), tests.DrawnPairs(3))
        """
        died = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
        assert died.returncode == -signal.SIGKILL
        store = CacheFolder(tmp_path / "parts")
        assert len(store.entries) == kept
        store.check()
        assert fill(tmp_path / "parts", pairs)[0].startswith(f"{4 - kept} samples to do")
        fill(tmp_path / "whole", pairs)
        assert contents(tmp_path / "parts") == contents(tmp_path / "whole")

    def test_half_a_manifest_line_does_not_count(self, tmp_path: Path, pairs: DrawnPairs) -> None:
        fill(tmp_path / "parts", pairs, samples=2)
        manifest = tmp_path / "parts" / "manifest.jsonl"
        manifest.write_bytes(manifest.read_bytes()[:-40])
        assert len(CacheFolder(tmp_path / "parts").entries) == 1
        fill(tmp_path / "parts", pairs)
        fill(tmp_path / "whole", pairs)
        assert contents(tmp_path / "parts") == contents(tmp_path / "whole")

    def test_a_disk_that_fills_up(
        self, tmp_path: Path, pairs: DrawnPairs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The second sample's bytes go to a full device; the first stays, and the next run ends."""
        samples = tmp_path / "samples"
        samples.mkdir()
        part, beside = samples / ".full.part", files.part_beside

        def second_is_full(path: Path) -> Path:
            if path.name == f"00000001-{pairs.pair(0, 1).key}.avi":
                part.symlink_to("/dev/full")
                return part
            return beside(path)

        monkeypatch.setattr(files, "part_beside", second_is_full)
        with pytest.raises(OutputNotWritableError, match="No space left .* the 1 samples before"):
            fill(tmp_path, pairs)
        assert len(CacheFolder(tmp_path).entries) == 1
        assert not os.path.lexists(part)
        monkeypatch.undo()
        fill(tmp_path, pairs)
        assert len(CachedPairs(tmp_path)) == 4

    def test_too_little_room_is_said_before_the_teacher_is_loaded(
        self, tmp_path: Path, pairs: DrawnPairs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        usage = shutil.disk_usage(tmp_path)._replace(free=100_000)
        monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
        monkeypatch.setattr(Doubling, "_load", lambda self: pytest.fail("loaded"))
        with pytest.raises(
            OutputNotWritableError, match=r"900 samples need .* about \d+ would fit"
        ):
            fill(tmp_path, pairs, samples=900)


class TestMismatch:
    def test_another_teacher(self, tmp_path: Path, pairs: DrawnPairs) -> None:
        fill(tmp_path, pairs)
        with pytest.raises(TeacherCacheError, match="of the teacher 'doubling:version=1', this"):
            fill(tmp_path, pairs, GroundTruth())
        with pytest.raises(TeacherCacheError, match="'doubling:version=1', expected 'dove'"):
            CachedPairs(tmp_path, teacher="dove")

    def test_another_recipe(self, tmp_path: Path, pairs: DrawnPairs) -> None:
        fill(tmp_path, pairs)
        other = {"seed": 0, "degradation": {"clean_share": 0.25}}
        with pytest.raises(TeacherCacheError, match=r"degradation.clean_share=0.5, .* 0.25"):
            fill(tmp_path, pairs, recipe=other)

    def test_the_same_recipe_on_other_clips(self, tmp_path: Path, pairs: DrawnPairs) -> None:
        fill(tmp_path, pairs, samples=2)
        with pytest.raises(TeacherCacheError, match="sample 1 .* the training folders or"):
            fill(tmp_path, DrawnPairs(3, seed=1))

    def test_missing_and_cut_off_samples_are_named(self, tmp_path: Path, pairs: DrawnPairs) -> None:
        fill(tmp_path, pairs)
        files = sorted((tmp_path / "samples").iterdir())
        files[0].unlink()
        size = files[3].stat().st_size
        os.truncate(files[3], 1000)
        message = rf"lacks 2 of its 4 samples: .*0000000-\w+.avi \(0 of .*\(1000 of {size} bytes\)"
        for kind in (CachedPairs, CachedOutputs):
            with pytest.raises(TeacherCacheError, match=message):
                kind(tmp_path)

    def test_a_changed_byte_is_found_when_read(self, tmp_path: Path, pairs: DrawnPairs) -> None:
        fill(tmp_path, pairs)
        file = min((tmp_path / "samples").iterdir())
        content = bytearray(file.read_bytes())
        content[-500] ^= 1
        file.write_bytes(content)
        cached = CachedPairs(tmp_path)
        with pytest.raises(TeacherCacheError, match="was damaged or changed"):
            [cached.pair(0, index) for index in range(4)]
        store = CacheFolder(tmp_path)
        for index in (1, 2, 3):
            store.read(store.entries[index])

    def test_no_cache_and_an_empty_one(self, tmp_path: Path) -> None:
        with pytest.raises(TeacherCacheError, match="no teacher cache in"):
            CachedPairs(tmp_path)
        open_cache(tmp_path, teacher="a", recipe={}, samples=3)
        with pytest.raises(TeacherCacheError, match="holds no finished sample"):
            CachedPairs(tmp_path)

    def test_a_header_of_a_later_version(self, tmp_path: Path, pairs: DrawnPairs) -> None:
        fill(tmp_path, pairs, samples=1)
        (tmp_path / "cache.json").write_text('{"schema": 2}')
        with pytest.raises(TeacherCacheError, match="has schema 2, expected 1"):
            CachedPairs(tmp_path)
        assert (tmp_path / "cache.json").read_text() == '{"schema": 2}'

    def test_a_damaged_header_comes_back_from_its_copy(
        self, tmp_path: Path, pairs: DrawnPairs, caplog: pytest.LogCaptureFixture
    ) -> None:
        fill(tmp_path, pairs)
        header = tmp_path / "cache.json"
        before = header.read_bytes()
        header.write_bytes(b"{\xff")
        assert len(CachedPairs(tmp_path)) == 4
        assert header.read_bytes() == before
        assert (tmp_path / "cache.json.damaged").read_bytes() == b"{\xff"
        (line,) = caplog.messages
        assert (
            "cache.json' is damaged and is made again; the damaged file is now 'cache.json.damaged'"
            in line
        )
        with pytest.raises(TeacherCacheError, match="of the teacher 'doubling:version=1', this"):
            fill(tmp_path, pairs, GroundTruth())

    def test_a_header_that_is_gone_comes_back_from_its_copy(
        self, tmp_path: Path, pairs: DrawnPairs, caplog: pytest.LogCaptureFixture
    ) -> None:
        fill(tmp_path, pairs)
        header = tmp_path / "cache.json"
        before = header.read_bytes()
        header.unlink()
        with pytest.raises(TeacherCacheError, match="of the teacher 'doubling:version=1', this"):
            fill(tmp_path, pairs, GroundTruth())
        assert header.read_bytes() == before
        (line,) = caplog.messages
        assert line.endswith("cache.json' is gone and is made again from 'cache.copy.json'")
        assert len(CachedPairs(tmp_path)) == 4

    def test_samples_without_any_header(self, tmp_path: Path, pairs: DrawnPairs) -> None:
        fill(tmp_path, pairs, samples=1)
        for name in ("cache.json", "cache.copy.json"):
            (tmp_path / name).unlink()
        before = contents(tmp_path)
        for use in (lambda: CachedPairs(tmp_path), lambda: fill(tmp_path, pairs, GroundTruth())):
            with pytest.raises(TeacherCacheError, match="but neither cache.json nor cache.copy"):
                use()
        assert contents(tmp_path) == before

    def test_a_damaged_header_without_a_good_copy(self, tmp_path: Path, pairs: DrawnPairs) -> None:
        """Whose samples these are nobody knows: nothing is moved, nothing mixed."""
        fill(tmp_path, pairs, samples=1)
        (tmp_path / "cache.copy.json").write_text("[")
        assert len(CachedPairs(tmp_path)) == 1
        (tmp_path / "cache.json").write_text("{")
        before = contents(tmp_path)
        for use in (lambda: CachedPairs(tmp_path), lambda: fill(tmp_path, pairs)):
            with pytest.raises(TeacherCacheError, match=r"cache.json' is not valid JSON.* another"):
                use()
        assert contents(tmp_path) == before

    def test_samples_of_damaged_lines_are_made_anew(
        self, tmp_path: Path, pairs: DrawnPairs, caplog: pytest.LogCaptureFixture
    ) -> None:
        fill(tmp_path / "whole", pairs)
        fill(tmp_path / "parts", pairs)
        manifest = tmp_path / "parts" / "manifest.jsonl"
        lines = manifest.read_bytes().splitlines(keepends=True)
        manifest.write_bytes(lines[0] + b'{"index": 1}\n' + lines[2] + b"\xff\xfe\n")
        with pytest.raises(
            TeacherCacheError, match="2 damaged lines, as .*line 2.*makes them again"
        ):
            CachedPairs(tmp_path / "parts")
        caplog.clear()
        assert fill(tmp_path / "parts", pairs)[0].startswith("2 samples to do")
        assert len([line for line in caplog.messages if "counts as missing" in line]) == 2
        caplog.clear()
        assert len(CachedPairs(tmp_path / "parts")) == 4
        assert not caplog.messages
        for name in ("parts", "whole"):
            (tmp_path / name / "manifest.jsonl").unlink()
        assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


class TestCachedPairs:
    def test_crops_are_the_same_place_of_all_three(self, tmp_path: Path, pairs: DrawnPairs) -> None:
        """Windows in space and time; what the teacher made of the crop is the teacher's crop."""
        fill(tmp_path, pairs)
        cached = CachedPairs(tmp_path, frames=2, patch_px=8, flips=True)
        places = set()
        for epoch in range(12):
            pair = cached.pair(epoch, 1)
            assert pair.low.shape == (2, 3, 8, 8)
            assert pair.high.shape == pair.teacher.shape == (2, 3, 32, 32)
            inverted = 255 - pair.low.repeat_interleave(4, -1).repeat_interleave(4, -2)
            assert torch.equal(pair.teacher, inverted)
            again = cached.pair(epoch, 1)
            assert torch.equal(again.low, pair.low)
            assert torch.equal(again.high, pair.high)
            means = pair.high.double().view(2, 3, 8, 4, 8, 4).mean((3, 5))
            assert (means - pair.low).abs().mean() < 5  # the noise of the drawn pairs
            places.add(pair.low.numpy().tobytes())
        assert len(places) == 12

    def test_epochs_have_orders_of_their_own(self, tmp_path: Path, pairs: DrawnPairs) -> None:
        fill(tmp_path, pairs)
        cached = CachedPairs(tmp_path)
        orders = [tuple(cached.pair(epoch, i).key for i in range(4)) for epoch in (0, 1, 2, 3, 0)]
        assert orders[0] == orders[4]
        assert len(set(orders)) > 2
        assert len({frozenset(order) for order in orders}) == 1

    def test_the_seed_decides_the_crops(self, tmp_path: Path, pairs: DrawnPairs) -> None:
        fill(tmp_path, pairs, samples=1)
        one, two = (CachedPairs(tmp_path, patch_px=4, seed=seed).pair(0, 0) for seed in (0, 1))
        assert not torch.equal(one.low, two.low)

    def test_a_share_is_made_grey_in_all_three(self, tmp_path: Path, pairs: DrawnPairs) -> None:
        fill(tmp_path, pairs, samples=1)
        plain, half = (CachedPairs(tmp_path, patch_px=8, grey_share=share) for share in (0.0, 0.5))
        seen = set()
        for epoch in range(8):
            pair, before = half.pair(epoch, 0), plain.pair(epoch, 0)
            clips = [(pair.low, before.low), (pair.high, before.high)]
            clips.append((pair.teacher, before.teacher))
            grey = {bool((now[:, :1] == now[:, 1:]).all()) for now, _ in clips}
            assert len(grey) == 1
            for now, was in clips:
                assert grey == {True} or torch.equal(now, was)
                light = (was.float() * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1)
                assert grey == {False} or (now[:, 0] - light).abs().max() < 0.51
            seen |= grey
        assert seen == {True, False}

    def test_a_grey_truth_has_a_grey_target(self, tmp_path: Path) -> None:
        """A teacher that colours the edges of grey film would teach it."""
        store = open_cache(tmp_path, teacher="coloured", recipe={}, samples=1)
        high = draw_clip(2, 32, 32).transpose(0, 3, 1, 2)
        high = np.ascontiguousarray(high[:, :1].repeat(3, axis=1))
        low = high[:, :, ::4, ::4].copy()
        low[:, 0] = low[:, 0] // 2  # a sensor's coloured noise stays: it is the input's
        coloured = high.copy()
        coloured[:, 2] //= 2
        store.add(0, [low, high, coloured])
        pair = CachedPairs(tmp_path).pair(0, 0)
        assert pair.teacher is not None
        assert (pair.teacher[:, :1] == pair.teacher[:, 1:]).all()
        assert torch.equal(pair.low, torch.from_numpy(low))

    @pytest.mark.parametrize("crop", [{"frames": 4}, {"patch_px": 13}])
    def test_crops_that_do_not_fit(
        self, tmp_path: Path, pairs: DrawnPairs, crop: dict[str, int]
    ) -> None:
        fill(tmp_path, pairs)
        with pytest.raises(ConfigError, match="do not fit the cached clip .* 3 frames of 20x12"):
            CachedPairs(tmp_path, **crop)  # type: ignore[arg-type]


def test_cached_outputs_are_a_teacher(tmp_path: Path, pairs: DrawnPairs) -> None:
    fill(tmp_path, pairs)
    clips = torch.from_numpy(np.stack([pairs.pair(0, i).low for i in (2, 0)])).float() / 255
    settings = TeacherSettings(kind="cache", weights=str(tmp_path))
    with open_teacher(settings) as cached, Doubling() as live:
        assert cached.identity == live.identity
        assert torch.allclose(cached.teach(clips), live.teach(clips), atol=1e-6)
        with pytest.raises(TeacherCacheError, match="of this run: the cache .* does not hold it"):
            cached.teach(clips.flip(1))


class TestCommand:
    @pytest.fixture
    def arguments(self, tmp_path: Path) -> list[str]:
        """A drawn clip and a student with random weights."""
        (tmp_path / "clips").mkdir()
        write_clip(tmp_path / "clips" / "a.mp4", draw_clip(6, 96, 128))
        recipe = tmp_path / "r.toml"
        recipe.write_text(
            'network = "nano"\n[data]\nframes = 2\npatch_px = 8\nsegments_per_clip = 3\n'
        )
        network = AdcVsr(dataclasses.replace(PRESETS["nano"], down_blocks=(1,)))
        network.start_as_interpolation()
        save_checkpoint(tmp_path / "s.safetensors", network, provenance={})
        return [
            *("train", "cache-teacher", "--teacher", "student", "--device", "cpu"),
            *("--weights", str(tmp_path / "s.safetensors"), "--config", str(recipe)),
            *("--clips", str(tmp_path / "clips"), "-o", str(tmp_path / "cache")),
        ]

    def test_a_student_s_cache(self, tmp_path: Path, arguments: list[str]) -> None:
        done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
        assert done.stdout == f"{tmp_path / 'cache'}: 3 samples\n"
        assert "teacher student:name=nano,weights=" in done.stderr
        assert "3 samples to do, about" in done.stderr
        assert "cache-teacher: 3 of 3" in done.stderr
        again = CliRunner().invoke(cli, arguments, catch_exceptions=False)
        assert "all 3 samples are there" in again.stderr
        settings = TeacherSettings(kind="student", weights=str(tmp_path / "s.safetensors"))
        with open_teacher(settings) as teacher:
            for index in range(3):
                pair = CachedPairs(tmp_path / "cache", teacher="student").pair(0, index)
                live = teacher.teach(pair.low[None].float() / 255)[0] * 255
                assert (live - pair.teacher).abs().max() <= 0.5 + 1e-3

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (["--teacher", "dloral"], "needs --export-inputs or --import-from"),
            (["--teacher", "truth", "--import-from", "x"], "exchanges no files"),
            (["--teacher", "seedvr2", "--import-from", "x"], "needs --revision"),
            (["--share", "3", "2"], "there are only 2 parts"),
        ],
    )
    def test_options_that_contradict(
        self, arguments: list[str], change: list[str], message: str
    ) -> None:
        if "--teacher" in change:
            place = arguments.index("--teacher")
            arguments = arguments[:place] + arguments[place + 2 :]
        done = CliRunner().invoke(cli, [*arguments, *change])
        assert done.exit_code == 2
        assert message in done.stderr
