"""Stages 1 and 2 end to end: what they learn, that they go on where they were, who they refuse."""

from __future__ import annotations

import dataclasses
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from adcvsr.config import AdcVsrConfig
from adcvsr.errors import CheckpointError, ConfigError, TrainingDataError
from adcvsr.model import load_checkpoint
from adcvsr.train.adversarial import AdversarialWeights, adversarial
from adcvsr.train.data import ClipPairs, PairLoader
from adcvsr.train.distill import LossWeights, distill
from adcvsr.train.settings import AdversarialSettings, DistillSettings, read_settings
from adcvsr.train.teachers import Teacher, TeacherSettings, open_teacher
from adcvsr.train.teachers.fill_cache import fill_cache
from adcvsr.train.teachers.store import open_cache
from adcvsr.train.validation import ValidationData
from tiny_configs import CLIP_UNET
from tiny_training import CLEAN, DATA, LIGHT, QUICK, Folders, Watch

SaveStudent = Callable[[AdcVsrConfig], Path]

COMMON: dict[str, Any] = {**QUICK, "batch": 2, "ema_decay": 0.0}
PUBLISHED = AdversarialSettings(**COMMON, max_steps=4)
LIGHT_STAGE_2 = AdversarialSettings(
    **COMMON,
    max_steps=6,
    feature_weight=0.0,
    pixel_backbone="small",
    feature_backbone="none",
    discriminator_learning_rate=1e-4,
    checkpoint_minutes=1e-9,
)


NO_WEIGHTS = AdversarialWeights(dists=None)


TRUTH = partial(open_teacher, TeacherSettings(kind="truth"))


class Sharpened(Teacher):
    """A teacher: bicubic x4 with its contrast raised, which a student can become like."""

    identity = "sharpened"

    def _teach(self, low: Tensor, high: Tensor | None) -> Tensor:
        assert 0 <= float(low.min()) <= float(low.max()) <= 1
        high = F.interpolate(low.flatten(0, 1), scale_factor=4, mode="bicubic")
        return (0.5 + 1.2 * (high - 0.5)).clamp(0, 1).unflatten(0, low.shape[:2])


def run_adversarial(
    folders: Folders,
    output: Path,
    start: Path,
    settings: AdversarialSettings = LIGHT_STAGE_2,
    *,
    weights: AdversarialWeights = NO_WEIGHTS,
    validation: ValidationData | None = None,
    resume: bool = False,
    watch: Watch | None = None,
    **changes: Any,
) -> Path:
    watch = watch or Watch()
    try:
        return adversarial(
            dataclasses.replace(settings, **changes),
            output,
            clips=[folders.clips],
            images=[folders.images],
            teacher=TRUTH,
            weights=weights,
            start=start,
            validation=validation,
            resume=resume,
            report=watch.report,
            progress=watch.progress,
        )
    except KeyboardInterrupt:
        return output / "checkpoint.safetensors"


def pixel_error(checkpoint: Path, folders: Folders) -> float:
    """Mean absolute error on 32 samples, the same for all."""
    network, _ = load_checkpoint(checkpoint)
    pairs = ClipPairs([folders.clips], [folders.images], DATA, CLEAN, seed=5, report=print)
    batch = next(PairLoader(pairs, batch=32))
    low, high = (clip.float() / 127.5 - 1 for clip in (batch.low, batch.high))
    with torch.no_grad():
        return float((network(low)[0] - high).abs().mean())


def assert_same_weights(a: Path, b: Path, **tolerance: float) -> None:
    expected, found = (load_checkpoint(path)[0].state_dict() for path in (a, b))
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, **(tolerance or {"rtol": 0, "atol": 0}))


@pytest.mark.slow
def test_the_published_stages(
    folders: Folders,
    tmp_path: Path,
    save_student: SaveStudent,
    vae_folder: Path,
    half_decoder: Path,
    convnext_file: Path,
    dists_folder: Path,
) -> None:
    """Not causal, with features: stage 1 comes near its teacher, stage 2 starts from stage 1.

    Stage 2 has every term of the published loss.
    """
    watch = Watch()
    weights = LossWeights(dists=None, vae=vae_folder, half_decoder=half_decoder)
    first = distill(
        DistillSettings(**COMMON, max_steps=25, learning_rate=3e-3, schedule="cosine"),
        tmp_path / "first",
        clips=[folders.clips],
        images=[folders.images],
        teacher=lambda device: Sharpened(),
        weights=weights,
        start=save_student(CLIP_UNET),
        report=watch.report,
        progress=watch.progress,
    )
    assert sum(watch.losses[-5:]) < 0.8 * sum(watch.losses[:5])
    _, provenance = load_checkpoint(first)
    assert provenance["recipe"]["teacher"] == "sharpened"
    assert set(provenance["recipe"]["sources"]) == {"start", "vae", "half_decoder"}

    judged = Watch()
    second = run_adversarial(
        folders,
        tmp_path / "second",
        first,
        PUBLISHED,
        weights=AdversarialWeights(
            dists=dists_folder, vae=vae_folder, half_decoder=half_decoder, convnext=convnext_file
        ),
        watch=judged,
        learning_rate=3e-3,
    )
    network, provenance = load_checkpoint(second)
    assert network.config == CLIP_UNET
    assert len(judged.losses) == 4
    assert not [line for line in judged.lines if line.startswith("without")]
    assert provenance["started_from"]["recipe"]["stage"] == "distill"
    assert provenance["licences"] == ["CC0-1.0"]
    before = load_checkpoint(first)[0].state_dict()
    changed = [k for k, v in network.state_dict().items() if not torch.equal(v, before[k])]
    assert any("temporal" in key for key in changed)
    assert any("decoder.up_blocks" in key for key in changed)


