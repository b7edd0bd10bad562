"""A task small enough to train in milliseconds, with dropout, noise, a bank and frozen weights.

As a script it trains in a process of its own, so that a test can kill it:
`python -m tests.training.toy_task CONFIG.json [--slow SECONDS]`.
"""

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from visionrel.artifacts import load_tensors, save_tensors
from visionrel.training import StopTraining, Task, TrainingConfig, train


@dataclass(kw_only=True)
class ToyConfig(TrainingConfig):
    dropout: float = 0.1


class ToyTask(Task):
    """Fits a vector to the items; every kind of state that a run can have is in it."""

    num_items = 10

    def __init__(self, dropout: float = 0.1) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(4, 4, generator=generator))
        self.bias = nn.Parameter(torch.zeros(4))
        self.frozen = nn.Linear(4, 4, bias=False).requires_grad_(False)
        with torch.no_grad():
            self.frozen.weight.copy_(torch.eye(4))
        self.dropout = nn.Dropout(dropout)
        self.bank = torch.zeros(4)
        self.poisoned_item: int | None = None
        self.seen: list[int] = []

    def sample(self, item, random):
        self.seen.append(item)
        noise = torch.randn(4, generator=random.torch)
        target = torch.full((4,), float(item) / 10)
        scale = random.python.random() + random.numpy.rand()
        if item == self.poisoned_item:
            noise = noise * float("nan")
        return {"input": noise, "target": target, "scale": torch.tensor(scale)}

    def forward(self, batch):
        hidden = self.dropout(self.frozen(batch["input"].float()) @ self.weight) + self.bias
        fit = (batch["scale"].float()[:, None] * (hidden - batch["target"].float()) ** 2).mean()
        size = self.weight.square().mean()
        self.bank = 0.9 * self.bank + 0.1 * batch["target"].mean(dim=0)
        return {"loss": fit + 0.1 * size + 0.0 * self.bank.mean(), "fit": fit, "size": size}

    def save(self, folder, weights, step):
        save_tensors(folder / "toy.safetensors", weights, {"step": str(step)})

    def describe(self, item):
        return f"{item}.png"

    def validate(self, step, folder):
        torch.randn(3)  # may use the global generators without disturbing the run
        return {"training": float(self.training), "norm": float(self.weight.norm())}

    def extra_state(self):
        return {"bank": self.bank}

    def load_extra_state(self, state):
        self.bank = state["bank"]


def toy_config(output_dir: Path, **changes) -> ToyConfig:
    settings = {
        "output_dir": output_dir,
        "seed": 7,
        "train_batch_size": 2,
        "gradient_accumulation_steps": 2,
        "max_train_steps": 6,
        "learning_rate": 1e-2,
        "checkpointing_steps": 2,
        "report_to": "none",
        "device": "cpu",
    }
    return ToyConfig(**{**settings, **changes})


def result_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_tensors(folder / "toy.safetensors")[0]


def stop_at(last: int):
    def on_step(step, metrics):
        if step == last:
            raise StopTraining

    return on_step


def main(path: str, pause: float = 0.0) -> None:
    settings = json.loads(Path(path).read_text())
    settings["output_dir"] = Path(settings["output_dir"])
    config = ToyConfig(**settings)

    def on_step(step, metrics):
        print(step, flush=True)
        time.sleep(pause)

    train(ToyTask(config.dropout), config, on_step=on_step)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 0.0)
