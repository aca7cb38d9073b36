"""`adcvsr report`: one file of measurements to send."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ._files import check_ending
from ._options import json_option, read_size
from ._say import done, note, print_json

DEFAULT_NAME = "adcvsr-report.zip"


@click.command()
@click.option(
    "-o",
    "--output",
    "file",
    metavar="FILE.zip",
    type=click.Path(path_type=Path, dir_okay=False),
    default=DEFAULT_NAME,
    show_default=True,
    callback=check_ending(".zip"),
    help="The file to send.",
)
@click.option(
    "--model",
    "models",
    metavar="NAME|BUNDLE",
    multiple=True,
    help="What is measured; may be repeated [default: nano, nano-camera and small].",
)
@click.option(
    "--size",
    "sizes",
    type=read_size,
    metavar="WxH",
    multiple=True,
    help="Input size; may be repeated [default: 320x180 and 640x360].",
)
@click.option(
    "--duration",
    type=click.FloatRange(0.1, 3600),
    default=10.0,
    show_default=True,
    help="Seconds of measuring, for each bundle, size and backend.",
)
@click.option("--dry-run", is_flag=True, help="Only list what would be run and written.")
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
@json_option
def command(
    file: Path,
    models: tuple[str, ...],
    sizes: tuple[tuple[int, int], ...],
    duration: float,
    dry_run: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Measure this machine and put all of it into one file to send.

    doctor, deploy (with a GPU) and bench of the shipped bundles, with the layers' times, versions,
    power mode, temperatures and logs. No names of users or machines, no addresses, no paths of
    yours; a README inside says what is in it. What is current on this machine stays so.
    """
    from ..files import check_new
    from ..runtime.report.report import (
        BUNDLES,
        SIZES,
        ReportOptions,
        backends_here,
        plan_report,
        write_report,
    )

    if not dry_run:
        check_new(file, overwrite=overwrite)
    options = ReportOptions(
        bundles=models or BUNDLES, sizes=sizes or SIZES, seconds=duration, backends=backends_here()
    )
    steps = plan_report(options)
    if dry_run:
        listed: dict[str, Any] = {
            "file": str(file),
            "steps": [{"name": s.name, "command": s.command, "limit_s": s.limit_s} for s in steps],
        }
        if as_json:
            print_json(listed)
            return
        for step in steps:
            click.echo(step.command)
        done(f"{len(steps)} commands, none was run; the file would be {file}")
        return
    index = write_report(file, steps, note=note)
    failed = [each["name"] for each in index["steps"] if each["exit"] != 0]
    if as_json:
        print_json({"file": str(file), "bytes": file.stat().st_size, "failed": failed, **index})
        return
    done(f"{file}: {file.stat().st_size / 1e6:.1f} MB, {len(steps)} commands, {len(failed)} failed")
    done("look into it if you like, it is text; then send it")
