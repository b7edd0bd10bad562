"""Settings of VideoREPA's commands; imports no PyTorch, so that `--help` is quick."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from tyro.conf import arg

from visionrel.errors import InputError
from visionrel.pipelines.videorepa.drawing import DRAWING_AT_LEAST, DrawingConfig
from visionrel.training.config import LRScheduler, TrainingConfig


# What the authors' command line says, and what reaches the optimizer: DeepSpeed's file wins.
_PUBLISHED = {
    "effective": {"adam_beta2": 0.999, "lr_scheduler": "linear", "lr_warmup_steps": 0},
    "nominal": {"adam_beta2": 0.95, "lr_scheduler": "constant_with_warmup", "lr_warmup_steps": 100},
}
# VideoREPA-2B is tuned whole, VideoREPA-5B through LoRA.
_TUNING = {
    "full": {"learning_rate": 2e-6, "max_train_steps": 4000},
    "lora": {"learning_rate": 1e-4, "max_train_steps": 2000},
}


@dataclass(kw_only=True)
class TrainConfig(TrainingConfig):
    """Fine-tune a CogVideoX so that its tokens relate to each other as a video encoder's do.

    The defaults are the authors' settings but for three: `mixed_precision` no (theirs: bf16), no
    `gradient_checkpointing` (they have it) and `seed` drawn (42). Their effective batch of 32 is 4
    on each of 8 GPUs.
    """

    train_data_dir: Path
    """Folder of clips and their captions."""
    output_dir: Path = Path("outputs/videorepa")
    """Folder for checkpoints, metrics and the result: `transformer`, or a LoRA file."""
    base: str = "motion"
    """Base model: an embedded name, a Diffusers folder or a Hub id of CogVideoX."""
    revision: str | None = None
    """Commit of a Hub base. No commit of CogVideoX is pinned here: name one for equal weights."""
    teacher: str = "motion-teacher"
    """Video encoder: an embedded name or a folder that Transformers saved (VideoMAE, V-JEPA 2,
    DINOv2)."""
    cache_dir: Path | None = None
    """Folder for teacher tokens, latents and text states; `cache` in `output_dir` if not given."""

    num_frames: int | None = None
    """Frames per clip, 4k + 1; the base's own number when not given."""
    height: int | None = None
    """Height of the clips in pixels; the base's own when not given."""
    width: int | None = None
    """Width of the clips in pixels; the base's own when not given."""

    tuning: Literal["full", "lora"] = "full"
    """Train the whole transformer, or a LoRA on its attention."""
    rank: int = 128
    """Rank of the LoRA."""
    lora_alpha: int = 64
    """Scale of the LoRA times its rank: 64 / 128 applies it at 0.5."""
    gradient_checkpointing: bool = False
    """Recompute the transformer's activations in the backward pass: slower, less memory."""

    alignment: Literal["relations", "tokens"] = "relations"
    """What is distilled: token relations (VideoREPA), or tokens one by one (REPA, the control)."""
    proj_coeff: float = 0.5
    """Weight of the distillation; 0 is plain fine-tuning, without teacher."""
    terms: Literal["pooled", "spatial", "temporal", "paper"] = "pooled"
    """Which pairs of tokens count: all alike as in the authors' code, one kind, or the paper's sum
    of both kinds."""
    margin: float = 0.1
    """Difference of two cosines that costs nothing."""
    align_layer: int | None = None
    """Block whose tokens are compared, counted from 1; 18, or the same share of a small base."""
    head_width: int | None = None
    """Width of the projector; 2048, or four times a small base's own."""

    published: Literal["effective", "nominal"] = "effective"
    """Optimizer settings where not given: those that took effect in the authors' runs, or those
    that their command line names."""
    learning_rate: float | None = None
    """Learning rate after the warm-up; 2e-6 for the whole transformer, 1e-4 for a LoRA."""
    max_train_steps: int | None = None
    """Optimizer steps; 4000 for the whole transformer, 2000 for a LoRA."""
    train_batch_size: int = 4
    """Samples per process and micro-batch."""
    adam_beta2: float | None = None
    """Decay of AdamW's mean of squared gradients; decided by `published`."""
    adam_weight_decay: float = 1e-4
    """Decoupled weight decay."""
    max_grad_norm: float | None = 1.0
    """Longest gradient allowed; longer ones are scaled down."""
    lr_scheduler: LRScheduler | None = None
    """Course of the learning rate; decided by `published`."""
    lr_warmup_steps: int | None = None
    """Optimizer steps over which the learning rate rises; decided by `published`."""
    checkpointing_steps: int = 800
    """Optimizer steps between checkpoints; the last step always has one."""

    # Where features lie and what the backward pass keeps decide nothing of the result.
    free_on_resume: ClassVar[frozenset[str]] = TrainingConfig.free_on_resume | {
        "cache_dir",
        "gradient_checkpointing",
    }

    def __post_init__(self) -> None:
        for name, value in (_PUBLISHED[self.published] | _TUNING[self.tuning]).items():
            if getattr(self, name) is None:
                setattr(self, name, value)
        super().__post_init__()
        problems = _bound_problems(self, _AT_LEAST)
        problems += _frame_problems(self.num_frames, 4, _AT_LEAST["num_frames"])
        problems += self._idle_problems()
        if self.validation_steps is not None:
            problems.append(
                "`validation_steps` draws nothing here; generate from the checkpoints instead."
            )
        if problems:
            raise InputError(problems)

    def _idle_problems(self) -> list[str]:
        """Settings that were given and would do nothing: what they say would not be measured."""
        idle = []
        if self.alignment == "tokens":
            idle += [("terms", "`alignment` relations"), ("margin", "`alignment` relations")]
        if self.tuning == "full":
            idle += [("rank", "`tuning` lora"), ("lora_alpha", "`tuning` lora")]
        return [
            f"`{name}` is {value!r}, but it counts only with {other}; leave it out or choose that."
            for name, other in idle
            if (value := getattr(self, name)) != getattr(TrainConfig, name)
        ]


