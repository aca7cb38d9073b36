"""When the network's past is forgotten, and that nothing of it shows afterwards."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adcvsr.pictures.clips import write_clip
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.runtime.live.resets import Placed, Reason, ResetPolicy, StreamWatch
from adcvsr.runtime.live.source import LiveFrame
from adcvsr.runtime.processing.cut_reset import CutResetProcessor
from adcvsr.runtime.upscaler import Upscaler

STEP = 1 / 25


def scene(seed: int, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    """A blocky picture that has nothing in common with those of other seeds."""
    blocks = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), np.uint8)
    big = np.kron(blocks, np.ones((size[0] // 6, size[1] // 8, 1), np.uint8))
    return np.ascontiguousarray(big)


def frame(
    media: float, wall: float, picture: np.ndarray | None = None, connection: int = 0
) -> LiveFrame:
    return LiveFrame(scene(0) if picture is None else picture, media, wall, connection)


def reasons(*frames: LiveFrame, watch: StreamWatch | None = None) -> list[Reason | None]:
    watch, policy = watch or StreamWatch(), ResetPolicy()
    return [policy.reason(watch.place(each, STEP)) for each in frames]


class TestReasons:
    def test_a_steady_stream_is_one_stream(self) -> None:
        assert reasons(*[frame(i * STEP, i * STEP) for i in range(30)]) == [None] * 30

    @pytest.mark.parametrize("clock", ["both", "source", "wall"])
    def test_a_stall_counts_by_the_longer_clock_and_begins_after_n_frames(self, clock: str) -> None:
        for missing, expected in ((8, None), (10, "stall")):
            gap = (missing + 1) * STEP
            media = gap if clock != "wall" else STEP
            wall = gap if clock != "source" else STEP
            if clock == "source" and expected:
                wall = gap - 0.2  # the frames behind a gap came early: no seek
            assert reasons(frame(0, 0), frame(media, wall))[1] == expected, missing

    def test_waiting_for_the_network_is_no_stall(self) -> None:
        watch, policy = StreamWatch(), ResetPolicy()
        policy.reason(watch.place(frame(0, 0), STEP))
        assert policy.reason(watch.place(frame(STEP, 2.0), STEP, waited=2.0 - STEP)) is None

    def test_a_file_that_is_slow_to_decode_or_not_paced_is_one_stream(self) -> None:
        """Nothing is missing between its frames; a jump back, as of a loop, is a seek still."""
        slow = [replace(frame(i * STEP, i * 2.0), lossless=True) for i in range(4)]
        fast = [replace(frame(i * 3.0, i * STEP), lossless=True) for i in range(4)]
        watch = StreamWatch()
        placed = [watch.place(each, 3.0) for each in fast]
        assert [each.reason for each in placed] == [None] * 4
        again = replace(frame(0.0, 13 * STEP), lossless=True)
        assert watch.place(again, 3.0).reason == "seek"
        assert reasons(*slow) == [None] * 4

    def test_a_burst_after_a_stall_is_no_seek(self) -> None:
        late = [frame(0, 0), *[frame(STEP * i, 2 + i / 1000) for i in range(1, 20)]]
        assert reasons(*late) == [None, "stall", *[None] * 18]

    @pytest.mark.parametrize("to", [-3.0, -2 * STEP, 2.0])
    def test_a_jump_of_the_sources_clock_is_a_seek(self, to: float) -> None:
        assert reasons(frame(5, 5), frame(5 + to, 5 + STEP))[1] == "seek"

    def test_reconnect_size_and_cut(self) -> None:
        assert reasons(frame(0, 0), frame(0, 1, connection=1))[1] == "reconnect"
        small = frame(STEP, STEP, scene(0, (24, 32)))
        assert reasons(frame(0, 0), small)[1] == "size"
        assert reasons(frame(0, 0), frame(STEP, STEP, scene(1)))[1] == "cut"

    def test_a_reset_survives_the_dropping_of_the_frame_it_began_with(self) -> None:
        watch, policy = StreamWatch(), ResetPolicy()
        placed = [
            watch.place(each, STEP)
            for each in (frame(0, 0), frame(9, 9), frame(9 + STEP, 9 + STEP))
        ]
        assert policy.reason(placed[0]) is None
        assert policy.reason(placed[2]) == "stall"

    def test_cuts_can_be_left_alone(self) -> None:
        watch, policy = StreamWatch(), ResetPolicy(cuts=False)
        for index in range(4):
            placed = watch.place(frame(index * STEP, index * STEP, scene(index)), STEP)
            assert policy.reason(placed) is None


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-5, 5), st.floats(0, 3), st.booleans()), min_size=1, max_size=40)
)
def test_output_times_only_go_forward(steps: list[tuple[float, float, bool]]) -> None:
    watch = StreamWatch()
    media = wall = 0.0
    connection, times, streams = 0, [], []
    for jump, wait, reconnect in steps:
        media, wall, connection = media + jump, wall + wait, connection + reconnect
        placed = watch.place(frame(media, wall, connection=connection), STEP)
        times.append(placed.time)
        streams.append(placed.stream)
    assert all(b > a for a, b in itertools.pairwise(times))
    assert streams == sorted(streams)


class TestNothingShinesThrough:
    """With a bundle whose state is strong, on purpose."""

    @pytest.mark.parametrize("reason", ["cut", "seek", "stall", "size", "reconnect"])
    def test_first_frames_after_a_reset_are_those_of_a_fresh_network(
        self, tiny_bundle: Path, reason: Reason
    ) -> None:
        old = scene(0, (24, 40) if reason == "size" else (48, 64))
        new = draw_clip(3, 48, 64)
        with Upscaler(tiny_bundle) as upscaler:
            fresh = [upscaler(each) for each in new]
            upscaler.reset()
            policy = ResetPolicy()
            for index, picture in enumerate([old, old, *new]):
                stream = int(reason not in {"cut", "size"} and index >= 2)
                why: Reason | None = reason if stream else None
                placed = Placed(frame(index * STEP, 0, picture), stream, why, index * STEP)
                found = policy.reason(placed)
                assert found == (reason if index == 2 else None), index
                if found:
                    upscaler.reset()
                big = upscaler(picture)
                if index >= 2:
                    np.testing.assert_array_equal(big, fresh[index - 2])
            # Without the reset the old scene does show: the comparison can fail.
            upscaler.reset()
            if reason != "size":
                upscaler(old)
                assert np.abs(upscaler(new[0]).astype(int) - fresh[0]).max() > 4

    def test_upscale_starts_anew_at_cuts(self, tiny_bundle: Path) -> None:
        clip = [scene(0), scene(0), *draw_clip(2, 48, 64)]
        with Upscaler(tiny_bundle) as upscaler:
            fresh = [upscaler(each) for each in clip[2:]]
            upscaler.reset()
            processor = CutResetProcessor(upscaler._processor)
            pictures = list(processor.clip(clip))
        assert len(pictures) == 4
        np.testing.assert_array_equal(pictures[2:], fresh)

    @pytest.mark.parametrize(("cut_reset", "expected"), [(True, 1), (False, None)])
    def test_upscale_file_tells_how_often(
        self, tmp_path: Path, cut_reset: bool, expected: int | None
    ) -> None:
        write_clip(tmp_path / "in.mp4", [*[scene(0)] * 3, *[scene(1)] * 3])
        with Upscaler("nano", threads=1) as upscaler:
            report = upscaler.upscale_file(
                tmp_path / "in.mp4", tmp_path / "out.mp4", cut_reset=cut_reset
            )
        assert report.scene_cuts == expected
        assert report.frames == 6
        assert any("1 scene cut" in note for note in report.notes) == cut_reset
