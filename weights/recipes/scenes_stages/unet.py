"""Trains the U-Net on cached latents, under captions that the frozen text encoder has read."""

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, UNet2DConditionModel
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import CLIPTextModel, CLIPTokenizer

from visionrel.training import SampleRandom, Task
from visionrel.weights.recipes.scenes_stages.latents import LAYOUT, CachedLatents
from visionrel.weights.recipes.scenes_stages.layout import WEIGHTS, LayoutHeads, keep_outputs
from visionrel.weights.recipes.scenes_stages.saving import save_model
from visionrel.weights.recipes.scenes_stages.text import WIDTH
from visionrel.weights.recipes.scenes_stages.tokenizer import tokenize


CAPTION_DROPOUT = 0.2
"""Twice what guidance needs: without words the heads must see turns and order in the latents."""
TIMESTEP_CENTRE, TIMESTEP_SPREAD = 0.0, 1.0
"""Timesteps are `T sigmoid(n)`, n normal: half of them above 500. Signal and noise are about equal
at 380, where sprites get their details; words decide layout, turns and order above."""
BETA_END = 0.025
"""Twice Stable Diffusion's. Twelve channels show a layout through noise that hides a picture of
four: with 0.012 it is plain at t < 850 and still leaks at T, so words were hardly ever needed."""


LAYERS = (2, 1, 1)
"""Residual layers of each level of the encoder; the decoder has one more. Sprites get their details
at the finest level, where a layer more costs little."""


def make_unet(latent_channels: int, side: int) -> UNet2DConditionModel:
    """Build the untrained U-Net: words enter at 8 x 8 and 4 x 4, where the layout is decided."""
    return UNet2DConditionModel(
        sample_size=side,
        in_channels=latent_channels,
        out_channels=latent_channels,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(64, 128, 192),
        layers_per_block=LAYERS,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
    )


def make_scheduler() -> DDPMScheduler:
    """Stable Diffusion's noise schedule, ending in noise alone, with velocity prediction."""
    return DDPMScheduler(
        beta_start=0.00085,
        beta_end=BETA_END,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        clip_sample=False,
        timestep_spacing="trailing",
        steps_offset=1,
    )


class DenoisingTask(Task):
    """Denoise cached latents under their captions, and know what stands where.

    The text encoder stays as the reading stage left it. Trained along, it forgot relations (the
    share of the vertical offset's variance that its last token explains fell from 0.8 to 0.3).
    """

    def __init__(
        self,
        unet: UNet2DConditionModel,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        cache: CachedLatents,
        scaling_factor: float,
    ) -> None:
        super().__init__()
        self.unet = unet
        self.text_encoder = text_encoder.eval().requires_grad_(False)
        self.cache, self.scaling_factor = cache, scaling_factor
        self.num_items = len(cache.latents)
        self.noise_scheduler = make_scheduler()
        self.empty_ids = tokenize(tokenizer, [""])[0]
        self.heads = LayoutHeads(unet)

    def sample(self, item: int, random: SampleRandom) -> dict[str, Tensor]:
        """Draw noise, a timestep, and whether the caption is dropped."""
        latents = self.cache.latents[item].float() * self.scaling_factor
        dropped = random.numpy.rand() < CAPTION_DROPOUT
        level = TIMESTEP_CENTRE + TIMESTEP_SPREAD * torch.randn((), generator=random.torch)
        steps = self.noise_scheduler.config.num_train_timesteps
        return {
            "latents": latents,
            "input_ids": self.empty_ids if dropped else self.cache.input_ids[item],
            **{name: getattr(self.cache, name)[item] for name in LAYOUT},
            "noise": torch.randn(latents.shape, generator=random.torch),
            "timesteps": (level.sigmoid() * steps).long().clamp(max=steps - 1),
        }

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Mean squared error of the velocity plus the weighted losses of the layout."""
        latents, noise, timesteps = batch["latents"], batch["noise"], batch["timesteps"]
        noisy = self.noise_scheduler.add_noise(latents, noise, timesteps)
        target = self.noise_scheduler.get_velocity(latents, noise, timesteps)
        with torch.no_grad():
            states = self.text_encoder(batch["input_ids"]).last_hidden_state
        # In bfloat16 on a CPU the backward pass of the fused attention is slow.
        blocks = self.unet.up_blocks[:2]
        with keep_outputs(*blocks) as features, sdpa_kernel(SDPBackend.MATH):
            predicted = self.unet(noisy, timesteps, states, return_dict=False)[0]
        velocity = F.mse_loss(predicted.float(), target)
        terms = self.heads(*features, batch)
        layout = sum(WEIGHTS[name] * term for name, term in terms.items())
        return {"loss": velocity + layout, "velocity": velocity, **terms}

    def save(self, folder: Path, weights: Mapping[str, Tensor], step: int) -> None:
        """Write the U-Net as a Diffusers folder, float16."""
        save_model(self.unet, weights, "unet", folder)
