"""What a student that restores is trained with: later frames, validation, another's weights."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from adcvsr.bundle import open_bundle
from adcvsr.cli.train import _told_to_torchrun
from adcvsr.config import AdcVsrConfig
from adcvsr.errors import CheckpointError, ConfigError
from adcvsr.model import AdcVsr, load_checkpoint, save_checkpoint
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.runtime.processing.backends import create_processor, create_session
from adcvsr.train import run as running
from adcvsr.train.degradation import PRESETS
from adcvsr.train.distill import LossWeights, Wanted, compare, distill, want, weights_of
from adcvsr.train.initial_weights import CHECKPOINT_FOLDER, find_start, open_start
from adcvsr.train.settings import DistillSettings, PretrainSettings, read_settings
from adcvsr.train.teachers import GroundTruth, TeacherSettings, open_teacher
from adcvsr.train.teaching import with_areas_of
from adcvsr.train.validation import Validation, ValidationData, ValidationLog
from tiny_training import BLIND, LIGHT, QUICK, Folders, Watch

WIDE = dataclasses.replace(LIGHT, name="wide", temporal_side=3)
SETTINGS = DistillSettings(
    **QUICK,
    **BLIND,
    network=WIDE,
    batch=2,
    max_steps=3,
    learning_rate=1e-3,
    first_frame=1,
    pixel_weight=1.0,
    frame_difference_weight=0.5,
    checkpoint_minutes=1e-9,
)


class Licensed(GroundTruth):
    licences = ("BSD-3-Clause",)


def run(folders: Folders, output: Path, *, watch: Watch | None = None, **changes: Any) -> Path:
    watch = watch or Watch()
    stage = {key: changes.pop(key) for key in ("resume", "validation", "start") if key in changes}
    return distill(
        dataclasses.replace(SETTINGS, **changes),
        output,
        clips=[folders.clips],
        images=[folders.images],
        teacher=Licensed,
        weights=LossWeights(dists=None),
        report=watch.report,
        progress=watch.progress,
        **stage,
    )


def test_frames_before_the_first_count_for_nothing() -> None:
    truth = torch.rand(1, 4, 3, 8, 8) * 2 - 1
    shown = truth.clone()
    shown[:, :2] += 0.5
    terms = compare(shown, None, Wanted(truth, truth, 2), None, None)
    assert {name: float(term) for name, term in terms.items()} == dict.fromkeys(terms, 0.0)
    assert set(terms) == {"pixel", "truth", "chroma", "frame_difference"}
    terms = compare(shown, None, Wanted(truth, truth, 1), None, None)
    assert float(terms["pixel"]) == pytest.approx(0.5 / 3, rel=1e-5)
    assert float(terms["frame_difference"]) == pytest.approx(0.25, rel=1e-5)
    assert float(terms["chroma"]) == pytest.approx(0, abs=1e-6)  # brighter, of the same colour
    shown[:, 1, 0] += 0.5
    terms = compare(shown, None, Wanted(truth, truth, 1), None, None)
    assert float(terms["chroma"]) == pytest.approx(0.5 * (0.701 + 0.598) / 9, rel=1e-4)


def test_areas_that_are_off_in_the_mean_count_where_pixels_are_uncertain() -> None:
    truth = torch.zeros(1, 2, 3, 32, 32)
    truth[..., ::4] = 0.4  # a quarter of the pixels; the median says 0, the mean 0.1
    shown = torch.zeros_like(truth)
    plain = compare(shown, None, want(SETTINGS, truth, truth), None, None)
    assert "area" not in plain
    settings = dataclasses.replace(SETTINGS, match_px=16, area_weight=1.0)
    terms = compare(shown, None, want(settings, truth, truth), None, None)
    assert float(terms["area"]) == pytest.approx(0.1)
    assert weights_of(settings)["area"] == settings.pixel_weight
    terms = compare(shown + 0.1, None, want(settings, truth, truth), None, None)
    assert float(terms["area"]) == pytest.approx(0, abs=1e-6)
    with pytest.raises(ConfigError, match="area_weight=1.0 with match_px=0"):
        dataclasses.replace(SETTINGS, area_weight=1.0)


def test_the_target_has_the_teachers_detail_and_the_truths_colours() -> None:
    truth = torch.rand(2, 3, 3, 16, 32) - 0.5
    teacher = (truth * 1.5 + torch.tensor([0.1, -0.05, 0.0]).view(3, 1, 1)).clamp(-1, 1)
    assert with_areas_of(teacher, truth, 0) is teacher
    matched = with_areas_of(teacher, truth, 8)
    # Of the whole picture the mean is the truth's, of each pixel the detail is the teacher's.
    means = [each.mean((3, 4)) for each in (teacher, truth, matched)]
    assert (means[2] - means[1]).abs().max() < 0.02 < (means[0] - means[1]).abs().max()
    flat = torch.zeros(1, 1, 3, 16, 16)
    off = with_areas_of(flat + 0.2, flat, 16)
    assert off.abs().max() < 1e-6
    step = flat.clone()
    step[..., ::2] = 0.1
    kept = with_areas_of(step + 0.2, flat, 16)
    assert torch.allclose(kept[..., ::2] - kept[..., 1::2], torch.full((1, 1, 3, 16, 8), 0.1))
    settings = dataclasses.replace(SETTINGS, match_px=16)
    assert torch.equal(want(settings, flat + 0.2, flat).teacher, off)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"match_px": 5}, "match_px=5 with data.patch_px=8, expected a divisor of 32"),
        ({"first_frame": 3}, "first_frame=3 with data.frames=3"),
        ({"first_frame": 2}, "from first_frame=2 on, expected 2 or more"),
        ({"truth_weight": -1.0}, "truth_weight=-1.0"),
    ],
)
def test_values_out_of_range(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(SETTINGS, **changes)


def test_a_run_measures_its_weights_keeps_the_best_and_goes_on(
    folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "VALIDATION_SHARE", 1.0)  # whenever weights are saved
    watch = Watch()
    run(folders, tmp_path, validation=ValidationData([folders.clips]), watch=watch)
    lines = [json.loads(line) for line in (tmp_path / "validation.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 3]
    assert {"psnr_y", "flicker", "sharpness", "warp", "state_psnr_y", "state_flicker"} <= set(
        lines[0]
    )
    assert lines[0]["warp"] > 0
    assert 0.1 < lines[0]["sharpness"] < 1.5
    assert 0 <= lines[0]["jump"] < 5
    assert 0 <= lines[0]["shift"] < 10
    best = max(lines, key=lambda line: line["psnr_y"])
    _, provenance = load_checkpoint(tmp_path / "best.safetensors")
    assert provenance["steps"] == best["step"]
    assert provenance["validation"]["psnr_y"] == pytest.approx(best["psnr_y"], abs=1e-4)
    assert provenance["licences"] == ["Apache-2.0", "BSD-3-Clause"]
    assert any("validation on 6 clips of 8 frames; bicubic: psnr_y" in line for line in watch.lines)

    # What an earlier leg measured stays, and a worse figure does not replace the best weights.
    settings = {"validation": ValidationData([folders.clips]), "resume": True}
    run(folders, tmp_path, max_steps=4, learning_rate=0.5, **settings)
    again = [json.loads(line) for line in (tmp_path / "validation.jsonl").read_text().splitlines()]
    assert again[: len(lines)] == lines
    assert again[-1]["step"] == 4


def test_figures_of_other_clips_or_measures_are_not_held_against_the_best(tmp_path: Path) -> None:
    """A measure added to a run was asked of figures without it; those of other clips counted."""
    lines: list[str] = []

    def open_log(best_by: str | None, **bicubic: float) -> ValidationLog:
        validation = SimpleNamespace(best_by=best_by, baseline=bicubic)
        return ValidationLog(tmp_path, step=9, validation=validation, report=lines.append)  # type: ignore[arg-type]

    open_log("psnr_y", psnr_y=30.0).add(1, {"psnr_y": 31.0, "warp": 2.0}, best=True)
    assert open_log("psnr_y", psnr_y=30.001).best == {"psnr_y": 31.0, "warp": 2.0}
    assert not lines
    assert open_log("psnr_y", psnr_y=29.0).best is None
    assert open_log("dists", psnr_y=30.0, dists=0.3).best is None
    assert (
        lines
        == ["measured otherwise until step 1: none of its weights counts as the best any more"] * 2
    )
    # Lines of 0.1 do not say what bicubic had.
    (tmp_path / "validation.jsonl").write_text('{"step": 2, "best": true, "psnr_y": 32.0}\n')
    assert open_log("psnr_y", psnr_y=30.0).best == {"psnr_y": 32.0}


def test_a_game_has_no_best_weights_without_dists(folders: Folders, tmp_path: Path) -> None:
    """PSNR-Y falls from the first step on: what it calls the best is the game hardly begun."""
    watch = Watch()
    data = ValidationData([folders.clips], best_by_psnr=False)
    run(folders, tmp_path, validation=data, watch=watch)
    assert any("no best.safetensors: a game lowers PSNR-Y" in line for line in watch.lines)
    assert (tmp_path / "validation.jsonl").is_file()
    assert not (tmp_path / "best.safetensors").exists()


def test_without_flow_a_line_says_why_there_is_no_warping_error(
    folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)  # importing it fails
    watch = Watch()
    run(folders, tmp_path, validation=ValidationData([folders.clips]), max_steps=1, watch=watch)
    assert any("no warping error: it needs OpenCV" in line for line in watch.lines)
    line = json.loads((tmp_path / "validation.jsonl").read_text().splitlines()[0])
    assert "warp" not in line
    assert line["psnr_y"] > 0


def test_what_a_run_starts_from_is_measured_first(
    folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "VALIDATION_SHARE", 1.0)
    start = save(tmp_path / "start.safetensors", WIDE)
    data = ValidationData([folders.clips])
    run(folders, tmp_path / "run", start=start, validation=data, max_steps=1, learning_rate=0.5)
    log = tmp_path / "run" / "validation.jsonl"
    before, *later = [json.loads(line) for line in log.read_text().splitlines()]
    assert before["step"] == 0
    assert before["best"]
    assert all(line["psnr_y"] < before["psnr_y"] for line in later)
    assert not any(line["best"] for line in later)
    _, provenance = load_checkpoint(tmp_path / "run" / "best.safetensors")
    assert provenance["steps"] == 0


def test_measuring_takes_a_tenth_of_a_run_and_never_keeps_it_from_training(
    folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A measurement longer than `checkpoint_minutes` made every later step a measured one."""
    now, measured, written, watch = [0.0], [], [], Watch()

    def clock() -> float:
        now[0] += 1e-3
        return now[0]

    def slowly(self: Validation, *_: object) -> dict[str, float]:
        measured.append(written[-1])
        now[0] += 3600
        return {"psnr_y": 30.0}

    def step(*_: object) -> None:
        now[0] += 60

    monkeypatch.setattr(running, "time", SimpleNamespace(monotonic=clock))
    monkeypatch.setattr(Validation, "measure", slowly)
    monkeypatch.setattr(running, "save_state", lambda *given: written.append(given[2].step))
    monkeypatch.setattr(watch, "progress", step)
    data = ValidationData([folders.clips])
    run(folders, tmp_path, validation=data, max_steps=8, checkpoint_minutes=2.5, watch=watch)
    assert written == [4, 7, 8]  # every three minutes of training, and at the end
    assert measured == [4, 8]  # an hour each: once, and at the end
    assert (tmp_path / "best.safetensors").is_file()


