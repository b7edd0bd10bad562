"""Script for two processes: a task sharded as FSDP 2 does it, saved whole and loaded back."""

import sys
from pathlib import Path

import torch
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, init_device_mesh

from tests.processes import leave
from tests.training.toy_task import ToyTask
from visionrel.training.state import TrainingState


def make_state() -> TrainingState:
    task = ToyTask(0.0)
    fully_shard(task, mesh=init_device_mesh("cpu", (2,)))
    parameters = [parameter for parameter in task.parameters() if parameter.requires_grad]
    return TrainingState(task, torch.optim.AdamW(parameters, lr=0.1), ema_decay=0.9)


def step(state: TrainingState, number: int) -> None:
    generator = torch.Generator().manual_seed(number)
    batch = {
        "input": torch.randn(2, 4, generator=generator),
        "target": torch.randn(2, 4, generator=generator),
        "scale": torch.ones(2),
    }
    state.task(batch)["loss"].backward()
    state.optimizer.step()
    state.optimizer.zero_grad()
    state.update_ema(number)


def main() -> None:
    torch.distributed.init_process_group("gloo")
    state = make_state()
    if not isinstance(state.task.weight, DTensor):
        raise RuntimeError("the task is not sharded")
    step(state, 1)
    saved = state.tensors()
    other = make_state()
    other.load(saved, Path(sys.argv[1]))
    for number in (2, 3):
        step(state, number)
        step(other, number)
    first, second = state.tensors(), other.tensors()
    same = all(torch.equal(value, second[name]) for name, value in first.items())
    whole = {name: tuple(value.shape) for name, value in state.weights().items()}
    if same and whole == {"weight": (4, 4), "bias": (4,)}:
        print("round trip exact", flush=True)
    leave()


if __name__ == "__main__":
    main()
