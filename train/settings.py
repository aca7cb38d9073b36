"""Training configurations: frozen dataclasses read from TOML, unknown keys refused by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from ..config import SCALE, AdcVsrConfig, preset
from ..config_tables import fill_table
from ..errors import ConfigError
from ..reading import read_toml
from .cuts import SHIFT_PX
from .data import DataOptions
from .degradation import Degradation, read_degradation
from .samples import LABELS, LEAST_SHUFFLED, Heads, HeadWeights

CONFIG_FOLDER = Path(__file__).parent / "configs"
"""Configs shipped with the package; `--config nano` means `nano.toml` here."""

S = TypeVar("S", bound="StageSettings")


@dataclass(frozen=True, kw_only=True)
class StageSettings:
    """What every stage's recipe says; data folders, weights and output are not part of it."""

    network: AdcVsrConfig | None = None
    """The student, a preset's name in the file; None takes the one of the checkpoint it starts
    from."""

    data: DataOptions = field(default_factory=DataOptions)
    """What training clips are cut from the folders."""

    degradation: Degradation = field(default_factory=Degradation)
    """How the input is made from the truth; clean bicubic where the file says nothing."""

    batch: int = 8
    """N, clips a forward pass and process."""

    accumulate: int = 1
    """Forward passes whose gradients make one step; a step sees batch x accumulate x processes
    clips."""

    workers: int = 0
    """Processes that prepare batches beside the training process; 0 for none."""

    max_steps: int = 100_000
    """The schedule's length in steps, unless minutes run out first."""

    max_minutes: float = 0.0
    """The schedule's length in minutes of training; 0 for no limit."""

    learning_rate: float = 1e-3
    """Adam's peak rate (betas 0.9 and 0.99)."""

    schedule: Literal["cosine", "halve", "constant"] = "cosine"
    """`cosine` falls to 1 % of the peak at the schedule's end; `halve` halves it at the middle, as
    published; `constant` keeps it."""

    warmup_steps: int = 200
    """Steps of linear warm-up."""

    gradient_clip: float = 1.0
    """Largest gradient norm of the student and of the discriminators, each."""

    ema_decay: float = 0.999
    """Decay a step of the weights' moving average, which is what is saved; 0 for none."""

    precision: Literal["no", "bf16", "fp16"] = "no"
    """Accelerate's mixed precision; fp16 needs a GPU, on a CPU bf16 was slower than float32."""

    recompute: bool = False
    """Compute activations again in the backward pass instead of keeping them: more time, less
    memory, the same gradients."""

    seed: int = 0
    """Decides initial weights, degradations and crops."""

    first_frame: int = 0
    """First frame of a clip whose pixels count in the losses, from 0. Frames before it only fill
    the state; their pictures are never trained, so that a stream flashes wherever it is reset."""

    frame_difference_weight: float = 0.0
    """Weight of an L1 between the frame-to-frame differences of output and truth, which punishes
    flicker, a teacher's that sees frame by frame too; 0 for none."""

    flat_weight: float = 0.0
    """Weight of an L1 on flat clips of drawn colours, which photographs hardly hold, so that
    saturated colours stay what they are; 0 for none."""

    start_partly: bool = False
    """Take from the checkpoint of --start-from what fits, where its network is another one; a 1x1
    tap becomes the middle of a 3x3 one, and the rest starts as in a new network."""

    checkpoint_minutes: float = 5.0
    """Minutes between saved checkpoints."""

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ConfigError: A value is out of range or not one of the choices.
        """
        positive = ("batch", "accumulate", "max_steps", "checkpoint_minutes")
        for name in (*positive, "gradient_clip"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name}={getattr(self, name)}, expected more than 0")
        for name in (
            "workers",
            "max_minutes",
            "learning_rate",
            "warmup_steps",
            "first_frame",
            "frame_difference_weight",
            "flat_weight",
        ):
            self._not_negative(name)
        if self.first_frame >= self.data.frames:
            raise ConfigError(
                f"first_frame={self.first_frame} with data.frames={self.data.frames}, expected a "
                "frame of the clip, counted from 0"
            )
        if self.frame_difference_weight and self.data.frames - self.first_frame < 2:
            raise ConfigError(
                f"frame_difference_weight={self.frame_difference_weight} with data.frames="
                f"{self.data.frames} from first_frame={self.first_frame} on, expected 2 or more "
                "frames"
            )
        if not 0 <= self.ema_decay < 1:
            raise ConfigError(f"ema_decay={self.ema_decay}, expected 0 or more and less than 1")
        for name, kind in get_type_hints(type(self)).items():
            choices = get_args(kind) if get_origin(kind) is Literal else ()
            if choices and getattr(self, name) not in choices:
                raise ConfigError(
                    f"{name}={getattr(self, name)!r}, expected one of {', '.join(choices)}"
                )

    def _not_negative(self, name: str) -> None:
        if getattr(self, name) < 0:
            raise ConfigError(f"{name}={getattr(self, name)}, expected 0 or more")


@dataclass(frozen=True, kw_only=True)
class PretrainSettings(StageSettings):
    """Pixel loss against the truth, from scratch or from a checkpoint."""

    loss: Literal["charbonnier", "l1", "mse"] = "charbonnier"
    """Pixel loss. `mse` is what PSNR measures, the others are less led by single large errors."""

    compile: bool = False
    """Compile the network with torch.compile: faster steps, needs a C compiler on a CPU."""


@dataclass(frozen=True, kw_only=True)
class QatSettings(StageSettings):
    """Rounded as in INT8, be like the own float network; errors are squared levels here."""

    learning_rate: float = 1e-4
    """Adam's peak rate: the weights are to move little."""

    frame_difference_weight: float = 1.0
    """Weight of the squared error of frame-to-frame differences against the float network's, which
    where nothing moves are to be none."""

    flat_weight: float = 0.1
    """Weight of the squared error on flat clips of drawn colours against the float network's."""

    exact_every: int = 4
    """One step of so many rounds nothing, which keeps FP32 what it was; at least 2."""

    def __post_init__(self) -> None:
        """Check the numbers; see StageSettings."""
        super().__post_init__()
        if self.exact_every < 2:
            raise ConfigError(
                f"exact_every={self.exact_every}, expected 2 or more: else no step "
                "would round anything"
            )


