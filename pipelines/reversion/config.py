"""Settings of ReVersion's commands; imports no PyTorch, so that `--help` is quick."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg

from visionrel.errors import InputError
from visionrel.pipelines.reversion.benchmark import BenchmarkRelation, benchmark_prompts
from visionrel.training.config import LRScheduler, TrainingConfig


AUTHORS_INITIALIZER = "and"
"""The word that the authors start from."""
BEST_PREPOSITION = "best_preposition"
"""Instead of a word: the preposition that describes the exemplars best."""


@dataclass(kw_only=True)
class TrainConfig(TrainingConfig):
    """Learn a relation as one token from a handful of pictures that show it.

    The defaults are the authors' recommended run; their command's own defaults switch steering
    and focal sampling off. A base below 256 pixels gets fewer and longer steps, which begin at the
    best preposition and shrink to 0.
    """

    train_data_dir: Path
    """Folder of exemplar pictures and text.json with their captions."""
    output_dir: Path = Path("outputs/reversion")
    """Folder for checkpoints, metrics and learned_embeds.safetensors."""
    base: str = "scenes"
    """Base model: an embedded name, a Diffusers folder or a Hub id."""
    revision: str | None = None
    """Commit of a Hub base; known models have a pinned one."""

    relation_token: str = "<R>"
    """Name of the token to learn; prompts find it in any case."""
    initializer_token: str | None = None
    """Word whose embedding the token starts from, one token of the base's vocabulary, or
    `best_preposition`, the one that describes the exemplars best; `and` when not given, the best
    preposition for a base below 256 pixels."""
    resolution: int | None = None
    """Height and width of training pictures in pixels; the base's own size when not given."""
    center_crop: bool = False
    """Cut the central square of each picture instead of squashing it."""
    repeats: int = 100
    """How often each exemplar counts in an epoch."""

    train_batch_size: int | None = None
    """Samples per process and micro-batch; 2 when not given, 8 for a base below 256 pixels."""
    gradient_accumulation_steps: int | None = None
    """Micro-batches per optimizer step; 4 when not given, 1 for a base below 256 pixels."""
    max_train_steps: int | None = None
    """Optimizer steps; 3000 when not given, 100 for a base below 256 pixels."""
    learning_rate: float | None = None
    """Learning rate before `scale_lr`; 2.5e-4 when not given, 1e-3 for a base below 256 pixels."""
    lr_scheduler: LRScheduler | None = None
    """Course of the learning rate; `constant` when not given, `cosine` for a base below 256
    pixels."""
    scale_lr: bool = True
    """Multiply the learning rate by accumulation x batch x processes: 2e-3 by default, 8e-3 for a
    base below 256 pixels."""
    gradient_checkpointing: bool = False
    """Recompute the U-Net's activations in the backward pass: slower, less memory."""
    attention: Literal["auto", "xformers", "sdpa"] = "auto"
    """Attention kernel of the U-Net."""

    denoise_weight: float = 1.0
    """Weight of the denoising loss."""
    steer_weight: float = 0.01
    """Weight of the relation-steering loss; 0 switches it off (textual inversion)."""
    num_positives: int = 4
    """Prepositions drawn per caption as positives of the steering loss."""
    temperature: float = 0.07
    """Temperature of the steering loss."""
    negative_words: tuple[str, ...] = ()
    """Words of the captions that alone count as negatives of the steering loss, such as its nouns
    and adjectives; every word but stop words and prepositions when not given."""
    importance_sampling: bool = True
    """Draw noisy timesteps more often (relation-focal sampling); off draws them uniformly."""
    alpha: float = 0.5
    """Strength of focal sampling, in [0, 1]; the noisiest step is (1+a)/(1-a) times as likely."""

    validation_prompts: tuple[str, ...] = ()
    """Prompts with {} drawn every `validation_steps`; the first exemplar's caption if none."""
    num_validation_images: int = 4
    """Pictures per validation prompt."""
    save_as_bin: bool = False
    """Also write learned_embeds.bin, the authors' pickled layout, for tools that need it."""

    @property
    def free_on_resume(self) -> frozenset[str]:
        """Settings that decide nothing of the result.

        Steering pools the words of a micro-batch in one loss, so that there the split counts, and
        with it, since the samples of a step must stay, the number of processes.
        """
        free = TrainingConfig.free_on_resume | _FREE_ON_RESUME
        return free - _SPLIT if self.steer_weight else free

    def __post_init__(self) -> None:
        super().__post_init__()
        problems = [
            f"`{name}` must be at least {least}, got {value}."
            for name, least in _AT_LEAST.items()
            if (value := getattr(self, name)) is not None and not value >= least
        ]
        if not 0 <= self.alpha <= 1:
            problems.append(f"`alpha` must lie in [0, 1], got {self.alpha}; the paper uses 0.5.")
        if not self.temperature > 0:
            problems.append(f"`temperature` must be above 0, got {self.temperature}.")
        if self.steer_weight > 0 and self.num_positives == 0:
            problems.append(
                f"`num_positives` is 0 while `steer_weight` is {self.steer_weight}: raise the "
                "first or set the second to 0."
            )
        if not (self.denoise_weight > 0 or self.steer_weight > 0):
            problems.append("`denoise_weight` and `steer_weight` are both 0: nothing would train.")
        if problems:
            raise InputError(problems)

    def settle(self, base_resolution: int) -> "TrainConfig":
        """Fills what depends on the base: picture size, start, batch and steps.

        Args:
            base_resolution: Size in pixels of the pictures that the base draws.
        """
        chosen = _SMALL_BASE if base_resolution < 256 else _RECOMMENDED
        chosen = {"resolution": base_resolution, **chosen}
        missing = {name: value for name, value in chosen.items() if getattr(self, name) is None}
        return dataclasses.replace(self, **missing)


