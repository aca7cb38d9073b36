"""`adcvsr plan BUNDLE`: will it run live there."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ._files import check_ending
from ._options import json_option, output_size_options, read_output_size, variant_option
from ._say import note, print_json

if TYPE_CHECKING:
    from ..plan.planning import Plan
    from ..plan.streams import Board

NOT_FEASIBLE = 3
"""Exit code of an answer that is no."""

NARROWED_BY = {
    "network": "the network's time on the device (adcvsr deploy {bundle})",
    "codecs": "the codecs' time on the device (stages of adcvsr upscale --json, this size)",
}
"""How to get the measurement that would narrow an interval most."""


@click.command()
@click.argument("bundle", metavar="[BUNDLE]", required=False)
@click.option("--target", "target_name", metavar="NAME", help="A name from 'adcvsr targets'.")
@click.option(
    "--source",
    "sources",
    metavar="WxH@FPS",
    multiple=True,
    help="Size and rate of the input, such as 640x360@30; repeat it where streams share a board.",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE.html",
    type=click.Path(path_type=Path, dir_okay=False),
    callback=check_ending(".html"),
    help="Write a page of this board and these streams.",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing page.")
@click.option("--backend", metavar="NAME", help="What runs it [default: the fastest there].")
@variant_option
@click.option(
    "--encode/--no-encode",
    default=True,
    show_default=True,
    help="Whether the result is encoded, or shown or used by something else.",
)
@output_size_options
@click.option(
    "--codecs",
    type=click.Choice(["cpu", "board"]),
    default="cpu",
    show_default=True,
    help="Decode and encode on the processor, or by the board's own codecs through GStreamer.",
)
@click.option(
    "--power-mode",
    metavar="NAME",
    help="Power mode of a Jetson, such as 15W [default: its highest].",
)
@click.option(
    "--all",
    "every",
    is_flag=True,
    help="Show every preset on every target instead, networks alone.",
)
@json_option
def command(
    bundle: str | None,
    target_name: str | None,
    sources: tuple[str, ...],
    output: Path | None,
    overwrite: bool,
    backend: str | None,
    variant: str | None,
    encode: bool,
    codecs: str,
    power_mode: str | None,
    every: bool,
    as_json: bool,
    **size: Any,
) -> None:
    """Predict whether BUNDLE keeps up with a source on a target, and what would.

    Decoding, network, encoding and memory are judged together; the answer names what limits.
    The exit status is 3 where the most probable time is too long. The output also says how sure
    that is, with an interval that holds in nine cases of ten.

    The network's time is a roofline over the graph's multiply-adds and bytes, fitted to published
    and own measurements (docs/measurements.md), corrected by measured speeds in
    $ADCVSR_CACHE/measured where there are any, with the bytes of the compiler's layer list where an
    engine of the cache has one (docs/engines.md).
    """
    output_size = read_output_size(size)
    if every:
        given = (bundle, target_name, sources, backend, variant, output_size, power_mode, output)
        if any(given):
            raise click.UsageError("--all is every preset on every target: give nothing else")
        _print_all(as_json)
        return
    if bundle is None or target_name is None or not sources:
        raise click.UsageError("give BUNDLE, --target and --source, or --all")
    from ..bundle import open_bundle
    from ..files import cache_folder, check_new
    from ..plan.measured import FOLDER, read_measurements
    from ..plan.planning import Source, plan_bundle
    from ..plan.streams import share_board
    from ..plan.streams_page import verdict, write_streams_page
    from ..runtime.engine.compiled import compiled_graphs
    from ..runtime.engine.engine_cache import EngineCache
    from ..targets import target
    from ..targets.power_modes import at_power_mode

    notes: list[str] = []
    where = at_power_mode(target(target_name), power_mode)
    if where.power_mode:
        notes.append(f"power mode {where.power_mode}: measurements of the device are not used")
    check_new(output, overwrite=overwrite)
    opened, compiled = open_bundle(bundle), compiled_graphs(EngineCache())
    measurements = read_measurements(cache_folder() / FOLDER, notes.append)
    plans = [
        plan_bundle(
            opened,
            where,
            Source.parse(source),
            variant=variant,
            backend=backend,
            measurements=[] if where.power_mode else measurements,
            encode=encode,
            size=output_size,
            compiled=compiled,
            board_codecs=codecs == "board",
        )
        for source in sources
    ]
    board = share_board(plans)
    for text in dict.fromkeys([*notes, *(line for plan in plans for line in plan.notes)]):
        note(text)
    if output is not None:
        write_streams_page(output, board, where)
    if as_json:
        facts = [plan_facts(plan) for plan in plans]
        print_json(facts[0] if len(facts) == 1 else _board_facts(board, facts), indent=None)
    else:
        for plan in plans:
            click.echo(describe(plan))
        if len(plans) > 1:
            click.echo(f"{verdict(board)}; {_latencies(board)}")
    if not (plans[0].feasible if len(plans) == 1 else board.runs):
        sys.exit(NOT_FEASIBLE)


def _latencies(board: Board) -> str:
    longest = max(each.most_latency_ms for each in board.streams)
    return f"latency up to {longest:.0f} ms"


def _board_facts(board: Board, facts: list[dict[str, Any]]) -> dict[str, Any]:
    """Several streams for JSON."""
    return {
        "streams": [
            {
                **each,
                "latency_ms": round(stream.latency_ms, 2),
                "most_latency_ms": round(stream.most_latency_ms, 2),
            }
            for each, stream in zip(facts, board.streams, strict=True)
        ],
        "feasible": board.runs,
        "surely": board.surely,
        "binds": board.binds,
        "margin": round(board.margin, 4),
        "network_share": round(board.network_share, 4),
        "codec_share": None if board.codec_share is None else round(board.codec_share, 4),
        "memory_bytes": board.memory_bytes,
        "memory_limit_bytes": board.memory_limit_bytes,
    }


def describe(plan: Plan) -> str:
    """The plan for people."""
    cost, prediction, source = plan.cost, plan.prediction, plan.source
    corrected = f", corrected x{plan.correction:.2f} by {plan.corrected_by}"
    lines = [
        f"{plan.bundle} {plan.variant} on {plan.target} with {plan.backend}, {source.text}:",
        f"  network      {plan.frame_ms:.2f} ms a frame of {1000 / source.fps:.2f}, "
        f"{prediction.bound}-bound{corrected if plan.corrected_by else ''}",
        *([f"  copies       {plan.copy_ms:.2f} ms a frame"] if plan.copy_ms else []),
        f"  codecs       {_codecs(plan)}",
        f"  arithmetic   {cost.multiply_adds / 1e9:.2f} G multiply-adds in "
        f"{', '.join(prediction.precisions)}",
        f"  memory       {_mb(plan.memory_bytes)}"
        + (f" of {_mb(plan.memory_limit_bytes)}" if plan.memory_limit_bytes else "")
        + f": weights {_mb(cost.weight_bytes)}, activations {_mb(cost.peak_activation_bytes)}, "
        f"state 2 x {_mb(cost.state_bytes)}",
        f"  {_verdict(plan)}",
        *_sureness(plan),
    ]
    return "\n".join(lines)


def plan_facts(plan: Plan) -> dict[str, Any]:
    """The plan for JSON."""
    cost = plan.cost
    return {
        "bundle": plan.bundle,
        "variant": plan.variant,
        "target": plan.target,
        "backend": plan.backend,
        "source": asdict(plan.source),
        "output_size": list(plan.output),
        "feasible": plan.feasible,
        "verdict": plan.verdict,
        "limit": plan.limit,
        "frame_ms": round(plan.frame_ms, 3),
        "copy_ms": round(plan.copy_ms, 3),
        "pipeline_ms": round(plan.pipeline_ms, 3),
        "codecs": {**asdict(plan.video), "ms": plan.video.ms},
        "interval": asdict(plan.interval) if plan.interval else None,
        "interval_fps": _fps(plan.interval.low_ms, plan.interval.high_ms)
        if plan.interval
        else None,
        "largest_fps": round(plan.largest_fps, 2),
        "largest": asdict(plan.largest) if plan.largest else None,
        "bound": plan.prediction.bound,
        "precisions": plan.prediction.precisions,
        "shares": asdict(plan.prediction.shares),
        "correction": round(plan.correction, 4),
        "corrected_by": plan.corrected_by,
        "multiply_adds": cost.multiply_adds,
        "weight_bytes": cost.weight_bytes,
        "activation_bytes": cost.activation_bytes,
        "peak_activation_bytes": cost.peak_activation_bytes,
        "fused_peak_activation_bytes": cost.fused_peak_activation_bytes,
        "state_bytes": cost.state_bytes,
        "memory_bytes": plan.memory_bytes,
        "memory_limit_bytes": plan.memory_limit_bytes,
        "notes": plan.notes,
    }


def _codecs(plan: Plan) -> str:
    video = plan.video
    size = "{}x{}".format(*plan.output)
    engines = []
    if video.decode_engine_ms:
        engines.append(f"decoding {video.decode_engine_ms:.2f} ms in the board's decoder")
    if video.encode_engine_ms:
        engines.append(f"encoding {size} {video.encode_engine_ms:.2f} ms in its encoder")
    work = []
    if video.decode_cpu_ms:
        work.append(f"decoding {video.decode_cpu_ms:.1f}")
    if video.encode_cpu_ms:
        work.append(f"encoding {size} by libx264 {video.encode_cpu_ms:.1f}")
    cpu = [f"{' and '.join(work)} CPU-ms"] if work else []
    if video.ms is None:
        return f"not judged: {cpu[0]} a frame, on a processor like this project's"
    return f"{video.ms:.2f} ms a frame on {video.cores} cores: {', '.join([*engines, *cpu])}"


def _verdict(plan: Plan) -> str:
    return ("most probably " if plan.verdict == "uncertain" else "") + _most_probable(plan)


def _most_probable(plan: Plan) -> str:
    if plan.feasible:
        fps = f"up to {plan.largest_fps:.0f} fps at this size"
        if plan.video.ms is None:
            return f"feasible for the network: {fps}; codecs are not judged"
        return f"feasible: {fps}, limited by {plan.limit}"
    why = f"{plan.limit} too slow" if plan.fits_memory else "too little memory"
    instead = [f"{plan.largest_fps:.1f} fps at this size"] if plan.fits_memory else []
    if plan.largest:
        instead.append(f"{plan.largest.text} at this rate")
    return f"not feasible ({why}); what is: {' or '.join(instead) or 'nothing of this shape'}"


def _sureness(plan: Plan) -> list[str]:
    """The interval, and what would narrow it."""
    if plan.interval is None:
        return []
    from ..plan.interval import fps_range

    parts = {"network": "network", "decode": "decoder", "encode": "encoder"}
    how = NARROWED_BY[plan.interval.narrowed_by].format(bundle=plan.bundle)
    range_now = fps_range(plan.interval.low_ms, plan.interval.high_ms)
    factor = f"the network's time is known within a factor of {plan.interval.network_factor:.2f}"
    limit = f"limited by the {parts[plan.limit]}: {plan.verdict}"
    return [
        f"  expected     {range_now} fps (90 %), {limit}; {factor}",
        f"  measure next {how}: then {fps_range(*plan.interval.narrowed_ms)} fps, if as predicted",
    ]


def _fps(low_ms: float, high_ms: float) -> tuple[float, float]:
    """Frames a second, the fewer first."""
    return round(1000 / high_ms, 2), round(1000 / low_ms, 2)


def _print_all(as_json: bool) -> None:
    from ..plan.preset_costs import all_rows, table

    rows, notes = all_rows()
    for text in notes:
        note(text)
    if as_json:
        print_json({"rows": rows, "notes": notes})
        return
    for line in table(rows):
        click.echo(line)


def _mb(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
