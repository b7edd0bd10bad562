"""Short training runs on a few pictures of the aerial world."""

from pathlib import Path
from typing import Any

from visionrel.detectors.training import Trained, prepare_run, train_detector


BASE = "faster-rcnn_r18_fpn_1xb4-2k_aerial"
QUICK = (
    "train_dataloader.batch_size=2",
    "default_hooks.checkpoint.interval=1",
    "default_hooks.logger.interval=1",
)


def quick_run(
    work_dir: Path, data: Path, name: str = BASE, iterations: int = 2, **changes: Any
) -> Trained:
    """Trains a shipped configuration for a few steps of two pictures."""
    options = (*QUICK, *changes.pop("options", ()))
    config = prepare_run(name, options, data, iterations)
    return train_detector(config, work_dir, validate=False, **changes)
