"""Recipe of the `motion` base: CogVideoX's layout for 17 frames of 48 x 48 pixels.

Seconds of one core of an AMD EPYC with AVX-512: about 0.3 for a step of the text encoder, 0.3 and
1 for one of the autoencoder on pieces and on whole clips, 0.03 for a cached clip, and 1.3 for
a step of the transformer without its optimizer's. The defaults take some 6 hours, nearly all of
them the transformer's. A clip of 50 denoising steps takes 3.1 s.

They leave shapes soft. A last run with `start`, `--vae_steps 0 --transformer_timesteps shapes
--transformer_lr_scheduler cosine` makes them crisp.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from visionrel.errors import InputError


if TYPE_CHECKING:
    from diffusers import AutoencoderKLCogVideoX, CogVideoXPipeline
    from transformers import T5EncoderModel, T5Tokenizer

    from visionrel.weights.recipes.motion_stages.latents import CachedClips

SUMMARY = "Train the motion base: text encoder, autoencoder, then the transformer."


@dataclass(kw_only=True)
class BuildConfig:
    """Train the motion base. Every stage goes on from its last checkpoint."""

    output_dir: Path = Path("outputs/build-motion")
    """Folder of the stages, the latent cache and the finished base `motion`."""
    start: Path | None = None
    """A base to start from, `motion` or a folder; from scratch when not given."""
    text_steps: int = 1500
    """Optimizer steps of the text encoder on captions, 64 each; none with `start`."""
    vae_crop_steps: int = 6000
    """Optimizer steps of the autoencoder on pieces around objects, 8 each; none with `start`."""
    vae_steps: int = 3000
    """Optimizer steps of the autoencoder on whole clips, 3 each; with `start`, of its decoder."""
    vae_learning_rate: float = 5e-3
    """Learning rate of the autoencoder after the warm-up; it falls to 0 on whole pictures."""
    cached_clips: int = 40_000
    """Clips whose latents the transformer learns from."""
    transformer_steps: int = 12_000
    """Optimizer steps of the transformer; with `start`, 0 keeps that of the base."""
    transformer_batch_size: int = 32
    """Latents per step."""
    transformer_learning_rate: float = 8e-4
    """Learning rate of the transformer after the warm-up."""
    transformer_lr_scheduler: Literal["constant_with_warmup", "cosine"] = "constant_with_warmup"
    """Course of the transformer's learning rate; `cosine` for a last run."""
    transformer_timesteps: Literal["layout", "shapes"] = "layout"
    """Noise levels that it sees most: those at which words decide the layout, or, for a last run,
    the low ones at which shapes are decided."""
    mixed_precision: Literal["no", "bf16"] | None = None
    """Precision of the products of autoencoder and transformer; the faster when not given."""
    seed: int = 0
    """Decides every random draw."""

    def __post_init__(self) -> None:
        at_least = _AT_LEAST | (_FROM_SCRATCH if self.start is None else {})
        problems = [
            f"`{name}` must be at least {least}, got {value}."
            for name, least in at_least.items()
            if not (value := getattr(self, name)) >= least
        ]
        problems += [
            f"`{name}` must be above 0, got {value}."
            for name in ("vae_learning_rate", "transformer_learning_rate")
            if not (value := getattr(self, name)) > 0
        ]
        if self.start is None and not (self.vae_crop_steps or self.vae_steps):
            problems.append(
                "`vae_crop_steps` and `vae_steps` are 0; give some, or a base in `start`."
            )
        if problems:
            raise InputError(problems)


_AT_LEAST = {
    "text_steps": 0,
    "vae_crop_steps": 0,
    "vae_steps": 0,
    "cached_clips": 1,
    "transformer_steps": 0,
    "transformer_batch_size": 1,
    "seed": 0,
}
_FROM_SCRATCH = {"text_steps": 1, "transformer_steps": 1}


