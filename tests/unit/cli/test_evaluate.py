"""`adcvsr evaluate` as a user meets it: table, JSON, strip, and one-line errors."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from adcvsr.calibration.evaluate.report import Report, Request
from adcvsr.calibration.evaluate.scores import ClipScores, Evaluation
from adcvsr.cli._scores import print_report
from adcvsr.cli.evaluate import DEGRADATIONS, _degradation
from adcvsr.metrics import METRICS, usable_metrics
from adcvsr.pictures.clips import read_image, write_clip, write_png
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.train.degradation import PRESETS
from warm_program import run_program


def evaluate(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return run_program("evaluate", *arguments, **environment)


@pytest.fixture
def media(tmp_path: Path) -> Path:
    """A folder with an image, a clip of three frames, and another size."""
    folder = tmp_path / "media"
    folder.mkdir()
    write_png(folder / "image.png", draw_clip(1, 96, 128)[0])
    write_clip(folder / "moving.mp4", draw_clip(3, 64, 96))
    return folder


def test_json_on_stdout_holds_everything(media: Path) -> None:
    done = evaluate(media, "--metrics", "default,warp,jitter", "--reset-every-frame", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["schema"] == 1
    assert report["protocol"] == {
        "frames": 50,
        "max_side_px": 960,
        "degradation": "bicubic",
        "seed": 0,
        "border_px": 4,
    }
    names = ["bicubic", "lanczos", "nano", "nano (reset)"]
    assert [method["name"] for method in report["methods"]] == names
    assert report["methods"][2]["variant"] == "fp32-onnx"
    image, clip = report["clips"]
    assert (image["name"], image["frames"], image["size"]) == ("image.png", 1, [128, 96])
    assert (clip["name"], clip["frames"], clip["size"]) == ("moving.mp4", 3, [96, 64])
    assert image["scores"]["nano"]["psnr"] > image["scores"]["bicubic"]["psnr"] > 15
    assert 0 < image["scores"]["bicubic"]["ssim"] < image["scores"]["nano"]["ssim"] < 1
    assert image["scores"]["nano"] == image["scores"]["nano (reset)"], "one frame has no past"
    assert clip["scores"]["nano"] != clip["scores"]["nano (reset)"]
    assert image["reasons"]["warp"] == "an image has no motion"
    assert clip["reasons"] == {}
    assert set(clip["scores"]) == {*names, "truth"}
    of_truth = {name for name, value in clip["scores"]["truth"].items() if value is not None}
    assert of_truth == {"warp", "jitter"}
    mean = report["mean"]["nano"]
    both = [entry["scores"]["nano"]["haarpsi"] for entry in report["clips"]]
    assert mean["haarpsi"] == pytest.approx(sum(both) / 2)
    assert mean["frame_diff"] == clip["scores"]["nano"]["frame_diff"]
    assert report["against_bicubic"]["nano"]["psnr"]["files"] == 2
    assert report["metrics"]["warp"]["higher_is_better"] is False


def test_table_and_log_lines(media: Path) -> None:
    done = evaluate(media, "--metrics", "psnr,frame_diff")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    for start in ("image.png (1)", "moving.mp4 (3)", "mean of 2 (4 frames)"):
        assert any(line.strip() == start for line in lines), start
    assert any("PSNR-Y" in line and "better than bicubic by" in line for line in lines)
    assert "no frame diff. for image.png: an image has no motion" in lines
    assert "image.png: PSNR-Y bicubic " in done.stderr
    assert "dB ↑" in done.stdout
    plain = evaluate(media / "image.png", PYTHONIOENCODING="ascii")
    assert plain.returncode == 0, plain.stderr
    assert "dB higher" in plain.stdout


@pytest.mark.parametrize("columns", [40, 80, 300])
def test_no_figure_is_cut_off(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On any terminal; file names may be folded."""
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    metrics = list(METRICS.values())
    figures = {
        method: {metric.name: 10 * index + value for index, metric in enumerate(metrics)}
        for method, value in (("bicubic", 1.25), ("a bundle of a long name", 2.5))
    }
    clip = ClipScores(
        Path("a_clip[b]_with_a_rather_long_name.mp4"), 12, (960, 540), dict(figures), {}
    )
    request = Request(files=[], models=[], metrics=usable_metrics("psnr"))
    print_report(Report(request, [], Evaluation(list(figures), metrics, [clip])))
    out = capsys.readouterr().out
    assert "…" not in out
    assert "[b]" in out
    for index, metric in enumerate(metrics):
        assert f"{10 * index + 2.5:.{metric.digits}f}" in out
        sign = 1.25 if metric.higher_is_better else -1.25
        assert f"{sign:+.{metric.digits}f}" in out


