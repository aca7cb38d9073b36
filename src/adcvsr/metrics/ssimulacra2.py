"""SSIMULACRA 2.1: structure, ringing and lost detail at six scales, in the colours of JPEG XL.

The definition is Jon Sneyers' (github.com/cloudinary/ssimulacra2, the weights and constants are its
published figures), the blur a Gaussian of the width that its recursive filter approximates.
Trained on viewers' scores of compressed still pictures: 90 is visually lossless at twice the usual
distance, 70 high, 50 medium, 30 low quality; below 0 for what is another picture.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from ..arrays import Levels
from .colour_shift import linear_light
from .planes import Plane, filter_same, require_side

SSIMULACRA2_LEAST_PX = 225
"""Least side: all six scales have 8 pixels then. With fewer scales the authors' program takes the
weights of others, so that its figures mean something else."""

SCALES = 6

_OPSIN = np.array(
    [
        [0.30, 1 - 0.078 - 0.30, 0.078],
        [0.23, 1 - 0.078 - 0.23, 0.078],
        [
            0.24342268924547819,
            0.20476744424496821,
            1 - 0.24342268924547819 - 0.20476744424496821,
        ],
    ],
    np.float32,
)
_BIAS = np.float32(0.0037930732552754493)
"""JPEG XL's opsin absorbance (ISO/IEC 18181-1)."""

_C2 = np.float32(0.0009)

_TAPS = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
_TAPS /= _TAPS.sum()

_WEIGHTS = (
    (0, 0, 0, 1, 0.0007376606707406586),
    (0, 0, 1, 1, 0.0007793481682867309),
    (0, 1, 0, 1, 0.0004371155730107379),
    (0, 1, 1, 0, 1.1041726426657346),
    (0, 1, 1, 1, 0.00066284834129271),
    (0, 1, 1, 2, 0.00015231632783718752),
    (0, 2, 0, 1, 0.0016406437456599754),
    (0, 2, 1, 0, 1.8422455520539298),
    (0, 2, 1, 1, 11.441172603757666),
    (0, 3, 0, 0, 0.0007989109436015163),
    (0, 3, 0, 1, 0.000176816438078653),
    (0, 3, 1, 0, 1.8787594979546387),
    (0, 3, 1, 1, 10.94906990605142),
    (0, 4, 0, 0, 0.0007289346991508072),
    (0, 4, 0, 1, 0.9677937080626833),
    (0, 4, 1, 0, 0.00014003424285435884),
    (0, 4, 1, 1, 0.9981766977854967),
    (0, 4, 1, 2, 0.00031949755934435053),
    (0, 5, 0, 0, 0.0004550992113792063),
    (0, 5, 1, 0, 0.0013648766163243398),
    (1, 0, 1, 0, 7.466890328078848),
    (1, 0, 1, 2, 17.445833984131262),
    (1, 1, 0, 0, 0.0006235601634041466),
    (1, 1, 1, 0, 6.683678146179332),
    (1, 1, 1, 1, 0.00037724407979611296),
    (1, 1, 1, 2, 1.027889937768264),
    (1, 2, 0, 0, 225.20515300849274),
    (1, 2, 1, 0, 19.213238186143016),
    (1, 2, 1, 1, 0.0011401524586618361),
    (1, 2, 1, 2, 0.001237755635509985),
    (1, 3, 0, 0, 176.39317598450694),
    (1, 3, 1, 0, 24.43300999870476),
    (1, 3, 1, 1, 0.28520802612117757),
    (1, 3, 1, 2, 0.0004485436923833408),
    (1, 4, 1, 0, 34.77906344483772),
    (1, 4, 1, 1, 44.835625328877896),
    (2, 0, 0, 1, 0.0008680556573291698),
    (2, 1, 0, 1, 0.0005313191874358747),
    (2, 1, 1, 0, 0.00016533814161379112),
    (2, 2, 1, 0, 0.0004179171803251336),
    (2, 2, 1, 1, 0.0017290828234722833),
    (2, 3, 0, 0, 0.0020827005846636437),
    (2, 3, 1, 0, 8.826982764996862),
    (2, 3, 1, 1, 23.19243343998926),
    (2, 4, 0, 0, 95.1080498811086),
    (2, 4, 0, 1, 0.9863978034400682),
    (2, 4, 0, 2, 0.9834382792465353),
    (2, 4, 1, 0, 0.0012286405048278493),
    (2, 4, 1, 1, 171.2667255897307),
    (2, 4, 1, 2, 0.9807858872435379),
    (2, 5, 1, 0, 0.0005130064588990679),
    (2, 5, 1, 2, 0.00010854057858411537),
)
"""Channel (X, Y, B), scale, norm (mean, fourth root of the mean fourth power), map (structure,
artifacts: edges the truth has not, lost detail) and its weight; all others weigh nothing."""


