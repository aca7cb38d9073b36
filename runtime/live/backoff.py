"""How long to wait before trying a lost stream again."""

from __future__ import annotations

FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 10.0
"""Before the first try, and before the last ones: doubled from try to try."""


def wait_before_try(tries: int) -> float:
    """Seconds to wait after `tries` failed tries, however many."""
    wait = FIRST_WAIT_S
    for _ in range(tries):
        wait = min(2 * wait, LONGEST_WAIT_S)
        if wait == LONGEST_WAIT_S:
            break
    return wait
