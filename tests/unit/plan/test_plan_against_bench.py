"""`benchmarks/plan_against_bench.py`: what it judges, and when it refuses to."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from types import ModuleType

pytest.importorskip("onnx", reason="counting graphs needs onnx")


@pytest.fixture(scope="module")
def command() -> ModuleType:
    sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "benchmarks"))
    try:
        import plan_against_bench
    finally:
        sys.path.pop(0)
    module: ModuleType = plan_against_bench
    return module


def runs_of(command: ModuleType, clocks: dict[str, list[float]], others: float) -> list[object]:
    """Runs whose model says 10 ms and whose CPU time agrees."""
    return [
        command.Run(size, clock, 10.5, 10.0, others, 2)
        for size, values in clocks.items()
        for clock in values
    ]


class TestJudging:
    def test_the_median_of_the_clocks_decides(self, command: ModuleType) -> None:
        """One slow run is outvoted, and what is off for most is beyond, however good its best."""
        lines, code = command.judge(runs_of(command, {"a": [11, 12, 30]}, 0.01))
        assert (lines[-1], code) == ("ok: 1.20 at worst by the clock, 1.25 allowed", 0)
        lines, code = command.judge(runs_of(command, {"a": [11, 11, 11], "b": [10, 13, 14]}, 0.0))
        assert (lines[-1], code) == ("BEYOND: 1.30 at worst by the clock, 1.25 allowed", 1)
        assert command.judge(runs_of(command, {"a": [7, 7, 7]}, 0.0))[1] == 1  # too fast is off too

    def test_a_shared_machine_is_not_judged(self, command: ModuleType) -> None:
        busy = runs_of(command, {"a": [11, 11, 11]}, 0.39)
        lines, code = command.judge(busy)
        assert code == 3
        assert "only 61% in the median run, 97% are needed (a). CPU time is 1.05 off" in lines[-1]

    def test_runs_that_were_shared_do_not_count(self, command: ModuleType) -> None:
        """6 % of one processor is 3 % of two; a size with two good runs has too few."""
        quiet = runs_of(command, {"a": [11, 11, 11]}, 0.03)
        shared = runs_of(command, {"a": [30] * 9}, 0.04)
        assert command.judge([*shared, *quiet])[1] == 0
        assert command.judge([*shared, *quiet[:2]])[1] == 3

    def test_without_proc_stat_it_says_so(self, command: ModuleType) -> None:
        run = command.Run("a", 11.0, 10.0, 10.0, None, 2)
        lines, code = command.judge([run] * 3)
        assert code == 3
        assert "does not tell what other programs take" in lines[-1]


def test_a_run_is_a_bench_with_the_models_time_beside(command: ModuleType) -> None:
    fits = dict(command.read_fitted().classes)
    run = command.measure("nano", "fp32-onnx", "32x16", 0.1, fits)
    assert run.size == "32x16"
    assert run.clock_ms > 0
    assert run.cpu_ms > 0
    assert run.modelled_ms > 0
