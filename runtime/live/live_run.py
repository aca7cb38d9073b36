"""A live run: capture, network and outputs in threads of their own, and the figures of all.

with Upscaler("nano") as upscaler:
    report = LiveRun(upscaler, "rtsp://camera/stream", "http://127.0.0.1:8080").run()
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...bundle import Bundle
from ..trace import Trace
from ..upscaler import Upscaler
from ..video.encoders import EncodeOptions
from .governor import governor_of
from .live_report import LiveOptions, LiveReport
from .stream_run import StreamRun
from .together import Together


class LiveRun(StreamRun):
    """One run from a source to a sink, or to several.

    Args:
        upscaler: Of a causal network, loaded.
        source: Address.
        sink: Address; several in a list, each with a queue and a thread of its own.
        options: See `LiveOptions`.
        encode: Encoder choices.
        offer: Further bundles that people may switch to, where a sink lets them; None for all
            that are installed.
        observe: Called about once a second with the latest record and the notes so far.
        trace: Collects when each frame was in the network, encoded and presented.
        cheaper: Networks to step down to, the best first; see `governor`.

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
        observe: Callable[[dict[str, Any], list[str]], None] | None = None,
        trace: Trace | None = None,
        cheaper: Sequence[Upscaler] = (),
    ) -> None:
        governor = governor_of([upscaler, *cheaper], options or LiveOptions())
        super().__init__(
            upscaler,
            source,
            sink,
            options,
            encode=encode,
            offer=offer,
            trace=trace,
            governor=governor,
        )
        self._observe = observe

    def run(self) -> LiveReport:
        """Run until the source ends, the duration is over, or Ctrl-C.

        Ctrl-C is the ordinary end of a live run: what was captured is finished, and a recording is
        kept. An error of the source, too, ends the output properly before it is raised.

        Raises:
            AdcVsrError: Source, network or a sink failed.
        """
        together = Together([self], self._tell if self._observe is not None else None)
        together.run()
        if self.stages.error is not None:
            raise self.stages.error
        return self.report(together.device)

    def _tell(self, records: Sequence[dict[str, Any]], notes: list[str]) -> None:
        assert self._observe is not None
        self._observe(records[0], notes)
