"""Types of the arrays that pictures and graphs are made of; shapes are said where they are used."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Levels = npt.NDArray[np.uint8]
"""Pictures in levels, 0 to 255, of any shape."""

Frame = npt.NDArray[np.uint8]
"""One picture in levels, (H, W, 3) RGB.

On the way from a source to an output of more than 8 bits it is uint16, 256 times the level: white
is 65,280, as swscale has it. The type says uint8, as all but that way is.
"""

Floats = npt.NDArray[np.float32]
"""What networks compute with."""

Doubles = npt.NDArray[np.float64]
"""What is summed, fitted or measured."""

AnyFloats = npt.NDArray[np.floating[Any]]
"""State and features, whose width is the variant's."""
