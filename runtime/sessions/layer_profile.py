"""What a backend writes of the layers it ran, and when."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ...errors import BackendUnavailableError
from ...reading import PROFILE, read_json

RUN, NODE_TIME = "model_run", "_kernel_time"
"""In a profile: a whole run's name, and what a layer's ends with, as ONNX Runtime writes them."""


@dataclass(frozen=True)
class Profile:
    """Times of layers that a backend wrote."""

    path: Path
    """A Chrome trace: a JSON list of events in microseconds since `began_ns`. Layers have the
    category `Node` and, where the engine fuses, the graph's names in `args.nodes`."""

    began_ns: int
    """Since the epoch."""

    def events(self) -> list[dict[str, Any]]:
        """What the backend wrote, each with a name; layers with their times and facts.

        Raises:
            BackendUnavailableError: The file is no such trace, as where the disk was full.
        """
        return self._events

    @cached_property
    def _events(self) -> list[dict[str, Any]]:
        """Read once: a trace and a table are made of them."""
        found = read_json(self.path, error=BackendUnavailableError, limits=PROFILE)
        events = []
        for event in found.items():
            event["name"].text()
            node = event.value.get("cat") == "Node"
            if node or event.value["name"] == RUN:
                event["ts"].number()
                event["dur"].number()
            if node:
                event["args"].mapping()
            events.append(event.mapping())
        return events
