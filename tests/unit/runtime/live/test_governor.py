"""The best network that fits: when it steps, and that a step loses no frame and says so."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from click.testing import CliRunner

from adcvsr.cli.commands import load_command
from adcvsr.errors import ConfigError
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.runtime.live import together
from adcvsr.runtime.live.admission import Admission
from adcvsr.runtime.live.governor import (
    DOWN_AFTER,
    MOST_UP_AFTER,
    REGRET_S,
    UP_AFTER,
    Governor,
    Ladder,
    governor_of,
)
from adcvsr.runtime.live.live_report import LiveOptions
from adcvsr.runtime.live.live_run import LiveRun
from adcvsr.runtime.live.live_runs import LiveRuns
from adcvsr.runtime.live.stream_config import parse_stream
from adcvsr.runtime.upscaler import Upscaler

CLIP = draw_clip(4, 16, 16)


@pytest.fixture(scope="module")
def networks() -> Iterator[list[Upscaler]]:
    with (
        Upscaler("nano", variant="fp32-onnx", backend="ort-cpu", threads=1) as best,
        best.beside("nano-camera", "int8-ort") as cheaper,
    ):
        yield [best, cheaper]


def judge(ladder: Ladder, times: int, latency: float | None, missed: int = 0, at: float = 0) -> int:
    for second in range(times):
        ladder.judge(latency, missed, at + second)
    return ladder.rung


def test_it_steps_down_when_too_slow_and_up_after_a_calm_while() -> None:
    ladder = Ladder([4, 2, 1], 100, 0)
    assert judge(ladder, DOWN_AFTER - 1, 150) == 0  # one slow second is none
    assert judge(ladder, 1, 50) == 0
    assert judge(ladder, DOWN_AFTER, 150) == 1
    assert judge(ladder, DOWN_AFTER, 20, missed=3) == 2
    assert judge(ladder, 50, 150) == 2  # there is nothing cheaper
    assert judge(ladder, 100, 60) == 2  # the better one would take 120
    assert judge(ladder, UP_AFTER - 1, 30) == 2
    assert judge(ladder, 1, 30) == 1


def test_a_step_up_that_was_wrong_waits_longer_the_next_time() -> None:
    ladder = Ladder([2, 1], 100, 1)
    waits, now = [], 0.0
    for _ in range(9):
        seconds = 0
        while ladder.rung:
            ladder.judge(20, 0, now)
            now, seconds = now + 1, seconds + 1
        waits.append(seconds)
        while not ladder.rung:
            ladder.judge(200, 0, now)
            now += 1
    assert waits[:3] == [UP_AFTER, 2 * UP_AFTER, 4 * UP_AFTER]
    assert max(waits) <= MOST_UP_AFTER
    judge(ladder, MOST_UP_AFTER, 20, at=now)
    judge(ladder, 5, 20, at=now + MOST_UP_AFTER + REGRET_S)
    assert ladder.up_after == UP_AFTER  # it was right that time


def test_a_camera_that_is_away_says_nothing() -> None:
    ladder = Ladder([2, 1], 100, 1)
    assert judge(ladder, 50, None) == 1


def test_steps_are_said_counted_and_between_frames(networks: list[Upscaler]) -> None:
    mine = [each.another_stream() for each in networks]
    governor = Governor(mine, 10_000)
    governor.begin(mine[0], (16, 16), 10.0)
    assert mine[0].bundle.path.name == "nano"
    assert "begins with nano fp32-onnx" in governor.notes[0]
    for _ in range(DOWN_AFTER):
        governor.judge(20_000, 0)
    assert mine[0].bundle.path.name == "nano"  # until the network's thread comes by
    assert governor.swap(mine[0])
    assert not governor.swap(mine[0])
    with networks[1].another_stream() as alone:
        assert np.array_equal(mine[0](CLIP[0]), alone(CLIP[0]))
    assert "steps down to nano-camera int8-ort: p95 20000 ms" in governor.notes[1]
    for _ in range(UP_AFTER):
        governor.judge(1, 0)
    assert governor.swap(mine[0])
    with networks[0].another_stream() as alone:
        assert np.array_equal(mine[0](CLIP[0]), alone(CLIP[0]))
    assert governor.steps == {"down": 1, "up": 1}
    assert not governor.swap(mine[0], by_hand=True)
    for _ in range(DOWN_AFTER):
        governor.judge(20_000, 0)
    assert not governor.swap(mine[0])
    assert "auto is off" in governor.notes[-1]
    for each in mine:
        each.close()


def test_a_network_that_takes_too_long_is_not_begun_with(networks: list[Upscaler]) -> None:
    mine = [each.another_stream() for each in networks]
    governor = Governor(mine, 1e-3)
    governor.begin(mine[0], (16, 16), 1.0)
    assert mine[0].bundle.path.name == "nano-camera"
    for each in mine:
        each.close()


def test_it_needs_a_latency(networks: list[Upscaler]) -> None:
    assert governor_of(networks[:1], LiveOptions()) is None
    with pytest.raises(ConfigError, match="--max-latency-ms"):
        governor_of(networks, LiveOptions())
    options = LiveOptions(max_latency_ms=100)
    run = LiveRun(networks[0], "test://", "null://", options, cheaper=networks[1:])
    assert run.governor is not None
    run.close()


def test_a_stream_steps_down_without_losing_a_frame(
    networks: list[Upscaler], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A budget that nothing keeps: after two judgements it runs with the cheapest.

    Every frame waits, so that one that is lost was lost by the step, not by a machine that stood
    still for the time between two frames.
    """
    monkeypatch.setattr(together, "TICK_S", 0.1)
    with networks[0].another_stream() as best, networks[1].another_stream() as cheaper:
        options = LiveOptions(policy="every", cut_reset=False)
        run = LiveRun(best, "test://?size=64x64&fps=20&frames=36", "null://", options)
        run.governor = governor = Governor([best, cheaper], -1.0)
        governor._ladder.rung = governor._wanted = 0
        governor.begin = lambda *_: None  # type: ignore[method-assign]
        report = run.run()
    assert (report.captured, report.presented, report.drops) == (36, 36, {})
    assert report.model == "nano-camera"
    assert report.resets["model"] == 1
    assert any("steps down to nano-camera int8-ort" in line for line in report.notes)


def test_more_streams_than_fit_are_refused_with_the_number(networks: list[Upscaler]) -> None:
    plans = [
        parse_stream(f"{name}=test://?size=64x64&fps={fps}&frames=2,sink=null://", LiveOptions())
        for name, fps in (("a", 1), ("b", 1), ("c", 1000), ("d", 1000), ("e", 1000), ("f", 1000))
    ]
    with pytest.raises(ConfigError, match=r"6 streams need .* fit.*--oversubscribe"):
        LiveRuns(networks[0], plans)
    report = LiveRuns(networks[0], plans, oversubscribe=True).run()
    assert len(report.streams) == 6


def test_a_stream_that_leaves_makes_room(networks: list[Upscaler]) -> None:
    admission = Admission(networks[0], oversubscribe=False)
    admission.loads = {"a": 0.9}
    admission.leave("a")
    assert not admission.loads


@pytest.mark.parametrize("models", ["auto=small", "auto=small,", "auto=nano,nano"])
def test_auto_needs_something_to_choose_from(models: str) -> None:
    arguments = ["--source", "test://", "--sink", "null://", "--model", models]
    result = CliRunner().invoke(load_command("live"), arguments)
    assert result.exit_code == 2
    assert "expected two models or more" in result.output