_AT_LEAST = {
    "num_frames": 5,
    "height": 8,
    "width": 8,
    "rank": 1,
    "lora_alpha": 1,
    "proj_coeff": 0,
    "margin": 0,
    "align_layer": 1,
    "head_width": 1,
}


def _bound_problems(config: object, bounds: Mapping[str, float]) -> list[str]:
    """What lies below its least value; what is not given is not asked."""
    return [
        f"`{name}` must be at least {least}, got {value}."
        for name, least in bounds.items()
        if (value := getattr(config, name)) is not None and not value >= least
    ]


def _frame_problems(frames: int | None, step: int, least: int) -> list[str]:
    if frames is None or frames % step == 1:
        return []
    below = max(least, frames - (frames - 1) % step)
    return [f"`num_frames` must be {step}k + 1, got {frames}; for example {below}."]


@dataclass(kw_only=True)
class GenerateConfig(DrawingConfig):
    """Draw clips with a tuned CogVideoX, or with the base alone."""

    prompts: Annotated[tuple[str, ...], arg(aliases=("--prompt",))]
    """Prompts, such as "a ball drops and bounces"."""
    tuned: Path | None = None
    """Output of `train videorepa`; the base alone when not given."""
    lora_scale: float | None = None
    """Strength of a tuned LoRA on top of its own scale; 1 when not given."""
    output_dir: Path = Path("outputs/generate-videorepa")
    """Folder for clips, previews and records."""
    base: str = "motion"
    """Base model: an embedded name, a Diffusers folder or a Hub id of CogVideoX."""
    revision: str | None = None
    """Commit of a Hub base. No commit of CogVideoX is pinned here: name one for equal weights."""
    num_videos: int = 1
    """Clips per prompt; clip i has the seed `seed` + i."""
    seed: int | None = None
    """Seed of each prompt's first clip; drawn, printed and stored when not given."""
    negative_prompt: str = ""
    """What the clips should not show."""
    num_frames: int | None = None
    """Frames, 8k + 1; the base's own number when not given."""
    height: int | None = None
    """Height in pixels; the base's own when not given."""
    width: int | None = None
    """Width in pixels; the base's own when not given."""
    fps: int = 8
    """Frames per second of the files."""
    precision: Literal["fp32", "fp16", "bf16"] = "fp32"
    """Type of the weights in memory."""
    device: str = "auto"
    """Device: auto, cpu, cuda, cuda:0, mps."""

    def __post_init__(self) -> None:
        problems = _bound_problems(self, DRAWING_AT_LEAST | _GENERATE_AT_LEAST)
        # CogVideoX decodes latent frames in twos; an even number of them gives too many frames.
        problems += _frame_problems(self.num_frames, 8, _GENERATE_AT_LEAST["num_frames"])
        if not self.prompts or not all(prompt.strip() for prompt in self.prompts):
            problems.append('`prompts` needs at least one prompt, and none empty: "a ball drops".')
        if problems:
            raise InputError(problems)


_GENERATE_AT_LEAST = {
    "lora_scale": 0,
    "num_videos": 1,
    "seed": 0,
    "num_frames": 1,
    "height": 8,
    "width": 8,
    "fps": 1,
}


@dataclass(kw_only=True)
class EvaluateConfig(DrawingConfig):
    """Measure VideoREPA, its controls and its ablations in the motion world with the judge."""

    output_dir: Path = Path("outputs/evaluate-videorepa")
    """Folder of the finished cells, the report and its figures. A second run continues there."""
    base: str = "motion"
    """Base model: an embedded name or a folder of CogVideoX."""
    teacher: str = "motion-teacher"
    """Video encoder: an embedded name or a folder; only variants that learn from one need it."""
    probe: bool = False
    """Measure only what features tell of coming contacts: the teacher's, and the base's before and
    after training."""
    variants: tuple[str, ...] = ()
    """Variants to compare; none given means all of them, and for the probe those of plain
    fine-tuning and VideoREPA."""
    seeds: int = 3
    """Number of training seeds per variant, counted from `seed`."""
    seed: int = 0
    """First training seed; training clips and prompts are drawn from it as well."""
    clips: int = 512
    """Clips of the motion world that every variant is trained on."""
    max_train_steps: int = 400
    """Optimizer steps of every variant."""
    train_batch_size: int = 8
    """Clips per step."""
    learning_rate: float = 1e-4
    """Learning rate of every variant; 2e-6, the authors', is for large models."""
    prompts: int = 102
    """Prompts drawn and judged per cell; all spoken motions take turns."""
    judge_clips: int = 40
    """Fresh rendered clips per motion that measure the judge itself; 0 leaves this out."""
    probe_clips: int = 6000
    """Clips of the probe, which answer for each other in turns."""
    docs_dir: Path | None = None
    """Folder of results.md and figures/ to write the section into; none writes only to
    `output_dir`."""
    device: str = "auto"
    """Device: auto, cpu, cuda, cuda:0, mps."""

    def __post_init__(self) -> None:
        problems = _bound_problems(self, DRAWING_AT_LEAST | _EVALUATE_AT_LEAST)
        if problems:
            raise InputError(problems)


_EVALUATE_AT_LEAST = {
    "seeds": 1,
    "seed": 0,
    "clips": 1,
    "max_train_steps": 1,
    "train_batch_size": 1,
    "prompts": 1,
    "judge_clips": 0,
    "probe_clips": 8,
}
