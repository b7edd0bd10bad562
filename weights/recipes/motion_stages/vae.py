"""Trains the autoencoder: 17 frames of 48 x 48 x 3 to 5 latent frames of 12 x 12 x 12 and back."""

from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers import AutoencoderKLCogVideoX
from torch import Tensor, nn

from visionrel.training import SampleRandom, Task
from visionrel.weights.recipes.motion_stages.clips import clip_tensor, draw_any_motion
from visionrel.weights.recipes.scenes_stages.saving import save_model
from visionrel.worlds.motion import CLIP_SIDE, FRAMES


KL_WEIGHT = 2e-4
MOTION_WEIGHT = 4.0
"""Pixels that change between frames count this much more: most of a clip is still ground."""
PIECE = 9
"""Frames that the stock model encodes in one go at the start of a clip."""
PIECE_SIDE = 24
"""Side of the pieces around objects: half of the picture, as large as the largest objects."""


def make_vae(
    channels: tuple[int, ...] = (8, 16, 32), latent_channels: int = 12
) -> AutoencoderKLCogVideoX:
    """Build the untrained autoencoder: a quarter of the size, a quarter of the frames."""
    return AutoencoderKLCogVideoX(
        down_block_types=("CogVideoXDownBlock3D",) * len(channels),
        up_block_types=("CogVideoXUpBlock3D",) * len(channels),
        block_out_channels=channels,
        latent_channels=latent_channels,
        layers_per_block=1,
        norm_num_groups=4,
        temporal_compression_ratio=4,
        sample_height=CLIP_SIDE,
        sample_width=CLIP_SIDE,
    )


class ReconstructionTask(Task):
    """Encode and decode random clips.

    The loss is absolute and squared error of pixels, absolute error of their differences along
    height, width and time (edges and steps), and a small Kullback-Leibler term. Clips go through in
    the pieces of the stock model, so that its normalisation sees the same frames as later; as
    frames of a clip look alike, a piece of each of twice as many clips teaches more.

    Args:
        vae: Trained in place.
        frames: Consecutive frames of a clip that are taken; `PIECE` or all.
        side: Side of the square that is taken, around one of the objects; `CLIP_SIDE` is all.
        encoder_frozen: Train the decoder alone, so that latents cached before stay valid.
    """

    num_items = 1_000_000

    def __init__(
        self,
        vae: AutoencoderKLCogVideoX,
        frames: int = FRAMES,
        side: int = CLIP_SIDE,
        encoder_frozen: bool = False,
    ) -> None:
        super().__init__()
        self.vae, self.frames, self.side = vae, frames, side
        self.encoder_frozen = encoder_frozen
        vae.encoder.requires_grad_(not encoder_frozen)
        _arrange(vae)

    def sample(self, item: int, random: SampleRandom) -> dict[str, Tensor]:
        """Draw a clip `(3, frames, side, side)` in [-1, 1]."""
        rng = random.generator
        scene = draw_any_motion(rng)
        first = rng.integers(FRAMES - self.frames + 1)
        frames = slice(first, first + self.frames)
        mover = rng.integers(len(scene.movers))
        x, y = scene.trajectories()[mover, frames].mean(0) * CLIP_SIDE
        left, top = (
            round(min(max(centre - self.side / 2, 0), CLIP_SIDE - self.side)) for centre in (x, y)
        )
        clip = clip_tensor(scene)[:, frames]
        return {"clips": clip[..., top : top + self.side, left : left + self.side]}

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Reconstruction, edge and Kullback-Leibler terms."""
        clips = batch["clips"].contiguous(memory_format=torch.channels_last_3d)
        posterior = self.vae.encode(clips).latent_dist
        latents = posterior.mean if self.encoder_frozen else posterior.sample()
        error = self.vae.decode(latents, return_dict=False)[0].float() - clips
        weight = 1 + MOTION_WEIGHT * _moving(clips)
        pixels = 2 * (weight * (error.abs() + error.square())).mean()
        edges = sum((error.diff(dim=axis)).abs().mean() for axis in (2, 3, 4))
        kl = 0.5 * (posterior.mean.square() + posterior.var - 1 - posterior.logvar).mean()
        psnr = -10 * (error.square().mean() / 4).log10()
        terms = {"pixels": pixels, "edges": edges, "kl": kl, "psnr": psnr}
        return {"loss": pixels + edges + KL_WEIGHT * kl, **terms}

    def save(self, folder: Path, weights: Mapping[str, Tensor], step: int) -> None:
        """Write the autoencoder as a Diffusers folder, float16."""
        save_model(self.vae, weights, "vae", folder)


def _moving(clips: Tensor) -> Tensor:
    """Mark pixels that differ from the next or the last frame, `(B, 1, frames, h, w)` of 0, 1."""
    steps = (clips.diff(dim=2).abs().amax(1, keepdim=True) > 0.1).float()
    first, last = steps[:, :, :1], steps[:, :, -1:]
    return torch.maximum(torch.cat([first, steps], 2), torch.cat([steps, last], 2))


def _arrange(vae: AutoencoderKLCogVideoX) -> None:
    """Put the channels of all kernels last: with bfloat16 a CPU trains 1.4 times as fast."""
    layouts = {nn.Conv3d: torch.channels_last_3d, nn.Conv2d: torch.channels_last}
    for module in vae.modules():
        for kind, layout in layouts.items():
            if isinstance(module, kind):
                module.to(memory_format=layout)
