"""Several streams on one board: what runs, at what latency, with what margin.

They share one network and its device, which serves them in turns, and one set of codecs.

    found = share_board([plan_bundle(bundle, board, source) for source in sources])
    found.runs, found.margin
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .planning import Plan


@dataclass(frozen=True)
class Stream:
    """One stream among the others."""

    plan: Plan

    latency_ms: float
    """Of a frame that waits for nobody: decoded, copied, upscaled, encoded, with all cores."""

    most_latency_ms: float
    """Of one that comes when a frame of every other stream is before it."""


@dataclass(frozen=True)
class Board:
    """All streams together."""

    streams: tuple[Stream, ...]

    network_share: float
    """Of the device's time, 1 is all of it."""

    codec_share: float | None
    """Of the codecs'; None where their processor is not known."""

    memory_bytes: int
    """Weights and runtime once, activations once, state and pictures of each."""

    memory_limit_bytes: int | None

    @property
    def fits_memory(self) -> bool:
        """Whether the board has the memory."""
        return self.memory_limit_bytes is None or self.memory_bytes <= self.memory_limit_bytes

    @property
    def share(self) -> float:
        """Of what binds, 1 is all of it; network and codecs add up where they share cores."""
        codecs = self.codec_share or 0.0
        if self.streams[0].plan.shares_processor:
            return self.network_share + codecs
        return max(self.network_share, codecs)

    @property
    def binds(self) -> str:
        """`memory`, `network` or `codecs`."""
        if not self.fits_memory:
            return "memory"
        return "network" if self.network_share >= (self.codec_share or 0.0) else "codecs"

    @property
    def margin(self) -> float:
        """Share of what binds that is left; negative where it is too little."""
        return 1 - self.share

    @property
    def runs(self) -> bool:
        """Whether all frames of all streams are made in time, as is most probable."""
        return self.fits_memory and self.share <= 1

    @property
    def surely(self) -> bool | None:
        """Whether it runs, or does not, in at least 95 of 100 cases; None where that is open.

        The streams' networks are as far off as that of the largest stream, all the same way.
        """
        if not self.fits_memory:
            return False
        interval = max(self.streams, key=lambda each: each.plan.device_ms).plan.interval
        if interval is None:
            return None
        middle = (interval.low_ms * interval.high_ms) ** 0.5
        if self.share * interval.high_ms / middle <= 1:
            return True
        return False if self.share * interval.low_ms / middle > 1 else None


def share_board(plans: Sequence[Plan]) -> Board:
    """Put plans of one bundle and one board together.

    Args:
        plans: Of each stream by itself, one or more.
    """
    turns = [plan.device_ms for plan in plans]
    streams = tuple(
        Stream(plan, _alone_ms(plan), _alone_ms(plan) + sum(turns) - own)
        for plan, own in zip(plans, turns, strict=True)
    )
    rates = [plan.source.fps / 1000 for plan in plans]
    codecs = [plan.video.ms for plan in plans]
    known = [ms for ms in codecs if ms is not None]
    largest = max(plan.memory_bytes for plan in plans)
    own = [plan.cost.state_bytes + plan.video.memory_bytes for plan in plans]
    return Board(
        streams=streams,
        network_share=sum(ms * rate for ms, rate in zip(turns, rates, strict=True)),
        codec_share=sum(ms * rate for ms, rate in zip(known, rates, strict=True))
        if len(known) == len(codecs)
        else None,
        memory_bytes=largest + sum(own) - max(own),
        memory_limit_bytes=plans[0].memory_limit_bytes,
    )


def _alone_ms(plan: Plan) -> float:
    return plan.device_ms + (plan.video.ms or 0.0)
