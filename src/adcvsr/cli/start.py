"""The program's first lines: signals are in order before anything that takes time is imported."""

from __future__ import annotations

from .. import interrupts


def main() -> None:
    """Run the command line and exit."""
    try:
        interrupts.prepare()
        from .commands import main as run

        run()
    except KeyboardInterrupt:
        interrupts.end_now()
