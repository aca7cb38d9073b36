"""What a stream of HDR says of itself (mastering display, content light), written into a file.

Encoders of HEVC, H.264 and AV1 write it into the video itself; into mp4, mov, mkv and webm it goes
as well, when they are finished: FFmpeg's muxers take it of the encoder's context, to which PyAV
gives no way. Boxes are those of ISO/IEC 14496-12, elements those of RFC 9559.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from ...pictures.hdr import (
    CHROMATICITY_STEPS,
    LUMINANCE_STEPS,
    HdrFacts,
)
from .matroska import add_to_colour, element

ISO = frozenset({".mp4", ".m4v", ".mov"})
MATROSKA = frozenset({".mkv", ".webm"})

VISUAL_ENTRY_BYTES = 78
"""Of a sample entry of video after its box's header, before the boxes in it."""

MOST_MOOV_BYTES = 1 << 28
"""A header that is larger is left as it is."""


def encoder_tags(encoder: str, facts: HdrFacts) -> dict[str, str]:
    """Options with which an encoder writes them into its stream, under the name of its own.

    Args:
        encoder: FFmpeg's name.
        facts: Of the source.
    """
    display = facts.display if facts.display and facts.display.primaries else None
    light = facts.light
    if encoder in ("libx265", "libx264"):
        key = "master-display" if encoder == "libx265" else "mastering-display"
        parts = ["hdr10=1"] if encoder == "libx265" and (display or light) else []
        if display is not None:
            parts.append(f"{key}={_written(display.primaries, display.luminance, exact=True)}")
        if light is not None:
            parts.append(f"{'max-cll' if encoder == 'libx265' else 'cll'}={light[0]},{light[1]}")
        return {f"{encoder[3:]}-params": ":".join(parts)} if parts else {}
    if encoder == "libsvtav1":
        parts = []
        if display is not None:
            written = _written(display.primaries, display.luminance, exact=False)
            parts.append(f"mastering-display={written}")
        if light is not None:
            parts.append(f"content-light={light[0]},{light[1]}")
        return {"svtav1-params": ":".join(parts)} if parts else {}
    return {}


def _written(
    primaries: tuple[tuple[int, int], ...] | None,
    luminance: tuple[int, int] | None,
    *,
    exact: bool,
) -> str:
    """A display as x265 and x264 (whole steps) or SVT-AV1 (parts of 1, nits) have it."""
    assert primaries is not None
    red, green, blue, white = primaries
    least, most = luminance or (0, 0)
    text = ""
    for name, (x, y) in (("G", green), ("B", blue), ("R", red), ("WP", white)):
        pair = (x, y) if exact else (x / CHROMATICITY_STEPS, y / CHROMATICITY_STEPS)
        text += f"{name}({pair[0]},{pair[1]})"
    if exact:
        return f"{text}L({most},{least})"
    return f"{text}L({most / LUMINANCE_STEPS:.4f},{least / LUMINANCE_STEPS:.4f})"


def tag_file(path: Path, suffix: str, facts: HdrFacts) -> bool:
    """Write them into a finished file's header.

    Args:
        path: A file of FFmpeg's with one video track.
        suffix: Of the container, in lower case.
        facts: Of the source.

    Returns:
        Whether they are there; a file of another form stays as it is.
    """
    if facts.display is None and facts.light is None:
        return True
    if suffix in MATROSKA:
        return add_to_colour(path, b"".join(_elements(facts)))
    return suffix in ISO and _tag_iso(path, b"".join(_boxes(facts)))


def _elements(facts: HdrFacts) -> Iterator[bytes]:
    """Of Matroska's Colour."""
    if facts.light is not None:
        for number, nits in zip((0x55BC, 0x55BD), facts.light, strict=True):
            yield element(number, nits.to_bytes(4, "big"))
    display = facts.display
    if display is None:
        return
    inner = b""
    if display.primaries is not None:
        numbers = iter(range(0x55D1, 0x55D9))
        for pair in display.primaries:
            for steps in pair:
                inner += element(next(numbers), struct.pack(">f", steps / CHROMATICITY_STEPS))
    if display.luminance is not None:
        least, most = display.luminance
        inner += element(0x55D9, struct.pack(">f", most / LUMINANCE_STEPS))
        inner += element(0x55DA, struct.pack(">f", least / LUMINANCE_STEPS))
    yield element(0x55D0, inner)


def _boxes(facts: HdrFacts) -> Iterator[bytes]:
    """Of a sample entry."""
    display = facts.display
    if display is not None and display.primaries is not None:
        red, green, blue, white = display.primaries
        least, most = display.luminance or (0, 0)
        pairs = [value for pair in (green, blue, red, white) for value in pair]
        yield _box(b"mdcv", struct.pack(">8H2I", *(min(v, 65535) for v in pairs), most, least))
    if facts.light is not None:
        yield _box(b"clli", struct.pack(">2H", *(min(nits, 65535) for nits in facts.light)))


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content) + 8) + kind + content


def _tag_iso(path: Path, boxes: bytes) -> bool:
    """Put boxes into the first video's sample entry of a file whose header is its last box."""
    with path.open("r+b") as file:
        end = file.seek(0, 2)
        at, moov, size = 0, None, 0
        while at + 8 <= end:
            file.seek(at)
            head = file.read(16)
            size, kind = struct.unpack(">I4s", head[:8])
            if size == 1:
                (size,) = struct.unpack(">Q", head[8:])
            size = size or end - at
            if kind == b"moov":
                moov = at
                break
            at += max(size, 8)
        if moov is None or moov + size != end or size > MOST_MOOV_BYTES:
            return False
        file.seek(moov)
        changed = _grown(file.read(), [b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd"], boxes)
        if changed is None:
            return False
        file.seek(moov)
        file.write(changed)
    return True


def _grown(data: bytes, way: list[bytes], boxes: bytes) -> bytes | None:
    """A box with boxes put into the video's sample entry within it; None where there is none."""
    kind, skipped = data[4:8], 16 if way == [b"stsd"] else 8
    if kind != way[0]:
        return None
    at = skipped
    while at + 8 <= len(data):
        (size,) = struct.unpack(">I", data[at : at + 4])
        if size < 8 or at + size > len(data):
            return None
        child = data[at : at + size]
        if len(way) == 1:
            grown: bytes | None = child + boxes if size > 8 + VISUAL_ENTRY_BYTES else None
            if grown is not None:
                grown = struct.pack(">I", len(grown)) + grown[4:]
        elif child[4:8] == b"mdia" and b"vide" not in child[:512]:
            grown = None
        else:
            grown = _grown(child, way[1:], boxes)
        if grown is not None:
            whole = data[:at] + grown + data[at + size :]
            return struct.pack(">I", len(whole)) + whole[4:]
        at += size
    return None
