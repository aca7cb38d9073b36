"""What a job was asked for: kept in its plan, and held against what it is gone on with."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, cast

from ...errors import JobError
from ...pictures.crop import Crop
from ...pictures.output_size import OutputSize
from ...reading import Item
from ..video.encoders import EncodeOptions
from ..video.hardware_decode import Decoder
from ..video.hdr import HdrMode
from ..video.read_options import ReadOptions
from ..video.sound import AudioMode

SEGMENT_SECONDS = 10.0
"""Length of a segment where nobody says: what is lost at most, a worker, when it dies."""


@dataclass(frozen=True, kw_only=True)
class JobSettings:
    """All that the result of a job depends on and a user chooses. Values are JSON-ready."""

    source: str
    """The input's absolute path."""

    output: str
    """The output's absolute path."""

    model: str = "nano"
    """A bundle's name, or its absolute path."""

    backend: str = "auto"
    variant: str | None = None
    tile: int | None = None
    colour_match: str | None = None
    allow_untrained: bool = False
    cut_reset: bool = True
    pixels: str = "auto"
    """See `Upscaler.upscale_file`."""

    start: str = "0"
    """Seconds, as a fraction."""

    duration: str | None = None
    """Likewise."""

    video_stream: int | None = None
    deinterlace: str = "auto"
    decoder: str = "auto"
    crop: str | None = None
    """`WxH+X+Y`."""

    hdr: str | None = None
    """None is `keep`."""

    scale: int | None = None
    height: int | None = None
    output_size: str | None = None
    """`WxH`."""

    fit: bool = False
    encoder: str | None = None
    preset: str | None = None
    crf: int | None = None
    bits: int | None = None
    chroma: str = "auto"
    audio: str = "auto"
    segment_seconds: float = SEGMENT_SECONDS
    equal_within: int = 0
    """Levels by which a worker's pictures may differ from the first worker's."""

    def read_options(self) -> ReadOptions:
        """What of the input is read."""
        return ReadOptions(
            start=Fraction(self.start),
            duration=None if self.duration is None else Fraction(self.duration),
            video_stream=self.video_stream,
            deinterlace=cast('Literal["auto", "off"]', self.deinterlace),
            decoder=cast("Decoder", self.decoder),
            crop=None if self.crop is None else Crop.parse(self.crop),
            hdr=cast("HdrMode", self.hdr or "keep"),
        )

    def size(self) -> OutputSize | None:
        """Of the output; None for that of the pictures."""
        if self.scale is None and self.height is None and self.output_size is None and not self.fit:
            return None
        size = None
        if self.output_size is not None:
            width, _, height = self.output_size.partition("x")
            size = (int(width), int(height))
        return OutputSize(scale=self.scale, height=self.height, size=size, fit=self.fit)

    def encode_options(self, threads: int | None, *, overwrite: bool = False) -> EncodeOptions:
        """How the output is encoded, with an encoder of so many threads."""
        return EncodeOptions(
            encoder=self.encoder,
            preset=self.preset,
            crf=self.crf,
            bits=self.bits,
            chroma=self.chroma,
            size=self.size(),
            audio=cast("AudioMode", self.audio),
            overwrite=overwrite,
            threads=threads,
        )

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        return dataclasses.asdict(self)

    def differences(self, other: JobSettings) -> Iterator[str]:
        """A text for each value of which another one says something else."""
        mine, its = self.to_json(), other.to_json()
        for name, value in mine.items():
            if value != its[name]:
                yield f"{name.replace('_', '-')} is {_shown(value)}, not {_shown(its[name])}"

    def require_same(self, other: JobSettings, folder: Path) -> None:
        """Refuse to go on with other settings.

        Args:
            other: What is asked for now.
            folder: The job's, for the message.

        Raises:
            JobError: With every difference.
        """
        if found := "; ".join(self.differences(other)):
            raise JobError(
                f"'{folder}' is a job of other settings: {found}. Go on with the same ones, or "
                "choose another --job folder"
            )


def size_settings(size: OutputSize | None) -> dict[str, Any]:
    """An output's size as values of `JobSettings`."""
    if size is None:
        return {}
    text = None if size.size is None else "{}x{}".format(*size.size)
    return {"scale": size.scale, "height": size.height, "output_size": text, "fit": size.fit}


PATHS = ("source", "output", "model")
"""Values that have whatever characters a file's name may have."""


def read_settings(found: Item) -> JobSettings:
    """Settings from a plan.

    Raises:
        AdcVsrError: Of the document's class: a value is missing or of another kind.
    """
    values: dict[str, Any] = {}
    for field in dataclasses.fields(JobSettings):
        if "None" in str(field.type) and found.get(field.name) is None:
            values[field.name] = None
            continue
        item = found[field.name]
        if "bool" in str(field.type):
            values[field.name] = item.flag()
        elif "int" in str(field.type):
            values[field.name] = item.integer(0)
        elif "float" in str(field.type):
            values[field.name] = float(item.number(0))
        else:
            values[field.name] = item.any_text() if field.name in PATHS else item.text()
    return JobSettings(**values)


def _shown(value: Any) -> str:
    return (
        "the default" if value is None else f"'{value}'" if isinstance(value, str) else str(value)
    )
