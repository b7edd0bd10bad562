"""Small pictures on several cores: each core computes its own pictures instead of a part of each.

At 16 x 16 latents an operation takes well under a millisecond, too short to be shared among cores.
"""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Lock

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from visionrel.pipelines.reversion.fast.resnet import Kernels
from visionrel.pipelines.reversion.fast.unet import FastUNet, can_be_fast


MOST_POSITIONS = 32 * 32
"""Positions of a latent up to which splitting pays."""


def make_fast(
    unet: UNet2DConditionModel, latents: Tensor, texts_per_picture: int
) -> "FastUNet | SplitUNet | None":
    """Chooses between one fast U-Net for all pictures, one per core, and none.

    Args:
        unet: The stock U-Net.
        latents: All pictures to draw, shape (pictures, channels, height, width).
        texts_per_picture: 2 with guidance, else 1.
    """
    if not can_be_fast(unet, latents):
        return None
    threads = min(torch.get_num_threads(), len(latents))
    small = latents.shape[-2:].numel() <= MOST_POSITIONS
    return SplitUNet(unet, threads, texts_per_picture) if small and threads > 1 else FastUNet(unet)


class SplitUNet:
    """As many :class:`FastUNet` as threads, each with its share of the pictures.

    Args:
        unet: One that `can_be_fast`; it is read, not changed.
        threads: How many.
        texts_per_picture: Rows of one picture: 2 with guidance, else 1.
    """

    def __init__(
        self, unet: UNet2DConditionModel, threads: int, texts_per_picture: int = 1
    ) -> None:
        self.texts_per_picture = texts_per_picture
        self.pool = ThreadPoolExecutor(threads)
        everybody, one_at_a_time = Barrier(threads), Lock()
        kernels: Kernels = {}

        def start(_: int) -> FastUNet:
            everybody.wait()
            with one_at_a_time:
                torch.set_num_threads(1)
            return FastUNet(unet, kernels)

        # Each thread is told once: every call empties oneDNN's cache, which then fills anew.
        own = torch.get_num_threads()
        self.parts = list(self.pool.map(start, range(threads)))
        torch.set_num_threads(own)

    def set_text(self, states: Tensor) -> None:
        """Computes keys and values of the texts, shape (texts x pictures, length, dim)."""
        shares = self._by_text(states).chunk(len(self.parts), dim=1)
        # A small batch may have fewer pictures than there are threads.
        self.used = self.parts[: len(shares)]
        for part, share in zip(self.used, shares, strict=True):
            part.set_text(share.flatten(0, 1))

    def set_timesteps(self, timesteps: Tensor) -> None:
        """Computes what the U-Net adds at each of the timesteps, shape (steps,)."""
        for part in self.parts:
            part.set_timesteps(timesteps)

    def __call__(self, latents: Tensor, step: int) -> Tensor:
        """Predicts for every text; latents have shape (pictures, channels, height, width)."""
        shares = latents.chunk(len(self.parts))
        found = self.pool.map(lambda part, share: part(share, step), self.used, shares)
        return torch.cat([self._by_text(rows) for rows in found], dim=1).flatten(0, 1)

    def _by_text(self, rows: Tensor) -> Tensor:
        return rows.unflatten(0, (self.texts_per_picture, -1))
