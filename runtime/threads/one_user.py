"""A network's state belongs to one stream at a time: a second user is an error, not a mixture."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ...errors import UpscalerBusyError


class OneUser:
    """Who uses a network now. Any thread may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._user = ""

    @contextmanager
    def claim(self, user: str) -> Iterator[None]:
        """Be the user for the length of the block.

        Args:
            user: For the message to whoever comes meanwhile.

        Raises:
            UpscalerBusyError: There is one.
        """
        if not self._lock.acquire(blocking=False):
            raise UpscalerBusyError(
                f"{self._user} is under way in this Upscaler, and {user} would mix their pasts: "
                "finish it first (close the iterator of a clip), or use an Upscaler for each"
            )
        self._user = user
        try:
            yield
        finally:
            self._lock.release()
