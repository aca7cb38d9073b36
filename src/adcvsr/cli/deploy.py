"""`adcvsr deploy BUNDLE`: build, try out, make current."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from ..variants import ENGINE_BACKENDS
from ._options import dla_fallback_option, dla_option, json_option, read_size
from ._progress import build_progress
from ._say import done, note, print_json
from .build import Size, choose_sizes

if TYPE_CHECKING:
    from ..runtime.deploy.deploy import DeployReport


@click.command()
@click.argument("bundle", metavar="BUNDLE")
@click.option(
    "--backend",
    type=click.Choice(("auto", *ENGINE_BACKENDS, "ort-cuda")),
    default="auto",
    show_default=True,
    help="Which compiler; ort-cuda builds nothing, its two layouts are tried.",
)
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    metavar="PRECISION",
    help="Such as int8; repeat it, best first: the first that passes becomes current.",
)
@click.option("--size", type=read_size, metavar="WxH", help="Input size [default: 640x360].")
@click.option(
    "--min",
    "smallest",
    type=read_size,
    metavar="WxH",
    help="With --opt and --max: a range of sizes.",
)
@click.option(
    "--opt",
    "best",
    type=read_size,
    metavar="WxH",
    help="The size to be fastest at, and measured at.",
)
@click.option("--max", "largest", type=read_size, metavar="WxH", help="The largest size.")
@click.option("--fps", type=click.FloatRange(min=0.1), help="Frames a second to keep up with.")
@click.option(
    "--budget",
    type=click.FloatRange(min=0.01),
    metavar="MS",
    help="Most milliseconds a frame may take, at the 99th percentile [default: 1000/--fps].",
)
@click.option(
    "--frames",
    type=click.IntRange(10),
    default=300,
    show_default=True,
    help="How many frames are timed.",
)
@click.option(
    "--workspace", metavar="BYTES", default="2GiB", show_default=True, help="Scratch memory's cap."
)
@dla_option
@dla_fallback_option
@click.option(
    "--staging",
    type=click.Choice(("auto", "mapped", "copied")),
    default="auto",
    show_default=True,
    help="On a Jetson: frames read in place or copied; auto times both and keeps the faster.",
)
@click.option(
    "--rollback", is_flag=True, help="Make the previous engine current again; builds nothing."
)
@json_option
def command(
    bundle: str,
    backend: str,
    precisions: tuple[str, ...],
    size: Size | None,
    smallest: Size | None,
    best: Size | None,
    largest: Size | None,
    fps: float | None,
    budget: float | None,
    frames: int,
    workspace: str,
    dla: int | None,
    dla_fallback: bool,
    staging: str,
    rollback: bool,
    as_json: bool,
) -> None:
    """Build BUNDLE's engines on this GPU and make them current if they pass.

    They have to compute in the precision asked for, give the bundle's golden pictures, and stay
    within the budget at the 99th percentile. Otherwise what was current stays, and exit is 1.

    --backend ort-cuda tries both layouts of convolutions, which have to give the same, and the
    faster one becomes current for that backend.
    """
    from ..bundle import open_bundle

    opened = open_bundle(bundle)
    if rollback:
        _roll_back(opened.name, backend, as_json)
        return
    from ..runtime.deploy.deploy import deploy_bundle
    from ..runtime.engine.order import BuildOptions, parse_bytes

    with build_progress(f"deploying {opened.name}") as progress:
        report = deploy_bundle(
            opened,
            backend=backend,
            precisions=precisions,
            sizes=choose_sizes(size, smallest, best, largest),
            fps=fps,
            budget_ms=budget,
            frames=frames,
            options=BuildOptions(
                workspace_bytes=parse_bytes(workspace), dla=dla, dla_fallback=dla_fallback
            ),
            staging=staging,
            progress=progress,
            report=note,
        )
    if as_json:
        print_json(report.to_json(), indent=None)
    else:
        _print(report)
    if not report.changed:
        sys.exit(1)


def _roll_back(bundle: str, backend: str, as_json: bool) -> None:
    from ..runtime.engine.current import CurrentEngines
    from ..runtime.engine.engine_cache import EngineCache
    from ..runtime.nvidia.gpu import current_gpu

    own = backend if backend == "ort-cuda" else ""
    entry = CurrentEngines(EngineCache(), bundle, current_gpu(), own).roll_back()
    if as_json:
        print_json({"current": entry}, indent=None)
    else:
        done(f"current again: {bundle} {entry['variant']} {entry['size']} ({entry['date']})")


def _print(report: DeployReport) -> None:
    for candidate in report.candidates:
        verdict = "; ".join(candidate.reasons) or "accepted"
        done(f"{candidate.variant or candidate.precision}: {verdict}")
        found = candidate.acceptance
        if found is not None:
            for line in found.census:
                done(f"  census   {line}")
            done(f"  golden   {found.golden}")
            done(f"  colours  {found.colours}")
            done(
                f"  latency  p50 {found.p50_ms:.2f} ms, p99 {found.p99_ms:.2f} ms over "
                f"{found.frames} runs"
            )
            if found.staging:
                done(f"  staging  {found.staging}")
    current = report.current
    if current is None:
        done(f"{report.bundle} on {report.gpu}: nothing is current")
        return
    done(
        f"{report.bundle} on {report.gpu}: {'now' if report.changed else 'still'} current is "
        f"{current['variant']} {current['size']} ({current['backend']} {current['builder']})"
    )
