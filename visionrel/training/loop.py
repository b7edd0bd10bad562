"""The training loop: every method trains in it, alone or under `accelerate launch`."""

import contextlib
import dataclasses
import itertools
import logging
import math
import secrets
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, send_to_device
from torch import Tensor

from visionrel.artifacts import save_json
from visionrel.errors import InputError
from visionrel.training.checkpoints import (
    check_same_run,
    clean_leftovers,
    find_checkpoint,
    load_checkpoint,
    save_checkpoint,
    set_aside_later,
)
from visionrel.training.config import TrainingConfig
from visionrel.training.launching import count_steps, make_accelerator, make_schedule
from visionrel.training.muon import Muon
from visionrel.training.state import TrainingState
from visionrel.training.stopping import (
    Interrupted,
    StopTraining,
    TrainingError,
    catch_signals,
    explain_memory,
)
from visionrel.training.task import MicroBatches, SampleStream, Task, make_loader, seed_forward
from visionrel.training.tracking import Tracker, metrics_path


logger = logging.getLogger(__name__)
StepCallback = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True)
class TrainingResult:
    """What a finished run leaves.

    Attributes:
        steps: Optimizer steps done.
        output_dir: Folder with the result.
        seconds: Wall time of this call.
        metrics_path: One JSON object per step.
        metrics: Those of the last step.
        stopped: Whether `on_step` ended it early.
    """

    steps: int
    output_dir: Path
    seconds: float
    metrics_path: Path
    metrics: dict[str, float]
    stopped: bool = False


def train(
    task: Task, config: TrainingConfig, *, on_step: StepCallback | None = None
) -> TrainingResult:
    """Trains a task to its last step.

    Args:
        task: The method's half.
        config: Settings; nothing is written before they are checked.
        on_step: Called on the main process with the step and its metrics; may raise
            `StopTraining`.

    Raises:
        InputError: If the settings clash or the checkpoint belongs to another run.
        TrainingError: If a loss or gradient is not finite, or memory runs out.
        Interrupted: After SIGINT or SIGTERM, once a checkpoint is written.
    """
    return _Trainer(task, config, on_step).run()


def settle_seed(config: TrainingConfig) -> TrainingConfig:
    """Draws the seed of a new run that was given none, the same in all processes.

    For tasks that draw weights before `train` sees them. A run that goes on keeps its own seed.

    Raises:
        InputError: If the checkpoint to go on from is missing, or a new run would overwrite an old
            one.
    """
    if find_checkpoint(config) is not None or config.seed is not None:
        return config
    PartialState(cpu=config.device == "cpu")
    seeds = [secrets.randbelow(2**31)]
    broadcast_object_list(seeds)
    return dataclasses.replace(config, seed=seeds[0])


