"""`adcvsr train STAGE`: the stages of the training recipe."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click

from ..errors import AdcVsrError, TrainingProcessError
from ..system_errors import system_message
from ._group import CommandGroup
from ._progress import training_progress
from ._say import done, print_json, say
from ._train_cache import cache_teacher
from ._train_options import FOLDER, TEACHER_FIELDS, loss_options, run_options, start_option
from ._train_show_data import show_data

efficientnet_option = click.option(
    "--efficientnet", type=FOLDER, help="Weights of EfficientNet-Lite0, on small machines."
)


@click.group(cls=CommandGroup)
def command() -> None:
    """Train a student: pretrain, then distill, then adversarial; qat for INT8.

    A schedule ends by steps or by minutes, whichever comes first, and always with a checkpoint.
    Ctrl-C finishes the step, saves, and says how to go on. Several GPUs: torchrun
    --nproc-per-node 8 -m adcvsr train ...
    """


@command.command(short_help="Train by pixel loss on clips and images.")
@run_options
@start_option
def pretrain(**options: Any) -> None:
    """Train on clips and images by pixel loss, from an interpolation or a checkpoint."""
    from ._torch import require_train

    require_train()
    from ..train.pretrain import pretrain as stage
    from ..train.settings import PretrainSettings

    _run("pretrain", stage, PretrainSettings, options)


@command.command()
@run_options
@start_option
@loss_options
@efficientnet_option
def distill(
    dists: str,
    vae: Path | None,
    half_decoder: Path | None,
    efficientnet: Path | None,
    **options: Any,
) -> None:
    """Stage 1: become like a teacher in pixels and in features."""
    from ._torch import require_train

    require_train()
    from ..train.distill import LossWeights
    from ..train.distill import distill as stage
    from ..train.settings import DistillSettings

    options["weights"] = LossWeights(
        dists=_path(dists), vae=vae, half_decoder=half_decoder, efficientnet=efficientnet
    )
    _run("distill", stage, DistillSettings, options)


@command.command(short_help="Stage 2: also fool two discriminators.")
@run_options
@click.option(
    "--start-from",
    "start",
    required=True,
    type=FOLDER,
    help="Stage 1's checkpoint, or the name of one of the package.",
)
@loss_options
@click.option("--convnext", type=FOLDER, help="Weights of an OpenCLIP ConvNeXt.")
@efficientnet_option
def adversarial(
    dists: str,
    vae: Path | None,
    half_decoder: Path | None,
    convnext: Path | None,
    efficientnet: Path | None,
    **options: Any,
) -> None:
    """Stage 2: also fool two discriminators of detail and consistency."""
    from ._torch import require_train

    require_train()
    from ..train.adversarial import AdversarialWeights
    from ..train.adversarial import adversarial as stage
    from ..train.settings import AdversarialSettings

    options["weights"] = AdversarialWeights(
        dists=_path(dists),
        vae=vae,
        half_decoder=half_decoder,
        convnext=convnext,
        efficientnet=efficientnet,
    )
    _run("adversarial", stage, AdversarialSettings, options)


@command.command(short_help="Lose less by INT8 on CPUs.")
@run_options
@click.option(
    "--start-from",
    "start",
    required=True,
    type=FOLDER,
    help="The student's checkpoint, or the name of one of the package.",
)
@click.option(
    "--rounded-as",
    required=True,
    metavar="NAME|BUNDLE",
    help="A bundle of it with int8-ort, whose rounding it is trained with.",
)
def qat(rounded_as: str, **options: Any) -> None:
    """Lose less by INT8 on CPUs: train with its rounding (quantization-aware training).

    The student stays what it is in float. Export and quantize it again afterwards.
    """
    from ._torch import require_train

    require_train()
    from ..bundle import open_bundle
    from ..train.qat import qat as stage
    from ..train.settings import QatSettings

    options["rounded_as"] = open_bundle(rounded_as)
    _run("qat", stage, QatSettings, options)


def _run(label: str, stage: Callable[..., Path], kind: type[Any], options: dict[str, Any]) -> None:
    """Read the recipe, run the stage; with several processes the first one speaks."""
    from ..train.initial_weights import find_start
    from ..train.settings import read_settings
    from ..train.validation import ValidationData

    as_json = options.pop("as_json")
    folders, dists = options.pop("validate"), options.pop("validate_dists")
    if dists and not folders:
        raise click.UsageError("--validate-dists needs --validate: what is measured")
    options["validation"] = ValidationData(folders, dists) if folders else None
    if options["start"] is not None:
        options["start"] = find_start(options["start"])
    lengths = {name: options.pop(name) for name in ("max_minutes", "max_steps")}
    if lengths["max_steps"] is not None and lengths["max_minutes"] is None:
        # Else the recipe's minutes would still shape the schedule, and no two runs be the same.
        lengths["max_minutes"] = 0.0
    settings = dataclasses.replace(
        read_settings(options.pop("config"), kind),
        **{name: value for name, value in lengths.items() if value is not None},
    )
    if "teacher" in options:
        from ..train.teachers import TeacherSettings, open_teacher

        given = {name: options.pop(option) for option, name in TEACHER_FIELDS.items()}
        teacher = TeacherSettings(**given)
        options["teacher"] = partial(open_teacher, teacher)
        options["cache"] = Path(teacher.weights) if teacher.kind == "cache" else None
    first = os.environ.get("RANK", "0") == "0"  # set by torchrun and accelerate launch
    shown = training_progress(label) if first else contextlib.nullcontext(lambda *_: None)
    with shown as progress, _told_to_torchrun():
        path = stage(
            settings,
            options.pop("output"),
            report=say,
            progress=progress,
            **options,
        )
    if first and as_json:
        print_json({"checkpoint": str(path)})
    elif first:
        done(f"{path}")


@contextlib.contextmanager
def _told_to_torchrun() -> Iterator[None]:
    """Hand an error to the program that started this process, which else names none.

    torchrun ends with a report of its own, long after our line; the file it asks for puts the line
    into that report.
    """
    try:
        yield
    except TrainingProcessError:
        raise  # the process that ended has told its own
    except (AdcVsrError, OSError, MemoryError) as error:
        place = os.environ.get("TORCHELASTIC_ERROR_FILE")
        if place:
            said = str(error) if isinstance(error, AdcVsrError) else system_message(error)
            told = {"message": f"error: {said}", "timestamp": str(int(time.time()))}
            told["py_callstack"] = told["message"]
            report = {"message": {"message": told.pop("message"), "extraInfo": told}}
            with contextlib.suppress(OSError):
                Path(place).write_text(json.dumps(report), encoding="utf-8")
        raise


def _path(value: str) -> Path | None:
    return None if value == "none" else Path(value)


command.add_command(show_data)
command.add_command(cache_teacher)