# What the backward pass keeps, what is drawn to look at, what is written besides.
_FREE_ON_RESUME = {
    "gradient_checkpointing",
    "validation_prompts",
    "num_validation_images",
    "save_as_bin",
}
_SPLIT = {"train_batch_size", "gradient_accumulation_steps"}
_AT_LEAST = {
    "resolution": 1,
    "repeats": 1,
    "denoise_weight": 0,
    "steer_weight": 0,
    "num_positives": 0,
    "num_validation_images": 1,
}
# The authors' recommended command: 3000 steps of an effective batch of 8.
_RECOMMENDED = {
    "initializer_token": AUTHORS_INITIALIZER,
    "lr_scheduler": "constant",
    "train_batch_size": 2,
    "gradient_accumulation_steps": 4,
    "max_train_steps": 3000,
    "learning_rate": 2.5e-4,
}
# A thirtieth of the steps. At a constant rate the token still follows every batch in the end, and
# later steps learn where in the pictures the few exemplars stand.
_SMALL_BASE = {
    "initializer_token": BEST_PREPOSITION,
    "lr_scheduler": "cosine",
    "train_batch_size": 8,
    "gradient_accumulation_steps": 1,
    "max_train_steps": 100,
    "learning_rate": 1e-3,
}


@dataclass(kw_only=True)
class GenerateConfig:
    """Draw pictures with learned relations."""

    prompts: Annotated[tuple[str, ...], arg(aliases=("--prompt",))] = ()
    """Prompts with {} or <R> where the relation belongs, such as "cat {} stone"."""
    benchmark: BenchmarkRelation | None = None
    """Draw the 100 prompts of this relation of the paper's benchmark, or those given in `prompts`
    of them."""
    relations: tuple[str, ...] = ()
    """Learned embeddings (a file, or a folder of `train`); `<on>=FILE` gives one another name."""
    output_dir: Path = Path("outputs/generate-reversion")
    """Folder for pictures, their records and one grid per prompt."""
    base: str = "scenes"
    """Base model: an embedded name, a Diffusers folder or a Hub id."""
    revision: str | None = None
    """Commit of a Hub base; known models have a pinned one."""
    num_images: int = 8
    """Pictures per prompt; picture i has the seed `seed` + i."""
    seed: int | None = None
    """Seed of each prompt's first picture; drawn, printed and stored when not given."""
    num_inference_steps: int = 20
    """Denoising steps."""
    guidance_scale: float | None = None
    """Strength of the prompt, 1 is off; 7.5 when not given, 3 for a base below 256 pixels."""
    negative_prompt: str = ""
    """What the pictures should not show."""
    scheduler: Literal["dpm-solver++", "base"] = "dpm-solver++"
    """Solver: the multistep DPM-Solver++, good from 15 steps on, or the base's own."""
    height: int | None = None
    """Height in pixels; the base's own when not given."""
    width: int | None = None
    """Width in pixels; the base's own when not given."""
    batch_size: int | None = None
    """Pictures computed at once; 8 when not given, 1 for a base of 256 pixels or more."""
    precision: Literal["fp32", "fp16", "bf16"] = "fp32"
    """Type of the weights in memory."""
    attention: Literal["auto", "xformers", "sdpa"] = "auto"
    """Attention kernel of U-Net and VAE."""
    device: str = "auto"
    """Device: auto, cpu, cuda, cuda:0, mps."""
    grid: bool = True
    """Also save all pictures of a prompt on one sheet."""

    def __post_init__(self) -> None:
        problems = [
            f"`{name}` must be at least {least}, got {value}."
            for name, least in _GENERATE_AT_LEAST.items()
            if (value := getattr(self, name)) is not None and not value >= least
        ]
        if self.benchmark is not None:
            known = tuple(benchmark_prompts(self.benchmark))
            self.prompts = self.prompts or known
            problems += [
                f"`prompts` has {prompt!r}, which is not in the benchmark of {self.benchmark}; "
                "leave out one of the two."
                for prompt in self.prompts
                if prompt not in known
            ]
        if not self.prompts or not all(prompt.strip() for prompt in self.prompts):
            problems.append(
                '`prompts` needs at least one prompt, and none empty, such as "cat {} stone"; or '
                "name a `benchmark`."
            )
        if problems:
            raise InputError(problems)


