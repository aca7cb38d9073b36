"""Lines for people, bounded: a camera that comes and goes all day must not fill the memory."""

from __future__ import annotations

from ...redaction import without_secrets

MAX_LINES = 200


class Notes(list[str]):
    """A list that only grows, and only up to `MAX_LINES`; no line holds a secret."""

    def add(self, line: str, *, once: bool = False) -> None:
        """Append a line; the last one there is room for says that more were left out.

        Args:
            line: What happened.
            once: Leave it out where it is there already.
        """
        line = without_secrets(line)
        if len(self) < MAX_LINES and not (once and line in self):
            full = len(self) == MAX_LINES - 1
            self.append("further lines are left out; counters go on" if full else line)
