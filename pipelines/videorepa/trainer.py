"""Fine-tunes a CogVideoX with token relations: what VideoREPA adds to the shared loop."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import torch
import torch.nn.functional as F
from accelerate import PartialState
from diffusers import CogVideoXPipeline
from diffusers.training_utils import cast_training_params
from peft import LoraConfig
from torch import Tensor

from visionrel.artifacts import check_output_folder, save_tensors
from visionrel.bases import Base
from visionrel.errors import InputError
from visionrel.losses import token_alignment_loss, token_relation_distillation_loss
from visionrel.pipelines.videorepa.config import TrainConfig
from visionrel.pipelines.videorepa.dataset import ClipFeatures, TrainingClip, read_training_clips
from visionrel.pipelines.videorepa.features import FeatureCache
from visionrel.pipelines.videorepa.pipeline import (
    LORA_NAME,
    TRANSFORMER_FOLDER,
    WEIGHTS_NAME,
    load_video_components,
    resolve_video_base,
    rotary_embeddings,
    save_lora,
    size_problems,
    training_scheduler,
)
from visionrel.pipelines.videorepa.student import (
    HIDDEN_WIDTH,
    BlockTap,
    choose_shrink,
    default_align_layer,
    make_head,
    seeded,
    student_grid,
)
from visionrel.pipelines.videorepa.teacher_files import find_teacher, load_teacher, teacher_digest
from visionrel.pipelines.videorepa.teachers import Teacher
from visionrel.training import SampleRandom, Task, TrainingResult, settle_seed, weight_dtype
from visionrel.training import train as run_training
from visionrel.training.checkpoints import check_same_run, find_checkpoint, load_checkpoint_header


logger = logging.getLogger(__name__)

HEADS_NAME = "videorepa_heads.safetensors"
LORA_TARGETS = ("to_q", "to_k", "to_v", "to_out.0")


def train(
    config: TrainConfig, *, on_step: Callable[[int, dict[str, float]], None] | None = None
) -> TrainingResult:
    """Tunes a base and leaves the transformer or a LoRA in the output folder.

    Args:
        config: Settings; those not given are chosen from the base.
        on_step: Called after each optimizer step with its metrics; may raise `StopTraining`.
    """
    base = resolve_video_base(config.base, config.revision)
    check_output_folder(config.output_dir)
    found = find_teacher(config.teacher) if config.proj_coeff else None
    # Before the long pass over the clips: the head and a LoRA are drawn from it.
    config = settle_seed(config)
    task = _make_task(config, base, found)
    return run_training(task, task.config, on_step=on_step)


def _make_task(config: TrainConfig, base: Base, found: Path | None) -> VideoREPATask:
    """Builds the task; autoencoder, text encoder and teacher leave the memory on return."""
    components = load_video_components(base)
    _check_resume(settle(config, components))
    teacher = None if found is None else (load_teacher(found), teacher_digest(found))
    return VideoREPATask(config, components, None, base, teacher)


def _check_resume(config: TrainConfig) -> None:
    """Tells settings that differ from the checkpoint's before clips are decoded and encoded.

    The sizes of the run are known only with the clips; the loop compares them.
    """
    if (checkpoint := find_checkpoint(config)) is not None:
        header = load_checkpoint_header(checkpoint)
        check_same_run(checkpoint, header, config, header["run"])


class VideoREPATask(Task):
    """The transformer, or a LoRA on it, and the head that meets the teacher's tokens.

    Autoencoder, text encoder and teacher run once over all clips before training and are not kept.

    Args:
        config: Settings.
        components: The base in float32; its transformer is trained in place.
        clips: The training clips, all of `config`'s size; if None, those of `train_data_dir`, read
            once everything else is checked.
        base: Where the components come from.
        teacher: The encoder and a hash that names it; not needed with `proj_coeff` 0.
    """

    def __init__(
        self,
        config: TrainConfig,
        components: CogVideoXPipeline,
        clips: Sequence[TrainingClip] | None,
        base: Base,
        teacher: tuple[Teacher, str] | None = None,
    ) -> None:
        super().__init__()
        self.config, self.base = settle(config, components), base
        encoder, digest = teacher if teacher and config.proj_coeff else (None, None)
        self._check(components, encoder)
        self.scheduler = training_scheduler(components)
        self.scaling_factor = components.vae.config.scaling_factor
        self.transformer = self._prepare_transformer(components)
        self._set_geometry(components, encoder)
        cache = FeatureCache(self.config.cache_dir or self.config.output_dir / "cache")
        if clips is None:
            clips = read_training_clips(self.config, cache)
        self.num_items = len(clips)
        self.features = ClipFeatures(
            cache,
            clips,
            base.revision or base.digest,
            digest and f"{digest} {self.target}",
            self.transformer.config.max_text_seq_length,
        )
        device = PartialState(cpu=config.device == "cpu").device
        self.features.fill(components, encoder, device)

    def origin(self) -> dict[str, str | None]:
        """Commit or hash of the base."""
        return self.base.origin()

    def describe(self, item: int) -> str:
        """The clip's name."""
        return self.features.clips[item].name

    def sample(self, item: int, random: SampleRandom) -> dict[str, Tensor]:
        """Reads a clip's features; draws a latent, its noise and a timestep."""
        found = self.features.load(item)
        mean = found.pop("mean")
        posterior = torch.randn(mean.shape, generator=random.torch)
        latents = (mean + found.pop("std") * posterior) * self.scaling_factor
        steps = self.scheduler.config.num_train_timesteps
        return {
            **found,
            "latents": latents,
            "noise": torch.randn(mean.shape, generator=random.torch),
            "timestep": torch.randint(steps, (), generator=random.torch),
        }

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Computes the diffusion loss, the distillation loss and their weighted sum."""
        latents, noise, timesteps = batch["latents"], batch["noise"], batch["timestep"]
        noisy = self.scheduler.add_noise(latents, noise, timesteps)
        dtype = self.transformer.dtype
        if self.head is not None:
            self.tap.clear()
        velocity = self.transformer(
            noisy.to(dtype),
            batch["states"].to(dtype),
            timesteps,
            image_rotary_emb=self._rotary(latents.device),
            return_dict=False,
        )[0]
        diffusion = velocity_loss(
            velocity, latents, noise, self.scheduler.alphas_cumprod.to(latents.device)[timesteps]
        )
        if self.head is None:
            return {"loss": diffusion, "diffusion": diffusion}
        student = self.head(self.tap.take(), self.grid, self.target)
        distance = self._compare(student, batch["tokens"])
        loss = diffusion + self.config.proj_coeff * distance
        return {"loss": loss, "diffusion": diffusion, self.config.alignment: distance}

    def save(self, folder: Path, weights: Mapping[str, Tensor], step: int) -> None:
        """Writes the transformer or its LoRA, which stock Diffusers loads, and apart the head."""
        metadata = self._metadata(step)
        parts = {
            part: {
                name.removeprefix(f"{part}."): value
                for name, value in weights.items()
                if name.startswith(f"{part}.")
            }
            for part in ("transformer", "head")
        }
        if self.config.tuning == "lora":
            save_lora(folder / LORA_NAME, parts["transformer"], self.lora, metadata)
        else:
            self.transformer.save_config(folder / TRANSFORMER_FOLDER)
            state = {**self.transformer.state_dict(), **parts["transformer"]}
            save_tensors(folder / TRANSFORMER_FOLDER / WEIGHTS_NAME, state, metadata)
        if parts["head"]:
            save_tensors(folder / HEADS_NAME, parts["head"], metadata)

    def _check(self, components: CogVideoXPipeline, encoder: Teacher | None) -> None:
        problems = []
        if (kind := components.scheduler.config.prediction_type) != "v_prediction":
            problems.append(f"The base predicts {kind!r}; VideoREPA needs `v_prediction`.")
        if components.transformer.config.patch_size_t is not None:
            problems.append("CogVideoX 1.5 (patches in time) is not supported; use CogVideoX 1.0.")
        if self.config.proj_coeff and encoder is None:
            problems.append("`proj_coeff` is above 0 and there is no teacher; give `teacher`.")
        if encoder is not None and encoder.sees_first_frame and self.config.alignment != "tokens":
            problems.append("A teacher of single frames needs `alignment` tokens.")
        problems += size_problems(components, self.config.height, self.config.width)
        if problems:
            raise InputError(problems)

    def _prepare_transformer(self, components: CogVideoXPipeline) -> torch.nn.Module:
        transformer = components.transformer.train()
        if self.config.gradient_checkpointing:
            transformer.enable_gradient_checkpointing()
        if self.config.tuning == "full":
            return transformer.float().requires_grad_(True)
        transformer.requires_grad_(False).to(weight_dtype(self.config.mixed_precision))
        self.lora = LoraConfig(
            r=self.config.rank,
            lora_alpha=self.config.lora_alpha,
            target_modules=list(LORA_TARGETS),
        )
        with seeded(self.config.seed):
            transformer.add_adapter(self.lora)
        cast_training_params(transformer)
        return transformer

    def _set_geometry(self, components: CogVideoXPipeline, encoder: Teacher | None) -> None:
        config, factor = self.config, components.vae_scale_factor_spatial
        frames = (config.num_frames - 1) // components.vae_scale_factor_temporal + 1
        sides = (config.height // factor, config.width // factor)
        self.grid = student_grid(self.transformer, (frames, *sides))
        self.rotary = rotary_embeddings(components, frames, config.height, config.width)
        self.head = None
        if encoder is None:
            return
        if encoder.sees_first_frame:
            encoder.cell = factor * self.transformer.config.patch_size
        self.target = encoder.grid(config.num_frames, config.height, config.width)
        shrink = None if encoder.sees_first_frame else choose_shrink(self.grid, self.target)
        self.tap = BlockTap(self.transformer, config.align_layer)
        self.head = make_head(
            self.transformer, encoder.width, shrink, config.seed, config.head_width
        )

    def _rotary(self, device: torch.device) -> tuple[Tensor, Tensor] | None:
        return self.rotary and tuple(part.to(device) for part in self.rotary)

    def _compare(self, student: Tensor, teacher: Tensor) -> Tensor:
        if self.config.alignment == "tokens":
            return token_alignment_loss(student, teacher)
        return token_relation_distillation_loss(
            student, teacher, self.config.margin, self.config.terms
        )

    def _metadata(self, step: int) -> dict[str, str]:
        base = {f"base_{key}": value or "" for key, value in self.base.describe().items()}
        settings = {
            name: str(getattr(self.config, name))
            for name in ("tuning", "alignment", "proj_coeff", "terms", "margin", "align_layer")
        }
        return {
            "method": "videorepa",
            **base,
            **settings,
            "step": str(step),
            "visionrel": version("visionrel"),
        }


def settle(config: TrainConfig, components: CogVideoXPipeline) -> TrainConfig:
    """Fills what depends on the base: size of the clips, block, width of the projector."""
    transformer = components.transformer.config
    factor = components.vae_scale_factor_spatial
    width = transformer.num_attention_heads * transformer.attention_head_dim
    chosen = {
        "num_frames": transformer.sample_frames,
        "height": transformer.sample_height * factor,
        "width": transformer.sample_width * factor,
        "align_layer": default_align_layer(transformer.num_layers),
        "head_width": min(HIDDEN_WIDTH, 4 * width),
    }
    missing = {name: value for name, value in chosen.items() if getattr(config, name) is None}
    return dataclasses.replace(config, **missing)


def velocity_loss(prediction: Tensor, latents: Tensor, noise: Tensor, alphas: Tensor) -> Tensor:
    r"""Mean squared error of the velocity, in float32.

    Equal to the authors' weighted error of the clean latents,
    :math:`(\hat x_0 - x_0)^2 / (1 - \bar\alpha)` with
    :math:`\hat x_0 = \sqrt{\bar\alpha} x_t - \sqrt{1 - \bar\alpha} v`, whose detour over
    :math:`\hat x_0` loses digits where little noise was added.

    Args:
        prediction: v, shape (batch, ...).
        latents: Clean latents, scaled.
        noise: What was added.
        alphas: Cumulative product at the timesteps, shape (batch,).
    """
    alphas = alphas.float().view(-1, *[1] * (latents.ndim - 1))
    velocity = alphas.sqrt() * noise.float() - (1 - alphas).sqrt() * latents.float()
    return F.mse_loss(prediction.float(), velocity)
