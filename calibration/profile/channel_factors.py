"""Factors by which a variant scales channels on purpose, so that what is left is damage.

A quantizer may bring the channels of a tensor to one range (equalisation, cross-layer scaling), a
Relu between them or not, or mix them, and undo it in the next weights. Without its factors such a
graph would look all wrong. Variants of `adcvsr quantize` declare theirs. Of others they are
estimated from values: each channel's gain over the reference, the widest channel's taken as 1,
since it keeps its scale. A wrong scale of a whole tensor is still seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from ...arrays import Floats

EQUALISED_SPREAD = 1.3
"""Largest over smallest gain of a tensor's channels from which they count as equalised."""

CLEAN_DB = 10.0
"""A channel that follows the reference less well has no gain to speak of."""

LEVELS_GAIN = 60.0
"""A gain beyond it is that from [-1, 1] to levels: 127.5."""

SETTLED = 0.02
"""Change of a factor from which another round is worth it."""

MOST_ROUNDS = 50
"""Each round gets the factors right one tensor further behind a damaged layer."""

Values = Mapping[str, Floats]
Factors = dict[str, Floats]


def find_factors(
    exact: Values, rounded: Values, isolate: Callable[[Factors], dict[str, Floats]]
) -> tuple[Factors, dict[str, Floats]]:
    """Estimate factors where the variant has any, undisturbed by layers that are damaged.

    Args:
        exact: Tensors of the reference, (N, C, H, W) by name.
        rounded: The same of the running variant.
        isolate: Gives every tensor as the variant makes it of exact inputs scaled by factors.

    Returns:
        Factors, (C,) by name, empty for variants without; and the isolated tensors.
    """
    factors = _estimate(exact, rounded)
    if not _equalised(exact, rounded):
        factors = {}
    isolated = isolate(factors)
    for _ in range(MOST_ROUNDS if factors else 0):
        # Behind a damaged layer the first estimate is spoilt; on exact inputs it is not, once the
        # factors of those inputs are right.
        better = _estimate(exact, isolated)
        change = max(
            float(np.abs(better[name] / factors[name] - 1).max()) if name in factors else 1.0
            for name in better
        )
        factors, settled = better, change < SETTLED
        isolated = isolate(factors)
        if settled:
            break
    return factors, isolated


def scaled(value: Floats, factor: Floats | None) -> Floats:
    """A tensor of the reference, (N, C, H, W), in the variant's units."""
    result: Floats = value.astype(np.float32)
    if factor is None:
        return result
    if factor.ndim == 2:
        return np.moveaxis(np.tensordot(factor, result, (1, 1)), 0, 1)
    return result * factor[:, None, None]


def unscaled(value: Floats, factor: Floats | None) -> Floats:
    """A tensor in the variant's units, (N, C, H, W), in the reference's."""
    if factor is None:
        return value
    inverse = np.linalg.inv(factor) if factor.ndim == 2 else 1 / factor
    return scaled(value, inverse.astype(np.float32))


def in_network_units(output: Floats, wanted: Floats) -> Floats:
    """A picture that the variant holds as levels, brought to the reference's [-1, 1]."""
    if np.abs(output).max(initial=0) > LEVELS_GAIN * max(np.abs(wanted).max(initial=0), 1e-9):
        units: Floats = (output - np.float32(127.5)) / np.float32(127.5)
        return units
    return output


def _equalised(exact: Values, rounded: Values) -> bool:
    """Whether most tensors' channels have gains of their own."""
    spread = []
    for name, reference in exact.items():
        gain, clean = _fit(reference, rounded[name])
        if clean.sum() > 1:
            sizes, mixed = np.abs(gain[clean]), gain[clean].min() < 0 < gain[clean].max()
            spread.append(mixed or sizes.max() > EQUALISED_SPREAD * sizes.min())
    return bool(spread) and float(np.mean(spread)) >= 0.5


def _estimate(exact: Values, rounded: Values) -> Factors:
    factors = {}
    for name, reference in exact.items():
        gain, clean = _fit(reference, rounded[name])
        if not clean.any() or np.abs(gain[clean]).min() > LEVELS_GAIN:
            continue
        factor = np.ones_like(gain)
        factor[clean] = gain[clean] / np.abs(gain[clean]).min()
        factors[name] = factor
    return factors


def _fit(reference: Floats, other: Floats) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Gain of every channel by least squares, and which channels follow the reference."""
    if reference.shape != other.shape:
        return np.ones(1, np.float32), np.zeros(1, np.bool_)
    axes = (0, 2, 3)
    power = np.square(reference).sum(axes, dtype=np.float64)
    gain = (reference * other).sum(axes, dtype=np.float64) / np.maximum(power, 1e-20)
    rest = np.square(other - gain[:, None, None].astype(np.float32) * reference)
    clean = rest.sum(axes, dtype=np.float64) * 10 ** (CLEAN_DB / 10) < np.square(gain) * power
    return gain.astype(np.float32), clean
