"""The student's side: hidden tokens of one block, projected and brought to the teacher's grid."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import CogVideoXTransformer3DModel
from torch import Tensor, nn

from visionrel.errors import InputError


HIDDEN_WIDTH = 2048


@dataclass(frozen=True)
class TokenGrid:
    """Places of a clip's tokens, in this order.

    Attributes:
        frames: Latent frames, or tubelets of a teacher.
        height: Rows.
        width: Columns.
    """

    frames: int
    height: int
    width: int

    @property
    def positions(self) -> int:
        """Tokens per frame."""
        return self.height * self.width

    @property
    def tokens(self) -> int:
        """All tokens of a clip."""
        return self.frames * self.positions


class BlockTap:
    """Keeps the video tokens that one transformer block gives, without the text tokens.

    Args:
        transformer: A CogVideoX transformer.
        align_layer: Number of the block, counted from 1.

    Raises:
        InputError: If there is no such block.
    """

    def __init__(self, transformer: CogVideoXTransformer3DModel, align_layer: int) -> None:
        blocks = transformer.transformer_blocks
        if not 1 <= align_layer <= len(blocks):
            raise InputError(
                f"`align_layer` must lie in [1, {len(blocks)}] for this base, got {align_layer}; "
                "blocks are counted from 1."
            )
        self._tokens: Tensor | None = None
        self._handle = blocks[align_layer - 1].register_forward_hook(self._keep)

    def _keep(self, _block: nn.Module, _inputs: Any, outputs: tuple[Tensor, Tensor]) -> None:
        # Gradient checkpointing runs the block again in the backward pass: the first call counts.
        if self._tokens is None:
            self._tokens = outputs[0]

    def clear(self) -> None:
        """Makes ready for the next forward pass."""
        self._tokens = None

    def take(self) -> Tensor:
        """The tokens of the forward pass since `clear`, shape (batch, tokens, width)."""
        if self._tokens is None:
            raise RuntimeError("The block has not run since `clear`.")
        return self._tokens

    def remove(self) -> None:
        """Leaves the transformer as it was."""
        self._handle.remove()


class RelationHead(nn.Module):
    """Projects the student's tokens and brings them to the teacher's grid; dropped after training.

    A teacher of tubelets does not see frame 0, which has a latent frame to itself: that one is
    left out and the others are doubled in time. The authors double first and then shrink the
    pictures with a convolution. The doubling's weights sum to 1, so the two commute exactly, and
    the convolution comes first here, on half the frames.

    Args:
        width: Of the student's tokens.
        teacher_width: Of the teacher's tokens.
        shrink: Side in student tokens of one teacher token; None takes the student's grid as it is,
            frame 0 included, as the authors do for a teacher of single frames.
        hidden_width: Of the projector.
    """

    def __init__(
        self,
        width: int,
        teacher_width: int,
        shrink: int | None = 3,
        hidden_width: int = HIDDEN_WIDTH,
    ) -> None:
        super().__init__()
        self.shrink = shrink
        self.projector = nn.Sequential(
            nn.Linear(width, hidden_width),
            nn.SiLU(),
            nn.Linear(hidden_width, hidden_width),
            nn.SiLU(),
            nn.Linear(hidden_width, teacher_width),
        )
        if shrink is not None:
            self.downsampler = nn.Conv2d(teacher_width, teacher_width, shrink, stride=shrink)

    def forward(self, tokens: Tensor, grid: TokenGrid, target: TokenGrid) -> Tensor:
        """Computes what the loss compares with the teacher.

        Args:
            tokens: Of the block, shape (batch, grid.tokens, width).
            grid: Their places.
            target: The teacher's grid.

        Returns:
            Shape (batch, target.frames, target.positions, teacher_width).
        """
        if self.shrink is None:
            return self.projector(tokens).unflatten(1, (grid.frames, grid.positions))
        kept = tokens.unflatten(1, (grid.frames, grid.height, grid.width))[:, 1:]
        maps = self.projector(kept).permute(0, 1, 4, 2, 3)  # batch, frames, width, rows, columns
        return resample_time(self._shrink(maps, target), target.frames).flatten(3).mT

    def _shrink(self, maps: Tensor, target: TokenGrid) -> Tensor:
        size = (target.height * self.shrink, target.width * self.shrink)
        flat = maps.flatten(0, 1)
        if flat.shape[-2:] != size:
            flat = F.interpolate(flat, size=size, mode="bilinear", align_corners=False)
        return self.downsampler(flat).unflatten(0, maps.shape[:2])


def resample_time(maps: Tensor, frames: int) -> Tensor:
    """Resamples linearly along time; for twice the frames the weights are 1/4 and 3/4.

    Args:
        maps: Shape (batch, frames, channels, height, width).
        frames: Wanted number of frames.
    """
    if maps.shape[1] == frames:
        return maps
    rows = maps.flatten(2).mT  # batch, values, frames
    rows = F.interpolate(rows, size=frames, mode="linear", align_corners=False)
    return rows.mT.unflatten(2, maps.shape[2:])


def student_grid(
    transformer: CogVideoXTransformer3DModel, latents: tuple[int, int, int]
) -> TokenGrid:
    """The transformer's token grid for latents of (frames, height, width)."""
    patch = transformer.config.patch_size
    return TokenGrid(latents[0], latents[1] // patch, latents[2] // patch)


def choose_shrink(grid: TokenGrid, target: TokenGrid) -> int:
    """Side in student tokens of one teacher token, to the nearest whole number."""
    return max(1, round((grid.positions / target.positions) ** 0.5))


def default_align_layer(num_layers: int) -> int:
    """The authors' block 18 in models of 30 and 42 blocks; the same share of a smaller one."""
    return 18 if num_layers >= 30 else max(1, round(0.6 * num_layers))


def make_head(
    transformer: CogVideoXTransformer3DModel,
    teacher_width: int,
    shrink: int | None,
    seed: int | None,
    hidden_width: int = HIDDEN_WIDTH,
) -> RelationHead:
    """A head with random weights; the global random state stays as it was."""
    config = transformer.config
    width = config.num_attention_heads * config.attention_head_dim
    with seeded(seed):
        return RelationHead(width, teacher_width, shrink, hidden_width)


@contextlib.contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Draws weights on the CPU from a seed and leaves the global random states as they were."""
    with torch.random.fork_rng(devices=[]):
        if seed is not None:
            # `torch.manual_seed` would seed the GPUs too, which are not put back.
            torch.default_generator.manual_seed(seed)
        yield
