"""The field's benchmarks are read as they are unpacked, and measured as they are published."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from adcvsr.arrays import Levels
from adcvsr.calibration.evaluate.protocols import (
    PROTOCOLS,
    enlarge,
    find_protocol_clips,
    protocol_truth,
)
from adcvsr.calibration.evaluate.sequences import gap_in, images_in, misplaced
from adcvsr.calibration.evaluate.truth import read_pairs
from adcvsr.cli.commands import cli
from adcvsr.cli.evaluate import BENCHMARKS
from adcvsr.errors import InputNotFoundError, UnreadableVideoError
from adcvsr.metrics import luma, psnr, ssim
from adcvsr.metrics.matlab import blur_down, imresize
from adcvsr.pictures.clips import write_png
from adcvsr.pictures.synthetic import draw_clip

FRAMES = 6


def write_frames(folder: Path, frames: Levels) -> None:
    folder.mkdir(parents=True)
    for index, frame in enumerate(frames):
        write_png(folder / f"{index:08d}.png", frame)


def truth(seed: int = 0) -> Levels:
    return np.roll(draw_clip(FRAMES, 48, 64), seed, axis=2)


def test_the_command_knows_them_all() -> None:
    assert tuple(PROTOCOLS) == BENCHMARKS


@pytest.mark.parametrize(
    ("name", "place", "low"),
    [
        ("reds4", "{}", "sharp_bicubic/{}"),
        ("reds4", "train_sharp/{}", "train_sharp_bicubic/X4/{}"),
        ("vid4", "GT/{}", "BIx4/{}"),
        ("vid4", "{}/original", "{}/bicubic"),
        ("udm10", "{}/truth", "{}/blur4"),
        ("udm10", "GT/{}", "BDx4/{}"),
        ("spmcs", "{}/truth", "{}/blur4"),
    ],
)
def test_usual_layouts_are_read(tmp_path: Path, name: str, place: str, low: str) -> None:
    """With inputs of the set, and without them, made as the set's are."""
    protocol = PROTOCOLS[name]
    clips = protocol.clips[:2] or ("car05_001", "hitachi_isee5_001")
    for index, clip in enumerate(clips):
        write_frames(tmp_path / place.format(clip), truth(index)[:2])
    found = find_protocol_clips(protocol, tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in found.files] == [
        place.format(clip) for clip in clips
    ]
    assert found.missing == protocol.clips[2:]
    reduce = blur_down if protocol.degradation == "BD" else lambda image: imresize(image, 1 / 4)
    made = [pair[1] for pair in read_pairs(found.files[0], protocol_truth(found))]
    assert (made[0] == reduce(truth()[0])).all()
    assert found.inputs == f"made here ({protocol.degradation})"

    for clip in clips:
        write_frames(tmp_path / low.format(clip), np.full((2, 12, 16, 3), 90, np.uint8))
    given = find_protocol_clips(protocol, tmp_path)
    assert given.inputs == "of the set"
    pairs = list(read_pairs(given.files[1], protocol_truth(given)))
    assert (pairs[0][1] == 90).all()
    assert (pairs[1][0] == truth(1)[1]).all()


def test_a_folder_without_it_is_told_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError, match=r"no clip of vid4 .*calendar, city, foliage"):
        find_protocol_clips(PROTOCOLS["vid4"], tmp_path)


