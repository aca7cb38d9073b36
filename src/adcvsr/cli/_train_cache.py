"""`adcvsr train cache-teacher`: a teacher's outputs, computed once and kept losslessly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ._options import json_option
from ._progress import count_progress
from ._say import done, print_json, say

OWN = ("dove", "student", "ncnn", "truth")
FOREIGN = ("seedvr2", "dloral", "other")
FOLDER = click.Path(path_type=Path)


@click.command("cache-teacher", short_help="Keep a teacher's outputs, to train on.")
@click.option(
    "--teacher", required=True, type=click.Choice([*OWN, *FOREIGN]), help="Whose outputs."
)
@click.option(
    "--weights",
    default="",
    metavar="PATH|HUB_ID",
    help="dove: folder or hub id; student: file; ncnn: a model's name or .param file.",
)
@click.option(
    "--revision", default="", help="Commit of a hub id; for other programs: what makes the results."
)
@click.option(
    "--prompt-embedding", default="", metavar="FILE", help="dove: the stored empty prompt."
)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16", "float16"]),
    help="Precision [default: dove bfloat16, student float32].",
)
@click.option("--teacher-seed", default=0, show_default=True, help="dove: seed of the VAE's noise.")
@click.option("--tiling", is_flag=True, help="dove: VAE in tiles, for large frames.")
@click.option("--offload", is_flag=True, help="dove: weights in main memory; slow.")
@click.option(
    "--device", help="Where the teacher runs [default: cuda where there is one, else cpu]."
)
@click.option("--config", metavar="NAME|FILE", help="The recipe whose clips are taught.")
@click.option("--clips", multiple=True, type=FOLDER, help="Folder of videos; may be repeated.")
@click.option("--images", multiple=True, type=FOLDER, help="Folder of images; may be repeated.")
@click.option("--samples", type=click.IntRange(1), help="Samples in all [default: one epoch].")
@click.option(
    "--share",
    nargs=2,
    type=click.IntRange(1),
    default=(1, 1),
    metavar="K N",
    help="Do the K-th of N parts, one process each.",
)
@click.option("--export-inputs", type=FOLDER, help="Write what another program reads.")
@click.option("--import-from", type=FOLDER, help="Take what another program wrote.")
@click.option("-o", "--output", required=True, type=FOLDER, help="Folder of the cache.")
@json_option
def cache_teacher(teacher: str, output: Path, **options: Any) -> None:
    """Keep a teacher's outputs for a recipe's clips, to train on without the teacher.

    The same command continues where it was stopped. SeedVR2 and DLoRAL are programs of their own:
    --export-inputs writes what they read, --import-from takes what they wrote.
    """
    _check_usage(teacher, **options)
    from ._torch import require_train

    require_train()
    if options["import_from"]:
        _import(teacher, output, options)
    elif options["export_inputs"]:
        _export(teacher, output, options)
    else:
        _fill(teacher, output, options)


def _check_usage(
    teacher: str,
    *,
    export_inputs: Path | None,
    import_from: Path | None,
    config: str | None,
    share: tuple[int, int],
    revision: str,
    **_: Any,
) -> None:
    files = (export_inputs is not None) + (import_from is not None)
    if teacher in FOREIGN and files != 1:
        raise click.UsageError(f"--teacher {teacher} needs --export-inputs or --import-from")
    if teacher in OWN and files:
        raise click.UsageError(f"--teacher {teacher} runs here and exchanges no files")
    if teacher in FOREIGN and not revision:
        raise click.UsageError(
            f"--teacher {teacher} needs --revision: the weights and version that make the "
            "results, for example 3B@1a2b3c4; it becomes part of the cache's identity"
        )
    if config is None and import_from is None:
        raise click.UsageError("--config is missing")
    if share[0] > share[1]:
        raise click.UsageError(f"--share {share[0]} {share[1]}: there are only {share[1]} parts")


def _fill(teacher: str, output: Path, options: dict[str, Any]) -> None:
    import torch

    from ..train.teachers import TeacherSettings, open_teacher
    from ..train.teachers.fill_cache import fill_cache
    from ..train.teachers.store import open_cache

    settings = TeacherSettings(
        kind=teacher,  # type: ignore[arg-type]
        weights=options["weights"],
        revision=options["revision"],
        prompt_embedding=options["prompt_embedding"],
        dtype=options["dtype"] or "",
        seed=options["teacher_seed"],
        tiling=options["tiling"],
        offload=options["offload"],
    )
    best = "cuda" if torch.cuda.is_available() and teacher != "ncnn" else "cpu"
    device = options["device"] or best
    taught = open_teacher(settings, device)
    pairs, recipe, samples = _open_pairs(options)
    first, parts = options["share"]
    store = open_cache(
        output,
        teacher=taught.identity,
        recipe=recipe,
        samples=samples,
        part=f"-{first}of{parts}" if parts > 1 else "",
        licences=taught.licences,
        trained_on=pairs.trained_on(),
    )
    say(f"teacher {taught.identity} on {device}")
    with count_progress("cache-teacher", log=True) as count:
        fill_cache(
            store,
            pairs,
            taught,
            samples=samples,
            share=(first, parts),
            report=say,
            progress=lambda done, total: count(done, total, ""),
        )
    facts = {"path": str(output), "samples": len(store.entries)}
    _tell(options, facts, f"{output}: {len(store.entries)} samples")


def _export(teacher: str, output: Path, options: dict[str, Any]) -> None:
    from ..train.teachers.external import export_inputs
    from ..train.teachers.store import open_cache

    pairs, recipe, samples = _open_pairs(options)
    identity = f"{teacher}:revision={options['revision']}"
    store = open_cache(
        output,
        teacher=identity,
        recipe=recipe,
        samples=samples,
        trained_on=pairs.trained_on(),
    )
    with count_progress("export-inputs", log=True) as count:
        folders = export_inputs(
            store,
            pairs,
            options["export_inputs"],
            teacher,  # type: ignore[arg-type]
            samples=samples,
            report=say,
            progress=lambda done, total: count(done, total, ""),
        )
    facts = {"path": str(output), "folders": [str(each) for each in folders]}
    _tell(options, facts, *map(str, folders))


def _import(teacher: str, output: Path, options: dict[str, Any]) -> None:
    from ..train.teachers.external import import_results
    from ..train.teachers.store import CacheFolder, check_teacher

    store = CacheFolder(output)
    check_teacher(store, f"{teacher}:revision={options['revision']}")
    with count_progress("import-from", log=True) as count:
        found = import_results(
            store,
            options["import_from"],
            teacher,  # type: ignore[arg-type]
            report=say,
            progress=lambda done, total: count(done, total, ""),
        )
    facts = {"path": str(output), "taken": found, "samples": len(store.entries)}
    _tell(options, facts, f"{output}: {found} results taken, {len(store.entries)} samples")


def _tell(options: dict[str, Any], facts: dict[str, Any], *lines: str) -> None:
    if options["as_json"]:
        print_json(facts)
        return
    for line in lines:
        done(line)


def _open_pairs(options: dict[str, Any]) -> tuple[Any, dict[str, Any], int]:
    from ..train.teacher_clips import open_pairs

    pairs, recipe = open_pairs(options["config"], options["clips"], options["images"], say)
    return pairs, recipe, options["samples"] or len(pairs)
