"""Recipe of `scenes-judge`, the network with which the judge of the scenes world reads pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from visionrel.training.config import TrainingConfig


SUMMARY = "Train the network that reads scenes back."


@dataclass(kw_only=True)
class BuildConfig:
    """Train the judge's network; goes on from its last checkpoint."""

    output_dir: Path = Path("outputs/build-scenes-judge")
    """Folder of checkpoints and the finished model.safetensors."""
    start: Path | None = None
    """A model.safetensors to start from, such as the shipped one; from scratch when not given."""
    steps: int = 1500
    """Optimizer steps, 64 pictures each."""
    learning_rate: float = 1.5e-3
    """Learning rate after the warm-up; it falls to 0 on a straight line."""
    mixed_precision: Literal["no", "bf16"] | None = None
    """Precision of the products of the network; the faster when not given."""
    seed: int = 0
    """Decides every random draw."""


def build(config: BuildConfig) -> dict[str, Any]:
    """Train the network; returns its file and its last losses."""
    from visionrel.artifacts import load_tensors
    from visionrel.devices import fast_precision
    from visionrel.training import train
    from visionrel.weights.recipes.scenes_stages.judge import ReadingBackTask
    from visionrel.worlds.scenes.reader import SceneReader

    reader = SceneReader()
    if config.start is not None:
        reader.load_state_dict(load_tensors(config.start)[0])
    settings = TrainingConfig(
        output_dir=config.output_dir,
        seed=config.seed,
        resume_from_checkpoint="latest",
        checkpoints_total_limit=1,
        checkpointing_steps=200,
        train_batch_size=64,
        max_train_steps=config.steps,
        learning_rate=config.learning_rate,
        optimizer="muon",
        mixed_precision=config.mixed_precision or fast_precision(),
        lr_scheduler="linear",
        lr_warmup_steps=min(100, config.steps - 1),
        adam_weight_decay=1e-4,
        max_grad_norm=5.0,
    )
    result = train(ReadingBackTask(reader), settings)
    return {"model": str(config.output_dir / "model.safetensors"), **result.metrics}
