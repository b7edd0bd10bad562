"""Recipe of the `scenes` base: Stable Diffusion's layout for 64 x 64 pictures of two sprites."""

from __future__ import annotations

import copy
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from visionrel.training.config import TrainingConfig


if TYPE_CHECKING:
    from diffusers import AutoencoderKL, StableDiffusionPipeline
    from transformers import CLIPTextModel

    from visionrel.weights.recipes.scenes_stages.latents import CachedLatents

SUMMARY = "Train the scenes base: autoencoder, text encoder, then the U-Net."


@dataclass(kw_only=True)
class BuildConfig:
    """Train the scenes base. Every stage goes on from its last checkpoint.

    On two cores the autoencoder learns from about 40 pictures a second; on one core the U-Net
    learns from 38 latents a second, 1.7 s a step: its 8000 steps take not quite four hours.
    """

    output_dir: Path = Path("outputs/build-scenes")
    """Folder of the stages, the latent cache and the finished base `scenes`."""
    start: Path | None = None
    """A base to start from, `scenes` or a folder; from scratch when not given."""
    vae_steps: int = 3000
    """Optimizer steps of the autoencoder, 16 pictures each. With `start`: of its decoder alone."""
    text_steps: int = 1500
    """Optimizer steps of the text encoder on captions, 128 each. With `start`: 0 keeps its own."""
    cached_scenes: int = 100_000
    """Scenes whose latents the U-Net learns from."""
    unet_steps: int = 8000
    """Optimizer steps of the U-Net, 64 latents each."""
    unet_learning_rate: float = 1.2e-3
    """Learning rate of the U-Net after the warm-up; it falls to 0 on a straight line."""
    mixed_precision: Literal["no", "bf16"] | None = None
    """Precision of the products of the U-Net; the faster when not given."""
    seed: int = 0
    """Decides every random draw."""


def build(config: BuildConfig) -> dict[str, Any]:
    """Train all stages and write the base; returns where it lies and its size in MB."""
    from transformers import CLIPTokenizer

    from visionrel.bases import resolve_base
    from visionrel.weights.recipes.scenes_stages import latents, phrases, tokenizer
    from visionrel.worlds.scenes import vocabulary

    if config.start is not None:
        config = replace(config, start=resolve_base(str(config.start)).folder)
    folder = config.output_dir
    if config.start is None:
        words = tokenizer.build_tokenizer(vocabulary(), folder / "tokenizer")
    else:
        words = CLIPTokenizer.from_pretrained(config.start / "tokenizer")
    vae = _train_vae(config)
    text_encoder = _train_text_encoder(config, words)
    told = phrases.add_phrases(words)
    cache = latents.cache_latents(vae, told, folder / "latents", config.cached_scenes, config.seed)
    reader = phrases.embed_phrases(copy.deepcopy(text_encoder), words)
    _train_unet(config, told, reader, cache, vae)
    return _assemble(config, words, text_encoder, vae)


def _stage(config: BuildConfig, name: str, **settings: Any) -> TrainingConfig:
    return TrainingConfig(
        output_dir=config.output_dir / name,
        seed=config.seed,
        resume_from_checkpoint="latest",
        checkpoints_total_limit=1,
        max_grad_norm=1.0,
        use_ema=True,
        **settings,
    )


def _train_vae(config: BuildConfig) -> AutoencoderKL:
    from diffusers import AutoencoderKL

    from visionrel.training import train
    from visionrel.weights.recipes.scenes_stages.vae import ReconstructionTask, make_vae

    vae = (
        make_vae() if config.start is None else AutoencoderKL.from_pretrained(config.start / "vae")
    )
    if config.vae_steps:
        settings = _stage(
            config,
            "vae",
            train_batch_size=16,
            max_train_steps=config.vae_steps,
            learning_rate=2e-3,
            lr_scheduler="linear",
            lr_warmup_steps=150,
            adam_beta2=0.98,
            adam_weight_decay=1e-4,
            ema_decay=0.998,
        )
        train(ReconstructionTask(vae, encoder_frozen=config.start is not None), settings)
        vae = AutoencoderKL.from_pretrained(config.output_dir / "vae" / "vae")
    return vae.float().eval().requires_grad_(False)


