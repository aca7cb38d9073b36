"""Whether a broadcast file ends within a packet, as one does that was cut or is still copied.

A transport or program stream says nothing of its length; that its last packet is not whole is all
there is to see. One that was cut between two packets looks like one that ends there.
"""

from __future__ import annotations

from pathlib import Path

SYNC = 0x47
"""First byte of a transport packet (ISO/IEC 13818-1, 2.4.3.2)."""

TRANSPORT_BYTES = 188

STRIDES = (TRANSPORT_BYTES, 192, 204)
"""Bytes from packet to packet: plain, with a time before each (m2ts), with parity behind each."""

LEAST_PACKETS = 8
"""So many in a row tell packets from chance."""

PROGRAM_TAIL_BYTES = 1 << 18
"""Holds the last pack of a program stream: packets have 16-bit lengths."""

PACK, PROGRAM_END, SYSTEM = b"\x00\x00\x01\xba", b"\x00\x00\x01\xb9", 0xBB


def ends_within_packet(path: Path, container: str) -> bool:
    """Whether the last packet is not whole.

    Args:
        path: The file.
        container: FFmpeg's name of its format; False for all but `mpegts` and `mpeg`.
    """
    if container not in ("mpegts", "mpeg") or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            wanted = 204 * (LEAST_PACKETS + 2) if container == "mpegts" else PROGRAM_TAIL_BYTES
            file.seek(max(size - wanted, 0))
            tail = file.read()
    except OSError:
        return False
    return _transport(tail) if container == "mpegts" else _program(tail)


def _transport(tail: bytes) -> bool:
    for stride in STRIDES:
        for first in range(min(stride, len(tail))):
            syncs = tail[first::stride]
            if len(syncs) >= LEAST_PACKETS and set(syncs) == {SYNC}:
                # Behind the last sync byte: its packet, parity included, and the time of none.
                whole = 204 if stride == 204 else TRANSPORT_BYTES
                return (len(tail) - first) % stride != whole % stride
    return False


def _program(tail: bytes) -> bool:
    """Walk from the last whole pack header to the end; what is no packet tells nothing."""
    at = tail.rfind(PACK, 0, len(tail) - 14)
    if at < 0:
        return False
    # MPEG-2 has stuffing behind the header, MPEG-1 a shorter one.
    at += 14 + (tail[at + 13] & 7) if tail[at + 4] & 0xC0 == 0x40 else 12
    while at < len(tail):
        start = tail[at : at + 6]
        if start[:4] == PROGRAM_END or start[:3] != b"\x00\x00\x01"[: len(start)]:
            return False
        if len(start) < 6:
            return True
        if start[3] < SYSTEM:
            return False
        at += 6 + int.from_bytes(start[4:6], "big")
    return at > len(tail)
