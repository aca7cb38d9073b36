"""Frames of HDR on their way through a network: changed to what it knows, and back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np

from ...arrays import Frame
from ...pictures.colour import TRANSFER_PQ
from ...pictures.hdr import Table, network_to_pq_table, pq_to_network_table
from ...pictures.yuv_picture import AnyPicture
from .processor import FrameProcessor, require_rgb


def for_transfer(inner: FrameProcessor, transfer: int) -> FrameProcessor:
    """A processor for frames of a transfer characteristic; HLG and SDR go in as they are."""
    return PqProcessor(inner) if transfer == TRANSFER_PQ else inner


class PqProcessor(FrameProcessor):
    """Frames of PQ in and out, the network's range (`pictures.hdr`) between.

    Args:
        inner: What upscales uint16 frames (see `arrays.Frame`); cuts are looked for in it.
    """

    def __init__(self, inner: FrameProcessor) -> None:
        self.inner = inner

    def push(self, frame: AnyPicture) -> Iterator[AnyPicture]:
        """See `FrameProcessor`."""
        yield from map(_back, self.inner.push(_looked_up(pq_to_network_table(), frame)))

    def finish(self) -> Iterator[AnyPicture]:
        """See `FrameProcessor`."""
        yield from map(_back, self.inner.finish())

    def reset(self) -> None:
        """See `FrameProcessor`."""
        self.inner.reset()

    def facts(self) -> dict[str, Any]:
        """See `FrameProcessor`."""
        return self.inner.facts()

    def notes(self) -> list[str]:
        """See `FrameProcessor`."""
        return self.inner.notes()


def _back(picture: AnyPicture) -> Frame:
    return _looked_up(network_to_pq_table(), picture)


def _looked_up(table: Table, picture: AnyPicture) -> Frame:
    rgb = require_rgb(picture)
    if rgb.dtype != np.uint16:
        raise TypeError(f"a frame of HDR is {rgb.dtype}; expected uint16")
    return cast("Frame", table[rgb])
