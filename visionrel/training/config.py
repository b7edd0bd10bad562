"""Settings that every training command has, under the names of Diffusers' scripts."""

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from visionrel.errors import InputError


LRScheduler = Literal[
    "constant",
    "constant_with_warmup",
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
]
"""Courses of a learning rate, by Diffusers' names."""


@dataclass(kw_only=True)
class TrainingConfig:
    """Settings of the training loop; a method's config inherits them and adds its own."""

    output_dir: Path = Path("outputs/train")
    """Folder for checkpoints, metrics and the result."""
    seed: int | None = None
    """Decides every random draw; drawn, printed and stored when not given."""
    train_batch_size: int = 1
    """Samples per process and micro-batch."""
    gradient_accumulation_steps: int = 1
    """Micro-batches per optimizer step."""
    max_train_steps: int = 1000
    """Optimizer steps."""
    num_train_epochs: int | None = None
    """Passes over the data; when given it decides the number of steps."""
    learning_rate: float = 1e-4
    """Learning rate after the warm-up."""
    scale_lr: bool = False
    """Multiply the learning rate by accumulation x batch x processes."""
    lr_scheduler: LRScheduler = "constant"
    """Course of the learning rate over the optimizer steps."""
    lr_warmup_steps: int = 0
    """Optimizer steps over which the learning rate rises; `constant` ignores it."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """`muon` moves matrices by orthogonal momentum and the rest as AdamW does, at the same rate."""
    max_grad_norm: float | None = None
    """Longest gradient allowed; longer ones are scaled down. Off when not given."""
    adam_beta1: float = 0.9
    """Decay of AdamW's mean of gradients."""
    adam_beta2: float = 0.999
    """Decay of AdamW's mean of squared gradients."""
    adam_weight_decay: float = 1e-2
    """Decoupled weight decay."""
    adam_epsilon: float = 1e-8
    """AdamW's term against division by zero."""
    mixed_precision: Literal["no", "fp16", "bf16"] = "no"
    """Precision of the forward pass; trained tensors stay in float32."""
    allow_tf32: bool = False
    """Faster, rougher float32 products on recent NVIDIA GPUs."""
    dataloader_num_workers: int = 0
    """Processes that prepare samples; the samples do not depend on it."""
    checkpointing_steps: int = 500
    """Optimizer steps between checkpoints; the last step always has one."""
    checkpoints_total_limit: int | None = None
    """Newest checkpoints kept; all when not given."""
    resume_from_checkpoint: str | None = None
    """`latest`, or a checkpoint folder: go on from there exactly."""
    validation_steps: int | None = None
    """Optimizer steps between validations; none when not given."""
    use_ema: bool = False
    """Save the exponential moving average of the weights instead of the last ones."""
    ema_decay: float = 0.9999
    """Decay of that average; over the first steps it rises to this, as (1 + n) / (10 + n)."""
    report_to: Literal["tensorboard", "none"] = "tensorboard"
    """Metrics go to metrics.jsonl, and there too."""
    device: Literal["auto", "cpu"] = "auto"
    """`auto` takes the accelerator that `accelerate` finds."""

    free_on_resume: ClassVar[frozenset[str]] = frozenset(
        {
            # Their product must stay: the samples of a step are compared by themselves.
            *("train_batch_size", "gradient_accumulation_steps"),
            "output_dir",
            "dataloader_num_workers",
            "checkpointing_steps",
            "checkpoints_total_limit",
            "resume_from_checkpoint",
            "validation_steps",
            "report_to",
            "device",
        }
    )

    def __post_init__(self) -> None:
        problems = [
            f"`{name}` must be at least {least}, got {value}."
            for name, least in _AT_LEAST.items()
            if (value := getattr(self, name)) is not None and not value >= least
        ]
        problems += [
            f"`{name}` must be above 0, got {value}."
            for name in ("learning_rate", "max_grad_norm", "adam_epsilon")
            if (value := getattr(self, name)) is not None and not value > 0
        ]
        problems += [
            f"`{name}` must be in [0, 1), got {value}."
            for name in ("adam_beta1", "adam_beta2", "ema_decay")
            if not 0 <= (value := getattr(self, name)) < 1
        ]
        if problems:
            raise InputError(problems)

    def to_json(self) -> dict[str, Any]:
        """All settings as plain JSON values; paths become strings."""
        return json.loads(json.dumps(dataclasses.asdict(self), default=os.fspath))


_AT_LEAST = {
    "seed": 0,
    "train_batch_size": 1,
    "gradient_accumulation_steps": 1,
    "max_train_steps": 1,
    "num_train_epochs": 1,
    "lr_warmup_steps": 0,
    "adam_weight_decay": 0,
    "dataloader_num_workers": 0,
    "checkpointing_steps": 1,
    "checkpoints_total_limit": 1,
    "validation_steps": 1,
}
