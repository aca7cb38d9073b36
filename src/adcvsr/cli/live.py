"""`adcvsr live --source URI --sink URI...`: a live stream, four times larger."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..counted import counted
from ..errors import BatchError
from ..interrupts import take_over
from ._options import (
    MODEL_VARIABLE,
    backend_option,
    bits_option,
    crop_option,
    cut_reset_option,
    hdr_option,
    json_option,
    output_size_options,
    pixels_option,
    read_output_size,
    variant_option,
)
from ._say import (
    detail,
    done,
    keep_stdout,
    pixels_line,
    print_json,
    run_notes,
    shows_progress,
)
from ._secrets import SINK_VARIABLE, SOURCE_VARIABLE
from ._students import AUTO, live_model, of_strength, strength_option
from ._terminal import raw
from ._trace import open_trace, trace_option

if TYPE_CHECKING:
    from ..errors import AdcVsrError
    from ..pictures.crop import Crop
    from ..runtime.live.live_report import LiveOptions, LiveReport
    from ..runtime.live.stream_config import StreamPlan
    from ..runtime.live.stream_service import StreamService
    from ..runtime.upscaler import Upscaler


class SinkAddress(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """An address as it is given; several in the environment are parted by blanks."""

    name = "URI"

    def split_envvar_value(self, rv: str) -> list[str]:
        """Part addresses where a scheme follows a blank: paths may hold blanks themselves."""
        return [each for each in re.split(r"\s+(?=[A-Za-z][A-Za-z0-9+.-]+:)", rv.strip()) if each]


@click.command()
@click.option(
    "--source",
    metavar="URI",
    envvar=SOURCE_VARIABLE,
    show_envvar=True,
    help="Where frames come from; passwords are safer in the variable.",
)
@click.option(
    "--sink",
    "sinks",
    type=SinkAddress(),
    metavar="URI",
    multiple=True,
    envvar=SINK_VARIABLE,
    show_envvar=True,
    help="Where pictures go; may be repeated. A slow sink does not slow the others.",
)
@click.option(
    "--stream",
    "streams",
    metavar="NAME=URI,sink=URI",
    multiple=True,
    help="One of several streams over one network, instead of --source and --sink; further "
    "keys: policy, max-latency-ms, crop, cut-reset, stall-frames, priority.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.toml",
    help="Several streams, a table [streams.NAME] with source and sinks for each; SIGHUP reads it "
    "again.",
)
@click.option(
    "--page",
    metavar="URI",
    help="A page and API for all streams, such as http://127.0.0.1:8080; they may be added and "
    "removed there, and the run lasts until Ctrl-C.",
)
@click.option(
    "--oversubscribe",
    is_flag=True,
    help="Begin with more streams than the network keeps up with.",
)
@click.option(
    "--policy",
    type=click.Choice(("newest", "every")),
    default="newest",
    show_default=True,
    help="newest: late frames are dropped; every: no frame is dropped, the source waits.",
)
@click.option(
    "--max-latency-ms",
    type=click.FloatRange(1),
    metavar="N",
    help="Drop frames that cannot be out N ms after capture [default: no limit].",
)
@click.option(
    "--duration",
    type=click.FloatRange(0, min_open=True),
    metavar="S",
    help="End S seconds after the first frame [default: with the source, or Ctrl-C].",
)
@crop_option
@cut_reset_option
@pixels_option
@click.option(
    "--stall-frames",
    type=click.IntRange(1),
    default=8,
    show_default=True,
    metavar="N",
    help="Forget the past after more than N missing frames.",
)
@click.option(
    "--glass-to-glass",
    "glass",
    metavar="URI",
    help="Receive the output again from URI and read the time in its pictures (source test://).",
)
@click.option(
    "--stats-jsonl",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Append a line of figures a second to FILE.",
)
@trace_option
@click.option(
    "--model",
    metavar="NAME|BUNDLE",
    default=AUTO,
    show_default=True,
    envvar=MODEL_VARIABLE,
    show_envvar=True,
    help="A name from 'adcvsr models' or a bundle's path; nano for clean input. auto: the "
    "best-looking student that takes at most 70 % of the time between frames, where their size is "
    "known beforehand, else nano-camera. auto=small,nano: the first that keeps within "
    "--max-latency-ms, chosen again while it runs.",
)
@strength_option
@backend_option
@variant_option
@click.option(
    "--offer",
    multiple=True,
    metavar="NAME|BUNDLE",
    help="A further model to switch to on the preview page, repeatable [default: all installed].",
)
@click.option(
    "--tile",
    type=click.IntRange(1),
    metavar="PX",
    help="Give the network at most PX x PX input pixels at once; see 'adcvsr upscale'.",
)
@output_size_options
@click.option("--encoder", metavar="NAME", help="FFmpeg encoder [default: libx264].")
@click.option(
    "--preset",
    metavar="NAME",
    help="Encoder preset; auto is the slowest that keeps real time [default: superfast].",
)
@click.option("--crf", type=click.IntRange(0, 63), help="Constant rate factor [default: 20].")
@bits_option
@hdr_option
@click.option("--threads", type=click.IntRange(0), default=0, help="Network threads [0: all].")
@click.option("--overwrite", is_flag=True, help="Replace a recording or trace that exists.")
@click.option("--allow-untrained", is_flag=True, help="Run a bundle marked untrained.")
@json_option
def command(
    source: str | None,
    sinks: tuple[str, ...],
    streams: tuple[str, ...],
    config: Path | None,
    page: str | None,
    oversubscribe: bool,
    policy: Any,
    max_latency_ms: float | None,
    duration: float | None,
    crop: Crop | None,
    cut_reset: bool,
    pixels: str,
    stall_frames: int,
    glass: str | None,
    stats_jsonl: Path | None,
    trace_path: Path | None,
    model: str,
    strength: float | None,
    backend: str,
    variant: str | None,
    offer: tuple[str, ...],
    tile: int | None,
    encoder: str | None,
    preset: str | None,
    crf: int | None,
    bits: int | None,
    hdr: Any,
    threads: int,
    overwrite: bool,
    allow_untrained: bool,
    as_json: bool,
    **size: Any,
) -> None:
    """Upscale a live stream, four times or to another size, and measure its latency.

    Sources: test://?size=320x180&fps=30, a file's path (at its own pace), rtsp://, udp://
    (MPEG-TS), v4l2:///dev/video0, csi://0, gst:PIPELINE. Sinks: the preview page
    http://127.0.0.1:8080, a file's path, udp://, rtsp://, rtmp://, whip://, hls:FOLDER,
    gst:PIPELINE, null://. Several streams share one network: --config FILE, or --stream for each.
    Ctrl-C ends the run properly. docs/live.md has all addresses with their options.
    """
    from ..bundle import open_bundle
    from ..runtime.live.live_report import LiveOptions
    from ..runtime.live.stream_service import StreamService
    from ..runtime.upscaler import Upscaler
    from ..runtime.video.encoders import EncodeOptions

    if "-" in sinks:
        keep_stdout()
        if as_json:
            raise click.UsageError("stdout cannot hold both: --json needs another --sink")
    several = bool(streams or config or page)
    _require_ends(source, sinks, several=several, glass=glass)
    options = LiveOptions(
        policy=policy,
        max_latency_ms=max_latency_ms,
        duration_s=duration,
        crop=crop,
        cut_reset=cut_reset,
        stall_frames=stall_frames,
        glass=glass,
        pixels=pixels,
        hdr=hdr,
        stats_path=stats_jsonl,
    )
    model, *cheaper = _models(of_strength(model, strength))
    encode = EncodeOptions(
        encoder=encoder,
        preset=preset,
        crf=crf,
        bits=bits,
        overwrite=overwrite,
        size=read_output_size(size),
    )
    show = _Status()
    if model == AUTO:
        one = None if several else source
        model = live_model(one, crop, backend=backend, variant=variant, threads=threads)
    offered = [open_bundle(name) for name in offer] if offer else None
    with (
        open_trace(trace_path, overwrite=overwrite) as trace,
        Upscaler(
            model,
            backend=backend,
            variant=variant,
            tile=tile,
            threads=threads,
            allow_untrained=allow_untrained,
            trace=trace,
        ) as upscaler,
        ExitStack() as further,
    ):
        show.passed_over(upscaler.session.reasons)
        choices: dict[str, Any] = {"encode": encode, "offer": offered, "trace": trace}
        choices["cheaper"] = [further.enter_context(upscaler.beside(each)) for each in cheaper]
        wrong: AdcVsrError | None = None
        if several:
            choices["oversubscribe"] = oversubscribe
            read = partial(_plans, streams, config, options)
            service = StreamService(page, options, read if config is not None else None)
            further.callback(service.close)
            wrong = _run_several(upscaler, service, read, show, choices, as_json=as_json)
        else:
            assert source is not None
            _run_one(upscaler, source, sinks, options, show, choices, as_json=as_json)
    if wrong is not None:  # after the trace is written
        raise wrong


def _require_ends(
    source: str | None, sinks: tuple[str, ...], *, several: bool, glass: str | None
) -> None:
    """Refuse a stream without ends, and one beside several.

    Raises:
        click.UsageError: Some are missing, or too many.
    """
    if several:
        if source is not None or sinks:
            raise click.UsageError(
                "--stream and --config name sources and sinks themselves: leave --source and "
                f"--sink out, and {SOURCE_VARIABLE} and {SINK_VARIABLE} unset"
            )
        if glass is not None:
            raise click.UsageError("--glass-to-glass measures a single stream: use --source")
    elif source is None or not sinks:
        missing, variable = ("--sink", SINK_VARIABLE) if source else ("--source", SOURCE_VARIABLE)
        raise click.UsageError(
            f"Missing option '{missing}' (env var: '{variable}'); several streams: --stream or "
            "--config"
        )


def _models(text: str) -> list[str]:
    """One model, or those of `auto=BEST,CHEAPER`.

    Raises:
        click.UsageError: There is nothing to choose between.
    """
    if not text.startswith("auto="):
        return [text]
    models = [each.strip() for each in text.removeprefix("auto=").split(",")]
    if len(models) < 2 or not all(models) or len(set(models)) < len(models):
        raise click.UsageError(
            f"--model {text}: expected two models or more, the best first, such as auto=small,nano"
        )
    return models


def _plans(streams: tuple[str, ...], config: Path | None, options: LiveOptions) -> list[StreamPlan]:
    from ..runtime.live.stream_config import parse_stream, read_streams

    plans = read_streams(config, options) if config is not None else []
    return [*plans, *(parse_stream(text, options) for text in streams)]


def _run_one(
    upscaler: Upscaler,
    source: str,
    sinks: tuple[str, ...],
    options: LiveOptions,
    show: _Status,
    choices: dict[str, Any],
    *,
    as_json: bool,
) -> None:
    from ..runtime.live.live_run import LiveRun

    run = LiveRun(upscaler, source, sinks, options, observe=show, **choices)
    report = run.run()
    show.end()
    if as_json:
        print_json(report.to_json(), indent=None)
    else:
        _summary(report)


def _run_several(
    upscaler: Upscaler,
    service: StreamService,
    read: Callable[[], list[StreamPlan]],
    show: _Status,
    choices: dict[str, Any],
    *,
    as_json: bool,
) -> AdcVsrError | None:
    """Run them; returns the error that names those that failed."""
    from ..runtime.live.live_runs import LiveRuns

    plans = read()
    runs = LiveRuns(
        upscaler,
        plans,
        observe=show.several,
        stays=service.has_page,
        beside=service.beside,
        looked=service.look,
        **choices,
    )
    service.serve(runs, plans)
    if not sys.stdin.isatty():  # of a terminal it means that it is closed
        take_over("SIGHUP", service.reload_asked.set)
    report = runs.run()
    show.end()
    if as_json:
        print_json(report.to_json(), indent=None)
    else:
        for name, each in report.streams.items():
            _summary(each, name)
        if report.cpu_ms_per_frame is not None:
            done(f"all streams: {report.cpu_ms_per_frame:.1f} CPU-ms a frame")
    if not report.failed:
        return None
    reasons = "; ".join(f"{name}: {error}" for name, error in report.failed.items())
    every = len(report.streams.keys() | report.failed.keys())
    return BatchError(f"{len(report.failed)} of {every} streams failed: {reasons}")


class _Status:
    """Notes as they come up, and on a terminal one line of figures that is written over."""

    def __init__(self) -> None:
        self._said: Counter[str] = Counter()
        self._terminal = shows_progress()
        self._reasons: Sequence[str] = ()

    def passed_over(self, reasons: Sequence[str]) -> None:
        """Take why `auto` chose no better backend."""
        self._reasons = reasons

    def __call__(self, record: dict[str, Any], notes: list[str]) -> None:
        self.several([record], notes)

    def several(self, records: Sequence[dict[str, Any]], notes: list[str]) -> None:
        """Show the figures of all streams in one line: frames of all, latency of the latest."""
        new = list((Counter(notes) - self._said).elements())
        if new:
            self.end()
            run_notes(new, self._reasons, once=False)
        self._said = Counter(notes)
        if self._terminal and records:
            p50, p99 = (
                max(record["ms"]["latency"][name] or 0 for record in records)
                for name in ("p50", "p99")
            )
            fps = sum(record["fps"] for record in records)
            dropped = sum(sum(record["drops"].values()) for record in records)
            click.echo(
                f"\r\x1b[K{fps:.1f} fps, latency p50 {p50:.0f} ms, p99 {p99:.0f} ms, "
                f"dropped {dropped}",
                file=raw(sys.stderr),
                nl=False,
            )

    def end(self) -> None:
        """Clear the line."""
        if self._terminal:
            click.echo("\r\x1b[K", file=raw(sys.stderr), nl=False)


def _summary(report: LiveReport, name: str = "") -> None:
    """Print what was done.

    Args:
        report: Of a stream.
        name: The stream's, where there are several.
    """
    latency = report.ms["latency"]
    if report.presented:
        copies = (report.copies, report.sinks[0]["copies"])
        line = pixels_line(report.pixels, report.pixels_reason, copies, report.gpu_copies)
        detail(f"{name}: " * bool(name) + line)
    done(
        f"{name}: "
        * bool(name)
        + f"{report.sink}: {report.presented} of {report.captured} frames in "
        f"{report.seconds:.1f} s, {report.fps:.1f} fps, {report.ended} "
        f"({report.model} {report.variant} on {report.backend})"
    )
    if report.presented:
        glass = report.ms["glass"]["p50"]
        done(
            f"latency p50 {latency['p50']:.1f} ms, p95 {latency['p95']:.1f} ms, "
            f"p99 {latency['p99']:.1f} ms"
            + (f"; glass to glass p50 {glass:.0f} ms" if glass is not None else "")
            + (f"; {report.cpu_ms_per_frame:.1f} CPU-ms a frame" if not name else "")
        )
    for what, counts in (("dropped", report.drops), ("past forgotten", report.resets)):
        if counts:
            done(f"{what}: {_listed(counts)}")
    if report.damaged_packets:
        packets = counted(report.damaged_packets, "packet")
        done(f"damaged and skipped: {packets} of the source")
    for sink in report.sinks if len(report.sinks) > 1 else ():
        ms = sink["ms"]["latency"]
        late = f", latency p50 {ms['p50']:.1f} ms, p99 {ms['p99']:.1f} ms" if ms["p50"] else ""
        missed = f", dropped: {_listed(sink['drops'])}" if sink["drops"] else ""
        done(f"{sink['sink']}: {counted(sink['presented'], 'frame')}{late}{missed}")


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} for {reason}" for reason, count in counts.items())
