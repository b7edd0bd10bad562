"""Settings that all stages share."""

from pathlib import Path
from typing import Any

from visionrel.training.config import TrainingConfig


def stage_settings(folder: Path, seed: int, steps: int, **settings: Any) -> TrainingConfig:
    """Settings of one resumable stage; a warm-up never takes all of a short run.

    Args:
        folder: The stage's own.
        seed: Of the recipe.
        steps: Optimizer steps.
        settings: Further ones of `TrainingConfig`.
    """
    settings["lr_warmup_steps"] = min(settings.get("lr_warmup_steps", 0), max(0, steps - 1))
    return TrainingConfig(
        output_dir=folder,
        seed=seed,
        max_train_steps=steps,
        resume_from_checkpoint="latest",
        checkpoints_total_limit=1,
        checkpointing_steps=200,
        max_grad_norm=1.0,
        use_ema=True,
        **settings,
    )
