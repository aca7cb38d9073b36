"""Counts in messages: `1 frame`, `2 frames`."""

from __future__ import annotations


def counted(count: int, one: str, many: str = "") -> str:
    """A number and what it counts.

    Args:
        count: How many.
        one: The word for one.
        many: For any other number; empty for `one` with an s.
    """
    return f"{count} {one if count == 1 else many or one + 's'}"
