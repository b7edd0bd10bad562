from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(kw_only=True)
class TrainConfig:
    """Settings of the fake training."""

    train_data_dir: Path
    """Folder of exemplars."""
    output_dir: Path = Path("outputs/fake")
    """Folder to write."""
    learning_rate: float = 1e-3
    """Learning rate."""
    train_batch_size: int = 4
    """Samples at a time."""
    checkpoints_total_limit: int | None = None
    """Checkpoints kept."""
    scale_lr: bool = False
    """Scale the rate."""
    gradient_checkpointing: bool = False
    """Trade time for memory."""
    mixed_precision: Literal["no", "bf16"] = "no"
    """Precision."""
    words: tuple[str, ...] = ()
    """Some words."""
    seed: int | None = None
    """Seed."""
    resume_from_checkpoint: str | None = None
    """Checkpoint."""
    fail: str = ""
    """What goes wrong."""


@dataclass(kw_only=True)
class GenerateConfig:
    """Settings of the fake generation."""

    prompt: tuple[str, ...] = ("a cat <R> a dog",)
    """Prompts."""
    output_dir: Path = Path("outputs/pictures")
    """Folder to write."""
    num_images_per_prompt: int = 2
    """Pictures per prompt."""
    seed: int | None = None
    """Seed of the first picture."""


@dataclass(kw_only=True)
class EvaluateConfig:
    """Settings of the fake evaluation."""

    output_dir: Path = Path("outputs/evaluation")
    """Folder to write."""


@dataclass(kw_only=True)
class QuickstartConfig:
    """Settings of the fake quickstart."""

    output_dir: Path = Path("outputs/quickstart")
    """Folder to write."""