@dataclass(frozen=True, kw_only=True)
class DistillSettings(StageSettings):
    """Stage 1 (arXiv 2603.00458, equations 1 to 3): be like the teacher, in pixels and features."""

    learning_rate: float = 1e-4
    """Adam's peak rate, as published."""

    schedule: Literal["cosine", "halve", "constant"] = "halve"
    """As published: halved after half of the steps."""

    max_steps: int = 200_000
    """As published."""

    pixel_weight: float = 0.1
    """lambda_pixel: weight of L1, DISTS and the pixel discriminator together."""

    truth_weight: float = 0.0
    """Weight of an L1 against the truth beside the L1 against the teacher, within lambda_pixel;
    the paper has none."""

    match_px: int = 0
    """Side in pixels of the output of the areas whose mean colour the target takes from the truth,
    not from the teacher; 0 for none. The crops' sides, four times data.patch_px, are multiples."""

    chroma_weight: float = 0.0
    """Weight of an L1 against the truth's colours, luma taken out, within lambda_pixel: against the
    coloured fringes of small networks; the paper has none."""

    area_weight: float = 0.0
    """Weight of an L1 between the mean colours of areas of match_px and the truth's, within
    lambda_pixel: against a brightness or colour that is off everywhere; the paper has none."""

    perceptual_weight: float = 0.0
    """Weight of the difference between what a frozen network sees in the student's frames and in
    the target's, within lambda_pixel; the paper has none. Stage 1 sees with EfficientNet-Lite0,
    whose weights must be given, stage 2 with its frozen pixel backbone."""

    perceptual_truth: float = 0.0
    """Weight of the same difference to the truth's frames, beside that to the target's."""

    perceptual_form: Literal["l1", "structure"] = "l1"
    """How what is seen is compared: by an L1, or by its patterns (`structure_error`), picture and
    maps alike."""

    perceptual_frames: int = 0
    """Frames of each clip that the frozen network sees, drawn anew in every step; 0 for all."""

    dists_weight: float = 1.0
    """Weight of DISTS beside the L1; where it is more than 0, weights or `none` must be given."""

    grey_share: float = 0.0
    """Share of a cache's clips that are made grey when they are read, input, truth and target
    alike, beside those that the degradation made grey: against coloured fringes on grey film."""

    feature_weight: float = 1.0
    """lambda_feature: weight of the L1 between mid-block features and of the feature discriminator
    together. It needs a student with a VAE decoder; 0 for the others."""

    def __post_init__(self) -> None:
        """Check the numbers; see StageSettings."""
        super().__post_init__()
        for name in (
            "pixel_weight",
            "truth_weight",
            "chroma_weight",
            "area_weight",
            "dists_weight",
            "feature_weight",
            "match_px",
            "perceptual_weight",
            "perceptual_truth",
            "perceptual_frames",
        ):
            self._not_negative(name)
        if not 0 <= self.grey_share <= 1:
            raise ConfigError(f"grey_share={self.grey_share}, expected a share in [0, 1]")
        if not self.perceptual_weight and (self.perceptual_truth or self.perceptual_frames):
            raise ConfigError(
                f"perceptual_truth={self.perceptual_truth:g}, perceptual_frames="
                f"{self.perceptual_frames} with perceptual_weight=0: nothing is seen; set it"
            )
        if self.perceptual_weight:
            _check_cut(self.data)
        if self.match_px and SCALE * self.data.patch_px % self.match_px:
            raise ConfigError(
                f"match_px={self.match_px} with data.patch_px={self.data.patch_px}, expected a "
                f"divisor of {SCALE * self.data.patch_px}, the side of the target"
            )
        if self.area_weight and not self.match_px:
            raise ConfigError(
                f"area_weight={self.area_weight} with match_px=0: areas of no size; set match_px"
            )
        if not self.pixel_weight and not self.feature_weight:
            raise ConfigError("pixel_weight and feature_weight are both 0: there is no loss")


