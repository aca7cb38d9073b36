"""How far a run is and how fast it learns there.

set_rate(optimizer, settings.learning_rate * rate_factor(settings, step, share_done(...)))
"""

from __future__ import annotations

import math

from .run_state import RunState
from .settings import StageSettings

FINAL_RATE = 0.01
"""Learning rate at the end of a cosine schedule, as a share of its peak."""


def share_done(settings: StageSettings, state: RunState) -> float:
    """Share of the schedule done, by steps or by minutes, whichever is further."""
    by_steps = state.step / settings.max_steps
    if not settings.max_minutes:
        return by_steps
    return max(by_steps, state.seconds / 60 / settings.max_minutes)


def rate_factor(settings: StageSettings, step: int, done: float) -> float:
    """Learning rate at a step as a share of its peak: linear warm-up, then the schedule."""
    warm = min(1.0, (step + 1) / max(settings.warmup_steps, 1))
    if settings.schedule == "halve":
        return warm * (1.0 if done < 0.5 else 0.5)
    if settings.schedule == "constant":
        return warm
    cosine = 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
    return warm * (FINAL_RATE + (1 - FINAL_RATE) * cosine)
