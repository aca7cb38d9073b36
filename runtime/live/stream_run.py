"""One stream of a process: its ends opened, its figures, its notes, its report.

Who runs it, alone or beside others, is `live_run` and `together`.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime, timezone
from functools import partial
from io import FileIO
from typing import Any

import numpy as np

from ...bundle import BadBundle, Bundle, find_bundles
from ...errors import ClipNetworkError, ConfigError, OutputNotWritableError
from ..trace import Trace
from ..upscaler import Upscaler
from ..video.encoders import EncodeOptions
from .accounting import Accounting
from .content_watch import ContentWatch
from .depth import Depth
from .glass import GlassReader
from .governor import Governor
from .live_report import LiveOptions, LiveReport, resident_bytes
from .live_stages import LiveStages
from .model_switch import ModelSwitch, why_not
from .notes import Notes
from .sink import VideoSink, open_sinks
from .source import VideoSource, open_source
from .zoom import Zoom


class StreamRun:
    """A stream from a source to its sinks.

    Args:
        upscaler: Of a causal network, loaded; its past is the stream's.
        source: Address.
        sink: Address, or several.
        options: See `LiveOptions`.
        encode: Encoder choices.
        offer: Further bundles that people may switch to, where a sink lets them; None for all
            that are installed.
        trace: Collects when each frame was in the network, encoded and presented.
        name: Of the stream, where there are several.
        beside: Sinks beside those of the addresses, such as a tile of the page of all.
        governor: Chooses the network while it runs.

    Raises:
        ClipNetworkError: The network is not causal.
        ConfigError, MissingProgramError: An address or option makes no sense here.
        OutputExistsError, OutputNotWritableError: An output cannot be written.
    """

    def __init__(
        self,
        upscaler: Upscaler,
        source: str,
        sink: str | Sequence[str],
        options: LiveOptions | None = None,
        *,
        encode: EncodeOptions | None = None,
        offer: Sequence[Bundle] | None = None,
        trace: Trace | None = None,
        name: str = "",
        beside: Sequence[VideoSink] = (),
        governor: Governor | None = None,
    ) -> None:
        if upscaler.bundle.kind == "clip":
            raise ClipNetworkError(
                f"bundle '{upscaler.bundle.name}' is not causal: it needs frames of the future and "
                "cannot run live; use 'adcvsr upscale', or a causal bundle such as nano"
            )
        self.options = options = options or LiveOptions()
        self.upscaler, self.name = upscaler, name
        self.governor = governor
        self._backend_notes = upscaler.backend_notes()
        self.clock = time.monotonic
        self.accounting = Accounting()
        self.ending = threading.Event()
        """Set to end the source; what it gave is finished."""
        self._cpu_before = time.process_time()
        self._trace = trace
        self.source: VideoSource = open_source(source, self.ending, self.clock)
        self.glass = GlassReader(options.glass, self.accounting) if options.glass else None
        texts = [sink] if isinstance(sink, str) else list(sink)
        self.sinks: list[VideoSink] = open_sinks(texts, encode or EncodeOptions())
        self.sinks += beside
        self._own_notes = Notes()
        self.zoom = Zoom(options.crop, self._own_notes.add)
        self.content = ContentWatch(self._own_notes.add)
        self._stats: FileIO | None = None
        self._torn_line = False  # the last one in the file of figures
        self._frames_before, self._record_at = 0, 0.0
        self._begun = False
        self.latest_ms: float | None = None
        """Median latency of the latest second."""
        self.latest_fps = 0.0
        """Frames out a second, likewise."""
        self.ended = "end of source"
        """Why it ended, or will."""
        try:
            self._depth = Depth(
                upscaler,
                self.sinks,
                bits=(encode or EncodeOptions()).bits,
                hdr=options.hdr,
                note=partial(self._own_notes.add, once=True),
            )
            self.source.hdr, self.source.takes_deep = options.hdr, self._depth.wants
            self.switch = self._open_switch(offer)
        except BaseException:
            self.close()
            raise

    @property
    def sink(self) -> VideoSink:
        """The first of its sinks."""
        return self.sinks[0]

    @property
    def route(self) -> str:
        """From where to where, for people."""
        sinks = ", ".join(sink.address.text for sink in self.sinks)
        return f"{self.name}: " * bool(self.name) + f"{self.source.address.text} -> {sinks}"

    def close(self) -> None:
        """Close the sinks, but for those that were left behind."""
        left = [each.sink for each in self.stages.outputs if each.was_left] if self._begun else []
        for sink in self.sinks:
            if sink not in left:
                sink.close()

    def prepare(
        self,
        stack: ExitStack,
        bell: threading.Event,
        passed: Callable[[], None],
        preparing: Callable[[str], None],
    ) -> None:
        """Make everything ready for the first frame.

        Args:
            stack: Takes what has to be closed at the end.
            bell: See `LiveStages`.
            passed: Likewise.
            preparing: See `Session.on_prepare`, of whichever network runs.

        Raises:
            OutputNotWritableError: The figures have nowhere to go.
            UnsupportedVideoError: The frames are too large for this machine.
        """
        self._begun, self._preparing = True, preparing
        self.stages = LiveStages(
            self.source,
            self.upscaler,
            self.sinks,
            self.options,
            self.accounting,
            self.ending,
            bell=bell,
            zoom=self.zoom,
            content=self.content,
            swap=self._swap,
            passed=passed,
            depth=self._depth,
            trace=self._trace,
            name=self.name,
        )
        stack.callback(self.stages.close)
        for output in self.stages.outputs:
            stack.callback(output.close)
        stack.callback(self.switch.close)
        stack.enter_context(self.source)
        self._watch_network()
        stack.callback(self._watch_network, watch=False)
        if self.options.stats_path:
            self._stats = stack.enter_context(self._open_stats())
        self._warm_up()
        for sink in self.sinks:
            sink.offer(self.switch, self.zoom)
        if self.glass is not None:
            stack.enter_context(self.glass)
        self._record_at = self.clock()

    def end(self, reason: str) -> None:
        """End it in order, unless it ends already.

        Args:
            reason: For the report.
        """
        if not self.ending.is_set():
            self.ended = reason
            self.ending.set()

    def end_in_time(self, began: float | None = None) -> None:
        """End it where its duration is over.

        Args:
            began: When the first frame of any stream was there: what counts for a camera that is
                away all the time.
        """
        limit = self.options.duration_s
        first = self.stages.first if self.stages.first is not None else began
        if limit is not None and first is not None and self.clock() - first >= limit:
            self.end("duration")

    def leave_blocked_sinks(self) -> None:
        """While the stream ends: wait no longer for sinks that take nothing, which is an error."""
        if not self.stages.is_ending:
            return
        for output in self.stages.outputs:
            if output.stands_still():
                self.stages.fail(
                    OutputNotWritableError(
                        f"'{output.sink.address.text}' has taken nothing for "
                        f"{output.sink.patience_s:g} s and is left behind; what it had is lost"
                    )
                )
                self.stages.leave_behind(output)

    def record(self, device: Mapping[str, float]) -> dict[str, Any]:
        """The figures now, JSON-ready: counters since the start, `ms` and `fps` since the last.

        Args:
            device: Power, temperature and load.
        """
        presented, at = self.accounting.presented, self.clock()
        frames, seconds = presented - self._frames_before, at - self._record_at
        self._frames_before, self._record_at = presented, at
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        ms, drops = self.accounting.end_interval(), self.stages.drops()
        self.latest_ms = ms["latency"]["p50"]
        self.latest_fps = round(frames / max(seconds, 1e-9), 2)
        steps = {}
        if self.governor is not None:
            self.governor.judge(ms["latency"]["p95"], drops.get("newer", 0) + drops.get("late", 0))
            steps = {"steps": dict(self.governor.steps)}
        return {
            "time": now.replace("+00:00", "Z"),
            **({"stream": self.name} if self.name else {}),
            "seconds": round(self.stages.seconds_until(at), 3),
            "captured": self.accounting.captured,
            "presented": presented,
            "fps": self.latest_fps,
            "drops": drops,
            **steps,
            "resets": dict(self.accounting.resets),
            "reconnects": self.source.reconnects,
            "damaged_packets": self.source.damaged_packets,
            **self._running(),
            "crop": self.zoom.state()["crop"],
            "content": self.content.to_json(),
            "ms": ms,
            "sinks": [output.figures() for output in self.stages.outputs],
            "cpu_seconds": round(time.process_time() - self._cpu_before, 3),
            "rss_bytes": resident_bytes(),
            "device": dict(device),
        }

    def publish(self, record: Mapping[str, Any], metrics: str) -> None:
        """Show figures in the sinks, and append them to the file that was asked for.

        Args:
            record: Of this stream.
            metrics: Of all streams, as Prometheus text.
        """
        if self._stats is not None:
            self._append(self._stats, json.dumps(record))
        for sink in self.sinks:
            sink.publish(record, metrics)

    def notes(self) -> list[str]:
        """Lines worth telling the user, so far."""
        glass = self.glass.notes if self.glass is not None else []
        return [
            *self._backend_notes,
            *self.source.notes,
            *(line for sink in self.sinks for line in sink.notes),
            *glass,
            *(self.governor.notes if self.governor is not None else ()),
            *self._own_notes,
            *self._end_note(),
        ]

    def _end_note(self) -> list[str]:
        """Of several streams, which goes on for the others: why this one ended."""
        error = self.stages.error if self.name else None
        return [] if error is None else [f"ended: {error}"]

    def report(self, device: Mapping[str, float]) -> LiveReport:
        """What was done.

        Args:
            device: Power, temperature and load at the end.
        """
        counts, drops = self.accounting, self.stages.drops()
        seconds = self.stages.seconds_until(self.stages.last)
        lost = sum(drops[reason] for reason in ("newer", "late", "sink") if reason in drops)
        cpu = time.process_time() - self._cpu_before
        return LiveReport(
            source=self.source.address.text,
            sink=", ".join(sink.address.text for sink in self.sinks),
            policy=self.options.policy,
            max_latency_ms=self.options.max_latency_ms,
            seconds=round(seconds, 3),
            captured=counts.captured,
            presented=counts.presented,
            unfinished=counts.captured - counts.presented - lost,
            fps=round(counts.presented / seconds, 2) if seconds else 0.0,
            drops=drops,
            resets=dict(sorted(counts.resets.items())),
            reconnects=self.source.reconnects,
            damaged_packets=self.source.damaged_packets,
            ms=counts.percentiles(),
            sinks=[output.figures() for output in self.stages.outputs],
            cpu_seconds=round(cpu, 3),
            cpu_ms_per_frame=round(1000 * cpu / counts.presented, 2) if counts.presented else None,
            rss_bytes=resident_bytes(),
            input_size=self.stages.input_size,
            output_size=self.sink.size,
            encoder=self.sink.encoder,
            pixels=self.stages.pixels.pixels,
            pixels_reason=self.stages.pixels.reason,
            copies=self.stages.pixels.copies,
            gpu_copies=self.stages.pixels.gpu_copies,
            **self._running(),
            device=dict(device),
            ended=self.ended,
            notes=self.notes(),
        )

    def _open_switch(self, offer: Sequence[Bundle] | None) -> ModelSwitch:
        switches = any(sink.switches_models for sink in self.sinks)
        if offer and not switches:
            raise ConfigError(
                f"'{self.sink.address.text}' has no place to choose a model: offer others with the "
                "preview page, http://127.0.0.1:8080"
            )
        bad: list[BadBundle] = []
        if offer is None:
            mine = self.upscaler.bundle.path.name
            installed, bad = find_bundles() if switches else ([], [])
            for each in bad:
                self._own_notes.add(f"not offered: {each.reason}")
            offer = [each for each in installed if each.trained and each.path.name != mine]
        else:
            for bundle in offer:
                if (why := why_not(bundle, self.upscaler.bundle)) is not None:
                    self._own_notes.add(f"not offered: {bundle.path.name}: {why}")
        return ModelSwitch(
            self.upscaler,
            offer,
            size=lambda: self.stages.input_size,
            note=self._own_notes.add,
            bad=bad,
        )

    def _open_stats(self) -> FileIO:
        assert self.options.stats_path is not None
        try:
            return self.options.stats_path.open("ab", buffering=0)
        except OSError as error:
            raise OutputNotWritableError(
                f"cannot write figures to '{self.options.stats_path}': {error.strerror}"
            ) from error

    def _warm_up(self) -> None:
        """Run the network once where the frames' size is known: the first run allocates."""
        if self.source.size is not None:
            width, height = self.source.size
            if (crop := self.options.crop) is not None:
                crop.require_within(self.source.address.text, width, height)
                width, height = crop.width, crop.height
            self.upscaler.check_memory(self.source.address.text, width, height)
            if self.governor is not None:
                rate = float(self.stages.rate)
                self.governor.begin(self.upscaler, (width, height), 1 / rate)
            self.upscaler.push(np.zeros((height, width, 3), np.uint8))
            self.upscaler.reset()

    def _swap(self) -> bool:
        """Change to a network that was loaded, which is then the one that is watched."""
        changed = self.switch.swap()
        if self.governor is not None:
            changed = self.governor.swap(self.upscaler, by_hand=changed) or changed
        if changed:
            self._watch_network()
        return changed

    def _watch_network(self, *, watch: bool = True) -> None:
        self.upscaler.session.on_prepare = self._preparing if watch else None

    def _append(self, stats: FileIO, line: str) -> None:
        """Write a line of figures; a disk that is full costs the line, not the stream."""
        rest = ("\n" * self._torn_line + line + "\n").encode()
        try:
            while rest:
                written = stats.write(rest)
                self._torn_line, rest = True, rest[written:]
            self._torn_line = False
        except OSError as error:
            self._own_notes.add(
                f"figures are missing in '{self.options.stats_path}': {error.strerror}", once=True
            )

    def _running(self) -> dict[str, str]:
        session = self.stages.pixels.session
        return {
            "model": session.bundle.path.name,
            "variant": session.variant.id,
            "backend": session.backend,
        }
