"""The Diffusers pipeline that draws clips with a tuned CogVideoX; inference is the stock one."""

from __future__ import annotations

import copy
import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers import CogVideoXDPMScheduler, CogVideoXPipeline, CogVideoXTransformer3DModel
from peft import LoraConfig
from torch import Tensor

from visionrel.artifacts import load_tensors, save_tensors
from visionrel.bases import COGVIDEOX, Base, load_model, resolve_base
from visionrel.errors import InputError


logger = logging.getLogger(__name__)

TRANSFORMER_FOLDER = "transformer"
WEIGHTS_NAME = "diffusion_pytorch_model.safetensors"
LORA_NAME = "pytorch_lora_weights.safetensors"
LORA_METADATA = "lora_adapter_metadata"


class VideoREPAPipeline(CogVideoXPipeline):
    """CogVideoX whose transformer was tuned with VideoREPA.

    "VideoREPA: Learning Physics for Video Generation through Relational Alignment with Foundation
    Models" (arXiv 2505.23656). The method changes training only, so components (for instance those
    of THUDM/CogVideoX-2b) and `__call__` are those of `CogVideoXPipeline`. The folder of this file
    is also a `custom_pipeline`.

    Example:
        >>> pipeline = VideoREPAPipeline.from_pretrained(base)  # doctest: +SKIP
        >>> pipeline.load_tuned("outputs/videorepa")  # doctest: +SKIP
        >>> frames = pipeline("a ball drops and bounces").frames[0]  # doctest: +SKIP
    """

    def load_tuned(self, source: str | Path) -> None:
        """Puts what `visionrel train videorepa` left in place of the base's transformer.

        Args:
            source: An output folder or checkpoint, with `transformer/` or a LoRA file.

        Raises:
            InputError: If it holds neither, or belongs to another base.
        """
        source = Path(source)
        if (source / TRANSFORMER_FOLDER).is_dir():
            old, place = self.transformer, source / TRANSFORMER_FOLDER
            tuned = load_model(CogVideoXTransformer3DModel, place, old.dtype)
            self._check_shapes(tuned, source)
            self.register_modules(transformer=tuned.to(old.device))
            return
        self._load_lora(source / LORA_NAME if source.is_dir() else source)

    def _check_shapes(self, tuned: CogVideoXTransformer3DModel, source: Path) -> None:
        mine, theirs = (
            {name: value.shape for name, value in model.state_dict().items()}
            for model in (self.transformer, tuned)
        )
        differing = sorted(name for name in {*mine, *theirs} if mine.get(name) != theirs.get(name))
        if differing:
            raise InputError(
                f"{source} was tuned on another base: {differing[0]} differs in shape "
                f"({len(differing)} such tensors). Give the base that it names."
            )

    def _load_lora(self, path: Path) -> None:
        tensors, metadata = load_tensors(path)
        if LORA_METADATA not in metadata:
            logger.warning(
                "%s does not say its `lora_alpha` and is applied at scale 1. VideoREPA-5B's "
                "published LoRA was trained at 0.5: give `--lora_scale 0.5`, or call set_adapters.",
                path,
            )
        self._check_lora(tensors, path)
        try:
            self.load_lora_weights(path.parent, weight_name=path.name, local_files_only=True)
        except (ValueError, RuntimeError) as error:
            raise InputError(f"{path} ({len(tensors)} tensors) does not fit: {error}") from error

    def _check_lora(self, tensors: Mapping[str, Tensor], path: Path) -> None:
        """Diffusers only warns of layers that a base lacks, and leaves them out."""
        layers = {name for name, _ in self.transformer.named_modules()}
        meant = {
            name.removeprefix("transformer.").partition(".lora_")[0]
            for name in tensors
            if ".lora_" in name
        }
        if missing := sorted(meant - layers):
            raise InputError(
                f"{path} was tuned on another base: this one has no layer {missing[0]} "
                f"({len(missing)} such layers). Give the base that it names."
            )


def save_lora(
    path: Path, weights: Mapping[str, Tensor], lora: LoraConfig, metadata: Mapping[str, str]
) -> None:
    """Writes a LoRA as Diffusers does, with its rank and alpha in the header."""
    tensors = {
        f"transformer.{name.replace('.default.', '.')}": value for name, value in weights.items()
    }
    settings = {
        "r": lora.r,
        "lora_alpha": lora.lora_alpha,
        "target_modules": sorted(lora.target_modules),
    }
    header = json.dumps({f"transformer.{key}": value for key, value in settings.items()})
    save_tensors(path, tensors, {**metadata, LORA_METADATA: header})


def resolve_video_base(name: str, revision: str | None = None) -> Base:
    """Finds a CogVideoX on the disk; see `resolve_base`."""
    return resolve_base(name, revision, COGVIDEOX)


def load_video_components(
    base: Base, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> VideoREPAPipeline:
    """Loads a base in evaluation mode and without gradients, with the authors' scheduler.

    Raises:
        InputError: If a weights file is damaged, or the base is another architecture or draws from
            pictures.
    """
    models = {part: load_model(kind, base.folder / part, dtype) for part, kind in COGVIDEOX.items()}
    if models["transformer"].config.in_channels != models["vae"].config.latent_channels:
        raise InputError(
            f"`base` {base.name} takes a picture besides the text; give a text-to-video CogVideoX."
        )
    pipeline = VideoREPAPipeline.from_pretrained(
        base.folder, dtype=dtype, local_files_only=True, **models
    )
    # CogVideoX-2b comes with DDIM.
    pipeline.scheduler = CogVideoXDPMScheduler.from_config(
        pipeline.scheduler.config, timestep_spacing="trailing"
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)


def training_scheduler(components: CogVideoXPipeline) -> CogVideoXDPMScheduler:
    """The scheduler as `add_noise` uses it, in float32: Apple's GPUs have no float64."""
    scheduler = copy.deepcopy(components.scheduler)
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.float()
    return scheduler


def rotary_embeddings(
    components: CogVideoXPipeline, frames: int, height: int, width: int
) -> tuple[Tensor, Tensor] | None:
    """Cosines and sines of the tokens' places, on the CPU; None for a base without them.

    Args:
        components: The base.
        frames: Latent frames.
        height: In pixels.
        width: In pixels.
    """
    if not components.transformer.config.use_rotary_positional_embeddings:
        return None
    return components._prepare_rotary_positional_embeddings(
        height, width, frames, torch.device("cpu")
    )


def own_height(pipeline: CogVideoXPipeline) -> int:
    """Height in pixels of the clips that a base draws."""
    return pipeline.transformer.config.sample_height * pipeline.vae_scale_factor_spatial


def size_problems(
    components: CogVideoXPipeline, height: int | None, width: int | None
) -> list[str]:
    """What is wrong with a size in pixels: whole patches and Diffusers' blocks of 8 must fit."""
    patch = components.vae_scale_factor_spatial * components.transformer.config.patch_size
    step = math.lcm(patch, 8)
    return [
        f"`{name}` must be a multiple of {step} for this base, got {size}."
        for name, size in (("height", height), ("width", width))
        if size is not None and size % step
    ]
