"""Training configurations: frozen dataclasses read from TOML, unknown keys refused by name."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from ..config import AdcVsrConfig, nearest, preset
from ..errors import ConfigError, missing_package
from .data import DataOptions
from .degradation import Degradation
from .degradation_presets import read_degradation
from .tables import fill_table

CONFIG_FOLDER = Path(__file__).parent / "configs"
"""Configs shipped with the package; `--config nano` means `nano.toml` here."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class PretrainSettings:
    """Everything that decides a pretraining run but its data folders and output."""

    network: AdcVsrConfig
    """The student, a preset's name in the file."""

    data: DataOptions = field(default_factory=DataOptions)
    """What training clips are cut from the folders."""

    degradation: Degradation = field(default_factory=Degradation)
    """How the input is made from the truth; clean bicubic where the file says nothing."""

    batch: int = 8
    """N, crops a step (and a process)."""

    workers: int = 0
    """Processes that prepare batches beside the training process; 0 for none."""

    max_steps: int = 100_000
    """The schedule's length in steps, unless minutes run out first."""

    max_minutes: float = 0.0
    """The schedule's length in minutes of training; 0 for no limit."""

    learning_rate: float = 1e-3
    """Adam's peak rate (betas 0.9 and 0.99); cosine decay to 1 % of it over the schedule."""

    warmup_steps: int = 200
    """Steps of linear warm-up."""

    gradient_clip: float = 1.0
    """Largest gradient norm."""

    ema_decay: float = 0.999
    """Decay a step of the weights' moving average, which is what is saved; 0 for none."""

    precision: Literal["no", "bf16", "fp16"] = "no"
    """Accelerate's mixed precision; on a CPU bf16 was slower than float32."""

    compile: bool = False
    """Compile the network with torch.compile: faster steps, needs a C compiler on a CPU."""

    seed: int = 0
    """Decides initial weights, degradations and crops."""

    checkpoint_minutes: float = 5.0
    """Minutes between saved checkpoints."""

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ConfigError: A value is out of range.
        """
        for name in ("batch", "max_steps", "checkpoint_minutes"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name}={getattr(self, name)}, expected more than 0")
        for name in ("workers", "max_minutes", "learning_rate", "warmup_steps"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name}={getattr(self, name)}, expected 0 or more")
        if not 0 <= self.ema_decay < 1:
            raise ConfigError(f"ema_decay={self.ema_decay}, expected 0 or more and less than 1")


def read_settings(source: str | Path) -> PretrainSettings:
    """Read a training config.

    Args:
        source: A TOML file, or the name of one shipped with the package.

    Raises:
        ConfigError: No such file, not TOML, an unknown key (the nearest valid one is named) or a
            value out of range.
    """
    path, values = _read_config(source)
    network = values.pop("network", None)
    if isinstance(network, str):
        values["network"] = preset(network)
    elif isinstance(network, dict):
        values["network"] = AdcVsrConfig.from_dict(network)
    else:
        raise ConfigError(f"'{path}': 'network' is missing; a preset's name or a table")
    values |= _data_tables(path, values)
    return _table(PretrainSettings, values, f"'{path}'")


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
    return DataSettings(**_data_tables(path, values), seed=int(values.get("seed", 0)))


def _data_tables(path: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    degradation = read_degradation(values.get("degradation", {}), f"'{path}' [degradation]")
    data = fill_table(DataOptions(), values.get("data", {}), f"'{path}' [data]")
    return {"data": data, "degradation": degradation}


def _read_config(source: str | Path) -> tuple[Path, dict[str, Any]]:
    path = Path(source)
    if not path.suffix:
        path = CONFIG_FOLDER / f"{source}.toml"
    if not path.is_file():
        shipped = ", ".join(sorted(p.stem for p in CONFIG_FOLDER.glob("*.toml")))
        raise ConfigError(f"no training config '{source}'; a TOML file or one of: {shipped}")
    return path, _read_toml(path)


def _table(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    fields = {f.name: f for f in dataclasses.fields(cast(Any, kind))}
    for key in values:
        if key not in fields:
            raise ConfigError(f"{where}: unknown key '{key}'{nearest(key, fields)}")
    try:
        return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
    except TypeError as error:
        raise ConfigError(f"{where}: {error}") from error


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        if sys.version_info >= (3, 11):
            import tomllib
        else:
            import tomli as tomllib
    except ImportError as error:
        raise missing_package("tomli", "train", "reading training configs") from error
    try:
        return cast("dict[str, Any]", tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"'{path}' is not valid TOML: {error}") from error