@dataclass(frozen=True, kw_only=True)
class AdversarialSettings(DistillSettings):
    """Stage 2: stage 1's losses and two discriminators with two heads each (section 3.2)."""

    learning_rate: float = 1e-5
    """Adam's peak rate of the student, as published."""

    discriminator_learning_rate: float = 1e-7
    """Adam's rate of the discriminators, as published for frozen backbones; constant. The small
    trainable backbone needs more, 1e-4."""

    adversarial_weight: float = 1.0
    """lambda_adv: weight of each discriminator beside the L1 of its domain."""

    pixel_backbone: Literal["convnext", "efficientnet", "small"] = "convnext"
    """What the pixel discriminator sees with: a frozen OpenCLIP ConvNeXt or EfficientNet-Lite0,
    whose weights must be given, or a small convolutional network trained along."""

    kinds_a_step: int = 5
    """Kinds of clips the discriminators see in a step, in turn: all five as published, or 1 on a
    small machine, where they are most of a step's cost. Less than 5 for one process only."""

    cut_shown: bool = True
    """Whether frames are cut by 8 pixels at a drawn place before they are judged, against the grid
    of a shuffle; False as published."""

    heads: Heads = "both"
    """Heads that count: `detail` alone is a discriminator of frames, for comparison."""

    head_weights: HeadWeights = "maps"
    """How much a head counts when the discriminators learn: by its maps, 192 to 64, as it counts
    for the student, or `equal`, as equation 4 sums them."""

    feature_backbone: Literal["student", "none"] = "student"
    """What the feature discriminator sees with: a frozen copy of the starting student's UNet, or
    `none` for no feature discriminator (students without a VAE decoder)."""

    def __post_init__(self) -> None:
        """Check the numbers; see StageSettings."""
        super().__post_init__()
        for name in ("discriminator_learning_rate", "adversarial_weight"):
            self._not_negative(name)
        if self.perceptual_weight and self.pixel_backbone == "small":
            raise ConfigError(
                f"perceptual_weight={self.perceptual_weight} with pixel_backbone='small', whose "
                "maps change as it is trained; take a frozen one"
            )
        if self.cut_shown:
            _check_cut(self.data)
        if not 1 <= self.kinds_a_step <= len(LABELS):
            raise ConfigError(f"kinds_a_step={self.kinds_a_step}, expected 1 to {len(LABELS)}")
        if not self.pixel_weight:
            raise ConfigError("pixel_weight=0, expected more: the pixel discriminator needs it")
        if self.feature_backbone == "student" and not self.feature_weight:
            raise ConfigError(
                "feature_backbone='student' with feature_weight=0: the discriminator would have no "
                'part in the loss; set feature_backbone = "none"'
            )
        if self.data.frames < LEAST_SHUFFLED:
            raise ConfigError(
                f"data.frames={self.data.frames}, expected {LEAST_SHUFFLED} or more: shuffled "
                "frames are one of the discriminators' sample kinds"
            )


