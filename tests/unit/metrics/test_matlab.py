"""MATLAB's own numbers: those in the tests of Octave's image package, which state them as such."""

from __future__ import annotations

import numpy as np
import pytest

from adcvsr.arrays import Levels
from adcvsr.metrics.matlab import blur_down, imresize

INPUT = """
116 227 153 69 146 194 59 130 139 106
2 47 137 249 90 75 16 24 158 44
155 68 46 84 166 156 69 204 32 152
71 221 137 230 210 153 192 115 30 118
107 143 108 52 51 73 101 21 175 90
54 158 143 77 26 168 113 229 165 225
9 47 133 135 130 207 236 43 19 73
129 60 59 243 64 181 249 56 32 86
"""

HALF = """
105 140 126 81 109
110 134 153 114 93
108 108 94 127 146
67 126 162 149 62
"""

THIRD = """
115 135 97 101
113 119 124 125
81 157 118 64
"""

LARGER = """
116 187 237 171 94 61 135 191 187 75 91 142 140 124 108
43 92 143 149 164 163 119 123 118 44 38 80 151 118 62
13 21 47 107 195 228 115 81 70 24 19 56 137 105 48
146 98 49 49 71 107 148 159 132 58 124 176 61 85 146
118 139 144 92 116 168 201 188 159 140 167 158 27 69 153
61 151 218 145 174 219 201 164 146 187 148 84 48 76 115
102 132 151 119 90 72 72 72 83 114 60 31 144 130 80
81 121 154 133 87 41 19 67 116 95 108 140 183 180 163
37 95 152 150 117 73 35 108 179 130 174 214 153 176 219
3 29 73 131 136 120 116 162 214 229 147 54 35 62 96
67 54 51 83 153 187 111 141 210 255 149 22 13 42 74
142 99 53 43 164 237 77 103 197 254 159 42 31 59 91
"""


def grey(table: str) -> Levels:
    rows = [[int(value) for value in line.split()] for line in table.strip().splitlines()]
    return np.array(rows, np.uint8)[..., None]


@pytest.mark.parametrize(
    ("scale", "expected"), [(1 / 2, HALF), (1 / 3, THIRD), (1.5, LARGER)], ids=["2", "3", "1.5"]
)
def test_levels_are_matlabs(scale: float, expected: str) -> None:
    """Reduced with antialiasing and enlarged, sides that do not divide and borders among them.

    Within a level, as MATLAB rounds integers otherwise than it says; nineteen of twenty are equal.
    """
    found, wanted = imresize(grey(INPUT), scale, as_levels=True), grey(expected)
    assert found.shape == wanted.shape
    difference = np.abs(found.astype(int) - wanted)
    assert difference.max() <= 1
    assert (difference == 0).mean() > 0.9


def test_by_doubles_only_the_rounding_between_is_left_out() -> None:
    both = (imresize(grey(INPUT), 0.5, as_levels=each).astype(int) for each in (False, True))
    assert np.abs(np.subtract(*both)).max() <= 1


def test_blur_down_is_a_gaussian_at_the_middle_of_blocks() -> None:
    """Against the definition: every tap of the 12x12 kernel, borders repeated."""
    image = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
    x = np.arange(12) - 5.5
    kernel = np.exp(-(x[:, None] ** 2 + x**2) / (2 * 1.6**2))
    kernel /= kernel.sum()
    padded = np.pad(image.astype(float), ((8, 8), (8, 8), (0, 0)), mode="edge")
    expected = np.zeros((4, 6, 3))
    for row in range(4):
        for column in range(6):
            # MATLAB's middle of 12 taps is the sixth, and 2:4:end is 1, 5, ... from 0.
            top, left = 8 + 4 * row + 1 - 5, 8 + 4 * column + 1 - 5
            window = padded[top : top + 12, left : left + 12]
            expected[row, column] = (window * kernel[..., None]).sum((0, 1))
    assert np.abs(blur_down(image) - expected).max() <= 0.5 + 1e-9
