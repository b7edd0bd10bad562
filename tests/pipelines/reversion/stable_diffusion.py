"""Stable Diffusion 1.5 from its published configuration, and the same at toy size."""

import gc
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from tests.pipelines.reversion.stand_ins import CLIP_SIZE, make_clip_tokenizer


@dataclass(frozen=True)
class Shape:
    """Sizes of one Stable Diffusion; everything else is as published."""

    unet_channels: tuple[int, ...]
    text_width: int
    text_layers: int
    text_heads: int
    vae_channels: tuple[int, ...]
    sample_size: int
    groups: int

    @property
    def resolution(self) -> int:
        return self.sample_size * 2 ** (len(self.vae_channels) - 1)

    def make_unet(self) -> UNet2DConditionModel:
        return UNet2DConditionModel(
            sample_size=self.sample_size,
            in_channels=4,
            out_channels=4,
            block_out_channels=self.unet_channels,
            down_block_types=(*("CrossAttnDownBlock2D",) * 3, "DownBlock2D"),
            up_block_types=("UpBlock2D", *("CrossAttnUpBlock2D",) * 3),
            layers_per_block=2,
            cross_attention_dim=self.text_width,
            attention_head_dim=8,
            norm_num_groups=self.groups,
        )

    def make_text_encoder(self) -> CLIPTextModel:
        return CLIPTextModel(
            CLIPTextConfig(
                vocab_size=CLIP_SIZE,
                hidden_size=self.text_width,
                intermediate_size=4 * self.text_width,
                num_hidden_layers=self.text_layers,
                num_attention_heads=self.text_heads,
                max_position_embeddings=77,
                hidden_act="quick_gelu",
                bos_token_id=CLIP_SIZE - 2,
                eos_token_id=CLIP_SIZE - 1,
            )
        )

    def make_vae(self) -> AutoencoderKL:
        levels = len(self.vae_channels)
        return AutoencoderKL(
            block_out_channels=self.vae_channels,
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            layers_per_block=2,
            latent_channels=4,
            sample_size=self.resolution,
            scaling_factor=0.18215,
            norm_num_groups=self.groups,
        )


REAL = Shape((320, 640, 1280, 1280), 768, 12, 12, (128, 256, 512, 512), 64, 32)
TOY = Shape((16, 16, 32, 32), 32, 2, 2, (8, 8, 16, 16), 8, 8)


def make_scheduler() -> PNDMScheduler:
    return PNDMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        skip_prk_steps=True,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def save_stable_diffusion(folder: Path, shape: Shape) -> Path:
    """Writes a pipeline folder with random weights, one model in memory at a time."""
    torch.manual_seed(0)
    index = {"_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.42.1"}
    for part, make in (
        ("unet", shape.make_unet),
        ("vae", shape.make_vae),
        ("text_encoder", shape.make_text_encoder),
    ):
        model = make()
        model.save_pretrained(folder / part)
        library = "transformers" if part == "text_encoder" else "diffusers"
        index[part] = [library, type(model).__name__]
        del model
        gc.collect()
    make_scheduler().save_pretrained(folder / "scheduler")
    make_clip_tokenizer().save_pretrained(folder / "tokenizer")
    index |= {
        "scheduler": ["diffusers", "PNDMScheduler"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "safety_checker": [None, None],
        "feature_extractor": [None, None],
        "requires_safety_checker": False,
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder
