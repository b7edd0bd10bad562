"""The one training loop and what a method supplies to it.

A method writes a `Task`; `train` owns the rest. `visionrel.training.config` needs no PyTorch, so
this package imports the other modules on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from visionrel.training.config import TrainingConfig


if TYPE_CHECKING:
    from visionrel.training.launching import weight_dtype
    from visionrel.training.loop import TrainingResult, settle_seed, train
    from visionrel.training.stopping import Interrupted, StopTraining, TrainingError
    from visionrel.training.task import SampleRandom, Task


_HOMES = {
    "Interrupted": "stopping",
    "SampleRandom": "task",
    "StopTraining": "stopping",
    "Task": "task",
    "TrainingError": "stopping",
    "TrainingResult": "loop",
    "settle_seed": "loop",
    "train": "loop",
    "weight_dtype": "launching",
}

__all__ = [
    "Interrupted",
    "SampleRandom",
    "StopTraining",
    "Task",
    "TrainingConfig",
    "TrainingError",
    "TrainingResult",
    "settle_seed",
    "train",
    "weight_dtype",
]


def __getattr__(name: str) -> Any:
    """Imports PyTorch only when something that computes is asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
