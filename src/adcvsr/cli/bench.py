"""`adcvsr bench BUNDLE`, `adcvsr bench compare A.json B.json`: speed, and the truth about it."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ._files import STDOUT, check_json, json_file_option
from ._options import backend_option, read_size
from ._progress import build_progress
from ._trace import open_trace, trace_option


@click.command("compare")
@click.argument("first", metavar="A.json", type=click.Path(path_type=Path))
@click.argument("second", metavar="B.json", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def compare_command(first: Path, second: Path, as_json: bool) -> None:
    """Lay two results of 'adcvsr bench --json' beside each other.

    Every ratio is B over A. Conditions that differ are listed, for they may be the reason.
    """
    from ..runtime.bench.compare import compare, read_result
    from ._bench_text import print_comparison

    comparison = compare(read_result(first), read_result(second))
    if as_json:
        click.echo(json.dumps(comparison, indent=1))
    else:
        print_comparison(comparison, first.name, second.name)


class BenchCommand(click.Command):
    """`bench` with `compare` below it: a bundle called so is `./compare`."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: object,
    ) -> click.Context:
        """Hand over to `compare` where it comes first."""
        if args and args[0] == "compare":
            return compare_command.make_context(f"{info_name} compare", args[1:], parent)
        return super().make_context(info_name, args, parent)


@click.command(cls=BenchCommand, epilog="See also: adcvsr bench compare A.json B.json")
@click.argument("bundle", metavar="BUNDLE", default="nano")
@backend_option
@click.option(
    "--variant",
    "--precision",
    "variants",
    metavar="ID|PRECISION",
    multiple=True,
    help="int8-ort, or int8 for the one the backend runs; with commas or repeated, the first is "
    "the baseline of ratios [default: all the backend runs].",
)
@click.option(
    "--size",
    type=read_size,
    metavar="WxH",
    default="320x180",
    show_default=True,
    help="Input size in pixels.",
)
@click.option(
    "--duration",
    type=click.FloatRange(0.1, 86400),
    default=20.0,
    show_default=True,
    help="Seconds of measuring, all variants together, warm-up apart.",
)
@click.option("--threads", type=click.IntRange(0), default=0, help="Network threads [0: all].")
@click.option(
    "--no-start",
    is_flag=True,
    help="Leave out loading time and memory, which take a process for each variant.",
)
@json_file_option(check_json("BUNDLE"))
@trace_option
@click.option("--overwrite", is_flag=True, help="Replace existing files of --json and --trace.")
def command(
    bundle: str,
    backend: str,
    variants: tuple[str, ...],
    size: tuple[int, int],
    duration: float,
    threads: int,
    no_start: bool,
    json_path: str | None,
    trace_path: Path | None,
    overwrite: bool,
) -> None:
    """Measure how fast BUNDLE's variants run here, taking turns so that drift meets all alike.

    Wall time is what a user waits; CPU time is what the processors worked, and moves less with
    what else they do. Warnings say where the figures are worthless. docs/bench.md explains each.
    """
    from ..bundle import open_bundle
    from ..calibration.report import check_new, write_json
    from ..runtime.bench.bench import BenchOptions, run_bench
    from ._bench_text import print_result

    file = Path(json_path) if json_path not in (None, STDOUT) else None
    check_new((file,), overwrite=overwrite)
    options = BenchOptions(
        backend=backend,
        variants=variants,
        size=size,
        seconds=duration,
        threads=threads,
        start=not no_start,
    )
    opened = open_bundle(bundle)
    with (
        open_trace(trace_path, overwrite=overwrite) as trace,
        build_progress("bench") as bar,
    ):
        result = run_bench(
            opened,
            options,
            note=lambda line: click.echo(line, err=True),
            progress=lambda share: bar(share, "") if bar else None,
            trace=trace,
        )
    if file is not None:
        write_json(file, result)
    if json_path == STDOUT:
        click.echo(json.dumps(result, indent=1, allow_nan=False))
    else:
        print_result(result)
