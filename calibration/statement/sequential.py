"""A claim about nearly all frames, tested one draw after the other until it is shown or refused.

Wald's sequential probability ratio test (A. Wald, "Sequential Tests of Statistical Hypotheses",
Annals of Mathematical Statistics 16, 1945) of "at most one draw in a thousand is beyond the limits"
against "one in a hundred is". The ratio is a martingale where exactly one in a hundred is, and
falls on average where more are, so by Ville's inequality it reaches 20 in at most 5 of 100 tests of
a variant that does not deserve it, whenever one stops and however often one looks.

    test = SequentialTest(Claim())
    while test.outcome is None:
        test.add(draw())
    test.outcome, test.draws  # "shown", 332
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

Outcome = Literal["shown", "refused"]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What is to be shown."""

    share: float = 0.99
    """Of the draws that is within the limits, at least."""

    confidence: float = 0.95
    """That it is claimed of a variant for which it does not hold in at most 1 less this."""

    usual: float = 0.001
    """Share of draws beyond the limits of a variant that deserves the claim."""

    miss: float = 0.05
    """About the share of tests in which such a variant is refused nevertheless."""

    @property
    def fewest(self) -> int:
        """Draws after which it is shown, where none is beyond the limits."""
        return math.ceil(self.shown_from / self.step(within=True))

    @property
    def shown_from(self) -> float:
        """Logarithm of the ratio from which it is shown."""
        return -math.log(1 - self.confidence)

    @property
    def refused_from(self) -> float:
        """Logarithm of the ratio down to which it is open."""
        return math.log(self.miss)

    def step(self, *, within: bool) -> float:
        """What a draw adds to the logarithm of the ratio."""
        if within:
            return math.log((1 - self.usual) / self.share)
        return math.log(self.usual / (1 - self.share))

    def to_json(self) -> dict[str, float]:
        """JSON-ready values."""
        return asdict(self)


class SequentialTest:
    """Counts draws, each independent of the others.

    Args:
        claim: What is to be shown.
    """

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.draws = 0
        """So far."""
        self.beyond = 0
        """Of them, beyond the limits."""

    @property
    def log_ratio(self) -> float:
        """Logarithm of how much better the claim explains the draws."""
        within = (self.draws - self.beyond) * self.claim.step(within=True)
        return within + self.beyond * self.claim.step(within=False)

    @property
    def outcome(self) -> Outcome | None:
        """`shown`, `refused`, or None while it is open."""
        if self.log_ratio >= self.claim.shown_from:
            return "shown"
        return "refused" if self.log_ratio <= self.claim.refused_from else None

    @property
    def still_needed(self) -> int:
        """Draws until it is shown, if all are within the limits."""
        left = self.claim.shown_from - self.log_ratio
        return max(0, math.ceil(left / self.claim.step(within=True)))

    def add(self, within: bool) -> None:
        """Count a draw."""
        self.draws += 1
        self.beyond += not within


def least_share(within: int, draws: int, confidence: float) -> float:
    """Clopper and Pearson's lower limit (1934) of a share, one-sided.

    Args:
        within: Draws that were, 0 to `draws`.
        draws: All, 1 or more, their number fixed beforehand.
        confidence: 0 to 1.

    Returns:
        The share for which so many or more would be seen in 1 - confidence of all cases.
    """
    if within == 0:
        return 0.0
    low, high = 0.0, within / draws
    for _ in range(60):
        middle = (low + high) / 2
        if _at_least(within, draws, middle) < 1 - confidence:
            low = middle
        else:
            high = middle
    return low


def _at_least(within: int, draws: int, share: float) -> float:
    """Probability of so many or more; by logarithms, as thousands of draws have no float else."""
    if share <= 0:
        return 0.0
    if share >= 1:
        return 1.0
    ways = math.lgamma(draws + 1)
    return math.fsum(
        math.exp(
            ways
            - math.lgamma(k + 1)
            - math.lgamma(draws - k + 1)
            + k * math.log(share)
            + (draws - k) * math.log1p(-share)
        )
        for k in range(within, draws + 1)
    )


def facts(test: SequentialTest) -> dict[str, Any]:
    """JSON-ready: the claim, draws and outcome."""
    return {
        **test.claim.to_json(),
        "draws": test.draws,
        "beyond": test.beyond,
        "outcome": test.outcome or "open",
    }
