"""The command line as a user meets it: exit codes, one-line errors, JSON on stdout alone."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import pytest

from adcvsr.cli.commands import cli
from adcvsr.errors import TrainingDataError
from adcvsr.pictures.clips import read_clip, read_image, write_clip, write_png
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.runtime import demo
from changed_manifest import with_manifest
from video_facts import VideoMaker, video_facts
from warm_program import run_program as adcvsr

MakeOnce = Callable[[str, Callable[[Path], object]], Path]


def started(*arguments: object) -> subprocess.CompletedProcess[str]:
    """As a user starts it, imports and all; the tests without it fork: `warm_program`."""
    command = [sys.executable, "-m", "adcvsr", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_upscale(make_video: VideoMaker, tmp_path: Path) -> None:
    done = started("upscale", make_video(audio=True), tmp_path / "out.mp4")
    assert done.returncode == 0, done.stderr
    assert "8 frames, 32x24 -> 128x96" in done.stdout
    assert video_facts(tmp_path / "out.mp4").size == (128, 96)


def test_upscale_json_is_all_of_stdout(make_video: VideoMaker, tmp_path: Path) -> None:
    source = make_video(pts=tuple(range(0, 50 * 512, 512)), size=(64, 48))
    done = adcvsr("upscale", source, tmp_path / "out.mkv", "--json", "--crf", 30)
    report = json.loads(done.stdout)
    assert report["frames"] == 50
    assert report["backend"] == "ort-cpu"
    assert report["model"] == "nano"
    assert report["variant"] == "fp32-onnx"
    assert report["fps"] == pytest.approx(report["frames"] / report["seconds"], rel=0.02)
    stages = report["stages"]
    assert list(stages) == ["decode", "infer", "encode"]
    for stage in stages.values():
        assert stage["wall_seconds"] > 0
        assert stage["cpu_seconds"] > 0


def test_tiles_and_colour_match_are_said(make_video: VideoMaker, tmp_path: Path) -> None:
    source = make_video(size=(72, 40))
    options = ("--tile", 48, "--colour-match", "ema")
    done = adcvsr("upscale", source, tmp_path / "out.mp4", *options)
    assert done.returncode == 0, done.stderr
    assert "note: exact tiles: 2 of 48x40 pixels sharing 20" in done.stderr
    assert "note: colours are matched to the input, averaged with a half-life" in done.stderr
    done = adcvsr("upscale", source, tmp_path / "other.mp4", "--tile", 20)
    assert done.returncode == 1
    assert done.stderr.startswith("error: tiles of 20 pixels; this network sees 10 pixels")
    assert done.stderr.count("\n") == 1


def test_a_bundle_asks_for_colour_match(tiny_bundle: Path, data: Path, tmp_path: Path) -> None:
    """A network that gets all colours wrong, on frames of a camera: the match puts them right."""
    bundle = with_manifest(
        tiny_bundle, tmp_path / "matched", colour_match={"mode": "ema", "half_life_frames": 3}
    )
    frames = list(islice(read_clip(data / "clips/val/udacity_highway_960x540.mp4"), 0, 60, 15))
    source = tmp_path / "in.mp4"
    write_clip(source, [frame[:536:4, ::4].copy() for frame in frames], crf=1)

    def worst_cast(*options: object) -> tuple[float, dict[str, object]]:
        """Largest difference of a channel's mean to the input's, in levels, and the report."""
        command = ("upscale", source, tmp_path / "out.mkv", "--model", bundle, "--overwrite")
        done = adcvsr(*command, "--crf", 1, "--json", *options)
        assert done.returncode == 0, done.stderr
        pairs = zip(read_clip(source), read_clip(tmp_path / "out.mkv"), strict=True)
        casts = [np.abs(big.mean((0, 1)) - low.mean((0, 1))).max() for low, big in pairs]
        return max(casts), json.loads(done.stdout)

    cast, report = worst_cast()
    assert report["colour_match"] == {"mode": "ema", "half_life_frames": 3.0}
    wrong, plain = worst_cast("--colour-match", "none")
    assert plain["colour_match"] is None
    assert wrong > 10
    assert cast < 2


def test_a_clip_network_on_the_command_line(
    clip_bundle: Path, make_video: VideoMaker, tmp_path: Path
) -> None:
    done = adcvsr("upscale", make_video(), tmp_path / "out.mp4", "--model", clip_bundle, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["frames"] == 8
    assert report["windows"]["count"] == 2
    assert report["tiles"] is report["colour_match"] is None
    done = adcvsr("evaluate", make_video("big.mp4", size=(128, 96)), "--model", clip_bundle)
    assert done.returncode == 0, done.stderr
    assert "big.mp4" in done.stdout


def test_errors_are_one_line_and_exit_1(make_video: VideoMaker, tmp_path: Path) -> None:
    source = make_video()
    existing = tmp_path / "there.mp4"
    existing.touch()
    cases = [
        (tmp_path / "none.mp4", tmp_path / "out.mp4", "no file"),
        (tmp_path, tmp_path / "out.mp4", "means several files"),
        (source, existing, "pass --overwrite"),
        (source, tmp_path / "no" / "out.mp4", "does not exist"),
        (source, tmp_path / "out.doc", "ends in '.doc'"),
    ]
    for given, output, message in cases:
        done = adcvsr("upscale", given, output)
        assert done.returncode == 1
        assert done.stdout == ""
        assert done.stderr.startswith("error: ")
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mp4", "there.mp4"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folder_without_write_permission(make_video: VideoMaker, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    done = adcvsr("upscale", make_video(), locked / "out.mp4")
    assert done.returncode == 1
    assert "not writable" in done.stderr


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder nobody can write to")
def test_folder_nobody_can_write_to(make_video: VideoMaker) -> None:
    done = adcvsr("upscale", make_video(), "/proc/out.mp4")
    assert done.returncode == 1
    assert "/proc" in done.stderr
    assert "writ" in done.stderr
    assert done.stderr.count("\n") == 1


def test_missing_extra_names_the_command(
    make_video: VideoMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = "raise ModuleNotFoundError('not here', name='onnxruntime')"
    (tmp_path / "onnxruntime.py").write_text(missing)
    done = adcvsr("upscale", make_video(), tmp_path / "out.mp4", PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert "pip install 'adcvsr[cpu]'" in done.stderr
    assert not (tmp_path / "out.mp4").exists()


def test_unknown_model(make_video: VideoMaker, tmp_path: Path) -> None:
    done = adcvsr("upscale", make_video(), tmp_path / "out.mp4", "--model", "nanoo")
    assert done.returncode == 1
    assert "did you mean 'nano'" in done.stderr


@pytest.mark.parametrize("arguments", [("upscale",), ("upscale", "a", "b", "--crf", "x"), ("up",)])
def test_usage_errors_exit_2(arguments: tuple[str, ...]) -> None:
    assert adcvsr(*arguments).returncode == 2


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    done = adcvsr("upscale", tmp_path / "none.mp4", tmp_path / "out.mp4", ADCVSR_DEBUG="1")
    assert "Traceback" in done.stderr


@pytest.fixture(scope="module")
def long_video(make_once: MakeOnce) -> Path:
    """400 frames: nobody has upscaled them before a test of interrupts sends its signal."""
    drawn = draw_clip(50, 180, 320)
    folder = make_once("long", lambda f: write_clip(f / "in.mp4", islice(cycle(drawn), 400)))
    return folder / "in.mp4"


@pytest.mark.parametrize(
    "number",
    [signal.SIGINT, signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.slow)],
)
def test_interrupt_exits_130_and_leaves_nothing(
    long_video: Path, tmp_path: Path, number: signal.Signals
) -> None:
    source = tmp_path / "in.mp4"
    shutil.copyfile(long_video, source)
    command = [sys.executable, "-m", "adcvsr", "upscale", str(source), str(tmp_path / "out.mp4")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            deadline = time.monotonic() + 60
            while not list(tmp_path.glob(".*.part.mp4")):
                assert time.monotonic() < deadline
                assert process.poll() is None
                time.sleep(0.05)
            time.sleep(0.5)
            process.send_signal(number)
            if number == signal.SIGINT:  # users press twice; the second must not cut it short
                time.sleep(0.03)
                process.send_signal(number)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert errors.strip() == "interrupted"
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]


def test_models() -> None:
    listed = json.loads(started("models", "--json").stdout)["models"]
    nano = next(row for row in listed if row["name"] == "nano")
    assert nano["preset"] == "nano"
    assert nano["parameters"] == 26_496
    assert Path(nano["path"]).is_dir()
    assert "fp32-onnx" in nano["variants"]
    assert "nano" in adcvsr("models").stdout


def test_demo(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = adcvsr("demo", "-o", tmp_path / "demo")
    assert done.returncode == 0, done.stderr
    names = ["input.mp4", "side_by_side.mp4", "side_by_side.png", "upscaled.mp4"]
    assert sorted(p.name for p in (tmp_path / "demo").iterdir()) == names
    facts = video_facts(tmp_path / "demo" / "upscaled.mp4")
    assert facts.size == (640, 384)
    assert len(facts.times) == 50
    picture = read_image(tmp_path / "demo" / "side_by_side.png")
    assert picture.shape == (384, 1280, 3)
    middle = next(read_clip(tmp_path / "demo" / "side_by_side.mp4", start=25))
    assert abs(middle.astype(int) - picture).mean() < 4
    bicubic, ours = (float(part.split()[1]) for part in _figures(done.stdout))
    assert ours > bicubic
    again = adcvsr("demo", "-o", tmp_path / "demo")
    assert again.returncode == 1
    assert "--overwrite" in again.stderr
    monkeypatch.setattr(demo, "FRAMES", 3)  # again, and in this process: what it says of it
    capsys.readouterr()
    arguments = ["demo", "-o", str(tmp_path / "demo"), "--overwrite", "--json", "-q"]
    cli(arguments, standalone_mode=False)
    printed = capsys.readouterr()
    assert printed.err == ""
    facts_json = json.loads(printed.out)
    assert len(video_facts(tmp_path / "demo" / "upscaled.mp4").times) == 3
    assert facts_json["files"]["picture"] == str(tmp_path / "demo" / "side_by_side.png")
    assert facts_json["psnr_upscaled"] > facts_json["psnr_bicubic"]


def _figures(text: str) -> list[str]:
    line = next(line for line in text.splitlines() if "PSNR-Y" in line)
    return line.split("truth: ")[1].split(", ")


def test_demo_touches_nothing_that_is_there(tmp_path: Path) -> None:
    mine = tmp_path / "input.mp4"
    mine.write_text("precious")
    done = adcvsr("demo", "-o", tmp_path)
    assert done.returncode == 1
    assert "holds input.mp4; pass --overwrite" in done.stderr
    assert mine.read_text() == "precious"
    assert [p.name for p in tmp_path.iterdir()] == ["input.mp4"]
    assert adcvsr("demo", "-o", mine / "sub").returncode == 1


@pytest.mark.usefixtures("few_colours")  # a few steps make no picture
def test_train_and_export_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    write_png(images / "a.png", draw_clip(1, 192, 256)[0])
    config = tmp_path / "tiny.toml"
    config.write_text('network = "nano"\nbatch = 2\n[data]\nframes = 2\npatch_px = 8\n')
    stage_1 = tmp_path / "stage_1.toml"
    stage_1.write_text(f"feature_weight = 0.0\n{config.read_text()}")
    run = tmp_path / "run"

    def called(*arguments: object) -> tuple[str, str]:
        """In this process: the program's start is shown above, and costs more than most work."""
        capsys.readouterr()
        cli([*map(str, arguments)], standalone_mode=False)
        printed = capsys.readouterr()
        return printed.out, printed.err

    out, _ = called(
        *("train", "pretrain", "--config", config, "--images", images),
        *("-o", run, "--max-steps", 5),
    )
    assert out.strip() == str(run / "checkpoint.safetensors")
    first, run = run, tmp_path / "distilled"

    out, err = called(
        *("train", "distill", "--config", stage_1, "--images", images, "-o", run),
        *("--start-from", first / "checkpoint.safetensors", "--teacher", "truth"),
        *("--dists", "none", "--max-steps", 2, "--json"),
    )
    assert json.loads(out) == {"checkpoint": str(run / "checkpoint.safetensors")}
    assert "without DISTS" in err
    card = tmp_path / "card.md"
    card.write_text("# Card\n")
    bundle = tmp_path / "bundle"
    command = ("export", run / "checkpoint.safetensors", "-o", bundle, "--card", card)
    assert "parity over 16 frames" in called(*command)[0]
    (bundle / "model_card.md").unlink()
    from adcvsr.export import bundle_writer  # torch
    from adcvsr.export.graphs.variant_files import VariantFiles

    def traced_before(network: object, folder: Path, variant_id: str) -> VariantFiles:
        shutil.copyfile(bundle / "fp32-onnx.onnx", folder / "fp32-onnx.onnx")
        return VariantFiles(folder, variant_id, "stream")

    monkeypatch.setattr(bundle_writer, "write_graphs", traced_before)  # the same network
    out, err = called(*command, "--json", "--overwrite")
    assert json.loads(out)["variants"] == ["fp32-onnx"]
    assert "parity over 16 frames" in err
    assert (bundle / "model_card.md").read_text() == "# Card\n"
    write_png(tmp_path / "b.png", draw_clip(1, 64, 64)[0])
    assert "psnr" in called("evaluate", tmp_path / "b.png", "--model", bundle)[0].lower()
    with pytest.raises(TrainingDataError, match="no data folder given"):
        called("train", "pretrain", "--config", config, "-o", tmp_path / "run2")


