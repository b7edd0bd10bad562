"""Reads the empty ground of a clip: its colour, and the floor or slope drawn on it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from visionrel.worlds.motion.scene import SHADE


_SHADE_ERROR = 0.12
_FLAT = 0.06


@dataclass(frozen=True, eq=False)
class Backdrop:
    """The empty ground of a clip.

    Attributes:
        ground: RGB in [0, 1], `(3,)`.
        floor: height of the floor line at the left and the right edge, None without a floor.
        picture: the empty ground drawn, `(3, side, side)`.
    """

    ground: Tensor
    floor: tuple[float, float] | None
    picture: Tensor


def read_backdrop(clip: Tensor) -> Backdrop:
    """Estimate the empty ground of a clip `(frames, 3, side, side)` in [0, 1]."""
    side = clip.shape[-1]
    # Objects cover far less than half of the upper half, and no floor reaches it.
    # frames, channels, height, width -> channels, everything else
    ground = clip[:, :, : side // 2].transpose(0, 1).flatten(1).median(dim=1).values
    shade = ground * SHADE
    still = clip.median(dim=0).values
    to_shade, to_ground = ((still - c[:, None, None]).norm(dim=0) for c in (shade, ground))
    is_floor = (to_shade < to_ground) & (to_shade < _SHADE_ERROR)
    # How many pixels of each column are floor without a gap from the bottom.
    heights = is_floor.flip(0).long().cumprod(dim=0).sum(dim=0).float()
    picture = ground[:, None, None].expand(3, side, side).clone()
    if (heights > 0).float().mean() < 0.5:
        return Backdrop(ground, None, picture)
    left, right = _fit_line(1.0 - heights / side)
    line = left + (right - left) * (torch.arange(side) + 0.5) / side
    below = (torch.arange(side)[:, None] + 0.5) / side > line
    return Backdrop(
        ground, (float(left), float(right)), torch.where(below, shade[:, None, None], picture)
    )


def _fit_line(tops: Tensor) -> tuple[Tensor, Tensor]:
    """Fit a line to the floor's top per column by medians; return its ends."""
    columns = (torch.arange(len(tops)) + 0.5) / len(tops)
    first, second = torch.triu_indices(len(tops), len(tops), offset=len(tops) // 4)
    rise = ((tops[second] - tops[first]) / (columns[second] - columns[first])).median()
    if abs(rise) < _FLAT:
        rise = torch.zeros(())
    start = (tops - rise * columns).median()
    return start, start + rise