def _train_text_encoder(config: BuildConfig, tokenizer: Any) -> CLIPTextModel:
    from transformers import CLIPTextModel

    from visionrel.training import train
    from visionrel.weights.recipes.scenes_stages.phrases import add_phrases, embed_phrases
    from visionrel.weights.recipes.scenes_stages.text import ReadingTask, make_text_encoder

    if config.start is None:
        encoder = make_text_encoder(tokenizer)
    else:
        encoder = CLIPTextModel.from_pretrained(config.start / "text_encoder").float()
        if not config.text_steps:
            return encoder
    settings = _stage(
        config,
        "text",
        train_batch_size=128,
        max_train_steps=config.text_steps,
        learning_rate=1.5e-3 if config.start is None else 8e-4,
        lr_scheduler="linear",
        lr_warmup_steps=100,
        ema_decay=0.99,
    )
    task = ReadingTask(embed_phrases(encoder, tokenizer), add_phrases(tokenizer))
    train(task, settings)
    return CLIPTextModel.from_pretrained(config.output_dir / "text" / "text_encoder").float()


def _train_unet(
    config: BuildConfig,
    tokenizer: Any,
    text_encoder: CLIPTextModel,
    cache: CachedLatents,
    vae: AutoencoderKL,
) -> None:
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextModel

    from visionrel.devices import fast_precision
    from visionrel.training import train
    from visionrel.weights.recipes.scenes_stages.growing import deepen
    from visionrel.weights.recipes.scenes_stages.handover import COMPARED, hand_over
    from visionrel.weights.recipes.scenes_stages.unet import LAYERS, DenoisingTask, make_unet

    if config.start is None:
        vae.register_to_config(scaling_factor=cache.scaling_factor())
        unet = make_unet(*cache.latents.shape[1:3])
    else:
        unet = UNet2DConditionModel.from_pretrained(config.start / "unet").float()
        unet = deepen(unet, LAYERS)
        old = CLIPTextModel.from_pretrained(config.start / "text_encoder").float()
        hand_over(unet, old, text_encoder, cache.input_ids[:COMPARED])
    settings = _stage(
        config,
        "unet",
        train_batch_size=64,
        max_train_steps=config.unet_steps,
        optimizer="muon",
        mixed_precision=config.mixed_precision or fast_precision(),
        learning_rate=config.unet_learning_rate,
        lr_scheduler="linear",
        lr_warmup_steps=min(100, config.unet_steps - 1),
        adam_beta2=0.99,
        ema_decay=0.995,
        checkpointing_steps=200,
    )
    scale = vae.config.scaling_factor
    train(DenoisingTask(unet, text_encoder, tokenizer, cache, scale), settings)


def _assemble(
    config: BuildConfig, tokenizer: Any, text_encoder: CLIPTextModel, vae: AutoencoderKL
) -> dict[str, Any]:
    """Put the parts together as a stock Stable Diffusion folder."""
    place = config.output_dir / "scenes"
    pipeline = assemble(config.output_dir / "unet" / "unet", tokenizer, text_encoder, vae)
    shutil.rmtree(place, ignore_errors=True)
    pipeline.save_pretrained(place)
    size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    return {"base": str(place), "megabytes": round(size / 1e6, 1)}


def assemble(
    unet: Path, tokenizer: Any, text_encoder: CLIPTextModel, vae: AutoencoderKL
) -> StableDiffusionPipeline:
    """Join the parts with the U-Net of a folder, float16."""
    import torch
    from diffusers import (
        DPMSolverMultistepScheduler,
        StableDiffusionPipeline,
        UNet2DConditionModel,
    )

    from visionrel.weights.recipes.scenes_stages.unet import make_scheduler

    # Training pads every caption; that must not be saved as the tokenizer's own habit.
    tokenizer.backend_tokenizer.no_padding()
    return StableDiffusionPipeline(
        vae=vae.half(),
        text_encoder=text_encoder.half(),
        tokenizer=tokenizer,
        unet=UNet2DConditionModel.from_pretrained(unet, dtype=torch.float16),
        scheduler=DPMSolverMultistepScheduler.from_config(make_scheduler().config),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
