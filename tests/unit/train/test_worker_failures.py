"""A loader's worker that dies or stands still ends the run in one line; its state stays whole."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from adcvsr.errors import OutputNotWritableError, TrainingWorkerError
from adcvsr.train.data import worker_failure, workers
from adcvsr.train.data.loader import STEPS_AHEAD
from adcvsr.train.pretrain import pretrain
from adcvsr.train.settings import PretrainSettings
from tiny_training import CLEAN, DATA, LIGHT, Folders, Watch

SETTINGS = PretrainSettings(
    network=LIGHT,
    data=dataclasses.replace(DATA, frames=2),
    degradation=CLEAN,
    batch=2,
    workers=1,
    max_steps=60,
    checkpoint_minutes=1e-9,
)


@dataclasses.dataclass
class Signals(Watch):
    """Sends a signal to the worker after a step; what was sent is done once it shows."""

    number: int = 0
    after: int = 4

    def progress(self, state: Any, loss: float, done: float) -> None:
        super().progress(state, loss, done)
        if self.number and state.step == self.after:
            (worker,) = multiprocessing.active_children()
            assert worker.pid is not None
            os.kill(worker.pid, self.number)


def run(folders: Folders, output: Path, watch: Watch, **options: Any) -> Path:
    return pretrain(
        dataclasses.replace(SETTINGS, **options.pop("changes", {})),
        output,
        clips=[],
        images=[folders.images],
        report=watch.report,
        progress=watch.progress,
        **options,
    )


def step_of(folder: Path) -> int:
    """Of the saved state, which must be readable."""
    return int(torch.load(folder / "trainer.pt", weights_only=True)["step"])


def test_a_worker_killed_as_by_a_system_out_of_memory(folders: Folders, tmp_path: Path) -> None:
    with pytest.raises(TrainingWorkerError) as caught:
        run(folders, tmp_path, Signals(number=signal.SIGKILL))
    (line,) = str(caught.value).splitlines()
    assert "which prepares training data, ended: Killed, most often by a system out of mem" in line
    assert f"the state saved before it is in '{tmp_path}'; --resume goes on from it" in line
    # The signal is met during that step or at a later one, but no step is half saved.
    reached = step_of(tmp_path)
    assert 3 <= reached < SETTINGS.max_steps
    watch = Watch()
    run(folders, tmp_path, watch, resume=True, changes={"max_steps": reached + 2})
    assert (len(watch.losses), step_of(tmp_path)) == (2, reached + 2)
    assert not list(tmp_path.glob(".*.part"))


def test_a_worker_that_stands_still(
    folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "STALL_WAITS", 2)
    monkeypatch.setattr(workers, "WAIT_SECONDS", 0.5)
    watch = Signals(number=signal.SIGSTOP)
    with pytest.raises(TrainingWorkerError, match="no training data for .* stood still") as caught:
        run(folders, tmp_path, watch)
    assert "--resume goes on from it" in str(caught.value)
    # It ends when what had been made ahead is used up, with every step saved.
    assert watch.after <= len(watch.losses) <= watch.after + STEPS_AHEAD + 1
    assert step_of(tmp_path) == len(watch.losses)
    for child in multiprocessing.active_children():
        child.join(timeout=60)
    assert not multiprocessing.active_children(), (
        "a stopped worker would keep the process from ending"
    )


def test_before_anything_was_saved(folders: Folders, tmp_path: Path) -> None:
    with pytest.raises(TrainingWorkerError, match="nothing was saved yet$"):
        run(
            folders,
            tmp_path,
            Signals(number=signal.SIGKILL, after=1),
            changes={"checkpoint_minutes": 60.0},
        )


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (
            "is killed by signal: Bus error. ",
            "process 7, .* ended: Bus error, most often as /dev/shm",
        ),
        ("exited unexpectedly with exit code 3. Details are lost", "process 7, .*: exit code 3$"),
    ],
)
def test_a_death_is_found_behind_the_error_it_caused(told: str, said: str) -> None:
    """Torch tells of it anywhere, even while a state is written."""
    around = OutputNotWritableError("cannot write 'trainer.pt'")
    around.__cause__ = RuntimeError(f"DataLoader worker (pid 7) {told}")
    found = worker_failure(around)
    assert found is not None
    assert re.search(said, found)
    assert worker_failure(OutputNotWritableError("disk full")) is None
