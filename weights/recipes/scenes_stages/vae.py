"""Trains the autoencoder: 64 x 64 x 3 pictures to 16 x 16 x 12 latents and back."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from visionrel.training import SampleRandom, Task
from visionrel.weights.recipes.scenes_stages.saving import save_model
from visionrel.worlds.scenes import NEUTRAL, PICTURE_SIDE, Scene, render, sample_scene


KL_WEIGHT = 2e-4
BUSY_SHARE = 0.4
"""Share of pictures with five sprites: most of a plain scene is ground, which is soon learned."""


def make_vae() -> AutoencoderKL:
    """Build the untrained autoencoder, 0.4 M parameters."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(8, 24, 64),
        layers_per_block=1,
        latent_channels=12,
        norm_num_groups=4,
        sample_size=PICTURE_SIDE,
        mid_block_add_attention=False,
    )


class ReconstructionTask(Task):
    """Encode and decode random scenes.

    The loss is absolute and squared error of pixels, absolute error of their differences along
    both axes (edges), and a small Kullback-Leibler term.

    Args:
        vae: Trained in place.
        encoder_frozen: Train the decoder alone, so that latents cached before stay valid.
    """

    num_items = 1_000_000

    def __init__(self, vae: AutoencoderKL, encoder_frozen: bool = False) -> None:
        super().__init__()
        self.vae = vae.to(memory_format=torch.channels_last)
        self.encoder_frozen = encoder_frozen
        for part in (vae.encoder, vae.quant_conv):
            part.requires_grad_(not encoder_frozen)

    def sample(self, item: int, random: SampleRandom) -> dict[str, Tensor]:
        """Draw a picture `(3, 64, 64)` in [-1, 1]."""
        rng = random.generator
        scene = _busy_scene(rng) if rng.random() < BUSY_SHARE else sample_scene(rng)[0]
        pixels = torch.from_numpy(np.array(render(scene))).permute(2, 0, 1)
        return {"pictures": pixels.float().div(127.5).sub(1.0)}

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Reconstruction, edge and Kullback-Leibler terms."""
        pictures = batch["pictures"].contiguous(memory_format=torch.channels_last)
        posterior = self.vae.encode(pictures).latent_dist
        latents = posterior.mean if self.encoder_frozen else posterior.sample()
        error = self.vae.decode(latents, return_dict=False)[0].float() - pictures
        pixels = 2 * error.abs().mean() + 2 * error.square().mean()
        edges = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
        kl = 0.5 * (posterior.mean.square() + posterior.var - 1 - posterior.logvar).mean()
        psnr = -10 * (error.square().mean() / 4).log10()
        terms = {"pixels": pixels, "edges": edges, "kl": kl, "psnr": psnr}
        return {"loss": pixels + edges + KL_WEIGHT * kl, **terms}

    def save(self, folder: Path, weights: Mapping[str, Tensor], step: int) -> None:
        """Write the autoencoder as a Diffusers folder, float16."""
        save_model(self.vae, weights, "vae", folder)


def _busy_scene(rng: np.random.Generator) -> Scene:
    scenes = [sample_scene(rng, NEUTRAL)[0] for _ in range(5)]
    items = [replace(scene.objects[0], depth=float(k)) for k, scene in enumerate(scenes)]
    return Scene(tuple(items), scenes[0].ground, scenes[0].ground_name)
