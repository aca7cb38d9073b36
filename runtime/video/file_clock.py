"""One clock for all streams of a file: where it jumps, picture and sound are moved by the same.

Broadcast clocks count 33 bits and start over; recordings that were joined, and senders that were
switched, go on at another time. Packets are corrected before anything is decoded or copied.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, TypeAlias

import av

from ...counted import counted

Packet: TypeAlias = "av.Packet[Any]"

CLOCKS_THAT_JUMP = frozenset({"mpegts", "mpeg", "flv", "live_flv"})
"""Containers without an index, made to be cut and joined anywhere."""

COUNTED_IN_33_BITS = frozenset({"mpegts", "mpeg"})
WRAP_S = Fraction(1 << 33, 90_000)

BACK_S, BACK_ELSEWHERE_S = Fraction(1, 20), Fraction(1)
"""Decoding times that go back by more within a stream are a jump; less is jitter. Containers with
an index are given more, as some of them store their packets out of order."""

AHEAD_S = 10
"""Times further ahead than this are a jump, not a pause, in `CLOCKS_THAT_JUMP` (as in FFmpeg)."""

LOOK_AHEAD_S = 3
LOOK_AHEAD_PACKETS = 1000
"""How far is read on behind a jump until all streams have shown their first time after it."""

IN_STEP = frozenset({"video", "audio"})
"""Stream types whose times say where the clock is; subtitles are too sparse."""


@dataclass
class _Track:
    """Where one stream is."""

    last: Fraction | None = None
    """Decoding time of its latest packet on the file's own clock; None since the latest jump."""

    end: Fraction | None = None
    """Corrected time at which what it showed so far ends."""

    decoded_to: Fraction | None = None
    """The same of decoding times."""


