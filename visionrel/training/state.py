"""The tensors of a run: trained parameters, optimizer, moving average and the task's own."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

from visionrel.errors import InputError
from visionrel.training.task import Task


class TrainingState:
    """Everything that changes while a task trains.

    Args:
        task: The task, after `accelerator.prepare`.
        optimizer: Its optimizer.
        ema_decay: Decay of the moving average of the weights; None keeps none.
    """

    def __init__(
        self, task: Task, optimizer: torch.optim.Optimizer, ema_decay: float | None
    ) -> None:
        self.task = task
        self.optimizer = optimizer
        self.ema_decay = ema_decay
        self.parameters = {n: p for n, p in task.named_parameters() if p.requires_grad}
        self.ema = (
            {} if ema_decay is None else {n: p.detach().clone() for n, p in self.parameters.items()}
        )

    @torch.no_grad()
    def update_ema(self, step: int) -> None:
        """Moves the average towards the weights after a step."""
        if self.ema_decay is not None:
            decay = min(self.ema_decay, (1 + step) / (10 + step))
            for name, average in self.ema.items():
                average.lerp_(self.parameters[name].detach(), 1 - decay)

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """Evaluation mode without gradients, with the averaged weights in place if there are."""
        kept = {name: self.parameters[name].detach().clone() for name in self.ema}
        modes = {module: module.training for module in self.task.modules()}
        with torch.no_grad():
            self._put(self.ema)
            self.task.eval()
            try:
                yield
            finally:
                self._put(kept)
                for module, mode in modes.items():
                    module.training = mode

    def _put(self, values: Mapping[str, Tensor]) -> None:
        for name, value in values.items():
            self.parameters[name].copy_(value)

    def weights(self) -> dict[str, Tensor]:
        """The weights to save as the result; every process must call this."""
        source = self.ema or self.parameters
        return {name: _whole(value) for name, value in source.items()}

    def tensors(self) -> dict[str, Tensor]:
        """All state as flat named tensors; every process must call this."""
        found = {f"parameter.{name}": value for name, value in self.parameters.items()}
        found |= {f"ema.{name}": value for name, value in self.ema.items()}
        found |= {f"task.{name}": value for name, value in self.task.extra_state().items()}
        for name, parameter in self.parameters.items():
            for key, value in self.optimizer.state[parameter].items():
                found[f"optimizer.{key}.{name}"] = value
        return {name: _whole(value) for name, value in found.items()}

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor], path: Path) -> None:
        """Takes back what `tensors` gave.

        Args:
            tensors: The saved tensors.
            path: Where they come from, for the message.

        Raises:
            InputError: If a parameter is missing or has another shape; names the first.
        """
        for name, parameter in self.parameters.items():
            saved = tensors.get(f"parameter.{name}")
            if saved is None or saved.shape != parameter.shape:
                found = "is missing" if saved is None else f"has shape {tuple(saved.shape)}"
                raise InputError(
                    f"{path}: trained tensor {name!r} {found}, this run needs "
                    f"{tuple(parameter.shape)}; the checkpoint belongs to another model."
                )
            parameter.copy_(_like(saved, parameter))
            self.optimizer.state[parameter] = {
                key.split(".")[1]: _like(value, parameter) if value.ndim else value
                for key, value in tensors.items()
                if key.startswith("optimizer.") and key.split(".", 2)[2] == name
            }
            if name in self.ema:
                self.ema[name].copy_(_like(tensors[f"ema.{name}"], parameter))
        self.task.load_extra_state(
            {k.removeprefix("task."): v for k, v in tensors.items() if k.startswith("task.")}
        )


def _whole(value: Tensor) -> Tensor:
    """Gathers a sharded tensor; the copy lies on the CPU."""
    whole = value.full_tensor() if isinstance(value, DTensor) else value
    return whole.detach().cpu().clone()


def _like(value: Tensor, reference: Tensor) -> Tensor:
    """Puts a whole tensor where `reference` lies, sharded as it is."""
    value = value.to(reference.device)
    if isinstance(reference, DTensor):
        return distribute_tensor(value, reference.device_mesh, reference.placements)
    return value
