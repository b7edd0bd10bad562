"""Short training runs on a few pictures of the aerial world."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from visionrel.detectors.training import Trained, prepare_run, train_detector


BASE = "faster-rcnn_r18_fpn_1xb4-2k_aerial"
QUICK = (
    "train_dataloader.batch_size=2",
    "default_hooks.checkpoint.interval=1",
    "default_hooks.logger.interval=1",
)


def quick_run(
    work_dir: Path,
    data: Path,
    name: str | Path = BASE,
    iterations: int | None = 2,
    **changes: Any,
) -> Trained:
    """Trains a configuration for a few steps of two pictures; None leaves its length."""
    options = (*QUICK, *changes.pop("options", ()))
    config = prepare_run(name, options, data, iterations)
    return train_detector(config, work_dir, validate=False, **changes)


def same(one: Mapping[str, Tensor], two: Mapping[str, Tensor]) -> bool:
    """Whether two state dicts are equal, bit by bit."""
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
