"""Pixel aspect and HDR's facts in Matroska: elements that FFmpeg's muxer writes of a stream alone.

PyAV cannot set those, and VP8, VP9, AV1 and FFV1 do not carry an aspect themselves. They go
into the header of the finished file, in place: FFmpeg leaves room before it. Elements are those of
RFC 8794 (EBML) and RFC 9559 (Matroska).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

SEGMENT, SEEK_HEAD, SEEK, SEEK_POSITION = 0x18538067, 0x114D9B74, 0x4DBB, 0x53AC
VOID, CRC_32, CLUSTER = 0xEC, 0xBF, 0x1F43B675
TRACKS, TRACK_ENTRY, VIDEO, COLOUR = 0x1654AE6B, 0xAE, 0xE0, 0x55B0
DISPLAY = (0x54B0, 0x54BA, 0x54B2)
"""DisplayWidth, DisplayHeight, and DisplayUnit, which is left out: pixels."""

HEADER_BYTES = 1 << 20
"""Where the tracks lie in a file of FFmpeg's."""

LEAST_VOID_BYTES = 2


@dataclass(frozen=True)
class _Element:
    kind: int
    start: int
    data: int
    """Where its content begins."""
    end: int


def tag_pixel_aspect(path: Path, width: int, height: int, aspect: Fraction) -> bool:
    """Write the size at which a file's video is shown into its header.

    Args:
        path: A finished file of FFmpeg's with one video track.
        width: Of the stored picture, in pixels.
        height: Of the stored picture, in pixels.
        aspect: Width over height of a pixel.

    Returns:
        Whether it is there; a header without room for it stays as it is.
    """
    shown = (max(round(width * aspect), 1), height)
    pairs = zip(DISPLAY, shown, strict=False)
    return _change(path, VIDEO, b"".join(element(tag, n.to_bytes(4, "big")) for tag, n in pairs))


def add_to_colour(path: Path, elements: bytes) -> bool:
    """Write elements into what a file's header says of its video's colours.

    Args:
        path: A finished file of FFmpeg's with one video track, whose colours are tagged.
        elements: Each of `element`.

    Returns:
        Whether they are there; a header without room for them stays as it is.
    """
    return _change(path, COLOUR, elements)


def element(kind: int, content: bytes) -> bytes:
    """An element of less than 127 bytes."""
    return kind.to_bytes((kind.bit_length() + 7) // 8, "big") + _size(len(content), 1) + content


def _change(path: Path, into: int, elements: bytes) -> bool:
    with path.open("r+b") as file:
        changed = _with_elements(file.read(HEADER_BYTES), into, elements)
        if changed is None:
            return False
        file.seek(0)
        file.write(changed)
    return True


def _with_elements(header: bytes, into: int, elements: bytes) -> bytes | None:
    segment = _find(header, 0, len(header), SEGMENT)
    if segment is None:
        return None
    parts = list(_elements(header, segment.data, min(segment.end, len(header))))
    kinds = [part.kind for part in parts]
    if VOID not in kinds or TRACKS not in kinds or kinds.index(VOID) > kinds.index(TRACKS):
        return None
    room = parts[kinds.index(VOID)]
    tracks = parts[kinds.index(TRACKS)]
    grown = _rebuilt(header, tracks, into, elements)
    extra = len(grown) - (tracks.end - tracks.start)
    left = room.end - room.start - extra
    if left < LEAST_VOID_BYTES:
        return None
    length_bytes = room.data - room.start - 1 if left > 128 else 1
    filling = left - 1 - length_bytes
    void = bytes([VOID]) + _size(filling, length_bytes) + bytes(filling)
    moved = header[: room.start] + void + header[room.end : tracks.start] + grown
    changed = bytearray(moved + header[tracks.end :])
    for head in parts:
        if head.kind == SEEK_HEAD and head.start < room.start:
            _move_seeks(changed, head, segment.data, room.end, tracks.end, extra)
    return bytes(changed)


def _rebuilt(header: bytes, part: _Element, into: int, elements: bytes) -> bytes:
    """Tracks, or a part of them, with elements put in, sizes and checksums made anew."""
    content = b""
    summed = False
    for child in _elements(header, part.data, part.end):
        if child.kind == CRC_32:
            summed = True
        elif child.kind in (TRACK_ENTRY, VIDEO, COLOUR):
            content += _rebuilt(header, child, into, elements)
        elif part.kind != VIDEO or into != VIDEO or child.kind not in DISPLAY:
            content += header[child.start : child.end]
    if part.kind == into:
        content += elements
    if summed:
        checksum = zlib.crc32(content).to_bytes(4, "little")
        content = bytes([CRC_32]) + _size(4, 1) + checksum + content
    kind = part.kind.to_bytes((part.kind.bit_length() + 7) // 8, "big")
    length_bytes = part.data - part.start - len(kind)
    while len(content) >= (1 << 7 * length_bytes) - 1:
        length_bytes += 1
    return kind + _size(len(content), length_bytes) + content


def _move_seeks(
    header: bytearray, head: _Element, base: int, begin: int, end: int, extra: int
) -> None:
    """Correct the index's entries of what moved: positions count from the segment's content."""
    for seek in _elements(header, head.data, head.end):
        if seek.kind != SEEK:
            continue
        for field in _elements(header, seek.data, seek.end):
            position = int.from_bytes(header[field.data : field.end], "big")
            if field.kind == SEEK_POSITION and begin <= base + position < end:
                wide = field.end - field.data
                header[field.data : field.end] = (position - extra).to_bytes(wide, "big")
    first = next(_elements(header, head.data, head.end), None)
    if first is not None and first.kind == CRC_32:
        checksum = zlib.crc32(bytes(header[first.end : head.end]))
        header[first.data : first.end] = checksum.to_bytes(4, "little")


def _find(data: bytes, start: int, end: int, kind: int) -> _Element | None:
    return next((e for e in _elements(data, start, end) if e.kind == kind), None)


def _elements(data: bytes | bytearray, start: int, end: int) -> Iterator[_Element]:
    """Elements that follow each other, up to the first cluster or the end of what is read."""
    at = start
    while at < end:
        id_bytes = 9 - data[at].bit_length()
        kind = int.from_bytes(data[at : at + id_bytes], "big")
        at_size = at + id_bytes
        if kind == CLUSTER or at_size >= end:
            return
        size_bytes = 9 - data[at_size].bit_length()
        content = at_size + size_bytes
        size = int.from_bytes(data[at_size:content], "big") & ((1 << 7 * size_bytes) - 1)
        yield _Element(kind, at, content, content + size)
        at = content + size


def _size(value: int, length_bytes: int) -> bytes:
    """A length as EBML counts it."""
    return (value | 1 << 7 * length_bytes).to_bytes(length_bytes, "big")
