"""Sizes that are asked for: shapes, pixels that are not square, rotation, even sides."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from adcvsr.errors import ConfigError
from adcvsr.pictures.limits import estimate_bytes
from adcvsr.pictures.output_size import OutputSize
from adcvsr.pictures.reduced import Reducer

PAL_WIDE = Fraction(64, 45)
"""Pixels of 720x576 that is shown as 16:9."""


@pytest.mark.parametrize(
    ("asked", "given", "width", "height", "aspect", "says"),
    [
        ({}, (161, 121), 644, 484, 1, ""),
        ({"scale": 2}, (320, 180), 640, 360, 1, ""),
        ({"scale": 3}, (161, 121), 484, 364, 1, "483x363 becomes 484x364"),
        ({"scale": 2}, (720, 576, PAL_WIDE), 1440, 1152, PAL_WIDE, ""),
        ({"height": 1080}, (640, 480), 1440, 1080, 1, ""),
        ({"height": 1080}, (320, 180), 1920, 1080, 1, "the network makes 1280x720"),
        ({"height": 1080}, (1920, 1080, 1, 90), 1080, 608, 1, "smaller than the input"),
        ({"size": (1920, 1080)}, (854, 480), 1920, 1080, 1, ""),
        ({"size": (1920, 1080)}, (720, 576, PAL_WIDE), 1920, 1080, 1, "become square"),
        ({"size": (1440, 1152)}, (720, 576, PAL_WIDE), 1440, 1152, PAL_WIDE, ""),
        ({"size": (1080, 1920)}, (640, 360, 1, 270), 1920, 1080, 1, ""),
        ({"size": (1920, 1080), "fit": True}, (640, 480), 1440, 1080, 1, ""),
        ({"size": (1080, 1080), "fit": True}, (640, 480), 1080, 810, 1, ""),
        ({"size": (1081, 1081), "fit": True}, (640, 640), 1080, 1080, 1, ""),
        ({"size": (1920, 1080), "fit": True}, (854, 480), 1920, 1080, 1, ""),
        ({"size": (1920, 1080), "fit": True}, (720, 576, PAL_WIDE), 1920, 1080, 1, "square"),
    ],
)
def test_what_comes_of_it(
    asked: Any, given: Any, width: int, height: int, aspect: Any, says: str
) -> None:
    width_px, height_px, pixel, rotation = (*given, *(1, 0)[len(given) - 2 :])
    found = OutputSize(**asked).of(width_px, height_px, aspect=Fraction(pixel), rotation=rotation)
    assert (found.width, found.height, found.aspect) == (width, height, aspect)
    assert says in "\n".join(found.notes)
    assert bool(says) == bool(found.notes)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"scale": 5}, "a scale of 5; choose from 2, 3, 4"),
        ({"height": 0}, "a side of 0 pixels"),
        ({"height": 1081}, "a side of 1081 pixels; expected an even number"),
        ({"size": (1920, -2)}, "a side of -2 pixels"),
        ({"size": (1 << 20, 2)}, "a side of 1048576 pixels"),
        ({"fit": True}, "give both"),
        ({"scale": 2, "height": 720}, "give one"),
    ],
)
def test_what_is_no_size(asked: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        OutputSize(**asked)


def test_another_shape_is_an_error_that_names_those_that_fit() -> None:
    with pytest.raises(ConfigError, match="1440x1080 and 1920x1440 have its shape, and --fit"):
        OutputSize(size=(1920, 1080)).of(640, 480)
    with pytest.raises(ConfigError, match="with pixels of 64:45"):
        OutputSize(size=(1000, 1000)).of(720, 576, aspect=PAL_WIDE)


def test_a_picture_is_reduced_by_areas() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (48, 64, 3), np.uint8)
    means = picture.reshape(24, 2, 32, 2, 3).mean((1, 3))
    assert abs(Reducer(2)(picture) - means).max() <= 1
    assert Reducer(4)(picture) is picture


def test_a_smaller_output_takes_less_memory() -> None:
    assert estimate_bytes(640, 360, output=(1280, 720)) < estimate_bytes(640, 360)
    assert estimate_bytes(640, 360, output=(2560, 1440)) == estimate_bytes(640, 360)
