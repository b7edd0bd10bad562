"""Trains the variants of an evaluation: equal steps on equal clips of the motion world."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from visionrel.evaluation import Variant
from visionrel.pipelines.videorepa.config import EvaluateConfig
from visionrel.pipelines.videorepa.studio import Studio
from visionrel.worlds.motion.writing import write_clips


# Stream of `config.seed` that draws the training clips.
_CLIPS = 20


def learning_settings(config: EvaluateConfig) -> dict[str, Any]:
    """What all variants share and what decides how they learn."""
    return {
        "max_train_steps": config.max_train_steps,
        "train_batch_size": config.train_batch_size,
        "learning_rate": config.learning_rate,
    }


def learn_variant(
    studio: Studio, config: EvaluateConfig, variant: Variant, seed: int, clips: Path, output: Path
) -> None:
    """Trains a variant; an interrupted run goes on.

    Args:
        studio: With the base.
        config: Settings of the evaluation.
        variant: One with settings.
        seed: Of the training.
        clips: Folder of the training clips, which are drawn if it is not there.
        output: Folder for the tuned transformer.
    """
    if not clips.is_dir():
        write_clips(clips, config.clips, (config.seed, _CLIPS), (), studio.side, studio.frames)
    settings = dict(variant.settings)
    if settings.get("align_layer") == -1:
        settings["align_layer"] = studio.num_layers
    shared = {
        "teacher": config.teacher,
        "cache_dir": config.output_dir / "cache",
        "seed": seed,
        **learning_settings(config),
    }
    studio.learn(clips, output, {**shared, **settings})