class FileClock:
    """Corrects the times of a file's packets.

    Args:
        container: FFmpeg's name of the container's format.
        start: Seconds at which the file's clock starts, where it is known.
    """

    def __init__(self, container: str, start: Fraction | None = None) -> None:
        self._wraps = container in COUNTED_IN_33_BITS
        self._jumps_ahead = container in CLOCKS_THAT_JUMP
        self._back = BACK_S if self._jumps_ahead else BACK_ELSEWHERE_S
        self._start = start or Fraction(0)
        self._now = start
        """Latest time of picture or sound on the file's own clock."""
        self._now_before: Fraction | None = None
        """The same at the latest jump, on the clock that ended there."""
        self._shift = self._shift_before = Fraction(0)
        """Seconds to add now, and before the latest jump."""
        self._tracks: dict[int, _Track] = {}
        self.jumps = 0
        self.first_jump_s = Fraction(0)
        """How far the clock went, negative for back."""
        self.first_jump_at_s = Fraction(0)
        """Corrected time of the first jump, from the start of the clock."""
        self.strays = 0
        """Packets whose time alone was wrong."""

    def corrected(self, packets: Iterator[Packet]) -> Iterator[Packet]:
        """Yield the packets with times on one clock; those around a jump may change their order."""
        waiting: deque[Packet] = deque()
        while (packet := _next(waiting, packets)) is not None:
            time = self._time(packet)
            if time is None:
                yield packet
            elif self._is_jump(packet, time):
                ahead = self._look_ahead(packet, waiting, packets)
                if self._is_stray(ahead):
                    waiting.extendleft(reversed(ahead[1:]))
                    yield self._without_time(packet)
                else:
                    before, after = self._sorted_out(ahead)
                    for each in before:
                        each_time = self._time(each)
                        yield each if each_time is None else self._moved(each, each_time)
                    self._begin_anew(after)
                    waiting.extendleft(reversed(after))
            else:
                yield self._moved(packet, time)

    def notes(self) -> Iterator[str]:
        """What was corrected, a line each."""
        if self.jumps:
            way = "ahead" if self.first_jump_s > 0 else "back"
            times = "once," if self.jumps == 1 else f"{self.jumps} times, first"
            yield (
                f"the file's clock jumps {times} {way} by {float(abs(self.first_jump_s)):.3f} s at "
                f"{float(self.first_jump_at_s):.3f} s, as where recordings are joined: what "
                "follows goes on without a gap, all streams moved by the same"
            )
        if self.strays:
            strays = counted(self.strays, "packet has a time", "packets have times")
            yield f"{strays} far from all others: repaired"

    def _time(self, packet: Packet) -> Fraction | None:
        """Decoding time on the file's own clock, in seconds, with the counter's wraps undone."""
        ticks = packet.dts if packet.dts is not None else packet.pts
        if ticks is None or not packet.time_base:
            return None
        seconds = ticks * Fraction(packet.time_base)
        if self._wraps and self._now is not None:
            seconds += round((self._now - seconds) / WRAP_S) * WRAP_S
        return seconds

    def _track(self, packet: Packet) -> _Track:
        return self._tracks.setdefault(packet.stream.index, _Track())

    def _is_jump(self, packet: Packet, time: Fraction) -> bool:
        last = self._track(packet).last
        if last is None or self._now is None or packet.stream.type not in IN_STEP:
            return False
        return self._is_away(time, last)

    def _is_away(self, time: Fraction, last: Fraction) -> bool:
        """Whether a time cannot follow the one before in its stream."""
        assert self._now is not None
        ahead = self._jumps_ahead and time > max(last, self._now) + AHEAD_S
        return ahead or time < last - self._back

    def _look_ahead(
        self, first: Packet, waiting: deque[Packet], packets: Iterator[Packet]
    ) -> list[Packet]:
        """Read on until all streams have shown where they are behind a jump."""
        ahead, begin = [first], self._time(first)
        assert begin is not None
        assert self._now is not None
        now = self._now
        missing = {
            index
            for index, track in self._tracks.items()
            if track.last is not None and track.last > now - LOOK_AHEAD_S
        }
        again = False  # a second packet of the stream that jumped tells a jump from a stray time
        missing.discard(first.stream.index)
        while (missing or not again) and len(ahead) < LOOK_AHEAD_PACKETS:
            if (packet := _next(waiting, packets)) is None:
                break
            ahead.append(packet)
            time = self._time(packet)
            if time is None:
                continue
            if packet.stream.index == first.stream.index:
                again = True
                if abs(time - begin) > LOOK_AHEAD_S:
                    break
            elif _is_behind(packet, first) or self._is_jump(packet, time):
                missing.discard(packet.stream.index)
        return ahead

    def _is_stray(self, ahead: list[Packet]) -> bool:
        """Whether the first packet's stream goes on where it was."""
        first, last = ahead[0], self._track(ahead[0]).last
        assert last is not None
        for packet in ahead[1:]:
            if packet.stream.index == first.stream.index:
                time = self._time(packet)
                if time is not None:
                    return not self._is_away(time, last)
        return False

    def _sorted_out(self, ahead: list[Packet]) -> tuple[list[Packet], list[Packet]]:
        """What still belongs before a jump, and what behind; packets of a stream stay in order."""
        edge = ahead[0]
        for packet in ahead:
            time = self._time(packet)
            if time is not None and self._is_jump(packet, time) and _is_behind(edge, packet):
                edge = packet
        before: list[Packet] = []
        after: list[Packet] = []
        crossed: set[int] = set()
        for packet in ahead:
            index, time = packet.stream.index, self._time(packet)
            if time is not None and (_is_behind(packet, edge) or self._is_jump(packet, time)):
                crossed.add(index)
            (after if index in crossed else before).append(packet)
        return before, after

    def _begin_anew(self, after: list[Packet]) -> None:
        """Move all streams so that none of them begins before it ended."""
        decoded: dict[int, Fraction] = {}
        shown: dict[int, Fraction] = {}
        for packet, time in self._up_to_next_jump(after):
            if packet.stream.type in IN_STEP:
                index, show = packet.stream.index, time + self._lead(packet)
                decoded.setdefault(index, time)
                shown[index] = min(shown.get(index, show), show)
        gaps = []
        for index, track in self._tracks.items():
            if index in decoded and track.end is not None and track.decoded_to is not None:
                gaps += [track.end - shown[index], track.decoded_to - decoded[index]]
        begin = self._time(after[0])
        assert begin is not None
        assert self._now is not None
        self._shift_before, self._shift = self._shift, max(gaps)
        if not self.jumps:
            self.first_jump_s = begin - self._now
            self.first_jump_at_s = begin + self._shift - self._start
        self.jumps += 1
        self._now_before, self._now = self._now, begin
        self._tracks = {i: replace(track, last=decoded.get(i)) for i, track in self._tracks.items()}

    def _up_to_next_jump(self, packets: list[Packet]) -> Iterator[tuple[Packet, Fraction]]:
        """Those with times on the first one's clock; what was read ahead may have another."""
        now: Fraction | None = None
        latest: dict[int, Fraction] = {}
        for packet in packets:
            time, index = self._time(packet), packet.stream.index
            if time is None:
                continue
            if packet.stream.type in IN_STEP:
                away = now is not None and abs(time - now) > LOOK_AHEAD_S
                if away or time < latest.get(index, time) - self._back:
                    return
                now = time if now is None else max(now, time)
                latest[index] = time
            yield packet, time

    def _lead(self, packet: Packet) -> Fraction:
        """Seconds from decoding to presentation."""
        if packet.pts is None or packet.dts is None:
            return Fraction(0)
        lead = (packet.pts - packet.dts) * Fraction(packet.time_base)
        return lead - round(lead / WRAP_S) * WRAP_S if self._wraps else lead

    def _moved(self, packet: Packet, time: Fraction) -> Packet:
        """Give a packet its corrected times."""
        track, shift = self._track(packet), self._shift
        if track.last is None and self._now is not None and self._now_before is not None:
            # Of a stream not seen since the latest jump: may be a late one from before it.
            late = abs(time - self._now_before) < abs(time - self._now)
            shift = self._shift_before if late else shift
        if shift == self._shift and packet.stream.type in IN_STEP:
            track.last = time
            self._now = time if self._now is None else max(self._now, time)
        time_base, lead = Fraction(packet.time_base), self._lead(packet)
        length = Fraction((packet.duration or 0) * time_base)
        decoded_to = time + shift + length
        track.end = max(track.end or decoded_to, decoded_to + lead)
        track.decoded_to = max(track.decoded_to or decoded_to, decoded_to)
        if packet.pts is not None:
            decoding = packet.dts is not None
            packet.pts = round((time + (lead if decoding else 0) + shift) / time_base)
        if packet.dts is not None:
            packet.dts = round((time + shift) / time_base)
        return packet

    def _without_time(self, packet: Packet) -> Packet:
        """Repair a stray: sound goes where the one before ended, pictures get theirs by rate."""
        self.strays += 1
        end = self._track(packet).end
        time = None if end is None else round(end / Fraction(packet.time_base))
        packet.pts = packet.dts = None if packet.stream.type == "video" else time
        return packet


def starts_at(container: av.container.InputContainer) -> Fraction | None:
    """Seconds at which a container's clock starts; None where it does not tell.

    FFmpeg takes the least time of all streams, which misleads where the clock starts over in the
    first moments of the file.
    """
    begin: int | None = container.start_time  # PyAV's types leave the None out
    if begin is None:
        return None
    starts = [
        s.start_time * Fraction(s.time_base)
        for s in container.streams
        if s.type in IN_STEP and s.start_time is not None and s.time_base
    ]
    if container.format.name in COUNTED_IN_33_BITS and starts:
        starts = [s % WRAP_S for s in starts]
        if max(starts) - min(starts) > WRAP_S / 2:
            return min(s for s in starts if s > WRAP_S / 2)
    return Fraction(begin, av.time_base)


def _next(waiting: deque[Packet], packets: Iterator[Packet]) -> Packet | None:
    return waiting.popleft() if waiting else next(packets, None)


def _is_behind(packet: Packet, other: Packet) -> bool:
    """Whether a packet lies behind another one in the file, or is it."""
    at: int | None = packet.pos
    edge: int | None = other.pos
    return packet is other if at is None or edge is None else at >= edge
