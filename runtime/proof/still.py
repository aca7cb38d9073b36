"""Parts that stand still: whether a variant's pictures change there more than the reference's.

Eight bits round a pixel up in one frame and down in the next where the input changed by the least
noise, and a grain begins to boil that no single picture shows. A drawn scene that stands still,
with noise as a camera has it, is run through both.

    found = compare_still(still_pictures(session, clip), still_pictures(reference, clip), clip)
    found.added <= 0.3
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...arrays import Floats, Levels
from ...metrics.no_reference import flicker
from ...metrics.planes import full_range, luma
from ...pictures.synthetic import draw_clip
from ...variants import REFERENCE
from ..processing.processor import StreamProcessor
from ..sessions.stream_session import StreamSession

FRAMES = 8
"""Of the still clip."""

SETTLED = 2
"""Frames before the first that counts: a state begins empty, and its start is no flicker."""

NOISE_LEVELS = 1.0
"""Standard deviation of the noise, new in each pixel and frame, the same in all colours."""

SEED = 0


@dataclass(frozen=True)
class StillFound:
    """Mean change of luma from frame to frame where the input stands still, in levels."""

    levels: float
    """The variant's."""

    reference_levels: float
    """The reference's."""

    @property
    def added(self) -> float:
        """What the variant adds; negative where it is the steadier one."""
        return round(self.levels - self.reference_levels, 3)

    def line(self) -> str:
        """For people."""
        return (
            f"they change by {self.levels:.2f} levels from frame to frame, {self.added:+.2f} to "
            f"{REFERENCE}"
        )


def still_clip(height: int, width: int) -> Levels:
    """Draw a scene that stands still, with a camera's noise.

    Args:
        height: Of the frames in pixels.
        width: Likewise.

    Returns:
        (FRAMES, height, width, 3) uint8 RGB; the same for the same arguments.
    """
    scene = draw_clip(1, height, width)[0].astype(np.float32)
    rng = np.random.default_rng(SEED)
    noise = rng.normal(0, NOISE_LEVELS, (FRAMES, height, width, 1)).astype(np.float32)
    clip: Levels = np.clip(np.round(scene + noise), 0, 255).astype(np.uint8)
    return clip


def still_pictures(session: StreamSession, clip: Levels) -> list[Levels]:
    """Pictures of a still clip, from no past on, each (sH, sW, 3)."""
    return list(StreamProcessor(session).clip(clip))


def compare_still(
    pictures: Sequence[Levels], reference: Sequence[Levels], clip: Levels
) -> StillFound:
    """Hold a variant's pictures of a still clip beside the reference's.

    Args:
        pictures: The variant's.
        reference: The reference's.
        clip: What both were made of, see `still_clip`.
    """
    inputs = [_luma(frame) for frame in clip]
    return StillFound(_flicker(pictures, inputs), _flicker(reference, inputs))


def _flicker(pictures: Sequence[Levels], inputs: Sequence[Floats]) -> float:
    planes = [_luma(picture) for picture in pictures]
    found = [
        flicker(planes[at], planes[at - 1], inputs[at], inputs[at - 1])
        for at in range(SETTLED + 1, len(planes))
    ]
    return round(float(np.mean([each for each in found if each is not None])), 3)


def _luma(image: Levels) -> Floats:
    """Full-range luma, (H, W)."""
    return full_range(luma(image))