def test_a_light_student_learns_against_a_small_discriminator(
    folders: Folders, tmp_path: Path, save_student: SaveStudent
) -> None:
    """Causal, without features: the discriminators learn too, and every term is in the curves."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    start = save_student(LIGHT)
    path = run_adversarial(
        folders,
        tmp_path / "run",
        start,
        validation=ValidationData([folders.clips]),
        max_steps=30,
        learning_rate=3e-3,
        adversarial_weight=0.01,
        discriminator_learning_rate=1e-3,
        checkpoint_minutes=5.0,
    )
    assert pixel_error(path, folders) < 0.95 * pixel_error(start, folders)
    assert (tmp_path / "run" / "validation.jsonl").is_file()
    assert not (tmp_path / "run" / "best.safetensors").exists()  # PSNR-Y cannot tell it in a game
    curves = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    points = {tag: curves.Scalars(tag) for tag in curves.Tags()["scalars"]}
    kinds = ("student", "video", "shuffled", "still", "crops")
    assert {f"judge_pixel_{kind}" for kind in kinds} | {"fool_pixel", "pixel"} <= set(points)
    # Guessing costs log 2 a labelled head: 3/4 and 1/4 of it, over five kinds.
    assert points["discriminators"][-1].value < 3.4 * math.log(2)


def test_resumed_equals_uninterrupted(
    folders: Folders, tmp_path: Path, save_student: SaveStudent
) -> None:
    """Weights, both optimisers, discriminators, real samples; with accumulated gradients."""
    start, watches = save_student(LIGHT), (Watch(), Watch(stop_after=3), Watch())
    common: dict[str, Any] = {"batch": 1, "accumulate": 2, "max_steps": 5}
    whole = run_adversarial(folders, tmp_path / "a", start, watch=watches[0], **common)
    run_adversarial(folders, tmp_path / "b", start, watch=watches[1], **common)
    parts = run_adversarial(folders, tmp_path / "b", start, watch=watches[2], resume=True, **common)
    assert watches[1].losses[:3] + watches[2].losses == watches[0].losses
    assert_same_weights(whole, parts)
    states = [torch.load(tmp_path / n / "trainer.pt", weights_only=True)["parts"] for n in "ab"]
    for name, value in states[0]["discriminators"].items():
        assert torch.equal(states[1]["discriminators"][name], value)


def test_other_weights_cannot_resume(
    folders: Folders, tmp_path: Path, save_student: SaveStudent
) -> None:
    run_adversarial(folders, tmp_path / "a", save_student(LIGHT), max_steps=1)
    other = save_student(dataclasses.replace(LIGHT, name="other"))
    with pytest.raises(CheckpointError, match="was begun with sources .* resume with what"):
        run_adversarial(folders, tmp_path / "a", other, resume=True)


TOML = """
stage = "adversarial"
batch = {batch}
warmup_steps = 0
ema_decay = 0.5
schedule = "constant"
max_steps = {steps}
learning_rate = 1e-3
feature_weight = 0.0
pixel_backbone = "small"
feature_backbone = "none"
discriminator_learning_rate = 1e-4
checkpoint_minutes = 0.002

[data]
frames = 3
patch_px = 8
pan_px = 2
segments_per_clip = 2

