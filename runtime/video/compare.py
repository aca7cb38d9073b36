"""A clip that shows bicubic interpolation and the network side by side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import numpy as np

from ...arrays import Frame
from ...metrics import resize_bicubic
from ...pictures.colour import to_eight_bits
from ...pictures.lettering import write_text
from ...pictures.output_size import OutputSize
from .encoders import EncodeOptions
from .sink import FileSink
from .source import FileSource

LABELLED_PX = 200
"""Halves narrower than this carry no labels."""


class CompareSink:
    """Writes bicubic to the left and the network to the right, upright, without sound.

    Args:
        path: The clip; see `FileSink`.
        source: What is upscaled.
        options: Encoder choices.
        note: Called with lines worth telling the user.

    Raises:
        OutputExistsError, OutputNotWritableError, ConfigError: See `FileSink`.
    """

    def __init__(
        self,
        path: Path,
        source: FileSource,
        options: EncodeOptions,
        note: Callable[[str], None],
    ) -> None:
        info, options = (
            source.info,
            replace(
                options,
                size=OutputSize(made=options.size.made) if options.size else None,
                bits=8,
                chroma="420",
            ),
        )
        self._turns = info.rotation // 90  # turned by a tag, the halves would lie upside down
        width, height = info.width, info.height
        aspect = info.sample_aspect
        if self._turns % 2:
            width, height, aspect = height, width, 1 / aspect
        both = replace(info, width=2 * width, height=height, rotation=0, sample_aspect=aspect)
        self.path = path
        self._sink = FileSink(
            path, source, options, lambda line: note(f"{path.name}: {line}"), info=both, carry=False
        )

    def __enter__(self) -> CompareSink:
        """Start the encoder."""
        try:
            self._sink.open_encoder()
        except BaseException:
            self._sink.abort()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the finished file, or nothing."""
        self._sink.__exit__(kind, error, trace)

    def write(self, low: Frame, picture: Frame, pts: int) -> None:
        """Encode one frame.

        Args:
            low: (H, W, 3) uint8 RGB.
            picture: (4H, 4W, 3) uint8 RGB.
            pts: In ticks of the source's time base.
        """
        low, picture = to_eight_bits(low), to_eight_bits(picture)
        bicubic = resize_bicubic(low, *picture.shape[:2])
        halves = [np.rot90(half, self._turns) for half in (bicubic, picture)]
        both = np.ascontiguousarray(np.hstack(halves))
        half_px = both.shape[1] // 2
        if half_px >= LABELLED_PX:
            scale = max(half_px // 400, 1)
            for index, label in enumerate(("bicubic", "network")):
                left = index * half_px + 4 * scale
                write_text(both, label, top=5 * scale, left=left + scale, scale=scale, level=0)
                write_text(both, label, top=4 * scale, left=left, scale=scale)
        self._sink.write(both, pts)

    def flush(self) -> None:
        """Encode what the encoder still holds."""
        self._sink.flush()

    def finish(self) -> None:
        """Close the file and move it to its final name."""
        self._sink.finish()
