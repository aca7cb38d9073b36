"""Sets of buffers that change places."""

from __future__ import annotations

import pytest

from adcvsr.runtime.sessions.state_ring import StateRing


def test_every_slot_carries_its_own_state_in_any_order() -> None:
    ring: StateRing[list[int]] = StateRing()
    ring.fill(3, lambda: [0])
    assert len(ring.sets) == 4
    expected = [0, 0, 0]
    for slot in (0, 1, 1, 2, 0, 2, 1, 0, 0, 2, 2, 2):
        current, following = ring.places(slot)
        assert current != following
        assert ring.sets[current] == [expected[slot]]
        ring.sets[following][0] = expected[slot] + 1
        expected[slot] += 1
        ring.advance(slot)
    assert [each[0] for each in ring.current()] == expected


def test_what_was_made_before_a_failure_is_known() -> None:
    made = iter([1, 2])
    ring: StateRing[int] = StateRing()
    with pytest.raises(StopIteration):
        ring.fill(2, lambda: next(made))
    assert ring.sets == [1, 2]
    assert ring.current() == []