def test_files_are_written_and_not_overwritten(media: Path, tmp_path: Path) -> None:
    strip, report = tmp_path / "strip.png", tmp_path / "report.json"
    arguments = (media, "--metrics", "psnr", "--strip", strip, "-o", report)
    done = evaluate(*arguments)
    assert done.returncode == 0, done.stderr
    assert "PSNR-Y" in done.stdout
    assert len(json.loads(report.read_text())["clips"]) == 2
    assert read_image(strip).shape[1] > 3 * 256
    assert sorted(p.name for p in tmp_path.iterdir()) == ["media", "report.json", "strip.png"]
    strip.unlink()
    report.write_text("precious")
    done = evaluate(*arguments)
    assert done.returncode == 1
    assert done.stderr == f"error: output '{report}' exists; pass --overwrite to replace it\n"
    assert report.read_text() == "precious"
    assert not strip.exists()
    assert evaluate(*arguments, "--overwrite").returncode == 0
    assert json.loads(report.read_text())["schema"] == 1


def test_given_low_resolution_inputs(media: Path, tmp_path: Path) -> None:
    low = tmp_path / "low"
    low.mkdir()
    write_png(low / "imagex4.png", draw_clip(1, 24, 32)[0])
    done = evaluate(media / "image.png", "--lr", low, "--metrics", "psnr", "--json=-")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["protocol"] == {"frames": 50, "lr": str(low), "border_px": 4}
    made = json.loads(evaluate(media / "image.png", "--metrics", "psnr", "--json").stdout)
    assert report["mean"]["bicubic"] != made["mean"]["bicubic"], "drawn, not reduced"
    done = evaluate(media / "moving.mp4", "--lr", low)
    assert (done.returncode, done.stdout) == (1, "")
    assert "expected one input named moving in" in done.stderr