def _check_cut(data: DataOptions) -> None:
    if SCALE * data.patch_px < 2 * SHIFT_PX:
        raise ConfigError(
            f"data.patch_px={data.patch_px}, expected {2 * SHIFT_PX // SCALE} or more: frames are "
            f"cut by {SHIFT_PX} pixels of the output before a network looks at them"
        )


def read_settings(source: str | Path, kind: type[S]) -> S:
    """Read a training config.

    Args:
        source: A TOML file, or the name of one shipped with the package.
        kind: The stage's settings.

    Raises:
        ConfigError: No such file, not TOML, of another stage, an unknown key (the nearest valid one
            is named) or a value out of range.
    """
    path, values = _read_config(source)
    stage = values.pop("stage", STAGES[kind])
    if stage != STAGES[kind]:
        raise ConfigError(f"'{path}' is a recipe for '{stage}', expected one for '{STAGES[kind]}'")
    _check_stage(path, values, kind)
    parts = {**_data_tables(path, values), "network": _network(path, values)}
    rest = {key: value for key, value in values.items() if key not in parts}
    return fill_table(kind(), rest, f"'{path}'", **parts)


def _check_stage(path: Path, values: Mapping[str, Any], kind: type[StageSettings]) -> None:
    """Say of a recipe that names no stage which one its keys are of, where not this one.

    Raises:
        ConfigError: A key is another stage's.
    """
    for other, stage in STAGES.items():
        theirs = {field.name for field in dataclasses.fields(other)}
        ours = {field.name for field in dataclasses.fields(kind)}
        if foreign := sorted(values.keys() & (theirs - ours)):
            raise ConfigError(
                f"'{path}' is no recipe for '{STAGES[kind]}': '{foreign[0]}' is a key of "
                f"'{stage}'; use it with 'adcvsr train {stage}', or leave the key out"
            )


def _network(path: Path, values: Mapping[str, Any]) -> AdcVsrConfig | None:
    network = values.get("network")
    if isinstance(network, str):
        return preset(network)
    if isinstance(network, dict):
        return AdcVsrConfig.from_dict(network)
    if network is not None:
        raise ConfigError(f"'{path}': network={network!r}, expected a preset's name or a table")
    return None


STAGES: dict[type[StageSettings], str] = {
    PretrainSettings: "pretrain",
    DistillSettings: "distill",
    AdversarialSettings: "adversarial",
    QatSettings: "qat",
}
"""The stages' names, in their order: each may start from the checkpoint of the one before."""


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """The part of a training config that decides its samples, whatever the stage."""

    data: DataOptions
    """What training clips are cut from the folders."""

    degradation: Degradation
    """How the input is made from the truth."""

    seed: int = 0
    """Decides every draw."""


def read_data_settings(source: str | Path) -> DataSettings:
    """Read only what decides a training config's samples.

    Args:
        source: A TOML file, or the name of one shipped with the package.

    Raises:
        ConfigError: As `read_settings`, of the tables read.
    """
    path, values = _read_config(source)
    seed = {key: value for key, value in values.items() if key == "seed"}
    plain = DataSettings(data=DataOptions(), degradation=Degradation())
    return fill_table(plain, seed, f"'{path}'", **_data_tables(path, values))


def _data_tables(path: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    for name in ("data", "degradation"):
        if not isinstance(values.get(name, {}), Mapping):
            raise ConfigError(f"'{path}' {name}={values[name]!r}, expected a table")
    degradation = read_degradation(values.get("degradation", {}), f"'{path}' [degradation]")
    data = fill_table(DataOptions(), values.get("data", {}), f"'{path}' [data]")
    return {"data": data, "degradation": degradation}


def _read_config(source: str | Path) -> tuple[Path, dict[str, Any]]:
    path = Path(source)
    if not path.suffix:
        path = CONFIG_FOLDER / f"{source}.toml"
    if not path.is_file():
        shipped = ", ".join(sorted(p.stem for p in CONFIG_FOLDER.glob("*.toml")))
        raise ConfigError(f"no recipe '{source}'; expected a TOML file or one of: {shipped}")
    return path, read_toml(path, extra="train", purpose="reading training configs").mapping()
