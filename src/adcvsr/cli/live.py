"""`adcvsr live --source URI --sink URI`: a live stream, four times larger."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ._options import (
    backend_option,
    cut_reset_option,
    json_option,
    output_size_options,
    read_output_size,
    variant_option,
)
from ._say import done, note, print_json, run_notes, shows_progress
from ._secrets import SINK_VARIABLE, SOURCE_VARIABLE
from ._terminal import raw
from ._trace import open_trace, trace_option

if TYPE_CHECKING:
    from ..runtime.live.live_report import LiveReport


DEFAULT_MODEL = "nano-camera"
"""What cameras deliver is compressed and noisy."""


@click.command()
@click.option(
    "--source",
    metavar="URI",
    required=True,
    envvar=SOURCE_VARIABLE,
    show_envvar=True,
    help="Where frames come from; passwords are safer in the variable.",
)
@click.option(
    "--sink",
    metavar="URI",
    required=True,
    envvar=SINK_VARIABLE,
    show_envvar=True,
    help="Where they go.",
)
@click.option(
    "--policy",
    type=click.Choice(("newest", "every")),
    default="newest",
    show_default=True,
    help="newest: bounded latency, frames are dropped; every: none is, the source waits.",
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
@cut_reset_option
@click.option(
    "--stall-frames",
    type=click.IntRange(1),
    default=8,
    show_default=True,
    metavar="N",
    help="Start the network anew after more than N missing frames.",
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
    default=DEFAULT_MODEL,
    show_default=True,
    help="A name from 'adcvsr models' or a bundle's path; nano for clean input.",
)
@backend_option
@variant_option
@click.option(
    "--offer",
    multiple=True,
    metavar="NAME|BUNDLE",
    help="A further model to switch to on the preview page, repeatable [default: all installed].",
)
@click.option("--tile", type=click.IntRange(1), metavar="PX", help="As for upscale.")
@output_size_options
@click.option("--encoder", metavar="NAME", help="FFmpeg encoder [default: libx264].")
@click.option(
    "--preset",
    metavar="NAME",
    help="Encoder preset; auto is the slowest that keeps real time [default: superfast].",
)
@click.option("--crf", type=click.IntRange(0, 63), help="Constant rate factor [default: 20].")
@click.option("--threads", type=click.IntRange(0), default=0, help="Network threads [0: all].")
@click.option("--overwrite", is_flag=True, help="Replace a recording or trace that exists.")
@click.option("--allow-untrained", is_flag=True, help="Run a bundle marked untrained.")
@json_option
def command(
    source: str,
    sink: str,
    policy: Any,
    max_latency_ms: float | None,
    duration: float | None,
    cut_reset: bool,
    stall_frames: int,
    glass: str | None,
    stats_jsonl: Path | None,
    trace_path: Path | None,
    model: str,
    backend: str,
    variant: str | None,
    offer: tuple[str, ...],
    tile: int | None,
    encoder: str | None,
    preset: str | None,
    crf: int | None,
    threads: int,
    overwrite: bool,
    allow_untrained: bool,
    as_json: bool,
    **size: Any,
) -> None:
    """Upscale a live stream, four times or to another size, at a latency that is stated.

    Sources: test://?size=320x180&fps=30, a file's path (at its own pace), rtsp://, udp://
    (MPEG-TS), v4l2:///dev/video0, csi://0. Sinks: null://, a file's path, udp://, rtsp://, and
    the preview page http://127.0.0.1:8080. Ctrl-C ends the run properly (docs/live.md).
    """
    from ..bundle import open_bundle
    from ..runtime.live.live_report import LiveOptions
    from ..runtime.live.live_run import LiveRun
    from ..runtime.upscaler import Upscaler
    from ..runtime.video.encoders import EncodeOptions

    options = LiveOptions(
        policy=policy,
        max_latency_ms=max_latency_ms,
        duration_s=duration,
        cut_reset=cut_reset,
        stall_frames=stall_frames,
        glass=glass,
        stats_path=stats_jsonl,
    )
    encode = EncodeOptions(
        encoder=encoder,
        preset=preset,
        crf=crf,
        overwrite=overwrite,
        size=read_output_size(size),
    )
    show = _Status()
    if click.get_current_context().get_parameter_source("model") is ParameterSource.DEFAULT:
        show.say(f"the model is {model}, for cameras and streams; for clean input: --model nano")
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
    ):
        show.passed_over(upscaler.session.reasons)
        run = LiveRun(
            upscaler,
            source,
            sink,
            options,
            encode=encode,
            offer=offered,
            observe=show,
            trace=trace,
        )
        report = run.run()
    show.end()
    if as_json:
        print_json(report.to_json(), indent=None)
    else:
        _summary(report)


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
        new = list((Counter(notes) - self._said).elements())
        if new:
            self.end()
            run_notes(new, self._reasons, once=False)
        self._said = Counter(notes)
        if self._terminal:
            latency = record["ms"]["latency"]
            click.echo(
                f"\r\x1b[K{record['fps']:.1f} fps, latency p50 {latency['p50'] or 0:.0f} ms, "
                f"p99 {latency['p99'] or 0:.0f} ms, dropped {sum(record['drops'].values())}",
                file=raw(sys.stderr),
                nl=False,
            )

    def say(self, text: str) -> None:
        """Print a line for people."""
        self.end()
        note(text)

    def end(self) -> None:
        """Clear the line."""
        if self._terminal:
            click.echo("\r\x1b[K", file=raw(sys.stderr), nl=False)


def _summary(report: LiveReport) -> None:
    """Print what was done."""
    latency = report.ms["latency"]
    done(
        f"{report.sink}: {report.presented} of {report.captured} frames in {report.seconds:.1f} s, "
        f"{report.fps:.1f} fps, {report.ended} "
        f"({report.model} {report.variant} on {report.backend})"
    )
    if report.presented:
        glass = report.ms["glass"]["p50"]
        done(
            f"latency p50 {latency['p50']:.1f} ms, p95 {latency['p95']:.1f} ms, "
            f"p99 {latency['p99']:.1f} ms"
            + (f"; glass to glass p50 {glass:.0f} ms" if glass is not None else "")
            + f"; {report.cpu_ms_per_frame:.1f} CPU-ms a frame"
        )
    for what, counts in (("dropped", report.drops), ("past forgotten", report.resets)):
        if counts:
            listed = ", ".join(f"{count} for {reason}" for reason, count in counts.items())
            done(f"{what}: {listed}")