def evaluate(root: Path, name: str, *more: str) -> dict[str, object]:
    done = CliRunner().invoke(
        cli, ["evaluate", str(root), "--protocol", name, "--variant", "fp32", "--json", *more]
    )
    assert done.exit_code == 0, f"{done.output}{done.exception!r}"
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_ends_and_borders_are_left_out(tmp_path: Path) -> None:
    """SPMCS as PFNL has it: two frames at each end, eight pixels at each border; Y of RGB."""
    write_frames(tmp_path / "car05_001" / "truth", truth())
    found = evaluate(tmp_path, "spmcs")
    wanted = [
        (luma(enlarge(blur_down(frame)))[8:-8, 8:-8], luma(frame)[8:-8, 8:-8])
        for frame in truth()[2:-2]
    ]
    clip = found["clips"][0]  # type: ignore[index]
    assert clip["name"] == "car05_001"
    scores = clip["scores"]["bicubic"]
    assert scores["psnr"] == pytest.approx(np.mean([psnr(*pair) for pair in wanted]), abs=1e-6)
    assert scores["ssim"] == pytest.approx(np.mean([ssim(*pair) for pair in wanted]), abs=1e-6)
    protocol = found["protocol"]
    assert protocol["inputs"] == "made here (BD)"  # type: ignore[index]
    assert protocol["border_px"] == 8  # type: ignore[index]


def test_reds_is_measured_in_rgb_over_whole_frames(tmp_path: Path) -> None:
    write_frames(tmp_path / "GT" / "000", truth()[:2])
    found = evaluate(tmp_path, "reds4")
    scores = found["clips"][0]["scores"]["bicubic"]  # type: ignore[index]
    pairs = [(enlarge(imresize(frame, 1 / 4)), frame) for frame in truth()[:2]]
    assert scores["psnr_rgb"] == pytest.approx(np.mean([psnr(*pair) for pair in pairs]))
    each = [ssim(a[..., c], b[..., c]) for a, b in pairs for c in range(3)]
    assert scores["ssim_rgb"] == pytest.approx(np.mean(each))
    assert found["protocol"]["missing"] == ["011", "015", "020"]  # type: ignore[index]


def test_videolq_says_that_there_is_no_truth(tmp_path: Path) -> None:
    write_frames(tmp_path / "Input" / "000", truth()[:3])
    done = CliRunner().invoke(
        cli, ["evaluate", str(tmp_path), "--protocol", "videolq", "--metrics", "delta_e"]
    )
    assert done.exit_code == 0, done.output
    assert "there is no truth" in done.stderr
    assert "NIQE is not measured here" in done.stderr


def test_a_benchmark_takes_nothing_that_changes_it(tmp_path: Path) -> None:
    for more in (["--degradation", "bicubic"], ["--sequences"], ["--lr", str(tmp_path)]):
        done = CliRunner().invoke(cli, ["evaluate", str(tmp_path), "--protocol", "vid4", *more])
        assert done.exit_code == 2
        assert "--protocol says how inputs are made" in done.output


def test_results_go_into_the_table(tmp_path: Path) -> None:
    """One command fills it; what is not the whole benchmark is refused."""
    from runpy import run_path

    tool = run_path(str(Path(__file__).parents[3] / "benchmarks" / "benchmark_table.py"))
    page = Path(__file__).parents[3] / "docs" / "benchmarks.md"
    report = {
        "protocol": {
            "benchmark": {"name": "vid4"},
            "missing": [],
            "odd": [],
            "inputs": "of the set",
            "frames": 1_000_000,
        },
        "adcvsr": "1",
        "failed": [],
        "clips": [{}] * 4,
        "metrics": {"psnr": {"title": "PSNR-Y", "unit": "dB"}},
        "methods": [{"name": "bicubic"}, {"name": "nano", "variant": "fp32-onnx"}],
        "mean": {"bicubic": {"psnr": 23.78}, "nano": {"psnr": 25.0}},
    }
    filled = tool["merged"](page.read_text(), tool["rows_of"](report))
    assert "| vid4 | bicubic | of the set | 4 | PSNR-Y 23.7800 dB | adcvsr 1 |" in filled
    assert "| vid4 | nano fp32-onnx | of the set | 4 | PSNR-Y 25.0000 dB | adcvsr 1 |" in filled
    assert tool["merged"](filled, tool["rows_of"](report)) == filled
    report["protocol"]["missing"] = ["walk"]  # type: ignore[index]
    with pytest.raises(ValueError, match="walk missing"):
        tool["rows_of"](report)
    report["protocol"] |= {"missing": [], "odd": ["walk has 46 frames, of 47"]}  # type: ignore[operator]
    with pytest.raises(ValueError, match="walk has 46 frames"):
        tool["rows_of"](report)
    # Other clips measured alike are no benchmark's: a table of their own, which names them.
    rows = tool["rows_of"](report, "two clips")
    with_own = tool["merged"](filled, rows, "own rows")
    begin = with_own.index("<!-- own rows -->")
    assert with_own[: with_own.index("<!-- end of rows -->")] in filled
    assert "| two clips, as `vid4` measures | bicubic | of the set | 4 |" in with_own[begin:]


