"""The program's first lines: signals are in order before anything that takes time is imported."""

from __future__ import annotations

import sys

from .. import interrupts


def main() -> None:
    """Run the command line and exit."""
    try:
        interrupts.prepare()
        try:
            from .commands import main as run
        except ImportError as error:  # of what even errors are told with
            sys.exit(_incomplete(error))
        run()
    except KeyboardInterrupt:
        interrupts.end_now()


def _incomplete(error: ImportError) -> str:
    """One line about an installation that lacks a package of the base."""
    from ..errors import missing_by_name

    if (missing := missing_by_name(error.name)) is None:
        raise error
    return f"error: {missing}"
