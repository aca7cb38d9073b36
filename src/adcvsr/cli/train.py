"""`adcvsr train STAGE`: the stages of the training recipe."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from ._progress import training_progress
from ._train_cache import cache_teacher


@click.group()
def command() -> None:
    """Train a student."""


@command.command()
@click.option(
    "--config", required=True, metavar="NAME|FILE", help="A shipped recipe (nano) or a TOML file."
)
@click.option(
    "--clips",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Folder of videos; may be repeated.",
)
@click.option(
    "--images",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Folder of images; may be repeated.",
)
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="Folder of the run."
)
@click.option("--max-minutes", type=click.FloatRange(0), help="Schedule length in minutes.")
@click.option("--max-steps", type=click.IntRange(1), help="Schedule length in steps.")
@click.option("--resume", is_flag=True, help="Continue the run in --output.")
def pretrain(
    config: str,
    clips: tuple[Path, ...],
    images: tuple[Path, ...],
    output: Path,
    max_minutes: float | None,
    max_steps: int | None,
    resume: bool,
) -> None:
    """Train a student on clips and images by pixel loss, from scratch or from where it stopped.

    The schedule ends by steps or by minutes, whichever comes first, and always with a checkpoint.
    Ctrl-C loses at most the minutes since the last one.
    """
    from ._torch import require_train

    require_train()
    from ..train.pretrain import pretrain as run
    from ..train.settings import read_settings

    settings = read_settings(config)
    if max_minutes is not None:
        settings = dataclasses.replace(settings, max_minutes=max_minutes)
    if max_steps is not None:
        settings = dataclasses.replace(settings, max_steps=max_steps)
    with training_progress("pretrain") as progress:
        path = run(
            settings,
            output,
            clips=clips,
            images=images,
            resume=resume,
            report=lambda line: click.echo(line, err=True),
            progress=progress,
        )
    click.echo(f"{path}")


command.add_command(cache_teacher)
