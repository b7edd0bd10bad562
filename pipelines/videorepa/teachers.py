"""Frozen encoders whose token relations the generator learns, behind one interface.

All of them take clips in [-1, 1] and give tokens in the order time, row, column.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel, VideoMAEModel, VJEPA2Model
from transformers.models.videomae.modeling_videomae import get_sinusoid_encoding_table

from visionrel.errors import InputError
from visionrel.pipelines.videorepa.student import TokenGrid


IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Clips from this height on are shrunk to a third before the teacher sees them, as the authors do.
_LARGE, _SHRINK = 256, 3


class Teacher(nn.Module, ABC):
    """A frozen encoder in evaluation mode.

    Args:
        model: The encoder.
        mean: Of red, green and blue, which the encoder was trained with.
        std: Their deviations.
    """

    # Whether it sees frame 0 and gives one token map per latent frame.
    sees_first_frame = False

    def __init__(
        self,
        model: PreTrainedModel,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        self.model = model.eval().requires_grad_(False)
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    @property
    def width(self) -> int:
        """Of its tokens."""
        return self.model.config.hidden_size

    @abstractmethod
    def grid(self, frames: int, height: int, width: int) -> TokenGrid:
        """Its token grid for clips of 4k + 1 frames."""

    @abstractmethod
    def encode(self, pixels: Tensor, grid: TokenGrid) -> Tensor:
        """Tokens of shape (batch, grid.tokens, width) for normalised frames."""

    @abstractmethod
    def prepare(self, frames: Tensor) -> Tensor:
        """The frames it sees, at its size."""

    @torch.no_grad()
    def forward(self, frames: Tensor) -> Tensor:
        """Computes the tokens of clips.

        Args:
            frames: In [-1, 1], shape (batch, frames, 3, height, width), 4k + 1 frames.

        Returns:
            float32, shape (batch, grid.frames, grid.positions, width).
        """
        count, _, height, width = frames.shape[1:]
        grid = self.grid(count, height, width)
        with torch.autocast(frames.device.type, enabled=False):
            pixels = ((self.prepare(frames) + 1) / 2 - self.mean) / self.std
            tokens = self.encode(pixels.to(self.model.dtype), grid)
        return tokens.float().unflatten(1, (grid.frames, grid.positions))


class TubeletTeacher(Teacher):
    """Sees the frames but the first, in tubelets of two, a third of the size if they are large."""

    def grid(self, frames: int, height: int, width: int) -> TokenGrid:
        """Tubelets, rows and columns."""
        patch, tubelet = self.model.config.patch_size, self.model.config.tubelet_size
        shrink = shrink_of(height)
        rows, columns = (side // shrink // patch for side in (height, width))
        found = TokenGrid((frames - 1) // tubelet, rows, columns)
        if not found.tokens:
            raise InputError(
                f"Clips of {frames} frames of {height} x {width} give this teacher no token; it "
                f"needs {tubelet + 1} frames and {patch * shrink} pixels at least."
            )
        return found

    def prepare(self, frames: Tensor) -> Tensor:
        """Drops frame 0, cuts off what fills no tubelet, and shrinks to whole patches.

        Where no whole patches come out, the picture is fitted to them and not cut: the student's
        tokens are those of the whole picture.
        """
        config = self.model.config
        time = (frames.shape[1] - 1) // config.tubelet_size * config.tubelet_size
        height, width = frames.shape[-2:]
        shrink, patch = shrink_of(height), config.patch_size
        frames = frames[:, 1 : 1 + time]
        if height % (shrink * patch) == 0 and width % (shrink * patch) == 0:
            return shrink_frames(frames, shrink)
        size = [side // shrink // patch * patch for side in (height, width)]
        flat = F.interpolate(frames.flatten(0, 1), size=size, mode="bicubic")
        return flat.unflatten(0, frames.shape[:2])


class VideoMAETeacher(TubeletTeacher):
    """VideoMAE and VideoMAEv2, without their final norm; the authors' default is v2-B.

    Their position table is a fixed sine over all places of the training size. As in the authors'
    code it is resized to the clip, bicubic in space and then linear in time, not computed anew.
    """

    def __init__(
        self,
        model: VideoMAEModel,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        super().__init__(model, mean, std)
        model.layernorm = None

    @property
    def native_grid(self) -> TokenGrid:
        """The grid of the size that it was trained at."""
        config = self.model.config
        sizes = _pair(config.image_size)
        height, width = (size // config.patch_size for size in sizes)
        return TokenGrid(config.num_frames // config.tubelet_size, height, width)

    @cached_property
    def table(self) -> Tensor:
        """Positions at the native grid, shape (1, tokens, width)."""
        return get_sinusoid_encoding_table(self.native_grid.tokens, self.width)

    def encode(self, pixels: Tensor, grid: TokenGrid) -> Tensor:
        """The residual stream after the last block."""
        embeddings = self.model.embeddings
        embeddings.patch_embeddings.image_size = tuple(pixels.shape[-2:])
        embeddings.position_embeddings = resize_positions(self.table, self.native_grid, grid)
        return self.model(pixels).last_hidden_state


class VJEPA2Teacher(TubeletTeacher):
    """V-JEPA 2's encoder with its final norm taken out.

    Transformers derives rotary positions from the square training size; here they are those of
    the clip's own grid.
    """

    def __init__(
        self,
        model: VJEPA2Model,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        super().__init__(model, mean, std)
        model.encoder.layernorm = nn.Identity()

    def encode(self, pixels: Tensor, grid: TokenGrid) -> Tensor:
        """The residual stream after the last block."""
        sides = (grid.frames, grid.height, grid.width)
        axes = [torch.arange(side, device=pixels.device) for side in sides]
        places = tuple(axis.flatten() for axis in torch.meshgrid(*axes, indexing="ij"))
        for layer in self.model.encoder.layer:
            layer.attention.get_position_ids = lambda _x, masks=None: places
        return self.model.encoder(pixels).last_hidden_state


class DINOv2Teacher(Teacher):
    """DINOv2 on single frames, pooled to the latent frames; for token alignment only (REPA)."""

    sees_first_frame = True
    # Pixels under one student token, which one patch shall cover: 8 of the autoencoder times 2.
    cell = 16
    # One latent frame of CogVideoX stands for this many frames after the first.
    _stride = 4

    def grid(self, frames: int, height: int, width: int) -> TokenGrid:
        """The student's own grid: one map per latent frame."""
        return TokenGrid((frames - 1) // self._stride + 1, height // self.cell, width // self.cell)

    def prepare(self, frames: Tensor) -> Tensor:
        """Resizes so that a patch covers a student token: 480 x 720 becomes 420 x 630."""
        patch = self.model.config.patch_size
        size = [side // self.cell * patch for side in frames.shape[-2:]]
        flat = F.interpolate(frames.flatten(0, 1), size=size, mode="bicubic")
        return flat.unflatten(0, frames.shape[:2])

    def encode(self, pixels: Tensor, grid: TokenGrid) -> Tensor:
        """Normed patch tokens; frame 0 alone, the others in means of four."""
        states = self.model(pixels.flatten(0, 1)).last_hidden_state[:, 1:]
        maps = states.unflatten(0, pixels.shape[:2])
        means = maps[:, 1:].unflatten(1, (grid.frames - 1, self._stride)).mean(2)
        return torch.cat([maps[:, :1], means], dim=1).flatten(1, 2)


def shrink_of(height: int) -> int:
    """By how much clips of a height are shrunk for a teacher of tubelets."""
    return _SHRINK if height >= _LARGE else 1


def shrink_frames(frames: Tensor, factor: int) -> Tensor:
    """Shrinks frames, bicubic without antialiasing, as the authors do.

    Where an odd factor divides the size, the kernel meets single pixels with weight 1; these are
    picked, which gives the same bits.

    Args:
        frames: Shape (batch, frames, channels, height, width).
        factor: Odd, and divides height and width.
    """
    return frames[..., factor // 2 :: factor, factor // 2 :: factor]


def resize_positions(table: Tensor, native: TokenGrid, grid: TokenGrid) -> Tensor:
    """Resizes a position table, bicubic in each frame and then linear in time.

    Args:
        table: Shape (1, native.tokens, width).
        native: Its grid.
        grid: The wanted one.

    Returns:
        Shape (1, grid.tokens, width).
    """
    if native == grid:
        return table
    maps = table.unflatten(1, (native.frames, native.height, native.width))[0].permute(0, 3, 1, 2)
    size = (grid.height, grid.width)
    maps = F.interpolate(maps, size=size, mode="bicubic", align_corners=False)
    volume = maps.transpose(0, 1)[None]  # 1, width, frames, rows, columns
    size = (grid.frames, *size)
    volume = F.interpolate(volume, size=size, mode="trilinear", align_corners=False)
    return volume.flatten(2).mT


def _pair(size: int | Sequence[int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else tuple(size)
