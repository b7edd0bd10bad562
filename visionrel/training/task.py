"""What a method supplies to the loop, and where its randomness comes from.

Every sample of a run has its own random stream, named by the run's seed and the sample's number.
What is drawn is therefore decided by the seed and the effective batch, not by how that batch is
split into micro-batches, processes and workers; so is the whole run if its loss is a mean over
samples. It resumes exactly without stored generator states.
"""

import random
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, default_collate


# First word of a stream's name after the seed: what it decides.
_SAMPLE, _ORDER, _FORWARD = range(3)


def _state(*name: int) -> int:
    return int(np.random.SeedSequence(name).generate_state(1, np.uint64)[0])


class SampleRandom:
    """Random generators of one training sample; each is made when first used.

    Args:
        seed: Seed of the run.
        index: Number of the sample in the run.
    """

    def __init__(self, seed: int, index: int) -> None:
        self._name = (seed, _SAMPLE, index)

    @cached_property
    def python(self) -> random.Random:
        """For choices among captions and words."""
        return random.Random(_state(*self._name, 0))

    @cached_property
    def numpy(self) -> np.random.RandomState:
        """For draws from a given distribution."""
        return np.random.RandomState(np.random.MT19937(np.random.SeedSequence((*self._name, 1))))

    @cached_property
    def generator(self) -> np.random.Generator:
        """For code that takes NumPy's newer kind; seeded by one draw from `numpy`."""
        return np.random.default_rng(self.numpy.randint(2**31))

    @cached_property
    def torch(self) -> torch.Generator:
        """For noise; lives on the CPU so that every device sees the same."""
        return torch.Generator().manual_seed(_state(*self._name, 2))


def seed_forward(seed: int, micro_batch: int, process: int, device: torch.device) -> None:
    """Seeds the global generators for one forward pass: dropout and the like."""
    state = _state(seed, _FORWARD, micro_batch, process)
    random.seed(state)
    np.random.seed(state % 2**32)
    # While CUDA is not in use, `torch.manual_seed` queues a call with its stack trace each time.
    (torch.default_generator if device.type == "cpu" else torch).manual_seed(state)


class Task(nn.Module, ABC):
    """A method's half of training.

    What trains are the task's own parameters that require a gradient. Frozen models may be plain
    submodules: they move to the device with the task and enter no checkpoint. Training and
    evaluation modes stay as the task has set them.
    """

    num_items: int
    """Length of the data; the loop goes through it in a new order each epoch."""

    def prepare(self) -> None:
        """Does what must wait until the task is on its device; the loop calls it once."""

    def origin(self) -> dict[str, str | None]:
        """What a resumed run must share besides its settings, such as the hash of the base."""
        return {}

    @abstractmethod
    def sample(self, item: int, random: SampleRandom) -> Any:
        """Prepares one training sample on the CPU; everything random is drawn here."""

    def collate(self, samples: Sequence[Any]) -> Any:
        """Joins samples to a batch, by default as PyTorch does."""
        return default_collate(list(samples))

    @abstractmethod
    def forward(self, batch: Any) -> dict[str, Tensor]:
        """Computes named scalars; `loss` is the total and gets the gradient, all are logged."""

    @abstractmethod
    def save(self, folder: Path, weights: Mapping[str, Tensor], step: int) -> None:
        """Writes what generation reads.

        Args:
            folder: The output folder, or a checkpoint inside it.
            weights: The trainable parameters by name, whole and on the CPU; their moving average
                if that is on.
            step: Optimizer steps done.
        """

    def describe(self, item: int) -> str:
        """Names an item in error messages."""
        return f"item {item}"

    def validate(self, step: int, folder: Path) -> dict[str, float]:
        """Draws or measures something without gradients; the numbers are logged."""
        return {}

    def extra_state(self) -> dict[str, Tensor]:
        """State besides parameters that an exact resume needs, such as a feature bank."""
        return {}

    def load_extra_state(self, state: Mapping[str, Tensor]) -> None:
        """Takes back what `extra_state` gave."""


class SampleStream(Dataset):
    """The endless stream of a run's samples; its order is shuffled anew each epoch."""

    def __init__(self, task: Task, seed: int) -> None:
        self.task = task
        self.seed = seed

    def item(self, index: int) -> int:
        """The item that stands at a place of the stream."""
        epoch, place = divmod(index, self.task.num_items)
        return int(_epoch_order(self.seed, epoch, self.task.num_items)[place])

    def __getitem__(self, index: int) -> Any:
        return self.task.sample(self.item(index), SampleRandom(self.seed, index))


@lru_cache(maxsize=2)
def _epoch_order(seed: int, epoch: int, length: int) -> np.ndarray:
    return np.random.default_rng((seed, _ORDER, epoch)).permutation(length)


class MicroBatches:
    """Numbers of the samples in each micro-batch of one process, from `start` to `stop`."""

    def __init__(self, start: int, stop: int, size: int, process: int, processes: int) -> None:
        self.span = range(start, stop)
        self.size = size
        self.process = process
        self.processes = processes

    def indices(self, micro_batch: int, process: int) -> list[int]:
        """Samples of one micro-batch on one process."""
        first = (micro_batch * self.processes + process) * self.size
        return list(range(first, first + self.size))

    def __iter__(self) -> Iterator[list[int]]:
        return (self.indices(micro_batch, self.process) for micro_batch in self.span)

    def __len__(self) -> int:
        return len(self.span)


def make_loader(stream: SampleStream, batches: MicroBatches, workers: int) -> DataLoader:
    """Loads the micro-batches of one process, in order."""
    return DataLoader(
        stream, batch_sampler=batches, collate_fn=stream.task.collate, num_workers=workers
    )
