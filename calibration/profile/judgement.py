"""Which variant to ship, in two lines: the fastest that loses nothing one would see.

The limits are stated on the page; they are the project's choice, not a law.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a variant may lose against the reference."""

    least_psnr_db: float = 38.0
    """Mean PSNR over RGB to the reference, on the worst clip."""

    least_frame_psnr_db: float = 32.0
    """Of the worst frame of any clip."""

    most_truth_loss_db: float = 0.2
    """Mean PSNR-Y to the truth lost, where the truth is known."""

    most_flicker_levels: float = 0.5
    """RMS of the error's change faster than a tenth of the frame rate, in patches."""

    least_gain: float = 0.05
    """Share of the time a variant must save to be worth shipping."""


HELD = (
    ("pictures", "psnr_db", "no clip was compared"),
    ("distance to the truth", "truth_loss_db", "--truth measures it"),
    ("flicker", "flicker_levels", "no clip was compared"),
    ("drift", "drift", "notes say why"),
)
"""What is held against a limit: its name, its key in a row of the table, and why it may lack."""


@dataclass(frozen=True)
class Judgement:
    """One variant."""

    variant: str
    good: bool
    """Nothing speaks against its pictures."""

    faults: list[str]
    """What does."""

    time_ratio: float | None
    """Its time over the reference's; None where that was not measured."""

    ratio_high: float | None
    """Upper end of that ratio's interval: it is certainly faster where this is below 1."""

    first_fault: str | None = None
    """The layer that does most damage, where the pictures are bad."""

    measured: list[str] = field(default_factory=list)
    """Limits there were figures for."""

    unmeasured: list[str] = field(default_factory=list)
    """Limits there were none for, with how to get one: nothing is said of them."""


def judge(row: dict[str, Any], limits: Limits, worst_layer: str | None) -> Judgement:
    """Hold a row of the table against the limits.

    Args:
        row: Of a variant other than the reference.
        limits: What it may lose.
        worst_layer: First of its damage list, for the verdict's second line.
    """
    faults = []
    if _below(row["psnr_db"], limits.least_psnr_db):
        faults.append(f"{row['psnr_db']:.1f} dB to the reference (limit {limits.least_psnr_db:g})")
    elif _below(row["worst_frame_db"], limits.least_frame_psnr_db):
        faults.append(
            f"one frame at {row['worst_frame_db']:.1f} dB (limit {limits.least_frame_psnr_db:g})"
        )
    lost = row.get("truth_loss_db")
    if lost is not None and lost > limits.most_truth_loss_db:
        faults.append(f"{lost:.2f} dB further from the truth (limit {limits.most_truth_loss_db:g})")
    if row["flicker_levels"] is not None and row["flicker_levels"] > limits.most_flicker_levels:
        faults.append(
            f"flicker of {row['flicker_levels']:.2f} levels (limit {limits.most_flicker_levels:g})"
        )
    if (row.get("colours") or {}).get("beyond"):
        faults.append(row["colours"]["beyond"])
    if row["drifts"]:
        faults.append(f"its error grows by {row['drift_growth']:.0%} over the long run")
    if row.get("refused"):
        faults.append(row["refused"])
    measured = [name for name, key, _ in HELD if row.get(key) is not None]
    unmeasured = [f"{name} ({how})" for name, key, how in HELD if row.get(key) is None]
    return Judgement(
        row["variant"],
        not faults,
        faults,
        row["time_ratio"],
        row["time_ratio_high"],
        worst_layer if faults else None,
        measured,
        unmeasured,
    )


def verdict(
    reference: str, judgements: list[Judgement], limits: Limits, basis: str
) -> dict[str, Any]:
    """Say which variant to ship and why.

    Args:
        reference: The exact variant.
        judgements: Of all others.
        limits: What was allowed.
        basis: What the times are: `wall` or `cpu`.

    Returns:
        JSON-ready: `ship`, two `lines`, all judgements and the limits.
    """
    clock = "CPU time" if basis == "cpu" else "time"
    worth = [
        each
        for each in judgements
        if each.good
        and each.time_ratio is not None
        and each.time_ratio < 1 - limits.least_gain
        and (each.ratio_high or 0) < 1
    ]
    best = min(worth, key=lambda each: each.time_ratio or 1.0, default=None)
    if not judgements:
        lines = [f"Only {reference} was run: nothing to choose from.", "Name two variants or more."]
    elif best is not None:
        assert best.time_ratio is not None
        others = [_why_not(each, clock) for each in judgements if each is not best]
        lines = [
            f"Ship {best.variant}: it takes {best.time_ratio:.0%} of {reference}'s {clock} here, "
            "and nothing that was measured speaks against it.",
            " ".join([_held(best), *others]),
        ]
    else:
        lines = [
            f"Ship {reference}: no other variant was measured to be both good and faster "
            "on this machine.",
            " ".join(_why_not(each, clock) for each in judgements),
        ]
    return {
        "ship": best.variant if best else reference,
        "lines": lines,
        "judgements": [asdict(each) for each in judgements],
        "limits": asdict(limits),
        "basis": basis,
    }


def _held(each: Judgement) -> str:
    """What a good variant was held to, and what nobody looked at."""
    if not each.measured:
        return f"No limit of {each.variant} was measured."
    left = f"; not measured: {', '.join(each.unmeasured)}" if each.unmeasured else ""
    return f"{each.variant} is within the limits of {', '.join(each.measured)}{left}."


def _why_not(each: Judgement, clock: str) -> str:
    if each.faults:
        layer = f"; look at {each.first_fault} first" if each.first_fault else ""
        return f"No to {each.variant}: {', '.join(each.faults)}{layer}."
    if each.time_ratio is None:
        return f"{each.variant} is within the limits, but its time was not measured."
    unsure = ""
    if each.time_ratio < 1 and each.ratio_high is not None and each.ratio_high >= 1:
        unsure = (
            f", not certainly less (up to {each.ratio_high:.0%}; measure longer with --duration)"
        )
    takes = f"takes {each.time_ratio:.0%} of the {clock}{unsure}"
    return f"{each.variant} {takes}. {_held(each)}"


def _below(value: float | None, limit: float) -> bool:
    return value is not None and value < limit
