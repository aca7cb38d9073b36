"""Digital zoom of a running stream: the part of the camera's picture that is upscaled.

zoom = Zoom(Crop.parse("320x180+0+0"), note=print)
zoom.ask("320x180+100+50")  # by any thread, while it runs
part = zoom.part("the camera", 1920, 1080)  # by the thread of the network, for each frame
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from ...errors import ConfigError
from ...pictures.crop import Crop


class Zoom:
    """Which part is wanted, and whether the past still belongs to it.

    Args:
        crop: At first; None for the whole picture.
        note: Called with a line for every change.
    """

    def __init__(self, crop: Crop | None, note: Callable[[str], None]) -> None:
        self._wanted, self._note = crop, note
        self._used: Crop | None = crop
        self._size: tuple[int, int] | None = None  # of the camera's picture
        self._lock = threading.Lock()
        self.changed = False
        """Whether the latest part is another than the one before: the past must be forgotten."""

    def ask(self, text: str | None) -> None:
        """Choose another part, from the next frame on.

        Args:
            text: `WxH+X+Y`; None for the whole picture.

        Raises:
            ConfigError: It is no part of the picture.
        """
        crop = None if text is None else Crop.parse(text)
        with self._lock:
            if crop is not None and self._size is not None:
                crop.require_within("the picture", *self._size)
            if crop != self._wanted:
                self._note(f"upscaled is now {'the whole picture' if crop is None else crop}")
            self._wanted = crop

    def part(self, name: str, width: int, height: int) -> Crop | None:
        """The part of the next frame; None for all of it. See `changed`.

        Args:
            name: Of the source, for messages.
            width: Of the frame.
            height: Likewise.

        Raises:
            ConfigError: It is outside of the first frame. Where a later frame is too small for it,
                the whole picture is taken, with a note.
        """
        with self._lock:
            first, self._size = self._size is None, (width, height)
            crop = self._wanted
            if crop is not None and not crop.fits(width, height):
                if first:
                    crop.require_within(name, width, height)
                self._note(f"{crop} is outside of {width}x{height}: the whole picture is upscaled")
                self._wanted = crop = None
            self.changed = crop != self._used and not first
            self._used = crop
            return crop

    def state(self) -> dict[str, Any]:
        """What is upscaled of which picture, JSON-ready."""
        with self._lock:
            crop = None if self._wanted is None else str(self._wanted)
            return {"crop": crop, "size": list(self._size) if self._size else None}


def read_wish(wish: Any) -> str | None:
    """The part that a request asks for: `{"crop": "WxH+X+Y"}`, or null for the whole picture.

    Raises:
        ConfigError: It asks for nothing of the kind.
    """
    if isinstance(wish, dict) and wish.keys() == {"crop"}:
        crop = wish["crop"]
        if crop is None or isinstance(crop, str):
            return crop
    raise ConfigError('expected {"crop": "WxH+X+Y"}, or {"crop": null} for the whole picture')