[degradation]
clean_share = 1.0
"""


def command(folders: Folders, output: Path, start: Path, config: Path, *more: str) -> list[str]:
    return [
        *("-m", "adcvsr", "train", "adversarial", "--config", str(config), "-o", str(output)),
        *("--clips", str(folders.clips), "--images", str(folders.images)),
        *("--start-from", str(start), "--teacher", "truth", "--dists", "none", *more),
    ]


def environment() -> dict[str, str]:
    """Sums have the same order in every process only with as many threads."""
    return {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}


@pytest.mark.slow
def test_killed_and_resumed_equals_uninterrupted(
    folders: Folders, tmp_path: Path, save_student: SaveStudent
) -> None:
    """kill -9 wherever it meets the process, even while a checkpoint is written."""
    start, config = save_student(LIGHT), tmp_path / "tiny.toml"
    config.write_text(TOML.format(batch=2, steps=100_000))
    process = subprocess.Popen(
        [sys.executable, *command(folders, tmp_path / "parts", start, config)],
        env=environment(),
        stderr=subprocess.DEVNULL,
    )
    state = tmp_path / "parts" / "trainer.pt"
    deadline = time.monotonic() + 120
    while not state.is_file() and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    steps = torch.load(state, weights_only=True)["step"] + 3
    config.write_text(TOML.format(batch=2, steps=steps))
    settings = read_settings(config, AdversarialSettings)
    parts = run_adversarial(folders, tmp_path / "parts", start, settings, resume=True)
    whole = run_adversarial(folders, tmp_path / "whole", start, settings)
    assert_same_weights(whole, parts)


@pytest.mark.slow
def test_two_processes_equal_one_with_twice_the_batch(
    folders: Folders, tmp_path: Path, save_student: SaveStudent
) -> None:
    start = save_student(LIGHT)
    for processes, batch in ((1, 4), (2, 2)):
        config = tmp_path / f"{processes}.toml"
        config.write_text(TOML.format(batch=batch, steps=4))
        launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        done = subprocess.run(
            [
                sys.executable,
                *launch,
                *command(folders, tmp_path / f"{processes}", start, config),
            ],
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert f"{processes} process" in done.stderr
        assert done.stderr.count("device cpu") == 1
        assert done.stdout.count("checkpoint.safetensors") == 1
    one, two = (tmp_path / name / "checkpoint.safetensors" for name in "12")
    # A step of Adam moves a weight by up to the rate, 1e-3, whatever the gradient's size.
    assert_same_weights(one, two, rtol=0, atol=2e-5)


def test_distilled_from_a_larger_student_and_from_its_cache(
    folders: Folders, tmp_path: Path, save_student: SaveStudent
) -> None:
    """A larger student as the teacher, live and from its cache: both name it."""
    teacher = TeacherSettings(kind="student", weights=str(save_student(CLIP_UNET)))
    store = open_cache(
        tmp_path / "cache",
        teacher=open_teacher(teacher).identity,
        recipe={},
        samples=4,
        trained_on={folders.clips.name: 1},
    )
    crops = ClipPairs([folders.clips], [], DATA, CLEAN, seed=0, report=print)
    taught = open_teacher(teacher)
    fill_cache(store, crops, taught, samples=4, report=print, progress=lambda *_: None)
    cached = TeacherSettings(kind="cache", weights=str(tmp_path / "cache"))
    settings = DistillSettings(**COMMON, network=LIGHT, feature_weight=0.0, max_steps=2)
    paths = {}
    for name, wanted in (("live", teacher), ("cached", cached)):
        watch = Watch()
        paths[name] = distill(
            settings,
            tmp_path / name,
            clips=[folders.clips],
            images=[],
            teacher=partial(open_teacher, wanted),
            cache=tmp_path / "cache" if name == "cached" else None,
            weights=LossWeights(dists=None),
            report=watch.report,
            progress=watch.progress,
        )
        recipe = load_checkpoint(paths[name])[1]["recipe"]
        assert recipe["teacher"].startswith("student:name=tiny-vae,weights=")
        assert recipe["trained_on"] == {folders.clips.name: 1}
        assert len(watch.losses) == 2
    assert "4 cached clips of the teacher student" in "\n".join(watch.lines)


class TestRefusals:
    @pytest.mark.parametrize(
        ("changes", "weights", "message"),
        [
            ({"feature_weight": 1.0}, {}, "has no VAE decoder .* set feature_weight = 0"),
            ({}, {"vae": Path("x")}, "a VAE or half decoder is given, but .* feature_weight is 0"),
            ({"pixel_backbone": "convnext"}, {}, "needs the weights of an OpenCLIP ConvNeXt"),
            ({}, {"convnext": Path("x")}, "given by --convnext, but pixel_backbone='small'"),
            ({"dists_weight": 0.0}, {"dists": Path("x")}, "dists_weight is 0"),
        ],
    )
    def test_recipe_and_weights_contradict(
        self,
        folders: Folders,
        tmp_path: Path,
        save_student: SaveStudent,
        changes: dict[str, Any],
        weights: dict[str, Path],
        message: str,
    ) -> None:
        (tmp_path / "x").touch()
        given = AdversarialWeights(
            **{"dists": None, **{name: tmp_path / path for name, path in weights.items()}}
        )
        start = save_student(LIGHT)
        with pytest.raises(ConfigError, match=message):
            run_adversarial(folders, tmp_path / "a", start, weights=given, **changes)

    def test_a_vae_student_needs_the_feature_weights(
        self, folders: Folders, tmp_path: Path, save_student: SaveStudent
    ) -> None:
        with pytest.raises(ConfigError, match=r"needs .* VAE \(--vae\) and the half decoder"):
            run_adversarial(folders, tmp_path / "a", save_student(CLIP_UNET), PUBLISHED)

    def test_no_videos(self, folders: Folders, tmp_path: Path, save_student: SaveStudent) -> None:
        with pytest.raises(TrainingDataError, match=r"needs videos \(--clips\)"):
            adversarial(
                LIGHT_STAGE_2,
                tmp_path / "a",
                clips=[],
                images=[folders.images],
                teacher=TRUTH,
                weights=AdversarialWeights(dists=None),
                start=save_student(LIGHT),
                report=print,
                progress=Watch().progress,
            )
