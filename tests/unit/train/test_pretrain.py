"""Pretraining end to end at a tiny size: it learns, resumes bit for bit, and stops on NaN."""

from __future__ import annotations

import dataclasses
import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState

from adcvsr.config import PRESETS, AdcVsrConfig
from adcvsr.errors import (
    CheckpointError,
    ConfigError,
    OutputExistsError,
    OutputNotWritableError,
    TrainingDivergedError,
)
from adcvsr.model import AdcVsr, load_checkpoint
from adcvsr.pictures.clips import read_image
from adcvsr.train.data import ClipPairs, PairLoader
from adcvsr.train.degradation.codec import check_encoders
from adcvsr.train.degradation.presets import PRESETS as DEGRADATIONS
from adcvsr.train.losses import PIXEL_LOSSES, charbonnier
from adcvsr.train.pretrain import pretrain
from adcvsr.train.run_state import RunState
from adcvsr.train.schedule import rate_factor, share_done
from adcvsr.train.settings import (
    CONFIG_FOLDER,
    STAGES,
    AdversarialSettings,
    DistillSettings,
    PretrainSettings,
    StageSettings,
    read_settings,
)
from tiny_training import CLEAN, DATA, LIGHT, Folders, Watch

REPOSITORY = Path(__file__).resolve().parents[3]

SETTINGS = PretrainSettings(
    network=LIGHT,
    data=dataclasses.replace(DATA, frames=2),
    degradation=CLEAN,
    batch=4,
    max_steps=20,
    warmup_steps=2,
    checkpoint_minutes=1e-9,
)


def run(
    folders: Folders,
    output: Path,
    *,
    resume: bool = False,
    start: Path | None = None,
    watch: Watch | None = None,
    **changes: Any,
) -> Path:
    watch = watch or Watch()
    try:
        return pretrain(
            dataclasses.replace(SETTINGS, **changes),
            output,
            clips=[],
            images=[folders.images],
            start=start,
            resume=resume,
            report=watch.report,
            progress=watch.progress,
        )
    except KeyboardInterrupt:
        assert watch.stop_after
        return output / "checkpoint.safetensors"


def assert_same_weights(a: Path, b: Path, **tolerance: float) -> None:
    expected, found = (load_checkpoint(path)[0].state_dict() for path in (a, b))
    for key, value in expected.items():
        torch.testing.assert_close(
            found[key], value, **(tolerance or {"rtol": 0, "atol": 0}), msg=key
        )


def test_the_loss_falls(folders: Folders, tmp_path: Path) -> None:
    """On the same crops: the trained network against the interpolation it started as."""
    path = run(
        folders,
        tmp_path / "run",
        max_steps=80,
        learning_rate=3e-3,
        ema_decay=0.9,
        checkpoint_minutes=5.0,
    )
    trained, _ = load_checkpoint(path)
    start = AdcVsr(LIGHT)
    start.start_as_interpolation()
    pairs = ClipPairs([], [folders.images], SETTINGS.data, CLEAN, seed=0, report=lambda line: None)
    batch = next(PairLoader(pairs, batch=64))
    low, high = (clip.float() / 127.5 - 1 for clip in (batch.low, batch.high))
    with torch.no_grad():
        before, after = (float(charbonnier(net(low)[0], high)) for net in (start, trained))
    assert after < 0.93 * before


def test_resumed_equals_uninterrupted_bit_for_bit(folders: Folders, tmp_path: Path) -> None:
    """Stopped after step 11's checkpoint, then resumed."""
    watches = Watch(), Watch(stop_after=11), Watch()
    whole = run(folders, tmp_path / "whole", watch=watches[0])
    run(folders, tmp_path / "parts", watch=watches[1])
    parts = run(folders, tmp_path / "parts", resume=True, watch=watches[2])
    assert watches[1].losses[:11] + watches[2].losses == watches[0].losses
    assert_same_weights(whole, parts)


def test_a_checkpoint_names_the_folders_of_all_legs(folders: Folders, tmp_path: Path) -> None:
    """By name: what a licence asks is whose pictures, not where they lay."""
    further = tmp_path / "further"
    shutil.copytree(folders.images, further)
    run(folders, tmp_path / "run", max_steps=2)
    resumed = pretrain(
        dataclasses.replace(SETTINGS, max_steps=3),
        tmp_path / "run",
        clips=[folders.clips],
        images=[further],
        resume=True,
        report=lambda line: None,
        progress=lambda *_: None,
    )
    named = load_checkpoint(resumed)[1]["recipe"]["trained_on"]
    assert named == {folders.images.name: 2, folders.clips.name: 1, "further": 2}


