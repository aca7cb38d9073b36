"""Fewer flat colours for tests that are not about colours: all 749 take seconds."""

from __future__ import annotations

import numpy as np
import pytest


def hold_few_colours(patch: pytest.MonkeyPatch) -> None:
    """Let the named ones be all there are."""
    from adcvsr.runtime.proof import colours

    named = np.array(list(colours.NAMED.values()), np.uint8)
    patch.setattr(colours, "flat_colours", lambda: named)
