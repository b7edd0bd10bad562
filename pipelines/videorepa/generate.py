"""Draws clips with a tuned CogVideoX and files them with their records: MP4, GIF and JSON."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from visionrel.artifacts import check_output_folder, sha256_of
from visionrel.bases import Base, warn_of_other_base
from visionrel.devices import choose_device
from visionrel.errors import InputError
from visionrel.pipelines.videorepa.config import GenerateConfig
from visionrel.pipelines.videorepa.pipeline import (
    LORA_NAME,
    TRANSFORMER_FOLDER,
    VideoREPAPipeline,
    load_video_components,
    own_height,
    resolve_video_base,
    size_problems,
)
from visionrel.records import Record, save_clip


logger = logging.getLogger(__name__)

COMMAND = "generate videorepa"
# Height from which the autoencoder decodes in tiles, to save memory.
_TILED = 256
_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def generate(config: GenerateConfig) -> list[Path]:
    """Draws every prompt and saves clips, previews and records.

    The same settings give the same clips; clip i of a prompt has the seed `seed` + i.

    Returns:
        The MP4 files, prompt by prompt; GIF and JSON have the same names.
    """
    if config.seed is None:
        config = replace(config, seed=secrets.randbelow(2**31))
        logger.info("seed %d", config.seed)
    base = resolve_video_base(config.base, config.revision)
    check_output_folder(config.output_dir)
    _check_tuned(config)
    adapter = {str(path): sha256_of(path) for path in tuned_files(config.tuned)}
    pipeline = load_pipeline(config, base)
    # The records name what was chosen, so that they outlive a change of what is chosen.
    config = config.settle(own_height(pipeline))
    paths = []
    for prompt in config.prompts:
        for index in range(config.num_videos):
            seed = config.seed + index
            record = Record(COMMAND, vars(config), prompt, seed, base.describe(), adapter)
            clip = draw(pipeline, prompt, seed, config)
            paths.append(save_clip(clip, config.output_dir, index, record, config.fps))
    return paths


def _check_tuned(config: GenerateConfig) -> None:
    tuned = config.tuned
    if tuned is not None and not any(tuned_files(tuned)):
        raise InputError(
            f"`tuned` is {tuned}, which does not exist or holds neither {LORA_NAME} nor "
            f"{TRANSFORMER_FOLDER}/ with weights; give the output of `visionrel train videorepa`."
        )
    if config.lora_scale is not None and (tuned is None or (tuned / TRANSFORMER_FOLDER).is_dir()):
        raise InputError(
            f"`lora_scale` is {config.lora_scale}, but `tuned` is {tuned}, which is no LoRA; "
            "leave it out."
        )


def load_pipeline(config: GenerateConfig, base: Base) -> VideoREPAPipeline:
    """The base, with what was tuned in place."""
    device = choose_device(config.device)
    for path in tuned_files(config.tuned):
        warn_of_other_base(path, base)
    pipeline = load_video_components(base, device, _DTYPES[config.precision])
    if config.tuned is not None:
        pipeline.load_tuned(config.tuned)
    if config.lora_scale is not None:
        pipeline.set_adapters(pipeline.get_active_adapters(), config.lora_scale)
    if problems := size_problems(pipeline, config.height, config.width):
        raise InputError(problems)
    pipeline.set_progress_bar_config(desc="generating", leave=False, disable=None)
    pipeline.vae.enable_slicing()
    if (config.height or own_height(pipeline)) >= _TILED:
        pipeline.vae.enable_tiling()
    return pipeline


def tuned_files(tuned: Path | None) -> Iterator[Path]:
    """The files that decide a tuned model."""
    if tuned is None:
        return
    if tuned.is_file():
        yield tuned
    if (tuned / LORA_NAME).is_file():
        yield tuned / LORA_NAME
    yield from sorted((tuned / TRANSFORMER_FOLDER).glob("*.safetensors"))


def draw(pipeline: VideoREPAPipeline, prompt: str, seed: int, config: GenerateConfig) -> np.ndarray:
    """Draws one clip, uint8 of shape (frames, height, width, 3)."""
    config = config.settle(own_height(pipeline))
    frames = pipeline(
        prompt,
        negative_prompt=config.negative_prompt,
        num_frames=config.num_frames,
        height=config.height,
        width=config.width,
        num_inference_steps=config.num_inference_steps,
        guidance_scale=config.guidance_scale,
        use_dynamic_cfg=config.use_dynamic_cfg,
        max_sequence_length=pipeline.transformer.config.max_text_seq_length,
        generator=torch.Generator().manual_seed(seed),
        output_type="np",
    ).frames[0]
    return to_pixels(frames)


def to_pixels(frames: np.ndarray) -> np.ndarray:
    """Turns frames in [0, 1] into 8-bit ones."""
    return (frames * 255).round().astype(np.uint8)
