"""A graph's work on a target, counted once: its time under any shares is a few array operations.

work = count_work(nodes, target("orin-nano"), "tensorrt")
work.seconds(np.array([0.5, 16.0, 0.7, 4e-6])).sum()
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from ..graph.cost import NodeCost
from ..targets import Target
from .roofline import Shares, predict

Vector = npt.NDArray[np.float64]

_PEAK = Shares(compute=1.0, half_channels=0.0, bandwidth=1.0, kernel_seconds=0.0)
_HALF = Shares(compute=1.0, half_channels=1.0, bandwidth=1.0, kernel_seconds=0.0)
_START = Shares(compute=1.0, half_channels=0.0, bandwidth=1.0, kernel_seconds=1.0)


@dataclass(frozen=True)
class Work:
    """Nodes as arrays of shape (N,), one entry for all nodes that are alike."""

    count: Vector
    arithmetic: Vector
    """Seconds at the target's peak, of one node."""
    traffic: Vector
    """Seconds at its peak bandwidth."""
    kernels: Vector
    both: Vector
    """1/read + 1/written channels, as far as few of them tell."""
    product: Vector
    """1/(read x written) channels."""

    @classmethod
    def joined(cls, works: Sequence[Work]) -> Work:
        """Several one behind the other."""
        return cls(*(np.concatenate([getattr(w, f.name) for w in works]) for f in fields(cls)))

    def slowed(self, compute_share: float) -> Work:
        """The same on a device with a share of the target's arithmetic, as a power mode leaves."""
        return replace(self, arithmetic=self.arithmetic / compute_share)

    def seconds(self, figures: Vector) -> Vector:
        """Time of each entry under `fitted.FIGURES`, all its nodes together, shape (N,)."""
        compute, half, bandwidth, kernel = figures
        slowdown = 1 + half * self.both + half**2 * self.product
        share = np.minimum(compute / slowdown, 1.0)
        longer = np.maximum(self.arithmetic / share, self.traffic / bandwidth)
        return np.asarray(self.count * (longer + self.kernels * kernel))


def count_work(
    nodes: Iterable[NodeCost], target: Target, backend: str, of_floats: str = "fp32"
) -> Work:
    """Count a graph: each kind of node as `roofline.predict` has it.

    Raises:
        BackendUnavailableError: The target has no such arithmetic.
    """
    lines = []
    for node, count in Counter(nodes).items():
        peak = predict([node], target, backend, of_floats, shares=_PEAK)
        half = _HALF.slowdown(node)  # (1 + 1/read)(1 + 1/written)
        twice = Shares(1.0, 2.0, 1.0, 0.0).slowdown(node)  # 1 + 2 both + 4 product
        product = (twice - 2 * half + 1) / 2
        started = predict([node], target, backend, of_floats, shares=_START).seconds
        lines.append(
            (
                count,
                peak.compute_seconds,
                peak.memory_seconds,
                started - peak.seconds,
                half - 1 - product,
                product,
            )
        )
    return Work(*np.array(lines, dtype=np.float64).T)
