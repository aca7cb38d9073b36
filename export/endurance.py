"""That a recurrent network's picture stays: what it carries came of every frame since a reset.

A finite past forgets; a recurrent one may grow a little with each frame, which no clip of a few
frames shows. So a clip is run there and back for a thousand frames, and its pictures at the end
are held against those near the start.

    check_endurance(network)  # Endurance(frames=1008, mean_levels=0.02)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..errors import ParityError
from ..model import AdcVsr
from ..pictures.synthetic import draw_clip

FRAMES = 1000
"""At least so many: 40 s of video at 25 frames a second without a cut."""

SETTLED_TURNS = 4
"""Turns of the clip after which the state is taken to be what it stays."""

MOST_LEVELS = 0.5
"""Mean change of the picture from there to the end, in levels of 8 bits."""

CLIP_FRAMES, SIDE_PX = 8, 32


@dataclass(frozen=True)
class Endurance:
    """What was found."""

    frames: int
    """Run without a reset."""

    mean_levels: float
    """Mean absolute change of the picture over them."""


@torch.no_grad()
def check_endurance(network: AdcVsr) -> Endurance:
    """Run a recurrent network for long and compare.

    Args:
        network: In evaluation mode.

    Raises:
        ParityError: Its pictures change, or are no numbers any more.
    """
    side = -(-SIDE_PX // network.config.size_multiple) * network.config.size_multiple
    clip = draw_clip(CLIP_FRAMES, side, side)[[*range(CLIP_FRAMES), *range(CLIP_FRAMES - 2, 0, -1)]]
    low = torch.from_numpy(clip.transpose(0, 3, 1, 2).astype(np.float32))[None] / 127.5 - 1
    turns = -(-FRAMES // low.shape[1])
    settled = last = torch.zeros(())
    state = None
    for turn in range(turns):
        out, state = network(low, state)
        last = out.clamp(-1, 1)
        settled = last if turn == SETTLED_TURNS else settled
    change = float((last - settled).abs().mean()) * 127.5
    frames = turns * low.shape[1]
    if not change <= MOST_LEVELS:  # nor is no number
        raise ParityError(
            f"'{network.config.name}' is recurrent and its picture wanders: {change:.2f} levels on "
            f"average after {frames} frames without a reset, at most {MOST_LEVELS}; train it on "
            'longer clips (data.frames), or take temporal_past = "finite"'
        )
    return Endurance(frames, round(change, 4))
