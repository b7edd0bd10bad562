"""Recipe of `motion-teacher`: VideoMAE's layout, taught by the motion world's clips alone."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from visionrel.errors import InputError


SUMMARY = "Train the video encoder whose token relations VideoREPA distils."


@dataclass(kw_only=True)
class BuildConfig:
    """Train the motion teacher, without captions or labels; goes on from its last checkpoint."""

    output_dir: Path = Path("outputs/build-motion-teacher")
    """Folder of checkpoints and of the finished encoder `motion-teacher`."""
    steps: int = 10_000
    """Optimizer steps, 16 clips each."""
    learning_rate: float = 1e-3
    """Learning rate after the warm-up; it falls to 0 as a cosine."""
    seed: int = 0
    """Decides every random draw."""

    def __post_init__(self) -> None:
        problems = [
            f"`{name}` must be at least {least}, got {value}."
            for name, least in (("steps", 1), ("seed", 0))
            if not (value := getattr(self, name)) >= least
        ]
        if not self.learning_rate > 0:
            problems.append(f"`learning_rate` must be above 0, got {self.learning_rate}.")
        if problems:
            raise InputError(problems)


def build(config: BuildConfig) -> dict[str, Any]:
    """Train the encoder; returns where it lies, its size in MB and its last losses."""
    import torch

    from visionrel.training import train
    from visionrel.weights.recipes.motion_stages.settings import stage_settings
    from visionrel.weights.recipes.motion_stages.teacher import (
        MaskedReconstructionTask,
        make_teacher,
    )

    torch.manual_seed(config.seed)
    folder = config.output_dir / "training"
    settings = stage_settings(
        folder,
        config.seed,
        config.steps,
        train_batch_size=16,
        learning_rate=config.learning_rate,
        lr_scheduler="cosine",
        lr_warmup_steps=300,
        adam_beta2=0.98,
        adam_weight_decay=0.05,
        ema_decay=0.998,
    )
    result = train(MaskedReconstructionTask(make_teacher()), settings)
    place = config.output_dir / "motion-teacher"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(folder / "teacher", place)
    size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    return {"teacher": str(place), "megabytes": round(size / 1e6, 1), **result.metrics}
