"""`adcvsr job plan|work|status|join|verify DIR`: a long file in segments, on any machines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..counted import counted
from ..errors import ConfigError, JobError
from ._group import CommandGroup
from ._job_display import jobs_progress, watch_job
from ._options import json_option, read_output_size
from ._progress import frame_progress
from ._say import done, note, print_json
from ._students import file_model, of_strength
from ._upscale_options import (
    job_options,
    job_settings,
    ray_option,
    threads_option,
    upscale_options,
)
from ._upscale_runs import say_report

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..runtime.jobs.folder import Job
    from ..runtime.jobs.work import Progress

WATCH_S = 5.0
"""Between looks of `--watch`."""

folder_argument = click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))


@click.group(cls=CommandGroup)
def command() -> None:
    """Upscale a long file in segments that any process on any machine can make.

    DIR holds the plan, the finished segments and who is making which (docs/jobs.md): a folder that
    all machines see. The joined file has the same bits, no matter which machine made which
    segment.
    """


@command.command("plan")
@click.argument("source", metavar="INPUT")
@click.argument("output", metavar="OUTPUT", type=click.Path(path_type=Path))
@folder_argument
@upscale_options
@job_options
@click.option(
    "--scan",
    type=click.Choice(["auto", "packets", "frames"]),
    default="auto",
    show_default=True,
    help="Find INPUT's frames by its packets, or by decoding it: exact for damaged files too.",
)
@json_option
def plan_command(
    source: str,
    output: Path,
    folder: Path,
    model: str,
    segment_seconds: float,
    scan: str,
    equal_within: int,
    as_json: bool,
    **options: Any,
) -> None:
    """Plan in DIR how INPUT becomes OUTPUT.

    OUTPUT ends in mp4, mov or mkv; nothing is upscaled yet. INPUT may be in a store, such as
    s3://bucket/film.mkv.
    """
    from ..runtime.jobs.folder import Job
    from ..runtime.jobs.planning import make_plan
    from ..runtime.jobs.staging import is_stored

    if is_stored(str(output)):
        raise ConfigError(
            "OUTPUT is joined on a disk, and cannot be in a store: name a file, and copy it into "
            "the store afterwards"
        )
    settings = job_settings(
        source,
        output,
        file_model(of_strength(model, options["strength"]), [source], options),
        options,
        read_output_size(options),
        segment_seconds=segment_seconds,
        equal_within=equal_within,
    )
    mode: Any = scan
    Job.check_place(folder)
    plan = make_plan(settings, overwrite=options["overwrite"], mode=mode)
    job = Job.create(folder, plan)
    for line in plan.notes:
        note(line)
    if as_json:
        facts = {"segments": len(plan.segments), "frames": plan.frames, "scan": plan.scan}
        print_json({"folder": str(folder), "plan_sha256": job.plan_sha256, **facts})
        return
    done(
        f"{folder}: {counted(plan.frames, 'frame')} in {counted(len(plan.segments), 'segment')}; "
        f"make them with 'adcvsr job work {folder}', one of them with --index 0 to "
        f"{len(plan.segments) - 1}"
    )


@command.command("work")
@folder_argument
@click.option("--index", type=click.IntRange(0), metavar="I", help="Make segment I alone.")
@threads_option
@ray_option
@json_option
def work_command(
    folder: Path, index: int | None, threads: int, ray: str | None, as_json: bool
) -> None:
    """Make the open segments of the job in DIR.

    Any number of processes may work at once. Each first makes a few pictures that must be those of
    the job's first worker.
    """
    if ray is not None and index is not None:
        raise click.UsageError("--index makes one segment here, --ray all elsewhere: give one")
    from ..runtime.jobs.folder import Job
    from ..runtime.jobs.local_workers import parent_gone
    from ..runtime.jobs.work import SegmentWorker, check_index, make_one, work_on

    job = Job(folder)
    if index is not None:
        check_index(job, index)
    made: list[int] = []
    todo = [each for each in job.open_segments() if index in (None, each)]
    if todo and ray is not None:
        with jobs_progress([job]):
            _work_on_ray(job, ray, threads)
        made = [each for each in todo if job.is_done(each)]
    elif todo:
        with jobs_progress([job]), SegmentWorker(job, threads=threads) as worker:
            if index is None:
                made = work_on(worker, wait=False, stop=parent_gone)
            elif make_one(worker, index):
                made = [index]
    left = job.open_segments()
    if as_json:
        print_json({"folder": str(folder), "made": made, "open": left})
        return
    done(
        f"{folder}: {counted(len(made), 'segment')} made, {len(left)} open"
        + ("" if left else f"; 'adcvsr job join {folder}' joins them")
    )


def _work_on_ray(job: Job, address: str, threads: int) -> None:
    from ..runtime.jobs.ray_workers import run_on_ray

    for _, came in run_on_ray([job], address, threads=threads, note=note):
        if isinstance(came, JobError):
            raise came


@command.command("status")
@folder_argument
@click.option(
    "--watch", is_flag=True, help="Show it until all is made: live, or as a JSON line every 5 s."
)
@json_option
def status_command(folder: Path, watch: bool, as_json: bool) -> None:
    """Show where the job in DIR stands.

    Each segment is done, being made, open or damaged.
    """
    from ..runtime.jobs.folder import Job
    from ..runtime.jobs.status import job_status

    if watch:
        watch_job(Job(folder), every_s=WATCH_S, as_json=as_json)
        return
    found = job_status(Job(folder))
    if as_json:
        print_json(found.to_json())
        return
    for each in found.segments:
        seconds = "" if each.seconds is None else f"{each.seconds:.1f} s"
        click.echo(
            f"{each.index:5d}  {each.start_seconds:10.3f} s  {each.frames:6d} frames  "
            f"{each.state:8} {seconds:>9}  {each.who}".rstrip()
        )
    counts = ", ".join(f"{count} {state}" for state, count in found.counts.items() if count)
    left = "" if not found.left_seconds else f", {found.left_seconds:.0f} s left for one worker"
    joined = ", joined" if found.joined else ""
    click.echo(f"{found.done_frames} of {found.frames} frames; {counts}{left}{joined}")


@command.command("join")
@folder_argument
@click.option("--overwrite", is_flag=True, help="Replace OUTPUT if it exists.")
@json_option
def join_command(folder: Path, overwrite: bool, as_json: bool) -> None:
    """Join the finished job in DIR, and certify the result.

    Packets are copied; sound, subtitles, chapters, attachments and tags come from the input.
    """
    from ..runtime.jobs.folder import Job
    from ..runtime.jobs.join import join

    with frame_progress(folder.name) as progress:
        joined = join(Job(folder), overwrite=overwrite, progress=progress)
    say_report(joined.report, strict=False, as_json=as_json)


@command.command("verify")
@folder_argument
@click.option(
    "--sample",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    metavar="K",
    help="How many segments, drawn at random.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the choice.")
@threads_option
@json_option
def verify_command(folder: Path, sample: int, seed: int, threads: int, as_json: bool) -> None:
    """Make some segments in DIR again, and compare.

    Every bit of the pictures and of the file is compared; exit 1 where one differs.
    """
    from ..runtime.jobs.folder import Job
    from ..runtime.jobs.verify import choose_sample, verify
    from ..runtime.jobs.work import SegmentWorker

    job = Job(folder)
    chosen = choose_sample(job, sample, seed)
    with frame_progress(folder.name) as shown, SegmentWorker(job, threads=threads) as worker:
        found = list(verify(worker, chosen, _progress(shown)))
    different = [each.index for each in found if not each.equal]
    if as_json:
        print_json({"folder": str(folder), "segments": [each.to_json() for each in found]})
    else:
        for each in found:
            what = "equal" if each.equal else f"differs by up to {each.level_difference} levels"
            click.echo(f"{each.index:5d}  {what}")
    if different:
        raise JobError(
            f"{len(different)} of {len(found)} segments are not what this machine makes of them: "
            f"{', '.join(map(str, different))}"
        )


def _progress(
    shown: Callable[[int, int], None] | None,
) -> Callable[[Progress], None] | None:
    """A worker's progress as a bar of the segment it is at."""
    if shown is None:
        return None
    tell = shown
    return lambda one: tell(one.frames, one.of)