_GENERATE_AT_LEAST = {
    "num_images": 1,
    "seed": 0,
    "num_inference_steps": 1,
    "guidance_scale": 0,
    "height": 8,
    "width": 8,
    "batch_size": 1,
}


@dataclass(kw_only=True)
class EvaluateConfig:
    """Measure ReVersion, its baselines and its ablations on held-out relations with the judge."""

    output_dir: Path = Path("outputs/evaluate-reversion")
    """Folder of the finished cells, the report and its figures. A second run continues there."""
    base: str = "scenes"
    """Base model: an embedded name, a folder or a Hub id."""
    relations: tuple[str, ...] = ()
    """Held-out relations to learn; none given means all of them."""
    variants: tuple[str, ...] = ()
    """Variants to compare; none given means all of them."""
    seeds: int = 3
    """Number of training seeds per relation and variant, counted from `seed`."""
    seed: int = 0
    """First training seed; the exemplars are drawn from it as well."""
    exemplars: int = 10
    """Exemplar pictures per relation."""
    pairs: int = 100
    """Unseen (subject, object) pairs generated and judged per cell."""
    max_train_steps: int | None = None
    """Optimizer steps of each learned variant; none keeps the default of `train reversion`."""
    num_inference_steps: int = 20
    """Denoising steps of the judged pictures."""
    reference_inference_steps: int = 50
    """Denoising steps of the row that shows what few steps cost."""
    vocabulary_prompts: int = 500
    """Prompts with vocabulary relations that measure the base itself; 0 leaves this out."""
    judge_scenes: int = 2000
    """Fresh rendered scenes that measure the judge itself; 0 leaves this out."""
    docs_dir: Path | None = None
    """Folder of results.md and figures/ to write the section into; none writes only to
    `output_dir`."""
    device: str = "auto"
    """Device: auto, cpu, cuda, cuda:0, mps."""


@dataclass(kw_only=True)
class QuickstartConfig:
    """Learn a held-out relation from shipped exemplars, draw unseen pairs, judge, make a sheet."""

    output_dir: Path = Path("outputs/quickstart")
    """Folder for exemplars, the learned token and the pictures; a name that is taken gets a
    counter."""
    relation: str = "diagonal"
    """A held-out relation of the scenes world."""
    base: str = "scenes"
    """Base model: an embedded name, a folder or a Hub id."""
    exemplars: int = 10
    """Exemplar pictures to learn from."""
    pairs: int = 20
    """Unseen (subject, object) pairs generated before and after learning, and judged."""
    max_train_steps: int | None = None
    """Optimizer steps; none keeps the default of `train reversion`."""
    num_inference_steps: int = 20
    """Denoising steps of the pictures."""
    seed: int = 0
    """Decides the pairs, the training and the pictures."""