def test_a_run_told_to_stop_does_not_measure_first(
    folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch()

    def stop(state: Any, *_: float) -> None:
        if state.step == 1:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(watch, "progress", stop)
    rest = {"validation": ValidationData([folders.clips]), "checkpoint_minutes": 9.0}
    with pytest.raises(KeyboardInterrupt):
        run(folders, tmp_path, watch=watch, max_steps=9, **rest)
    assert (tmp_path / "trainer.pt").is_file()
    assert not (tmp_path / "validation.jsonl").exists()


def test_the_state_is_measured_against_the_same_weights_reset(
    folders: Folders, tmp_path: Path
) -> None:
    """A new network passes its state by, so resetting it changes nothing."""
    run(folders, tmp_path, learning_rate=0.0, validation=ValidationData([folders.clips]))
    line = json.loads((tmp_path / "validation.jsonl").read_text().splitlines()[0])
    assert line["state_psnr_y"] == pytest.approx(0, abs=1e-3)
    assert line["state_flicker"] == pytest.approx(1, abs=1e-3)


def save(path: Path, config: AdcVsrConfig) -> Path:
    torch.manual_seed(3)
    network = AdcVsr(config)
    network.start_as_interpolation()
    for parameter in network.parameters():
        parameter.data += 0.01 * torch.randn_like(parameter)
    save_checkpoint(path, network, provenance={})
    return path


def test_a_start_from_another_network_takes_what_fits(tmp_path: Path) -> None:
    narrow = save(tmp_path / "narrow.safetensors", LIGHT)
    lines: list[str] = []
    with pytest.raises(ConfigError, match="temporal_side=3 in the recipe.*start_partly = true"):
        open_start(SETTINGS, narrow, lines.append)
    partly = dataclasses.replace(SETTINGS, start_partly=True)
    started = open_start(partly, narrow, lines.append).network.eval()
    assert "tensors taken over, 1 of them enlarged" in lines[0]
    clip = torch.rand(1, 3, 3, 16, 16) * 2 - 1
    with torch.no_grad():
        found, expected = (net(clip)[0] for net in (started, load_checkpoint(narrow)[0]))
    assert (found - expected).abs().max() < 1e-5

    longer = dataclasses.replace(partly, network=dataclasses.replace(WIDE, down_blocks=(2,)))
    open_start(longer, narrow, lines.append)
    assert "new: unet.down_blocks.0.resnets.1.conv1.bias" in lines[1]


def test_a_start_by_name(tmp_path: Path) -> None:
    assert find_start(Path("nano")) == CHECKPOINT_FOLDER / "nano.safetensors"
    own = save(tmp_path / "own.safetensors", LIGHT)
    assert find_start(own) == own
    with pytest.raises(CheckpointError, match="no checkpoint 'nanno'.*or one of: nano"):
        find_start(Path("nanno"))
    bundle = open_bundle("nano").path
    with pytest.raises(CheckpointError, match="is not a checkpoint; it is a bundle, expected a"):
        find_start(bundle)


@torch.no_grad()
@pytest.mark.parametrize("name", ["nano", "nano-camera", "nano-restore", "small", "small-restore"])
def test_a_checkpoint_by_a_bundles_name_makes_its_pictures(name: str) -> None:
    network, _ = load_checkpoint(find_start(Path(name)))
    clip = draw_clip(2, 32, 40)
    with create_session(open_bundle(name), backend="ort-cpu", variant="fp32-onnx") as session:
        expected = [picture.copy() for picture in create_processor(session).clip(iter(clip))]
    low = torch.from_numpy(clip).permute(0, 3, 1, 2)[None].float() / 127.5 - 1
    levels = ((network(low)[0][0].clamp(-1, 1) + 1) * 127.5).permute(0, 2, 3, 1)
    assert (levels - torch.from_numpy(np.stack(expected))).abs().max() <= 1


def test_ctrl_c_saves_the_step_and_says_how_to_go_on(folders: Folders, tmp_path: Path) -> None:
    """The same weights in the end as without it."""

    class Interrupted(Watch):
        def progress(self, state: Any, loss: float, done: float) -> None:
            super().progress(state, loss, done)
            if state.step == 1:
                os.kill(os.getpid(), signal.SIGINT)

    before, watch = signal.getsignal(signal.SIGINT), Interrupted()
    with pytest.raises(KeyboardInterrupt):
        run(folders, tmp_path / "parts", watch=watch, checkpoint_minutes=5.0)
    assert signal.getsignal(signal.SIGINT) is before
    assert watch.losses == watch.losses[:2]
    assert any("stopping: the step is finished and saved" in line for line in watch.lines)
    assert "stopped at step 2" in watch.lines[-1]
    assert "--resume goes on from it" in watch.lines[-1]
    parts = run(folders, tmp_path / "parts", resume=True)
    whole = run(folders, tmp_path / "whole")
    expected = load_checkpoint(whole)[0].state_dict()
    for key, value in load_checkpoint(parts)[0].state_dict().items():
        assert torch.equal(value, expected[key]), key


def test_a_run_on_codecs_resumed_is_the_whole_run(folders: Folders, tmp_path: Path) -> None:
    web = {"degradation": dataclasses.replace(PRESETS["web"], clean_share=0.0)}
    whole = run(folders, tmp_path / "whole", **web)
    with pytest.raises(KeyboardInterrupt):
        run(folders, tmp_path / "parts", watch=Watch(stop_after=1), **web)
    parts = run(folders, tmp_path / "parts", resume=True, **web)
    expected = load_checkpoint(whole)[0].state_dict()
    for key, value in load_checkpoint(parts)[0].state_dict().items():
        assert torch.equal(value, expected[key]), key


def test_a_recipe_of_another_stage_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a recipe for 'pretrain', expected one for 'distill'"):
        read_settings("nano", DistillSettings)
    own = tmp_path / "own.toml"
    own.write_text('network = "nano"\ncompile = true\n')
    with pytest.raises(ConfigError, match="'compile' is a key of 'pretrain'; use it with"):
        read_settings(own, DistillSettings)
    assert read_settings(own, PretrainSettings).compile


def test_torchrun_is_told_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "error.json"
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(place))
    with pytest.raises(ConfigError), _told_to_torchrun():
        raise ConfigError("batch=0, expected more than 0")
    told = json.loads(place.read_text())["message"]
    assert told["message"] == "error: batch=0, expected more than 0"
    assert "batch=0" in told["extraInfo"]["py_callstack"]


def test_licences_of_a_student_teacher_pass_on(tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = tmp_path / "s.safetensors"
    save_checkpoint(path, AdcVsr(LIGHT), provenance={"licences": ["CC0-1.0"]})
    teacher = partial(open_teacher, TeacherSettings(kind="student", weights=str(path)))
    assert teacher().licences == ("CC0-1.0",)