def build(config: BuildConfig) -> dict[str, Any]:
    """Train all stages and write the base; returns where it lies and its size in MB."""
    import torch
    from transformers import T5Tokenizer

    from visionrel.bases import COGVIDEOX, resolve_base
    from visionrel.weights.recipes.motion_stages import latents, tokenizer
    from visionrel.worlds.motion import vocabulary

    torch.manual_seed(config.seed)
    origin = "scratch"
    if config.start is not None:
        found = resolve_base(str(config.start), models=COGVIDEOX)
        config, origin = replace(config, start=found.folder), found.digest
    _check_origin(config, origin)
    folder = config.output_dir
    if config.start is None:
        words = tokenizer.build_tokenizer(vocabulary(), folder / "tokenizer")
    else:
        words = T5Tokenizer.from_pretrained(config.start / "tokenizer")
    text_encoder = _train_text_encoder(config, words)
    vae = _train_vae(config)
    if not config.transformer_steps:
        return _write(config, config.start / "transformer", words, text_encoder, vae)
    cache = latents.cache_clips(vae, words, folder / "latents", config.cached_clips, config.seed)
    if config.start is None:
        vae.register_to_config(scaling_factor=cache.scaling_factor())
    _train_transformer(config, words, text_encoder, cache, vae)
    return _write(config, folder / "transformer" / "transformer", words, text_encoder, vae)


def _check_origin(config: BuildConfig, origin: str) -> None:
    """Refuse a folder whose stages began elsewhere: they would go on as if `start` were theirs.

    Args:
        config: settings, with the folder of `start`.
        origin: hash of `start`, or "scratch".
    """
    from visionrel.artifacts import load_json, save_json

    place, note = config.output_dir / "motion", config.output_dir / "build.json"
    if config.start is not None and config.start.resolve() == place.resolve():
        raise InputError(
            f"`start` is {config.start}, which this build would replace; choose another "
            "`output_dir`."
        )
    if not note.is_file():
        save_json(note, {"start": origin})
    elif (before := load_json(note)["start"]) != origin:
        raise InputError(
            f"`output_dir` {config.output_dir} holds a build from {before}, and `start` is now "
            f"{origin}; choose another `output_dir`, or give the same `start` to go on."
        )


def _train_text_encoder(config: BuildConfig, tokenizer: T5Tokenizer) -> T5EncoderModel:
    from transformers import T5EncoderModel

    from visionrel.training import train
    from visionrel.weights.recipes.motion_stages.settings import stage_settings
    from visionrel.weights.recipes.motion_stages.text import ReadingTask, make_text_encoder

    if config.start is not None:
        return T5EncoderModel.from_pretrained(config.start / "text_encoder").float()
    folder = config.output_dir / "text"
    settings = stage_settings(
        folder,
        config.seed,
        config.text_steps,
        train_batch_size=64,
        learning_rate=1.5e-3,
        lr_scheduler="linear",
        lr_warmup_steps=100,
        ema_decay=0.99,
    )
    train(ReadingTask(make_text_encoder(tokenizer), tokenizer), settings)
    return T5EncoderModel.from_pretrained(folder / "text_encoder").float()


def _train_vae(config: BuildConfig) -> AutoencoderKLCogVideoX:
    """Pieces around objects first: ground is learned soon, and there is much of it."""
    from diffusers import AutoencoderKLCogVideoX

    from visionrel.weights.recipes.motion_stages.vae import PIECE, PIECE_SIDE, make_vae
    from visionrel.worlds.motion import CLIP_SIDE, FRAMES

    if config.start is None:
        vae = make_vae()
        if config.vae_crop_steps:
            steps = config.vae_crop_steps
            vae = _reconstruct(config, vae, "vae-crops", steps, (PIECE, PIECE_SIDE), 8)
    else:
        vae = AutoencoderKLCogVideoX.from_pretrained(config.start / "vae").float()
    if config.vae_steps:
        # All frames: those after the first piece are made with what the layers remember of it.
        vae = _reconstruct(config, vae, "vae", config.vae_steps, (FRAMES, CLIP_SIDE), 3)
    return vae.eval().requires_grad_(False)