def test_a_file_that_cannot_be_measured_does_not_end_the_run(media: Path, tmp_path: Path) -> None:
    (media / "a_bad.png").write_text("no picture")
    whole = (media / "moving.mp4").read_bytes()
    (media / "z_cut.mp4").write_bytes(whole[: len(whole) // 2])
    strip = tmp_path / "strip.png"
    done = evaluate(media, "--metrics", "psnr", "--strip", strip, "--json")
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert [clip["name"] for clip in report["clips"]] == ["image.png", "moving.mp4"]
    assert [Path(each["file"]).name for each in report["failed"]] == ["a_bad.png", "z_cut.mp4"]
    lines = done.stderr.splitlines()
    for name in ("a_bad.png", "z_cut.mp4"):
        assert any(line.startswith(f"error: cannot evaluate on '{media / name}'") for line in lines)
    assert lines[-1] == "error: 2 of 4 files failed: a_bad.png, z_cut.mp4"
    assert strip.exists()


def test_nothing_that_can_be_measured_is_no_table(media: Path, tmp_path: Path) -> None:
    bad = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in bad:
        path.write_text("no picture")
    done = evaluate(*bad, "--metrics", "psnr", "--strip", tmp_path / "strip.png")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1] == "error: 2 of 2 files failed: a.png, b.png"
    assert not (tmp_path / "strip.png").exists()


def test_a_folder_of_frames_is_a_clip(tmp_path: Path) -> None:
    (tmp_path / "walk").mkdir()
    for index, image in enumerate(draw_clip(2, 48, 64)):
        write_png(tmp_path / "walk" / f"{index}.png", image)
    done = evaluate(tmp_path, "--sequences", "--metrics", "psnr,frame_diff", "--json")
    assert done.returncode == 0, done.stderr
    (clip,) = json.loads(done.stdout)["clips"]
    assert (clip["name"], clip["frames"]) == ("walk", 2)
    assert clip["scores"]["nano"]["frame_diff"] > 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["{media}/bad.png"], 1, "error: cannot evaluate on '{media}/bad.png'"),
        (["{media}/empty"], 1, "error: no image or video in '{media}/empty'"),
        (["{media}/none"], 1, "error: no file or folder '{media}/none'"),
        (["{media}/image.png", "--metrics", "psn"], 1, "error: no metric 'psn', did you mean"),
        (["{media}/image.png", "--model", "nan"], 1, "error: no bundle named 'nan'"),
        (["{media}/image.png", "--variant", "int3"], 1, "error: bundle 'nano' has no variant"),
        (["{media}/image.png", "--metrics", "vmaf", "--ffmpeg", "no"], 1, "no program 'no'"),
        (["{media}/image.png", "-o", "{media}/a.txt"], 2, "a file ending in .json"),
        (["{media}/image.png", "--strip", "{media}/image.jpg"], 2, "a file ending in .png"),
        (
            ["{media}/image.png", "--strip", "{media}/no/a.png"],
            1,
            "folder '{media}/no' does not exist",
        ),
        (
            ["{media}/image.png", "--lr", "{media}", "--degradation", "bicubic"],
            2,
            "choose one",
        ),
        (["{media}/image.png", "--draws", "2"], 2, "every draw is the same"),
        (["{media}/image.png", "--draws", "2", "--degradation", "bicubic"], 2, "is the same"),
        (["{media}", "--draws", "2", "--no-reference"], 2, "every draw is the same"),
    ],
)
def test_mistakes(media: Path, arguments: list[str], code: int, said: str) -> None:
    (media / "bad.png").write_text("no picture")
    (media / "empty").mkdir()
    done = evaluate(*(argument.format(media=media) for argument in arguments))
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert said.format(media=media) in done.stderr
    assert "Traceback" not in done.stderr


def test_several_draws(media: Path, tmp_path: Path) -> None:
    """Each file of each seed has its figures, and a gain its error; a file lost once is lost."""
    (media / "bad.png").write_text("no picture")
    done = evaluate(
        media, "--metrics", "psnr", "--degradation", "camera", "--draws", "2", "--seed", "7",
        "-o", tmp_path / "r.json", PYTHONIOENCODING="ascii",
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "bad.png" in done.stderr
    for name in ("image.png, seed 7 (1)", "image.png, seed 8 (1)", "moving.mp4, seed 8 (3)"):
        assert name in done.stdout, done.stdout
    assert "mean of 4 (8 frames)" in done.stdout
    assert "(on files and draws)" in " ".join(done.stdout.split())
    report = json.loads((tmp_path / "r.json").read_text())
    assert (report["protocol"]["seed"], report["protocol"]["draws"]) == (7, 2)
    first, second, *_ = report["clips"]
    assert first["scores"] != second["scores"]
    error = report["against_bicubic"]["nano"]["psnr"]["error"]
    assert f"+/-{error:.2f}" in done.stdout
    assert len(report["failed"]) == 1


def test_every_metric_is_in_the_help() -> None:
    text = " ".join(evaluate("--help").stdout.split())
    for name in METRICS:
        assert name in text


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_every_degradation_reduces_and_depends_on_the_draw_alone(name: str) -> None:
    clip = draw_clip(3, 64, 96)
    degrade = _degradation(name)

    def low(seed: int) -> np.ndarray:
        return np.stack(list(degrade(iter(clip), np.random.default_rng(seed))))

    assert low(0).shape == (3, 16, 24, 3)
    assert np.array_equal(low(0), low(0))
    assert np.array_equal(low(0), low(1)) == (name == "bicubic")


def test_degradations_are_those_of_training() -> None:
    assert set(DEGRADATIONS) == set(PRESETS)
