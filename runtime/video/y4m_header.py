"""What makes no sense in the header of a y4m stream; FFmpeg's own reason does not tell."""

from __future__ import annotations

import re

HEAD_BYTES = 256
"""Of a stream's beginning, in which its header is looked at."""

_KNOWN = {
    "W": ("width", r"0*[1-9]\d{0,8}"),
    "H": ("height", r"0*[1-9]\d{0,8}"),
    "I": ("interlacing", r"[?ptb]"),
    "C": ("colour", r"4(?:11|20|22|44)(?:jpeg|mpeg2|paldv|alpha|p9|p10|p12|p14|p16)?|mono\d*"),
}
"""What a field is, and what it may be."""

_NEEDED = ("W", "H")


def wrong_field(head: bytes) -> str:
    """Say which field of a y4m header cannot be.

    Args:
        head: The first bytes of a stream, up to `HEAD_BYTES`.

    Returns:
        A reason for a message; empty where it is no y4m, or nothing is wrong that is looked at.
    """
    words = head.partition(b"\n")[0].decode("latin-1").split()
    if not words or words[0] != "YUV4MPEG2":
        return ""
    given = {word[0]: word[1:] for word in words[1:]}
    for name, (what, form) in _KNOWN.items():
        if name not in given:
            if name in _NEEDED:
                return f"its y4m header has no {what} ({name})"
        elif not re.fullmatch(form, given[name]):
            return f"its y4m header has '{name}{given[name][:20]}' for the {what}"
    return ""
