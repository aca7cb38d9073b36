"""A loader's worker that dies or stands still ends the run in one line; its state stays whole."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from adcvsr.cli.train import _told_to_torchrun
from adcvsr.errors import OutputNotWritableError, TrainingProcessError, TrainingWorkerError
from adcvsr.model import load_checkpoint
from adcvsr.train.data import worker_failure, workers
from adcvsr.train.data.loader import STEPS_AHEAD
from adcvsr.train.devices import open_accelerator
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


@dataclasses.dataclass
class Kills(Watch):
    """Kills the worker after a step and waits there until torch tells of it."""

    after: int = 2

    def progress(self, state: Any, loss: float, done: float) -> None:
        super().progress(state, loss, done)
        if state.step == self.after:
            (worker,) = multiprocessing.active_children()
            worker.kill()
            time.sleep(60)


SELDOM = {"checkpoint_minutes": 60.0}


def test_the_last_whole_step_is_saved(folders: Folders, tmp_path: Path) -> None:
    """No state was written for an hour, and nothing is lost."""
    with pytest.raises(TrainingWorkerError, match="--resume goes on from it$"):
        run(folders, tmp_path / "parts", Kills(), changes={**SELDOM, "max_steps": 4})
    assert step_of(tmp_path / "parts") == 2
    parts = run(folders, tmp_path / "parts", Watch(), resume=True, changes={"max_steps": 4})
    whole = run(folders, tmp_path / "whole", Watch(), changes={"max_steps": 4})
    expected = load_checkpoint(whole)[0].state_dict()
    for key, value in load_checkpoint(parts)[0].state_dict().items():
        assert torch.equal(value, expected[key]), key


def test_half_a_step_is_not_saved(
    folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker's death shows while weights are changed."""

    def torn(self: torch.optim.Optimizer, closure: object = None) -> None:
        for group in self.param_groups:
            group["params"][0].data.fill_(7)
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")

    monkeypatch.setattr(torch.optim.Adam, "step", torn)
    with pytest.raises(TrainingWorkerError, match="nothing was saved yet$"):
        run(folders, tmp_path, Watch(), changes=SELDOM)
    assert not (tmp_path / "trainer.pt").exists()


@dataclasses.dataclass
class Terminates(Watch):
    """Sends SIGTERM as torchrun and a terminal send signals: to the process's whole group."""

    def progress(self, state: Any, loss: float, done: float) -> None:
        super().progress(state, loss, done)
        if state.step == 2:
            own = os.getpgrp()
            for worker in multiprocessing.active_children():
                assert worker.pid is not None
                if os.getpgid(worker.pid) == own:
                    worker.terminate()
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_signal_for_all_processes_leaves_the_workers(folders: Folders, tmp_path: Path) -> None:
    watch = Terminates()
    with pytest.raises(KeyboardInterrupt):
        run(folders, tmp_path, watch, changes=SELDOM)
    assert "--resume goes on from it" in watch.lines[-1]
    assert step_of(tmp_path) == len(watch.losses) == 3


def test_another_process_of_the_run_ended(
    folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line that sends to that process's own, the last whole step saved, and no report of it to
    torchrun, which would take it for the cause."""
    place = tmp_path / "error.json"
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(place))
    opened = open_accelerator("no")

    def two(precision: str) -> Any:
        monkeypatch.setattr(type(opened), "num_processes", 2)
        return opened

    monkeypatch.setattr("adcvsr.train.run.open_accelerator", two)
    told = "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer"
    losing, calls = type(opened).reduce, []

    def lose(self: Any, *arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 3:
            raise RuntimeError(told)
        return losing(self, *arguments)

    monkeypatch.setattr(type(opened), "reduce", lose)
    with (
        pytest.raises(TrainingProcessError, match="own line says why; .* --resume goes on from it"),
        _told_to_torchrun(),
    ):
        run(folders, tmp_path / "run", Watch(), changes=SELDOM)
    assert step_of(tmp_path / "run") == 2
    assert not place.exists()


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