def _reconstruct(
    config: BuildConfig,
    vae: AutoencoderKLCogVideoX,
    name: str,
    steps: int,
    size: tuple[int, int],
    batch: int,
) -> AutoencoderKLCogVideoX:
    """Train the autoencoder on frames of a side and return what is left in the folder."""
    from diffusers import AutoencoderKLCogVideoX

    from visionrel.devices import fast_precision
    from visionrel.training import train
    from visionrel.weights.recipes.motion_stages.settings import stage_settings
    from visionrel.weights.recipes.motion_stages.vae import ReconstructionTask
    from visionrel.worlds.motion import CLIP_SIDE

    frames, side = size
    folder = config.output_dir / name
    settings = stage_settings(
        folder,
        config.seed,
        steps,
        train_batch_size=batch,
        learning_rate=config.vae_learning_rate,
        lr_scheduler="linear" if side == CLIP_SIDE else "constant_with_warmup",
        lr_warmup_steps=100,
        optimizer="muon",
        adam_beta2=0.98,
        adam_weight_decay=1e-4,
        ema_decay=0.998,
        mixed_precision=config.mixed_precision or fast_precision(),
    )
    frozen = config.start is not None
    train(ReconstructionTask(vae, frames, side, encoder_frozen=frozen), settings)
    return AutoencoderKLCogVideoX.from_pretrained(folder / "vae").float()


def _train_transformer(
    config: BuildConfig,
    tokenizer: T5Tokenizer,
    text_encoder: T5EncoderModel,
    cache: CachedClips,
    vae: AutoencoderKLCogVideoX,
) -> None:
    from diffusers import CogVideoXTransformer3DModel

    from visionrel.devices import fast_precision
    from visionrel.training import train
    from visionrel.weights.recipes.motion_stages.settings import stage_settings
    from visionrel.weights.recipes.motion_stages.transformer import DenoisingTask, make_transformer

    if config.start is None:
        transformer = make_transformer(cache.latents.shape[1], cache.latents.shape[-1])
    else:
        place = config.start / "transformer"
        transformer = CogVideoXTransformer3DModel.from_pretrained(place).float()
    settings = stage_settings(
        config.output_dir / "transformer",
        config.seed,
        config.transformer_steps,
        train_batch_size=config.transformer_batch_size,
        learning_rate=config.transformer_learning_rate,
        lr_scheduler=config.transformer_lr_scheduler,
        lr_warmup_steps=100,
        optimizer="muon",
        adam_beta2=0.99,
        ema_decay=0.998,
        mixed_precision=config.mixed_precision or fast_precision(),
    )
    scale = vae.config.scaling_factor
    levels = config.transformer_timesteps
    train(DenoisingTask(transformer, text_encoder, tokenizer, cache, scale, levels), settings)


def _write(
    config: BuildConfig,
    transformer: Path,
    tokenizer: T5Tokenizer,
    text_encoder: T5EncoderModel,
    vae: AutoencoderKLCogVideoX,
) -> dict[str, Any]:
    """Put the parts together as a stock CogVideoX folder."""
    place = config.output_dir / "motion"
    shutil.rmtree(place, ignore_errors=True)
    # The last calls' padding and truncation would be written too.
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.no_truncation()
    assemble(transformer, tokenizer, text_encoder, vae).save_pretrained(place)
    size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    return {"base": str(place), "megabytes": round(size / 1e6, 1)}


def assemble(
    transformer: Path,
    tokenizer: T5Tokenizer,
    text_encoder: T5EncoderModel,
    vae: AutoencoderKLCogVideoX,
) -> CogVideoXPipeline:
    """Join the parts with the transformer of a folder, float16."""
    import torch
    from diffusers import CogVideoXPipeline, CogVideoXTransformer3DModel

    from visionrel.weights.recipes.motion_stages.transformer import make_scheduler

    return CogVideoXPipeline(
        vae=vae.half(),
        text_encoder=text_encoder.half(),
        tokenizer=tokenizer,
        transformer=CogVideoXTransformer3DModel.from_pretrained(transformer, dtype=torch.float16),
        scheduler=make_scheduler(),
    )