def empty_frames(folder: Path, numbers: Iterable[int]) -> None:
    folder.mkdir(parents=True)
    for number in numbers:
        (folder / f"{number:08d}.png").touch()


def test_other_counts_and_gaps_are_told(tmp_path: Path) -> None:
    """By the counts of the sets; a frame that is not there is named by its neighbours."""
    empty_frames(tmp_path / "GT" / "calendar", range(41))
    empty_frames(tmp_path / "GT" / "city", range(33))
    empty_frames(tmp_path / "GT" / "walk", [*range(3), *range(4, 48)])
    found = find_protocol_clips(PROTOCOLS["vid4"], tmp_path)
    assert found.missing == ("foliage",)
    assert found.odd == (
        "city has 33 frames, of 34",
        "walk: no frame between '00000002.png' and '00000004.png'",
    )
    empty_frames(tmp_path / "Input" / "000", range(60))
    found = find_protocol_clips(PROTOCOLS["videolq"], tmp_path)
    assert found.odd == ("1 clips, of 50", "000 has 60 frames, of which 99 is none")
    empty_frames(tmp_path / "spmcs" / "car05_001" / "truth", range(31))
    assert find_protocol_clips(PROTOCOLS["spmcs"], tmp_path / "spmcs").odd == ("1 clips, of 30",)


def test_frames_are_paired_by_their_numbers(tmp_path: Path) -> None:
    """Each of two folders lacks another frame: as many on both sides, and no pair is right."""
    write_frames(tmp_path / "GT" / "walk", truth())
    write_frames(tmp_path / "BIx4" / "walk", np.full((FRAMES, 12, 16, 3), 90, np.uint8))
    protocol = PROTOCOLS["vid4"]
    found = find_protocol_clips(protocol, tmp_path)
    assert len(list(read_pairs(found.files[0], protocol_truth(found)))) == FRAMES
    (tmp_path / "GT" / "walk" / "00000004.png").unlink()
    (tmp_path / "BIx4" / "walk" / "00000002.png").unlink()
    found = find_protocol_clips(protocol, tmp_path)
    with pytest.raises(UnreadableVideoError, match=r"'00000002.png' would be .* '00000003.png'"):
        list(read_pairs(found.files[0], protocol_truth(found)))


def test_numbers_inside_names_are_left_alone(tmp_path: Path) -> None:
    """0001x4.png is the input of 0001.png; and sets may begin to count elsewhere."""
    empty_frames(tmp_path / "truth", range(4))
    empty_frames(tmp_path / "later", range(1, 5))
    (tmp_path / "low").mkdir()
    for number in range(4):
        (tmp_path / "low" / f"{number:04d}x4.png").touch()
    assert misplaced(tmp_path / "truth", tmp_path / "low") is None
    assert misplaced(tmp_path / "truth", tmp_path / "later") is None
    assert gap_in(tmp_path / "low") is None


def test_numbers_need_no_zeros_before_them(tmp_path: Path) -> None:
    for name in ("f1.png", "f2.png", "f10.png", "f9.png"):
        (tmp_path / name).touch()
    assert [path.name for path in images_in(tmp_path)] == ["f1.png", "f2.png", "f9.png", "f10.png"]