def test_an_output_nobody_named(make_video: VideoMaker, tmp_path: Path) -> None:
    """`upscale in.mp4` says where the result will be; a pattern names no place."""
    source = make_video()
    done = adcvsr("upscale", source)
    assert done.returncode == 0, done.stderr
    assert f"note: no OUTPUT was named: it will be '{tmp_path / 'in_x4.mp4'}'" in done.stderr
    assert video_facts(tmp_path / "in_x4.mp4").size == (128, 96)
    again = adcvsr("upscale", source)
    assert again.returncode == 1
    assert "pass --overwrite" in again.stderr
    done = adcvsr("upscale", tmp_path / "*.mp4")
    assert done.returncode == 1
    assert "several files" in done.stderr
    (tmp_path / "in_x4.mp4").unlink()
    folder = tmp_path / "clips"
    folder.mkdir()
    source.rename(folder / "a.mov")
    done = adcvsr("upscale", folder, "-q", "--json")
    assert done.stderr == ""
    assert json.loads(done.stdout)["files"][0]["output"] == str(tmp_path / "clips_x4" / "a.mov")


def test_a_precision_names_its_variant(make_video: VideoMaker, tmp_path: Path) -> None:
    done = adcvsr("upscale", make_video(), tmp_path / "o.mp4", "--variant", "int8", "--json")
    assert json.loads(done.stdout)["variant"] == "int8-ort"
    done = adcvsr("upscale", make_video(), tmp_path / "p.mp4", "--variant", "int4")
    assert done.returncode == 1
    assert "has no variant 'int4'; it has: fp16-trt" in done.stderr


def test_quiet_is_silent(make_video: VideoMaker, tmp_path: Path) -> None:
    done = adcvsr("upscale", make_video(), tmp_path / "o.mp4", "-q")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = adcvsr("-q", "upscale", tmp_path / "none.mp4", tmp_path / "p.mp4")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")


def test_models_say_what_they_are_for() -> None:
    rows = json.loads(adcvsr("models", "--json").stdout)["models"]
    taken = {row["name"]: row["default_of"] for row in rows}
    assert taken["nano-restore"] == ["upscale"]
    assert taken["nano-camera"] == ["live"]
    assert taken["nano"] == []
    assert all(row["purpose"] for row in rows)
    text = " ".join(adcvsr("models").stdout.split())
    assert "one that --model auto of upscale takes" in text
    assert "for clean input and for what cameras give alike" in text
