"""Students, options and a listener for tests of the training stages."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adcvsr.config import PRESETS, AdcVsrConfig
from adcvsr.train.data import DataOptions
from adcvsr.train.degradation import Degradation

LIGHT = AdcVsrConfig.from_dict({**PRESETS["nano"].to_dict(), "name": "light", "down_blocks": (1,)})
"""A causal pixel-shuffle student."""


DATA = DataOptions(frames=3, patch_px=8, pan_px=2, segments_per_clip=2)
CLEAN = Degradation(clean_share=1.0)

QUICK: dict[str, Any] = {"data": DATA, "degradation": CLEAN, "warmup_steps": 0}
"""What a recipe of any stage has in tests."""

BLIND: dict[str, Any] = {"dists_weight": 0.0, "feature_weight": 0.0}
"""A recipe of stage 1 or 2 that needs no weights of others."""


@dataclass
class Folders:
    """Training material."""

    clips: Path
    images: Path


@dataclass
class Watch:
    """Takes a stage's lines and losses; can interrupt it after a step."""

    stop_after: int = 0
    lines: list[str] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    def report(self, line: str) -> None:
        self.lines.append(line)

    def progress(self, state: Any, loss: float, done: float) -> None:
        self.losses.append(loss)
        if self.stop_after and state.step == self.stop_after + 1:
            raise KeyboardInterrupt