def test_of_many_folders_the_fullest_are_named(
    folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adcvsr.train.data.sources.MOST_FOLDERS", 1)
    picture = next(folders.images.iterdir())
    for name in ("a/0.png", "a/1.png", "b/0.png", "c/0.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(picture, tmp_path / name)
    pairs = ClipPairs([], [tmp_path], SETTINGS.data, CLEAN, seed=0, report=lambda line: None)
    assert pairs.sources.trained_on() == {"a": 2, "in further folders": 2}


def test_what_lies_in_a_run(folders: Folders, tmp_path: Path) -> None:
    path = run(folders, tmp_path / "run", max_steps=3)
    network, provenance = load_checkpoint(path)
    assert network.config == LIGHT
    assert provenance["steps"] == 3
    assert provenance["recipe"]["stage"] == "pretrain"
    assert provenance["recipe"]["batch"] == 4
    assert provenance["recipe"]["trained_on"] == {folders.images.name: 2}
    # Three columns of 32 pixels (bicubic, student, truth), a row for each of two frames.
    assert read_image(tmp_path / "run" / "sample.png").shape == (64, 96, 3)
    assert {p.name for p in (tmp_path / "run").iterdir()} == {
        "checkpoint.safetensors",
        "sample.png",
        "tensorboard",
        "trainer.pt",
    }


def test_curves(folders: Folders, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    watch = Watch()
    run(folders, tmp_path / "run", max_steps=30, frame_difference_weight=0.5, watch=watch)
    curves = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert {"loss", "pixel", "frame_difference", "waiting_share"} <= set(curves.Tags()["scalars"])
    points = curves.Scalars("loss")
    assert [point.step for point in points] == [25, 30]
    assert points[0].value == pytest.approx(sum(watch.losses[:25]) / 25)
    assert "sample" in curves.Tags()["images"]


def test_without_tensorboard_a_line_says_so(
    folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    watch = Watch()
    run(folders, tmp_path / "run", max_steps=1, watch=watch)
    assert "no curves are written: the package 'tensorboard' is not installed" in watch.lines[-1]
    assert not (tmp_path / "run" / "tensorboard").exists()


def test_minutes_end_the_schedule(folders: Folders, tmp_path: Path) -> None:
    """With the learning rate at its lowest, not in the middle of the schedule."""
    watch = Watch()
    path = run(folders, tmp_path / "run", max_steps=10**6, max_minutes=0.03, watch=watch)
    assert 0 < len(watch.losses) < 10**5
    load_checkpoint(path)
    saved = torch.load(tmp_path / "run" / "trainer.pt", weights_only=True)
    assert saved["seconds"] >= 0.03 * 60
    rate = saved["parts"]["optimizer"]["param_groups"][0]["lr"]
    assert rate < 0.5 * SETTINGS.learning_rate


def test_accumulated_steps_equal_a_larger_batch(folders: Folders, tmp_path: Path) -> None:
    whole = run(folders, tmp_path / "whole", max_steps=4)
    parts = run(folders, tmp_path / "parts", max_steps=4, batch=1, accumulate=4)
    assert_same_weights(whole, parts, rtol=1e-4, atol=2e-6)


def test_starts_from_a_checkpoint(
    folders: Folders, tmp_path: Path, save_student: Callable[[AdcVsrConfig], Path]
) -> None:
    start = save_student(LIGHT)
    path = run(folders, tmp_path / "run", start=start, max_steps=1, learning_rate=0.0, network=None)
    assert_same_weights(path, start)
    _, provenance = load_checkpoint(path)
    assert provenance["licences"] == ["CC0-1.0"]
    assert len(provenance["recipe"]["sources"]["start"]["sha256"]) == 64
    with pytest.raises(ConfigError, match=r"another network .* down_blocks=\(4,\) in the recipe"):
        run(folders, tmp_path / "run2", start=start, network=PRESETS["nano"])
    with pytest.raises(ConfigError, match="'network' is missing in the recipe"):
        run(folders, tmp_path / "run2", network=None)
    with pytest.raises(CheckpointError, match="no file or folder"):
        run(folders, tmp_path / "run2", start=tmp_path / "none.safetensors")


def test_crops_that_do_not_fit(folders: Folders, tmp_path: Path) -> None:
    data = dataclasses.replace(SETTINGS.data, patch_px=24)
    wanted = "patch_px=24, expected a multiple of 16 for 'paper'"
    with torch.device("meta"), pytest.raises(ConfigError, match=wanted):
        run(folders, tmp_path / "run", network=PRESETS["paper"], data=data)


def test_bf16(folders: Folders, tmp_path: Path, fresh_accelerate: None) -> None:
    """Near float32, and not the same."""
    watches = Watch(), Watch()
    run(folders, tmp_path / "half", max_steps=2, precision="bf16", watch=watches[0])
    AcceleratorState._reset_state(reset_partial_state=True)
    run(folders, tmp_path / "full", max_steps=2, watch=watches[1])
    assert watches[0].losses == pytest.approx(watches[1].losses, rel=0.02)
    assert watches[0].losses != watches[1].losses


def test_fp16_without_a_gpu(folders: Folders, tmp_path: Path, fresh_accelerate: None) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ConfigError, match="precision='fp16' cannot be used on 'cpu'"):
        run(folders, tmp_path / "run", precision="fp16")


@pytest.fixture
def fresh_accelerate() -> Iterator[None]:
    """Accelerate fixes the precision once a process."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


class TestBadEnds:
    def test_not_a_number_stops_and_keeps_the_last_state(
        self, folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run(folders, tmp_path / "run", max_steps=5)
        before = (tmp_path / "run" / "trainer.pt").read_bytes()
        monkeypatch.setitem(PIXEL_LOSSES, "charbonnier", lambda a, b: (a - b).sum() * float("nan"))
        with pytest.raises(TrainingDivergedError, match="loss is nan at step 5"):
            run(folders, tmp_path / "run", resume=True)
        assert (tmp_path / "run" / "trainer.pt").read_bytes() == before

    def test_an_infinite_gradient_of_a_finite_loss(
        self, folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The root of zero: the weights would be lost one step before the loss shows it."""
        monkeypatch.setitem(PIXEL_LOSSES, "charbonnier", lambda a, b: ((a - a) ** 2).mean().sqrt())
        with pytest.raises(TrainingDivergedError, match="the gradient is nan at step 0"):
            run(folders, tmp_path / "run")

    def test_a_full_disk(self, folders: Folders, tmp_path: Path) -> None:
        """One error, and the files of the earlier checkpoint stay as they were."""
        run(folders, tmp_path / "run", max_steps=2)
        before = {p.name: p.read_bytes() for p in (tmp_path / "run").iterdir() if p.is_file()}
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
        try:
            with pytest.raises(OutputNotWritableError, match="File too large .* is kept"):
                run(folders, tmp_path / "run", resume=True)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        after = {p.name: p.read_bytes() for p in (tmp_path / "run").iterdir() if p.is_file()}
        assert after == before

    def test_a_run_is_not_overwritten(self, folders: Folders, tmp_path: Path) -> None:
        path = run(folders, tmp_path / "run", max_steps=2)
        before = path.read_bytes()
        with pytest.raises(OutputExistsError, match="pass --resume to continue it"):
            run(folders, tmp_path / "run", max_steps=3)
        assert path.read_bytes() == before

    def test_nothing_to_resume_and_another_network(self, folders: Folders, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match="nothing to resume"):
            run(folders, tmp_path / "run", resume=True)
        run(folders, tmp_path / "run", max_steps=2)
        with pytest.raises(CheckpointError, match="does not fit this config"):
            run(folders, tmp_path / "run", resume=True, network=PRESETS["nano"])
        (tmp_path / "run" / "trainer.pt").write_bytes(b"nothing")
        with pytest.raises(CheckpointError, match="does not fit this config"):
            run(folders, tmp_path / "run", resume=True)

    def test_a_changed_recipe_is_said(self, folders: Folders, tmp_path: Path) -> None:
        run(folders, tmp_path / "run", max_steps=2)
        watch = Watch()
        run(folders, tmp_path / "run", max_steps=3, resume=True, watch=watch)
        assert watch.lines[:2] == ["resumed at step 2", "resumed with max_steps=3, was 2"]


class TestSchedule:
    def settings(self, **changes: Any) -> StageSettings:
        return dataclasses.replace(SETTINGS, **{"warmup_steps": 10, **changes})

    def test_cosine(self) -> None:
        assert rate_factor(self.settings(), 0, 0.0) == pytest.approx(0.1)
        assert rate_factor(self.settings(), 10, 0.0) == pytest.approx(1.0)
        assert rate_factor(self.settings(), 99, 0.5) == pytest.approx(0.505)
        assert rate_factor(self.settings(), 99, 1.0) == pytest.approx(0.01)

    def test_halved_at_the_middle(self) -> None:
        settings = self.settings(schedule="halve")
        assert [rate_factor(settings, 99, done) for done in (0.0, 0.49, 0.5, 1.0)] == [
            1,
            1,
            0.5,
            0.5,
        ]

    def test_constant(self) -> None:
        assert rate_factor(self.settings(schedule="constant"), 99, 0.9) == 1

    def test_whichever_is_further(self) -> None:
        settings = self.settings(max_steps=100, max_minutes=10.0)
        assert share_done(settings, RunState(step=50, seconds=60)) == 0.5
        assert share_done(settings, RunState(step=50, seconds=480)) == 0.8


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # torch's compiler's own
def test_compiled_with_flat_clips_beside_the_batch(folders: Folders, tmp_path: Path) -> None:
    """Flat clips have another shape than the batch, which the compiler must take too."""
    checkpoint = run(folders, tmp_path / "run", compile=True, flat_weight=0.5, max_steps=2)
    assert load_checkpoint(checkpoint)[1]["recipe"]["compile"]


class TestSettings:
    def test_shipped_recipes_are_valid(self) -> None:
        clean = read_settings("nano", PretrainSettings)
        assert (clean.network, clean.degradation) == (PRESETS["nano"], DEGRADATIONS["bicubic"])
        for name, network, clean_share in (("nano-camera", "nano", 0.4), ("small", "small", 0.5)):
            mixed = read_settings(name, PretrainSettings)
            assert mixed.network == PRESETS[network]
            assert mixed.degradation == dataclasses.replace(
                DEGRADATIONS["camera"], clean_share=clean_share
            )
        paper = read_settings("paper-adversarial", AdversarialSettings)
        assert (paper.learning_rate, paper.discriminator_learning_rate) == (1e-5, 1e-7)
        assert (paper.pixel_weight, paper.feature_weight, paper.adversarial_weight) == (0.1, 1, 1)
        assert (paper.data.frames, paper.data.patch_px) == (25, 128)
        distilled = read_settings("paper-distill", DistillSettings)
        assert (distilled.learning_rate, distilled.max_steps) == (1e-4, 200_000)
        light = read_settings("nano-adversarial", AdversarialSettings)
        assert (light.pixel_backbone, light.feature_backbone) == ("small", "none")

    @pytest.mark.parametrize("path", sorted(CONFIG_FOLDER.glob("*.toml")), ids=lambda p: p.stem)
    def test_every_recipe_loads_by_name_fits_its_network_and_is_in_the_docs(
        self, path: Path
    ) -> None:
        name = next(
            (line.split('"')[1] for line in path.read_text().splitlines() if "stage =" in line),
            "pretrain",
        )
        (kind,) = [kind for kind, stage in STAGES.items() if stage == name]
        settings = read_settings(path.stem, kind)
        assert (settings.network is None) == (name == "qat")  # which takes any student
        for network in [settings.network] if settings.network else PRESETS.values():
            assert settings.data.patch_px % network.size_multiple == 0
        if settings.degradation.codec:
            check_encoders(settings.degradation.codec)
        rows = (REPOSITORY / "docs" / "training.md").read_text().splitlines()
        assert [row for row in rows if f"`{path.stem}`" in row and f"| `{name}`" in row]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ('network = "nano"\nbacth = 3', "unknown key 'bacth', did you mean 'batch'"),
            ('network = "nano"\n[data]\nframe = 3', "did you mean 'frames'"),
            ('network = "nanno"', "did you mean 'nano'"),
            ("network = 3", "network=3, expected a preset's name or a table"),
            ('network = "nano"\nbatch = 0', "batch=0, expected more than 0"),
            ('network = "nano"\nbatch = "many"', "a.toml' batch='many', expected whole number"),
            ("batch = 2.5", "batch=2.5, expected whole number"),
            ("compile = 1", "compile=1, expected true or false"),
            ("learning_rate = true", "learning_rate=True, expected number"),
            ("precision = 16", "precision=16, expected one of no, bf16, fp16"),
            ("data = 3", "data=3, expected a table"),
            ("network = ", "not valid TOML"),
            ('network = "nano"\n[degradation]\nclean_share = 3', "expected a share"),
            ('loss = "l3"', "loss='l3', expected one of charbonnier, l1, mse"),
            ('schedule = "linear"', "expected one of cosine, halve, constant"),
            ('stage = "distill"', "is a recipe for 'distill', expected one for 'pretrain'"),
            ("frame_difference_weight = 1\n[data]\nframes = 1", "expected 2 or more frames"),
        ],
    )
    def test_mistakes_are_named(self, tmp_path: Path, text: str, message: str) -> None:
        path = tmp_path / "a.toml"
        path.write_text(text)
        with pytest.raises(ConfigError, match=message):
            read_settings(path, PretrainSettings)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("pixel_weight = 0", "pixel_weight=0, expected more"),
            ("feature_weight = 0", "feature_backbone='student' with feature_weight=0"),
            ("[data]\nframes = 2", "data.frames=2, expected 3 or more"),
            ('pixel_backbone = "vgg"', "expected one of convnext, efficientnet, small"),
            ("dists_weight = -1", "dists_weight=-1, expected 0 or more"),
        ],
    )
    def test_mistakes_in_stage_2(self, tmp_path: Path, text: str, message: str) -> None:
        path = tmp_path / "a.toml"
        path.write_text(text)
        with pytest.raises(ConfigError, match=message):
            read_settings(path, AdversarialSettings)

    def test_no_such_recipe(self) -> None:
        with pytest.raises(ConfigError, match="no recipe 'huge'; .* nano"):
            read_settings("huge", PretrainSettings)
