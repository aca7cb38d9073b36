"""`adcvsr bench BUNDLE`, `adcvsr bench compare A.json B.json`: speed, and the truth about it."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

import click

from ._files import result_file_option
from ._options import backend_option, json_option, read_size, variants_option
from ._progress import build_progress
from ._say import print_json, say
from ._trace import open_trace, trace_option


@click.command("compare", short_help="Lay two results beside each other.")
@click.argument("first", metavar="A.json", type=click.Path(path_type=Path))
@click.argument("second", metavar="B.json", type=click.Path(path_type=Path))
@json_option
def compare_command(first: Path, second: Path, as_json: bool) -> None:
    """Lay two results of 'adcvsr bench -o FILE.json' beside each other.

    Every ratio is B over A. Conditions that differ are listed, for they may be the reason.
    """
    from ..runtime.bench.compare import compare, read_result
    from ._bench_text import print_comparison

    comparison = compare(read_result(first), read_result(second))
    if as_json:
        print_json(comparison)
    else:
        print_comparison(comparison, first.name, second.name)


class BenchCommand(click.Command):
    """`bench` with `compare` below it: a bundle called so is `./compare`."""

    below = MappingProxyType({"compare": compare_command})

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: object,
    ) -> click.Context:
        """Hand over to `compare` where it comes first."""
        if args and args[0] in self.below:
            return self.below[args[0]].make_context(f"{info_name} {args[0]}", args[1:], parent)
        return super().make_context(info_name, args, parent)


@click.command(cls=BenchCommand, epilog="See also: adcvsr bench compare A.json B.json")
@click.argument("bundle", metavar="[BUNDLE...]", nargs=-1)
@backend_option
@variants_option("the first is the baseline of ratios [default: all the backend runs].")
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
@result_file_option
@json_option
@trace_option
@click.option("--overwrite", is_flag=True, help="Replace existing files of -o and --trace.")
def command(
    bundle: tuple[str, ...],
    backend: str,
    variants: tuple[str, ...],
    size: tuple[int, int],
    duration: float,
    threads: int,
    no_start: bool,
    file: Path | None,
    as_json: bool,
    trace_path: Path | None,
    overwrite: bool,
) -> None:
    """Measure how fast BUNDLE's variants run here, taking turns so that drift affects all of them.

    Several bundles, such as adopted networks beside ours, take turns in one table; the first one's
    first variant is what the others are measured by. Without BUNDLE it is nano.

    Wall time is what a user waits; CPU time is what the processors worked, and moves less with
    what else they do. Warnings say where the figures are worthless. docs/bench.md explains each.
    """
    from ..bundle import open_bundle
    from ..calibration.evaluate.report import write_json
    from ..files import check_new
    from ..runtime.bench.bench import BenchOptions, run_bench
    from ._bench_text import print_result

    check_new(file, overwrite=overwrite)
    options = BenchOptions(
        backend=backend,
        variants=variants,
        size=size,
        seconds=duration,
        threads=threads,
        start=not no_start,
    )
    opened, *beside = [open_bundle(each) for each in bundle or ("nano",)]
    with (
        open_trace(trace_path, overwrite=overwrite) as trace,
        build_progress("bench") as bar,
    ):
        result = run_bench(
            opened,
            options,
            beside=beside,
            note=say,
            progress=lambda share: bar(share, "") if bar else None,
            trace=trace,
        )
    if file is not None:
        write_json(file, result)
    if as_json:
        print_json(result)
    else:
        print_result(result)
