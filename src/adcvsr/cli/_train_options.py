"""Options the training stages share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from ._options import json_option

FOLDER = click.Path(path_type=Path)

TEACHER_FIELDS = {
    "teacher": "kind",
    "teacher_weights": "weights",
    "revision": "revision",
    "prompt_embedding": "prompt_embedding",
    "dtype": "dtype",
    "teacher_seed": "seed",
    "tiling": "tiling",
    "offload": "offload",
}
"""Options of the teacher, and what the teacher's settings call them."""


def run_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add what every stage takes."""
    for option in reversed(
        (
            click.option(
                "--config", required=True, metavar="NAME|FILE", help="A recipe's name or TOML file."
            ),
            click.option(
                "--clips",
                multiple=True,
                type=FOLDER,
                help="Folder of videos, or a list of them (.txt, .csv); may be repeated.",
            ),
            click.option(
                "--images",
                multiple=True,
                type=FOLDER,
                help="Folder of images, or a list of them; may be repeated.",
            ),
            click.option("-o", "--output", required=True, type=FOLDER, help="Folder of the run."),
            click.option("--max-minutes", type=click.FloatRange(0), help="Schedule in minutes."),
            click.option("--max-steps", type=click.IntRange(1), help="Schedule in steps."),
            click.option("--resume", is_flag=True, help="Continue the run in --output."),
            click.option(
                "--validate",
                multiple=True,
                type=FOLDER,
                help="Folder of videos to measure the weights on whenever they are saved; may be "
                "repeated.",
            ),
            click.option(
                "--validate-dists",
                type=FOLDER,
                help="Weights of DISTS, for measuring alone: decides then which weights are best.",
            ),
            json_option,
        )
    ):
        function = option(function)
    return function


def loss_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add what stages 1 and 2 take."""
    for option in reversed(
        (
            click.option(
                "--teacher",
                required=True,
                type=click.Choice(["truth", "student", "ncnn", "dove", "cache"]),
                help="The teacher that the student imitates.",
            ),
            click.option(
                "--weights",
                "teacher_weights",
                default="",
                metavar="PATH|HUB_ID",
                help="dove: folder or hub id; student: checkpoint; ncnn: a model's name or .param "
                "file; cache: its folder.",
            ),
            click.option("--revision", default="", help="dove: commit of a hub id."),
            click.option(
                "--prompt-embedding", default="", metavar="FILE", help="dove: the empty prompt."
            ),
            click.option(
                "--dtype",
                type=click.Choice(["", "float32", "bfloat16", "float16"]),
                default="",
                metavar="[float32|bfloat16|float16]",
                help="The teacher's precision [default: dove bfloat16, student float32].",
            ),
            click.option("--teacher-seed", default=0, help="dove: seed of the VAE's noise."),
            click.option("--tiling", is_flag=True, help="dove: VAE in tiles, for large frames."),
            click.option("--offload", is_flag=True, help="dove: weights in main memory; slow."),
            click.option(
                "--dists",
                required=True,
                metavar="PATH|none",
                help="Weights of DISTS: a folder with VGG16's and its own; none leaves it out.",
            ),
            click.option("--vae", type=FOLDER, help="Stable Diffusion 2.1 (diffusers) or its vae."),
            click.option("--half-decoder", type=FOLDER, help="halfDecoder.ckpt, with --vae."),
        )
    ):
        function = option(function)
    return function


# Not `--start`: torchrun takes that for the beginning of its own --start-method.
start_option = click.option(
    "--start-from",
    "start",
    type=FOLDER,
    help="Checkpoint to start from, or the name of one of the package, such as nano.",
)
