"""What the stages share beside their arithmetic: devices, clock, checks, checkpoints, lines.

A stage is a loop in its own file that reads top to bottom; it calls the methods here in this order:

    with Run("pretrain", settings, output, ...) as run:
        ...                       # build networks and optimisers
        run.restore(network, average, parts, provenance)
        ...                       # open the data
        run.begin(sample, target)
        while run.continues():
            run.set_rate(optimizer, settings.learning_rate)
            for part in range(settings.accumulate):
                with run.waiting():
                    batch = next(loader)
                with run.sharing(prepared, now=part == last):
                    ...           # forward
                    run.backward(loss, terms, name="loss")
            run.step(optimizer)
            run.end_step()
        return run.finish()
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import (
    AdcVsrError,
    CheckpointError,
    TrainingDivergedError,
    TrainingProcessError,
    TrainingWorkerError,
)
from ..model import AdcVsr, save_checkpoint
from .data import ClipPairs, PairBatch, PairLoader, Pairs, worker_failure
from .devices import LOST_PROCESS, lost_process, open_accelerator
from .initial_weights import digest
from .run_log import RunLog, draw_strip
from .run_state import (
    CHECKPOINT_FILE,
    STATE_FILE,
    MovingAverage,
    RunState,
    Stateful,
    load_state,
    prepare_run_folder,
    save_state,
)
from .schedule import rate_factor, share_done
from .settings import StageSettings
from .stop_signal import StopSignal
from .teachers import Teacher
from .teachers.cached import CachedPairs
from .teaching import to_signed
from .validation import BEST_FILE, Validation, ValidationData, ValidationLog

ADAM_BETAS = (0.9, 0.99)
"""A shorter memory of squared gradients than the default suits short schedules."""

Progress = Callable[[RunState, float, float], None]
"""Called after every step with the state, the loss and the share of the schedule done."""

OURS = "Apache-2.0"
"""The licence of weights that nothing else has a part in."""

STARVED_SHARE = 0.1
"""Share of time spent waiting for data from which a line advises more workers."""

VALIDATION_SHARE = 0.1
"""Most of a run's time that measuring its weights may take; where it would take more, it comes less
often."""


class Run:
    """One leg of a run: from its start or its last saved state to the schedule's end.

    Args:
        stage: Its name.
        settings: The recipe.
        output: Folder of the run.
        resume: Continue the run in `output` instead of starting one.
        report: Called with lines to show.
        progress: Called after every step.
        sources: Weights the run depends on, by name; None for those it does without.
        validation: What weights are measured on whenever they are saved; None for nothing.

    Raises:
        OutputExistsError: `output` holds a run and this one does not resume it.
        CheckpointError: There is nothing to resume, or a source is missing.
        ConfigError: The precision cannot be used on this device.
    """

    def __init__(
        self,
        stage: str,
        settings: StageSettings,
        output: Path,
        *,
        resume: bool,
        report: Callable[[str], None],
        progress: Progress,
        sources: Mapping[str, Path | None],
        validation: ValidationData | None = None,
    ) -> None:
        self.settings, self.output, self.resume = settings, output, resume
        self.accelerator = open_accelerator(settings.precision)
        self.device = self.accelerator.device
        self.is_main = self.accelerator.is_main_process
        self.report = report if self.is_main else _be_silent
        self.progress = progress
        self.state = RunState()
        prepare_run_folder(output, resume=resume)
        files = {name: path for name, path in sources.items() if path is not None}
        self.recipe = _recipe(stage, settings, files)
        torch.manual_seed(settings.seed)
        self._terms: dict[str, Any] = {}  # tensors
        self._values: dict[str, float] = {}
        self._waited = 0.0
        self._log: RunLog | None = None
        self._clip_pairs: ClipPairs | None = None
        self._licences: tuple[str, ...] = ()
        self._trained_on: dict[str, int] = {}
        self._validation_data = validation
        self._validation: Validation | None = None
        self._validated_at, self._validation_took = -math.inf, 0.0
        self._stop = StopSignal(self.report)
        self._whole, self._saved_step = True, 0

    def __enter__(self) -> Run:
        """From here on a first Ctrl-C waits for the step's end, so that its work can be saved."""
        self._stop.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the log; the last saved state stays.

        Where a process that the run depends on is gone, the last whole step is saved first: it is
        there still, however long ago a state was last written.

        Raises:
            TrainingWorkerError: A loader's worker is why the run ends; says what is left.
            TrainingProcessError: Another process of the run is; likewise.
        """
        try:
            try:
                if self._log is not None:
                    self._log.close(self.state.step)
            except RuntimeError as told:  # torch tells of a worker's death wherever the process is
                if worker_failure(told) is None:
                    raise
                error = told
            self._tell_why(error)
        finally:
            self._stop.__exit__(kind, error, trace)

    def _tell_why(self, error: BaseException | None) -> None:
        why = worker_failure(error)
        failure: type[AdcVsrError] = TrainingWorkerError
        if why is None and self.accelerator.num_processes > 1 and lost_process(error):
            why, failure = LOST_PROCESS, TrainingProcessError
        if why is None:
            return
        with contextlib.suppress(RuntimeError, OSError):  # the next worker's death, a full disk
            if self._whole and self.state.step > self._saved_step:
                self._write()
        kept, saved = self._kept()
        raise failure(f"{why}; {kept}{'; --resume goes on from it' if saved else ''}") from error

    def note(self, **facts: Any) -> None:
        """Add to the recipe what is known only now, such as the teacher's identity."""
        self.recipe |= facts

    def _note_origin(self, folders: Mapping[str, int]) -> None:
        """Note how many files of which folders are trained on, in this leg and those before."""
        self.note(trained_on={**self._trained_on, **folders})

    def learn_from(self, teacher: Teacher) -> None:
        """Note the teacher's identity; the licences of its weights pass on to the checkpoint."""
        self.note(teacher=teacher.identity)
        self._licences = teacher.licences

    def restore(
        self,
        network: AdcVsr,
        average: MovingAverage,
        parts: Mapping[str, Stateful],
        provenance: Mapping[str, Any],
    ) -> None:
        """Name what is saved; take it back when resuming.

        Args:
            network: The student, as it is on the device.
            average: Of its weights, which are the ones to use.
            parts: Everything else the run cannot go on without.
            provenance: Of the checkpoint it started from.

        Raises:
            CheckpointError: The saved state is another run's.
        """
        self._network, self._average, self._provenance = network, average, dict(provenance)
        self._parts: dict[str, Stateful] = {"network": network, "average": average, **parts}
        scaler = self.accelerator.scaler
        if scaler is not None:
            self._parts["scaler"] = scaler
        if self.resume:
            self.state, before = load_state(self.output, self._parts)
            self._saved_step = self.state.step
            self.report(f"resumed at step {self.state.step:,}")
            self._compare(before)
            self._trained_on = before.get("trained_on", {})

    def open_pairs(
        self,
        clips: Sequence[Path],
        images: Sequence[Path],
        cache: Path | None = None,
        *,
        grey_share: float = 0.0,
    ) -> Pairs:
        """The recipe's samples of the folders, or of a teacher's cache.

        Args:
            clips: Folders of videos.
            images: Folders of images.
            cache: A teacher's cache, taken instead of the folders.
            grey_share: Of the cached clips, see CachedPairs.

        Raises:
            TrainingDataError: No usable training data.
            TeacherCacheError: No cache, or a damaged one.
        """
        recipe = self.settings
        if cache is not None:
            size = recipe.data.frames, recipe.data.patch_px
            cached = CachedPairs(
                cache,
                frames=size[0],
                patch_px=size[1],
                flips=True,
                grey_share=grey_share,
                seed=recipe.seed,
            )
            self.report(f"{len(cached):,} cached clips of the teacher {cached.teacher}")
            self._note_origin(cached.trained_on)
            return cached
        pairs = ClipPairs(
            clips, images, recipe.data, recipe.degradation, seed=recipe.seed, report=self.report
        )
        self.report(pairs.summary())
        self._note_origin(pairs.sources.trained_on())
        self._clip_pairs = pairs
        return pairs

    def load(
        self, pairs: Pairs, *, batch: int, wanted: Callable[[int], bool] | None = None
    ) -> PairLoader:
        """Batches from the step the run is at, this process's share of them, where wanted."""
        return PairLoader(
            pairs,
            batch=batch,
            start_step=self.state.step * self.settings.accumulate,
            workers=self.settings.workers,
            process_index=self.accelerator.process_index,
            num_processes=self.accelerator.num_processes,
            wanted=wanted,
        )

    def begin(self, sample: PairBatch, target: Tensor) -> None:
        """Start the clock; the sample's first clip is shown as it improves.

        Args:
            sample: A batch whatever it holds, the same in every leg.
            target: Its targets (N, T, 3, 4h, 4w) in [-1, 1].
        """
        self._sample = to_signed(sample.low[:1], self.device), target[0]
        processes = self.accelerator.num_processes
        self.report(f"device {self.device}, {processes} process{'es' if processes > 1 else ''}")
        if self.is_main:
            self._log = RunLog(self.output, step=self.state.step, report=self.report)
            self._open_validation()
        self._began = time.monotonic() - self.state.seconds
        self._leg_began = time.monotonic()
        self._saved_at = self.state.seconds

    def _open_validation(self) -> None:
        if self._validation_data is None:
            return
        self._validation = Validation(
            self._validation_data,
            self.settings,
            multiple=self._network.config.size_multiple,
            device=self.device,
            report=self.report,
        )
        self._figures = ValidationLog(
            self.output, step=self.state.step, validation=self._validation, report=self.report
        )
        if not self.state.step and "start" in self.recipe["sources"]:
            self._validate()  # what the run has to be better than

    def continues(self) -> bool:
        """Whether the schedule has steps left; also seeds whatever draws in the next one."""
        torch.manual_seed(self.settings.seed + self.state.step)
        return share_done(self.settings, self.state) < 1

    def set_rate(self, optimizer: torch.optim.Optimizer, peak: float) -> None:
        """Set the learning rate the schedule has here."""
        done = share_done(self.settings, self.state)
        for group in optimizer.param_groups:
            group["lr"] = peak * rate_factor(self.settings, self.state.step, done)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Around what takes data: the device has nothing to do meanwhile."""
        began = time.monotonic()
        yield
        self._waited += time.monotonic() - began

    def sharing(self, module: nn.Module, *, now: bool) -> contextlib.AbstractContextManager[Any]:
        """Around a forward and backward pass; in a step's last one processes share gradients."""
        # Not accelerator.no_sync: it does nothing for the one process that torchrun started, whose
        # module shares gradients all the same.
        alone = None if now else getattr(module, "no_sync", None)
        context: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
        return context if alone is None else alone()

    def backward(self, loss: Tensor, terms: Mapping[str, Tensor], *, name: str) -> None:
        """Add a pass's gradients to the step's; what it sums up and its terms are logged."""
        share = 1 / self.settings.accumulate
        self.accelerator.backward(loss * share)
        for key, term in {name: loss, **terms}.items():
            self._terms[key] = self._terms.get(key, 0) + term.detach().float() * share

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Clip the gradients and step.

        Raises:
            TrainingDivergedError: A loss or the gradient is not finite; nothing was changed.
        """
        self.accelerator.unscale_gradients(optimizer)
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        norm = nn.utils.clip_grad_norm_(parameters, self.settings.gradient_clip)
        self._agree()
        # A gradient scaler meets infinities by skipping the step and scaling less.
        if self.accelerator.scaler is None:
            self._check("the gradient", float(norm))
        self._whole = False
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def end_step(self) -> None:
        """Count the step, show it, save when it is time.

        Raises:
            KeyboardInterrupt: The run was told to stop; everything up to this step is saved.
        """
        self._average.update(self._network, self.state.step)
        self.state.step += 1
        self.state.seconds, stop = (self._values.pop(name) for name in ("seconds", "stop"))
        self._whole = True
        if self._log is not None:
            waited = self._waited / (time.monotonic() - self._leg_began)
            self._log.scalars({**self._values, "waiting_share": waited}, self.state.step)
            done = share_done(self.settings, self.state)
            self.progress(self.state, self._values["loss"], done)
        self._values = {}
        if stop:
            self._write()  # and nothing that takes minutes: whoever stops a run waits for it
            self.report(
                f"stopped at step {self.state.step:,}, which is saved in '{self.output}'; the same "
                "command with --resume goes on from it"
            )
            raise KeyboardInterrupt
        if self.state.seconds - self._saved_at > self.settings.checkpoint_minutes * 60:
            self._save()

    def finish(self) -> Path:
        """Save the last state and say how the time was spent; gives the checkpoint."""
        self._save(last=True)
        waited = self._waited / max(time.monotonic() - self._leg_began, 1e-9)
        if waited > STARVED_SHARE:
            self.report(
                f"{waited:.0%} of the time went into waiting for data; more workers than "
                f"{self.settings.workers} in the recipe may help"
            )
        if self._clip_pairs is not None and (skipped := self._clip_pairs.count_skipped()):
            self.report(skipped)
        self.accelerator.wait_for_everyone()  # the first process has written
        self.accelerator.end_training()
        return self.output / CHECKPOINT_FILE

    def _agree(self) -> None:
        """Average terms, clock and the wish to stop over processes, so that all decide alike."""
        own = [time.monotonic() - self._began, float(self._stop.wished)]
        values = torch.stack([*self._terms.values(), *torch.tensor(own, device=self.device)])
        if self.accelerator.num_processes > 1:
            values = self.accelerator.reduce(values, "mean")
        named = dict(zip([*self._terms, "seconds", "stop"], values.tolist(), strict=True))
        for name, value in named.items():
            self._check(f"loss '{name}'" if name != "loss" else "loss", value)
        self._values |= named
        self._terms = {}

    def _check(self, name: str, value: float) -> None:
        if not math.isfinite(value):
            kept, saved = self._kept()
            raise TrainingDivergedError(
                f"{name} is {value} at step {self.state.step:,}; {kept}. Lower learning_rate "
                f"({self.settings.learning_rate}){' and resume' if saved else ''}"
            )

    def _kept(self) -> tuple[str, bool]:
        """What an error says of the last saved state, and whether there is one."""
        if (self.output / STATE_FILE).exists():
            return f"the state saved before it is in '{self.output}'", True
        return "nothing was saved yet", False

    def _save(self, *, last: bool = False) -> None:
        began = time.monotonic()
        self._write()
        if self._log is not None:
            if last or self._may_validate():
                self._validate()
            self._draw_sample()
        # What saving took is no training: it must not make the next save due.
        self._saved_at = self.state.seconds + time.monotonic() - began

    def _draw_sample(self) -> None:
        assert self._log is not None
        low, target = self._sample
        with torch.no_grad(), self.accelerator.autocast():
            shown, _ = torch.func.functional_call(self._network, self._average.tensors, (low,))
        self._log.strip(draw_strip(low[0], shown[0].float(), target), self.state.step)

    def _write(self) -> None:
        """Bring state and checkpoint to the disk; the first process does."""
        self._saved_step = self.state.step
        if self._log is None:
            return
        save_state(self.output, self._parts, self.state, self.recipe)
        save_checkpoint(
            self.output / CHECKPOINT_FILE,
            self._network,
            provenance=self._checkpoint_provenance(),
            tensors=self._average.tensors,
        )

    def _may_validate(self) -> bool:
        """Whether measuring now keeps to its share of the time."""
        since = self.state.seconds - self._validated_at
        return since * VALIDATION_SHARE >= self._validation_took * (1 - VALIDATION_SHARE)

    def _validate(self) -> None:
        """Measure the weights just saved; keep them apart where they are the best so far."""
        if self._validation is None or self._log is None:
            return
        began = time.monotonic()
        figures = self._validation.measure(self._network, self._average.tensors)
        self._validation_took = time.monotonic() - began
        self._validated_at = self.state.seconds + self._validation_took
        best = self._validation.better(figures, self._figures.best)
        if best:
            save_checkpoint(
                self.output / BEST_FILE,
                self._network,
                provenance={**self._checkpoint_provenance(), "validation": figures},
                tensors=self._average.tensors,
            )
        self._figures.add(self.state.step, figures, best=best)
        self._log.now({f"validation/{k}": v for k, v in figures.items()}, self.state.step)
        shown = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
        mark = f" (best {self._validation.best_by} so far)" if best else ""
        self.report(f"validation at step {self.state.step:,}: {shown}{mark}")

    def _checkpoint_provenance(self) -> dict[str, Any]:
        """What the checkpoint says of itself; licences pass on from what it started from."""
        own: dict[str, Any] = {"recipe": self.recipe, "steps": self.state.step}
        if self._provenance:
            own["started_from"] = self._provenance
            if "licences" in self._provenance:
                own["licences"] = self._provenance["licences"]
        if self._licences:
            own["licences"] = list(dict.fromkeys([*own.get("licences", [OURS]), *self._licences]))
        return own

    def _compare(self, before: Mapping[str, Any]) -> None:
        """Say what differs from the recipe the run began with.

        Raises:
            CheckpointError: Other weights than those it began with.
        """
        for name in ("stage", "sources"):
            if before.get(name) != self.recipe[name]:
                raise CheckpointError(
                    f"'{self.output}' was begun with {name} {before.get(name)}, now "
                    f"{self.recipe[name]}; resume with what the run began with"
                )
        for name, value in self.recipe.items():
            if name in before and before[name] != value:
                self.report(f"resumed with {name}={value}, was {before[name]}")


def _recipe(stage: str, settings: StageSettings, sources: Mapping[str, Path]) -> dict[str, Any]:
    """The settings as plain values, without the network, which the checkpoint holds."""
    recipe: dict[str, Any] = {"stage": stage, **dataclasses.asdict(settings)}
    del recipe["network"]
    recipe["sources"] = {
        name: {"file": path.name, "sha256": digest(path)} for name, path in sources.items()
    }
    return recipe


def _be_silent(line: str) -> None:
    """What processes other than the first report."""