class _Trainer:
    """One run; `run` is its table of contents."""

    def __init__(self, task: Task, config: TrainingConfig, on_step: StepCallback | None) -> None:
        self.started = time.monotonic()
        self.accelerator = make_accelerator(config)
        self.on_step = on_step
        self.processes = self.accelerator.num_processes
        self.batch = config.train_batch_size * config.gradient_accumulation_steps * self.processes
        self.base_lr = config.learning_rate * (self.batch if config.scale_lr else 1)
        self.total = count_steps(config, task.num_items, self.processes)
        self.run_shape = {
            "samples_per_step": self.batch,
            "num_items": task.num_items,
            **task.origin(),
        }
        self.config = self._settle(config)
        self.lr_factor = make_schedule(config, self.base_lr, self.total)
        self.step = 0
        self.metrics: dict[str, float] = {}
        self.stopping = False
        self.signal = 0
        self.saved_step = -1
        self._prepare(task)

    def run(self) -> TrainingResult:
        self._resume()
        self._open_output()
        with catch_signals(self._note_signal), explain_memory(self.config):
            self._train()
            self._finish()
        return TrainingResult(
            self.step,
            self.config.output_dir,
            time.monotonic() - self.started,
            metrics_path(self.config.output_dir),
            self.metrics,
            stopped=self.step < self.total,
        )

    def _settle(self, config: TrainingConfig) -> TrainingConfig:
        """Finds the checkpoint to go on from and agrees on the seed."""
        self.checkpoint = find_checkpoint(config)
        self.saved: tuple[dict[str, Tensor], dict[str, Any]] | None = None
        config = settle_seed(config)
        if self.checkpoint is not None:
            self.saved = load_checkpoint(self.checkpoint)
            check_same_run(self.checkpoint, self.saved[1], config, self.run_shape)
            config = dataclasses.replace(config, seed=self.saved[1]["config"]["seed"])
        logger.info("seed %d", config.seed)
        return config

    def _prepare(self, task: Task) -> None:
        config = self.config
        trainable = [parameter for parameter in task.parameters() if parameter.requires_grad]
        kind = {"adamw": torch.optim.AdamW, "muon": Muon}[config.optimizer]
        optimizer = kind(
            trainable,
            lr=self.base_lr,
            betas=(config.adam_beta1, config.adam_beta2),
            weight_decay=config.adam_weight_decay,
            eps=config.adam_epsilon,
        )
        self.model, self.optimizer = self.accelerator.prepare(task, optimizer)
        self.task: Task = self.accelerator.unwrap_model(self.model)
        self.task.prepare()
        self.state = TrainingState(
            self.task, self.optimizer.optimizer, config.ema_decay if config.use_ema else None
        )
        self.stream = SampleStream(self.task, config.seed)

    def _resume(self) -> None:
        if self.saved is None:
            return
        tensors, header = self.saved
        if header["step"] > self.total:
            raise InputError(
                f"{self.checkpoint} has {header['step']} steps, and the run is to have "
                f"{self.total}; raise `max_train_steps`, or take its result as it is."
            )
        self.state.load(tensors, self.checkpoint)
        self.step = self.saved_step = header["step"]
        if self.accelerator.scaler is not None and header["scaler"]:
            self.accelerator.scaler.load_state_dict(header["scaler"])
        self.saved = None
        logger.info("going on from %s", self.checkpoint)

    def _open_output(self) -> None:
        if self.accelerator.is_main_process:
            self.config.output_dir.mkdir(parents=True, exist_ok=True)
            clean_leftovers(self.config.output_dir)
            set_aside_later(self.config.output_dir, self.step)
            save_json(self.config.output_dir / "config.json", self.config.to_json())

    def _train(self) -> None:
        tracker = Tracker(
            self.config.output_dir if self.accelerator.is_main_process else None,
            self.step,
            self.total,
            tensorboard=self.config.report_to == "tensorboard",
        )
        with contextlib.closing(tracker):
            batches = self._open_batches()
            while self.step < self.total and not self._everyone_stops():
                self._train_step(batches)
                if self._is_due(self.config.validation_steps):
                    self.metrics |= self._validate()
                tracker.log(self.step, self.metrics)
                self._report()
                if self._is_due(self.config.checkpointing_steps):
                    self._save_checkpoint()

    def _open_batches(self) -> Iterator[Any]:
        accumulation = self.config.gradient_accumulation_steps
        self.micro_batches = MicroBatches(
            self.step * accumulation,
            self.total * accumulation,
            self.config.train_batch_size,
            self.accelerator.process_index,
            self.processes,
        )
        workers = self.config.dataloader_num_workers
        return iter(make_loader(self.stream, self.micro_batches, workers))

    def _train_step(self, batches: Iterator[Any]) -> None:
        """One optimizer step; a bad loss or gradient stops the run before it."""
        lr = self.base_lr * self.lr_factor(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        first = self.step * self.config.gradient_accumulation_steps
        found = [
            self._backward(first + place, next(batches))
            for place in range(self.config.gradient_accumulation_steps)
        ]
        means = self._average(found)
        norm = self._clip()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.state.update_ema(self.step)
        self.metrics = {**means, "learning_rate": lr, "gradient_norm": norm}

    def _backward(self, micro_batch: int, batch: Any) -> dict[str, Tensor]:
        device = self.accelerator.device
        batch = send_to_device(batch, device)
        seed_forward(self.config.seed, micro_batch, self.accelerator.process_index, device)
        with self.accelerator.accumulate(self.model):
            terms = self.model(batch)
            self.accelerator.backward(terms["loss"])
        return {name: value.detach().float() for name, value in terms.items()}

    def _average(self, found: list[dict[str, Tensor]]) -> dict[str, float]:
        """Means over micro-batches and processes; every process sees the same numbers."""
        names = list(found[0])
        own = torch.stack([torch.stack([terms[name] for name in names]) for terms in found])
        everyone = self.accelerator.gather(own[None]).cpu()  # processes, micro-batches, terms
        bad = (~everyone.isfinite()).nonzero()
        if len(bad):
            process, place = bad[0, :2].tolist()
            terms = ", ".join(
                f"`{name}` is {value}"
                for name, value in zip(names, everyone[process, place].tolist(), strict=True)
                if not math.isfinite(value)
            )
            raise self._not_finite(terms, [(place, process)])
        return dict(zip(names, everyone.mean(dim=(0, 1)).tolist(), strict=True))

    def _clip(self) -> float:
        limit = self.config.max_grad_norm or math.inf
        norm = float(self.accelerator.clip_grad_norm_(self.state.parameters.values(), limit))
        # Under fp16 the gradient scaler skips such a step and tries a smaller scale.
        if not math.isfinite(norm) and self.accelerator.scaler is None:
            places = range(self.config.gradient_accumulation_steps)
            everything = list(itertools.product(places, range(self.processes)))
            raise self._not_finite(f"the norm of the gradient is {norm}", everything)
        return norm

    def _not_finite(self, what: str, batches: Sequence[tuple[int, int]]) -> TrainingError:
        """Names the items of the micro-batches, each a place in the step and a process."""
        accumulation = self.config.gradient_accumulation_steps
        numbers = [
            number
            for place, process in batches
            for number in self.micro_batches.indices(self.step * accumulation + place, process)
        ]
        items = ", ".join(self.task.describe(self.stream.item(number)) for number in numbers)
        where = f", micro-batch {batches[0][0] + 1} of {accumulation}" if len(batches) == 1 else ""
        return TrainingError(
            f"Step {self.step + 1}{where} ({items}): {what}. "
            "The step was not taken and earlier files are intact. Lower `learning_rate`, set "
            "`max_grad_norm`, or look at these items."
        )

    def _is_due(self, every: int | None) -> bool:
        return every is not None and self.step % every == 0

    def _validate(self) -> dict[str, float]:
        numbers: dict[str, float] = {}
        with self.state.evaluating():
            if self.accelerator.is_main_process:
                folder = self.config.output_dir / "validation" / f"step-{self.step}"
                numbers = self.task.validate(self.step, folder)
        self.accelerator.wait_for_everyone()
        return {f"validation/{name}": value for name, value in numbers.items()}

    def _report(self) -> None:
        if self.on_step is None or not self.accelerator.is_main_process:
            return
        try:
            self.on_step(self.step, self.metrics)
        except StopTraining:
            self.stopping = True

    def _note_signal(self, number: int) -> None:
        self.signal = number

    def _everyone_stops(self) -> bool:
        """Whether any process was asked to stop; all processes get the same answer."""
        own = torch.tensor([[self.signal, self.stopping]], device=self.accelerator.device)
        number, stopping = self.accelerator.gather(own).amax(dim=0).tolist()
        self.signal = number or self.signal  # one may have come in the meantime
        return bool(number or stopping)

    def _save_checkpoint(self) -> None:
        tensors, weights = self.state.tensors(), self.state.weights()
        scaler = self.accelerator.scaler
        header = {
            "step": self.step,
            "config": self.config.to_json(),
            "run": self.run_shape,
            "scaler": None if scaler is None else scaler.state_dict(),
        }
        if self.accelerator.is_main_process:
            save_checkpoint(
                self.config.output_dir,
                self.step,
                tensors,
                header,
                lambda folder: self.task.save(folder, weights, self.step),
                self.config.checkpoints_total_limit,
            )
        self.saved_step = self.step
        self.accelerator.wait_for_everyone()

    def _finish(self) -> None:
        if self.saved_step != self.step:
            self._save_checkpoint()
        if self.signal and self.step < self.total:
            where = self.config.output_dir / f"checkpoint-{self.step}"
            name = signal.Signals(self.signal).name
            raise Interrupted(
                f"Stopped by {name} after step {self.step} of {self.total}; {where} is saved. "
                "Go on with `--resume_from_checkpoint latest`.",
                exit_code=128 + self.signal,
            )
        weights = self.state.weights()
        if self.accelerator.is_main_process:
            self.task.save(self.config.output_dir, weights, self.step)
        self.accelerator.wait_for_everyone()
        self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
