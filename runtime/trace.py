"""A trace of what ran when, for Perfetto (ui.perfetto.dev) and chrome://tracing.

Stages of the pipeline are tracks; layers, where the backend profiles them, are a track below the
stage that runs them. The format is Chrome's trace events, JSON, microseconds.

    with Trace(Path("trace.json")) as trace, Upscaler("nano", trace=trace) as upscaler:
        upscaler.upscale_file("in.mp4", "out.mp4")
"""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from ..files import replace_file
from ..leftovers import part_folder
from .sessions.layer_profile import NODE_TIME, Profile
from .sessions.session import Session

MOST_EVENTS = 2_000_000
"""About 200 MB of JSON, and more than Perfetto shows smoothly; what comes later is counted."""

LAYERS = "layers"


class Trace:
    """Collects spans from any thread; written when left without an error.

    Args:
        path: File to write.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.dropped = 0
        """Events beyond `MOST_EVENTS`."""
        self._events: list[dict[str, Any]] = []
        self._tracks: dict[str, int] = {}
        self._lock = threading.Lock()
        # Spans are timed by the steady clock; profiles by engines say when they began by the wall.
        self._epoch_ns = time.time_ns() - time.monotonic_ns()
        self._watched = 0
        self._files = ExitStack()
        self._folder = self._files.enter_context(part_folder())

    def __enter__(self) -> Trace:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write the file.

        Raises:
            OutputNotWritableError: It cannot be written.
        """
        self._files.close()
        if kind is None:
            self.write()

    def span(self, track: str, name: str, began: float, ended: float, **facts: Any) -> None:
        """Note one piece of work.

        Args:
            track: Whose; each has a line of its own.
            name: What.
            began: By `time.monotonic`, seconds.
            ended: By `time.monotonic`, seconds.
            facts: Shown when the span is clicked; JSON-ready.
        """
        self._add(track, name, self._epoch_ns / 1e3 + began * 1e6, (ended - began) * 1e6, facts)

    def watch(self, session: Session) -> None:
        """Have a session's layers profiled; call before it is opened."""
        self._watched += 1
        session.profile_prefix = self._folder / f"layers{self._watched}"

    def merge(self, session: Session) -> None:
        """Take over what a session profiled; call after it is closed."""
        for index, profile in enumerate(session.profiles):
            suffix = f" {index + 1}" if len(session.profiles) > 1 else ""
            self._merge(profile, f"{LAYERS} {session.variant.id} on {session.backend}{suffix}")

    def write(self) -> None:
        """Write all spans so far.

        Raises:
            OutputNotWritableError: It cannot be written.
        """
        first = min((event["ts"] for event in self._events), default=0.0)
        process = os.getpid()
        events: list[dict[str, Any]] = [
            {"ph": "M", "name": "process_name", "pid": process, "args": {"name": "adcvsr"}}
        ]
        for track, number in self._tracks.items():
            place = {"pid": process, "tid": number}
            events.append({"ph": "M", "name": "thread_name", **place, "args": {"name": track}})
            order = {"sort_index": number}
            events.append({"ph": "M", "name": "thread_sort_index", **place, "args": order})
        for event in sorted(self._events, key=lambda each: each["ts"]):
            shifted = {**event, "ts": round(event["ts"] - first, 3)}
            events.append({"ph": "X", "pid": process, **shifted})
        document = {"traceEvents": events, "displayTimeUnit": "ms"}
        text = json.dumps(document, separators=(",", ":"))
        replace_file(self.path, lambda part: part.write_text(text, encoding="utf-8"))

    def _merge(self, profile: Profile, track: str) -> None:
        began_us = profile.began_ns / 1e3
        for event in profile.events():
            if event.get("ph") != "X" or event.get("cat") != "Node":
                continue
            if not event["name"].endswith(NODE_TIME):
                continue
            facts = {
                k: v for k, v in event["args"].items() if k in ("op_name", "provider", "nodes")
            }
            name = event["name"].removesuffix(NODE_TIME)
            self._add(track, name, began_us + event["ts"], event["dur"], facts)

    def _add(self, track: str, name: str, at: float, length: float, facts: dict[str, Any]) -> None:
        with self._lock:
            if len(self._events) >= MOST_EVENTS:
                self.dropped += 1
                return
            number = self._tracks.setdefault(track, len(self._tracks) + 1)
            event = {"name": name, "cat": track, "tid": number, "ts": at, "dur": round(length, 3)}
            self._events.append({**event, "args": facts} if facts else event)
