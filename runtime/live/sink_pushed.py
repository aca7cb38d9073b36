"""What sinks that push to a server have in common: a server that is lost later is tried again."""

from __future__ import annotations

import time
from typing import ClassVar

from ...errors import OutputNotWritableError
from ..video.encoders import EncodeOptions
from .address import Address
from .backoff import wait_before_try
from .sink import Encoded, FinishedFrame, VideoSink
from .sink_encoded import EncodedSink


class ComingBack(VideoSink):
    """Pushes to a server. The first connection must work; a server lost later is tried again.

    It stands before the class that pushes, whose every picture goes through it.

    Frames that come meanwhile are dropped (`sink`).
    """

    options: ClassVar[str] = "timeout"

    usual_timeout_s: ClassVar[float] = 5
    """How long the server may take, where the address does not say."""

    def __init__(self, address: Address, options: EncodeOptions) -> None:
        super().__init__(address, options)
        self.timeout_s = address.number("timeout", self.usual_timeout_s, low=0.1, high=3600)
        self.patience_s = self.timeout_s + self.patience_s
        self._connected, self._tries, self._retry_at = False, 0, 0.0

    def encode(self, frame: FinishedFrame) -> Encoded | None:
        """See `VideoSink`."""
        if time.monotonic() < self._retry_at:
            self.drops["sink"] += 1
            return None
        try:
            return super().encode(frame)  # type: ignore[safe-super]
        except OutputNotWritableError as error:
            self._lost(error)
            return None

    def present(self, encoded: Encoded) -> bool:
        """See `VideoSink`."""
        try:
            sent = super().present(encoded)  # type: ignore[safe-super]
        except OutputNotWritableError as error:
            self._lost(error)
            return False
        if self._tries:
            self.notes.add(f"'{self.address.text}' is back after {self._tries} tries")
        self._connected, self._tries = True, 0
        return sent

    def finish(self) -> None:
        """See `VideoSink`; a server that is gone by now need not be told."""
        try:
            super().finish()
        except OutputNotWritableError as error:
            self.notes.add(str(error))

    def _lost(self, error: OutputNotWritableError) -> None:
        if not self._connected:
            raise error
        self.drops["sink"] += 1
        if not self._tries:
            self.notes.add(str(error))
        self.close()
        self._retry_at = time.monotonic() + wait_before_try(self._tries)
        self._tries += 1


class PushedSink(ComingBack, EncodedSink):
    """Encodes, and pushes to a server that may be lost and come back."""
