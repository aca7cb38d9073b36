"""Rounding a convolution's weights so that their errors cancel on real inputs.

Weights are rounded one after the other; what each loses is made up by those not yet rounded,
through the inverse of the inputs' second moments (GPTQ, Frantar et al. 2022, arXiv 2210.17323, here
for convolutions and a scale for each output channel).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import onnx

from ...arrays import Floats
from ..graphs.graph_edit import attribute, group_of

WEIGHT_LEVELS = 127
"""Largest magnitude of a signed 8-bit weight; symmetric."""

DAMPING = 0.01
"""Added to the diagonal of the moments, as a share of its mean; GPTQ's own."""

PIXELS = 2048
"""Of an input, taken at random: the products of all of them were most of the time of `small`."""

LARGEST_FAN_IN = 4608
"""Weights an output channel has at most for this rounding: moments take its square, 170 MB then."""


def weight_scales(weight: Floats) -> Floats:
    """Scale of each output channel, (O,), of a weight (O, I, h, w), or of more sides."""
    largest = np.abs(weight).max(axis=tuple(range(1, weight.ndim)))
    # A dead channel has no largest value; any scale gives its zeros.
    scales: Floats = (np.where(largest > 0, largest, 1.0) / WEIGHT_LEVELS).astype(np.float32)
    return scales


def can_compensate(node: onnx.NodeProto, weight: Floats) -> bool:
    """Whether `input_moments` knows how this convolution reads its input."""
    return (
        group_of(node) == 1
        and not any(entry.name == "auto_pad" and entry.s != b"NOTSET" for entry in node.attribute)
        and set(attribute(node, "dilations", (1, 1))) == {1}
        and weight.ndim == 4
        and int(np.prod(weight.shape[1:])) <= LARGEST_FAN_IN
    )


def input_moments(
    node: onnx.NodeProto, weight: Floats, inputs: Iterable[Floats]
) -> npt.NDArray[np.float64]:
    """Mean outer product of what each output pixel is computed from.

    Args:
        node: A convolution `can_compensate` accepts.
        weight: (O, I, h, w).
        inputs: (1, I, H, W) each.

    Returns:
        (I*h*w, I*h*w).
    """
    _, channels, high, wide = weight.shape
    rng = np.random.default_rng(0)
    strides = attribute(node, "strides", (1, 1))
    top, left, bottom, right = attribute(node, "pads", (0, 0, 0, 0))
    size = channels * high * wide
    moments, count = np.zeros((size, size)), 0
    for image in inputs:
        padded = np.pad(image[0], ((0, 0), (top, bottom), (left, right)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (high, wide), axis=(1, 2))
        windows = windows[:, :: strides[0], :: strides[1]]  # (I, H', W', h, w)
        drawn = rng.permutation(math.prod(windows.shape[1:3]))[:PIXELS]
        y, x = np.divmod(drawn, windows.shape[2])
        rows = windows[:, y, x].transpose(1, 0, 2, 3).reshape(-1, size)
        moments += rows.T @ rows
        count += len(rows)
    return moments / max(count, 1)


def round_weight(weight: Floats, scales: Floats, moments: npt.NDArray[np.float64]) -> Floats:
    """Round a weight to multiples of its scales, error made up along the way.

    Args:
        weight: (O, I, h, w).
        scales: (O,), see `weight_scales`.
        moments: See `input_moments`.

    Returns:
        (O, I, h, w) multiples of the scales, at most `WEIGHT_LEVELS` of them.
    """
    rest = weight.reshape(len(weight), -1).astype(np.float64)
    mean = float(np.mean(np.diag(moments)))
    damped = moments + np.eye(len(moments)) * (DAMPING * mean if mean > 0 else 1.0)
    order = np.argsort(-np.diag(damped), kind="stable")
    inverse = np.linalg.inv(damped[np.ix_(order, order)])
    factor = np.linalg.cholesky(inverse).T  # upper triangle
    rest, wide = rest[:, order], scales.astype(np.float64)
    rounded = np.zeros_like(rest)
    for column in range(rest.shape[1]):
        steps = np.clip(np.round(rest[:, column] / wide), -WEIGHT_LEVELS, WEIGHT_LEVELS)
        rounded[:, column] = steps * wide
        error = (rest[:, column] - rounded[:, column]) / factor[column, column]
        rest[:, column + 1 :] -= error[:, None] * factor[column, column + 1 :][None]
    result: Floats = rounded[:, np.argsort(order)].reshape(weight.shape).astype(np.float32)
    return result
