"""Trains the U-Net and the text encoder together on cached latents."""

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from visionrel.training import SampleRandom, Task
from visionrel.weights.recipes.scenes_stages.latents import CachedLatents
from visionrel.weights.recipes.scenes_stages.saving import save_model
from visionrel.weights.recipes.scenes_stages.text import WIDTH
from visionrel.weights.recipes.scenes_stages.tokenizer import tokenize


CAPTION_DROPOUT = 0.08
TIMESTEP_CENTRE, TIMESTEP_SPREAD = 0.0, 1.0
"""Timesteps are `T sigmoid(n)`, n normal: a small latent is pure noise at most large t."""


def make_unet(latent_channels: int, side: int) -> UNet2DConditionModel:
    """Build the untrained U-Net: words enter at 8 x 8 and 4 x 4, where the layout is decided."""
    return UNet2DConditionModel(
        sample_size=side,
        in_channels=latent_channels,
        out_channels=latent_channels,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(64, 128, 192),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
    )


def make_scheduler() -> DDPMScheduler:
    """Stable Diffusion's noise schedule with velocity prediction."""
    return DDPMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        clip_sample=False,
        timestep_spacing="trailing",
        steps_offset=1,
    )


class DenoisingTask(Task):
    """Denoise cached latents under their captions."""

    def __init__(
        self,
        unet: UNet2DConditionModel,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        cache: CachedLatents,
        scaling_factor: float,
    ) -> None:
        super().__init__()
        self.unet = unet.to(memory_format=torch.channels_last)
        self.text_encoder = text_encoder
        self.cache, self.scaling_factor = cache, scaling_factor
        self.num_items = len(cache.latents)
        self.noise_scheduler = make_scheduler()
        self.empty_ids = tokenize(tokenizer, [""])[0]

    def sample(self, item: int, random: SampleRandom) -> dict[str, Tensor]:
        """Draw noise, a timestep, and whether the caption is dropped."""
        latents = self.cache.latents[item].float() * self.scaling_factor
        dropped = random.numpy.rand() < CAPTION_DROPOUT
        level = TIMESTEP_CENTRE + TIMESTEP_SPREAD * torch.randn((), generator=random.torch)
        steps = self.noise_scheduler.config.num_train_timesteps
        return {
            "latents": latents,
            "input_ids": self.empty_ids if dropped else self.cache.input_ids[item],
            "noise": torch.randn(latents.shape, generator=random.torch),
            "timesteps": (level.sigmoid() * steps).long().clamp(max=steps - 1),
        }

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Mean squared error of the velocity."""
        latents, noise, timesteps = batch["latents"], batch["noise"], batch["timesteps"]
        noisy = self.noise_scheduler.add_noise(latents, noise, timesteps)
        target = self.noise_scheduler.get_velocity(latents, noise, timesteps)
        states = self.text_encoder(batch["input_ids"]).last_hidden_state
        noisy = noisy.contiguous(memory_format=torch.channels_last)
        predicted = self.unet(noisy, timesteps, states, return_dict=False)[0]
        return {"loss": F.mse_loss(predicted.float(), target)}

    def save(self, folder: Path, weights: Mapping[str, Tensor], step: int) -> None:
        """Write both models as Diffusers and Transformers folders, float16."""
        save_model(self.unet, weights, "unet", folder)
        save_model(self.text_encoder, weights, "text_encoder", folder)