def ssimulacra2(output: Levels, truth: Levels) -> float:
    """SSIMULACRA 2.1 of two pictures: 100 when equal, higher is better, without a lower end.

    Args:
        output: (H, W, 3) uint8 RGB, taken as sRGB.
        truth: The same shape; `SSIMULACRA2_LEAST_PX` a side or more.

    Raises:
        ValueError: The shapes differ, or a side is too small.
    """
    require_side(output, truth, SSIMULACRA2_LEAST_PX)
    found = np.zeros((3, SCALES, 2, 3))
    pairs = zip(_scales(truth), _scales(output), strict=True)
    for scale, (one, two) in enumerate(pairs):
        for channel in range(3):
            found[channel, scale] = _norms(one[channel], two[channel])
    error = sum(weight * found[c, s, n, m] for c, s, n, m, weight in _WEIGHTS) * 0.9562382616834844
    error = (
        2.326765642916932 * error
        - 0.020884521182843837 * error**2
        + 6.248496625763138e-05 * error**3
    )
    return float(100 - 10 * error**0.6276336467831387) if error > 0 else 100.0


def _scales(image: Levels) -> Iterator[Plane]:
    """The picture in six sizes, (3, H, W) each, in positive XYB."""
    light = linear_light(image)
    for scale in range(SCALES):
        yield _xyb(light)
        if scale + 1 < SCALES:
            light = _halve(light)


def _xyb(light: npt.NDArray[np.float32]) -> Plane:
    """Linear light (H, W, 3) to JPEG XL's XYB, moved into the positive: (3, H, W)."""
    absorbed = np.maximum(light @ _OPSIN.T + _BIAS, 0)
    long, middle, short = np.moveaxis(np.cbrt(absorbed) - np.cbrt(_BIAS), -1, 0)
    x, y = (long - middle) / 2, (long + middle) / 2
    planes: Plane = np.stack(
        [x * 14 + np.float32(0.42), y + np.float32(0.01), short - y + np.float32(0.55)]
    )
    return planes


def _halve(light: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Means of 2x2 blocks; at an odd side's end, of what is there."""
    rows, columns = light.shape[:2]
    light = np.pad(light, ((0, rows % 2), (0, columns % 2), (0, 0)), mode="edge")
    half: npt.NDArray[np.float32] = light[::2, ::2] + light[1::2, ::2]
    half += light[::2, 1::2]
    half += light[1::2, 1::2]
    half *= np.float32(0.25)
    return half


def _norms(truth: Plane, output: Plane) -> npt.NDArray[np.float64]:
    """Both norms of the three maps of one channel, (2, 3)."""
    mean1, mean2 = _blur(truth), _blur(output)
    cross = mean1 * mean2
    variance1 = _blur(truth * truth) - mean1 * mean1
    variance2 = _blur(output * output) - mean2 * mean2
    covariance = _blur(truth * output) - cross
    alike = (1 - (mean1 - mean2) ** 2) * (2 * covariance + _C2) / (variance1 + variance2 + _C2)
    structure = np.maximum(1 - alike, 0)
    edges = (1 + np.abs(output - mean2)) / (1 + np.abs(truth - mean1)) - 1
    maps = (structure, np.maximum(edges, 0), np.maximum(-edges, 0))
    means = [each.mean(dtype=np.float64) for each in maps]
    fourths = [np.square(np.square(each)).mean(dtype=np.float64) ** 0.25 for each in maps]
    return np.array([means, fourths])


def _blur(plane: Plane) -> Plane:
    """A Gaussian of sigma 1.5; what lies beyond the picture counts as 0, as in the authors'."""
    return filter_same(plane, _TAPS, _TAPS, repeat_edges=False)
