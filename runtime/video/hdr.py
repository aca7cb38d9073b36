"""HDR in files: what comes in and how it is taken, and which outputs hold it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeAlias

import av

from ...errors import ConfigError, UnsupportedVideoError
from ...pictures.colour import SDR_BT709, Colours, hdr_kind
from ...pictures.hdr import HdrFacts, is_dolby_alone, is_hdr, read_facts
from ...pictures.pyav import side_data
from .info import VideoInfo

HdrMode: TypeAlias = Literal["keep", "tonemap", "refuse"]

HDR_ENCODERS = {
    ".mp4": "libx265",
    ".m4v": "libx265",
    ".mov": "libx265",
    ".mkv": "libx265",
    ".ts": "libx265",
    ".webm": "libsvtav1",
}
"""Encoders of HDR by file name ending: those whose ten bits players show as HDR."""

DEEP_BITS = 10
"""Of HDR, at least."""

SDR_ADVICE = "--hdr tonemap makes SDR of it"

FROM_DOLBY = (
    "libplacebo=colorspace=bt2020nc:color_primaries=bt2020:color_trc=smpte2084:"
    "format=yuv420p10le -c:v libx265 -crf 14"
)
"""FFmpeg's filter that applies Dolby's metadata, with an encoder."""


def take_hdr(
    path: Path,
    frame: av.VideoFrame,
    info: VideoInfo,
    mode: HdrMode,
    note: Callable[[str], None],
) -> tuple[VideoInfo, HdrFacts | None]:
    """Look whether a video is HDR, and say what becomes of it.

    Args:
        path: The file.
        frame: Its first one, decoded.
        info: What is known of it.
        mode: `keep`, `tonemap` or `refuse`.
        note: Called with lines worth telling the user.

    Returns:
        What is known of the frames as they are given: of SDR where they are mapped; and what the
        stream of HDR says of itself, None for SDR.

    Raises:
        UnsupportedVideoError: It is HDR and refused, or Dolby Vision without a picture of its own.
    """
    facts = find_hdr(str(path), frame, info.colours, mode, note)
    if facts is None:
        return info, None
    if mode == "tonemap":
        note(to_sdr_line(facts))
        colours, planes = SDR_BT709, replace(info.planes, bits=8)
        return replace(info, colours=colours, planes=planes), facts
    planes = replace(info.planes, bits=max(info.planes.bits, DEEP_BITS))
    return replace(info, planes=planes), facts


def to_sdr_line(facts: HdrFacts) -> str:
    """Say that a stream of HDR is mapped to SDR."""
    return (
        f"{facts.name} is mapped to SDR, BT.709: light from {facts.peak_nits:.0f} nits down is "
        "pressed below white"
    )


def find_hdr(
    name: str, frame: av.VideoFrame, colours: Colours, mode: HdrMode, note: Callable[[str], None]
) -> HdrFacts | None:
    """Look whether a decoded frame is HDR; None for SDR, and for a base layer of SDR.

    Args:
        name: Of the file or stream, for messages.
        frame: The first one of its stream.
        colours: Of the frame.
        mode: What is to become of it.
        note: Called with lines about metadata that is left out.

    Raises:
        UnsupportedVideoError: It is HDR and refused, or Dolby Vision without a picture of its own.
    """
    kind = hdr_kind(frame, colours)
    if kind is None:
        return None
    data = side_data(frame)
    if is_dolby_alone(data):
        raise UnsupportedVideoError(
            f"'{name}' is HDR (Dolby Vision, profile 5), whose picture means nothing without "
            "Dolby's metadata; make HDR10 of it first, with an FFmpeg that has libplacebo: "
            f"ffmpeg -i IN -vf {FROM_DOLBY} OUT"
        )
    if mode == "refuse":
        raise UnsupportedVideoError(
            f"'{name}' is HDR ({kind}), which is refused here; make SDR of it first, for example: "
            "adcvsr upscale IN OUT --hdr tonemap"
        )
    if "DOVI_METADATA" in data:
        layer = {"Dolby Vision": "SDR"}.get(kind, kind.partition(", ")[2])
        note(f"Dolby Vision's metadata is left out: its base layer, which is {layer}, is upscaled")
    if not is_hdr(colours.transfer):
        return None
    if mode == "keep" and "DYNAMIC_HDR_PLUS" in data:
        note("HDR10+'s metadata of each scene is left out: HDR10 is written")
    return read_facts(colours.transfer, data)


def encoder_of(path: Path, info: VideoInfo, given: str | None, usual: dict[str, str]) -> str:
    """The encoder of an output, where none is given.

    Args:
        path: Of the output.
        info: What is written.
        given: The one that was asked for.
        usual: Encoders of SDR by ending.
    """
    suffix = path.suffix.lower()
    if given is None and is_hdr(info.colours.transfer):
        return HDR_ENCODERS.get(suffix, usual[suffix])
    return given or usual[suffix]


def require_hdr_output(path: Path, *, plain: bool, bits: int | None, why: str = "") -> None:
    """Refuse outputs that cannot say that they are HDR.

    Args:
        path: Of the output.
        plain: Whether it is pictures without a container.
        bits: That are asked for.
        why: Why no more than 8 bits can come, where that is so.

    Raises:
        ConfigError: With what can.
    """
    suffix = path.suffix.lower()
    what = "-" if plain and not suffix else suffix
    if plain or suffix not in HDR_ENCODERS:
        raise ConfigError(
            f"'{what}' has no place to say that pictures are HDR: mp4, mov, mkv, webm and ts have, "
            f"or {SDR_ADVICE}"
        )
    if bits == 8:
        raise ConfigError(f"--bits 8 is not possible: HDR has ten; leave it out, or {SDR_ADVICE}")
    if why:
        raise ConfigError(f"HDR needs more than 8 bits, and {why}; {SDR_ADVICE}")


def require_hdr_bits(encoder: str, bits: int) -> None:
    """Refuse an encoder of 8 bits.

    Raises:
        ConfigError: It is one.
    """
    if bits < DEEP_BITS:
        raise ConfigError(
            f"encoder '{encoder}' takes {bits} bits, HDR has ten: choose libx265, libsvtav1 or "
            f"prores_ks, or {SDR_ADVICE}"
        )
