"""A network that repeats pixels, for tests of everything around one."""

from __future__ import annotations

import numpy as np

from adcvsr.arrays import Frame
from adcvsr.runtime.sessions.stream_session import StreamSession


class RepeatSession(StreamSession):
    """Each pixel becomes sixteen."""

    backend = "repeat"

    def _open(self) -> None: ...

    def _close(self) -> None: ...

    def _resize(self, height: int, width: int, slots: int) -> None: ...

    def _reset(self) -> None: ...

    def _fill(self, index: int) -> None: ...

    def _infer(self, frame: Frame, slot: int) -> Frame:
        return np.ascontiguousarray(frame.repeat(4, 0).repeat(4, 1))
