"""Pictures for tests of measures, by formula alone, so that outside figures hold for them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.float64]


def reference_pair() -> tuple[Plane, Plane]:
    """A blurred, noisy, brightened output and its truth, (256, 352), whole levels.

    The figures of public implementations quoted in the tests were computed on these planes.
    """
    y, x = np.mgrid[0:256, 0:352].astype(np.float64)
    checks = 50 * ((x // 16 + y // 16) % 2)
    truth = np.rint(110 + 60 * np.sin(x / 5) * np.cos(y / 7) + checks).clip(0, 255)
    neighbours = [np.roll(truth, (i, j), (0, 1)) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    noise = (x * 7919 + y * 104729) % 31 - 15
    output = np.rint(sum(neighbours) / 9 + 0.6 * noise + 4).clip(0, 255)
    return output, truth
