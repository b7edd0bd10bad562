"""Small pictures of every object of the world at several sizes and turns."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from visionrel.worlds.motion.rendering import load_appearance, proportions
from visionrel.worlds.motion.scene import BOXES


READING_SIDE = 24
"""Side of the frames that are read, in pixels."""

KERNEL = 9
"""Side of a template, in pixels; odd."""

_FINE = 8
_USUAL_SIZES = (0.205, 0.235, 0.265, 0.295)
_TURNING_SIZES = (0.155, 0.185, 0.215, 0.245, 0.275)
_TURNS = {"ball": (0.0, 45.0, 90.0, 135.0), **dict.fromkeys(BOXES, (0.0, 30.0, 60.0))}


@dataclass(frozen=True, eq=False)
class Templates:
    """Templates of one appearance.

    Attributes:
        size: longer side of each in picture sides, `(T,)`.
        cover: what share of each pixel it covers, `(T, K, K)`.
        colour: colour in [0, 1] times cover, `(T, 3, K, K)`.
        coarse: indices of the few that find an object before all of them fit it.
    """

    size: Tensor
    cover: Tensor
    colour: Tensor
    coarse: Tensor


def soften(maps: Tensor) -> Tensor:
    """Blur maps `(N, C, h, w)` by a pixel.

    Done to frames and templates alike, so that shifts of less than a pixel cost little.
    """
    weights = torch.tensor([1.0, 2.0, 1.0]) / 4.0
    kernel = torch.outer(weights, weights).expand(maps.shape[1], 1, 3, 3)
    padded = functional.pad(maps, [1] * 4, mode="replicate")
    return functional.conv2d(padded, kernel, groups=maps.shape[1])


@cache
def load_templates(name: str) -> Templates:
    """Return the templates of one appearance."""
    turning = name in _TURNS
    views = [(False, turn) for turn in _TURNS[name]] if turning else [(False, 0.0), (True, 0.0)]
    sizes = _TURNING_SIZES if turning else _USUAL_SIZES
    layers = np.stack([_draw(name, size, *view) for size in sizes for view in views])
    layers = soften(torch.from_numpy(layers).permute(0, 3, 1, 2))
    size = torch.tensor(sizes).repeat_interleave(len(views))
    coarse = torch.isin(size, torch.tensor(sizes)[[1, 3] if turning else [1]])
    return Templates(size, layers[:, 3], layers[:, :3], torch.nonzero(coarse)[:, 0])


def _draw(name: str, size: float, faces_right: bool, turn: float) -> np.ndarray:
    """Draw an appearance in the middle of a kernel: premultiplied RGBA `(K, K, 4)` in [0, 1]."""
    pixels = size * READING_SIDE * _FINE
    width, height = (max(1, round(share * pixels)) for share in proportions(name))
    sprite = load_appearance(name, faces_right).resize((width, height))
    sprite = sprite.rotate(turn, Image.Resampling.BILINEAR, expand=True)
    canvas = Image.new("RGBA", (KERNEL * _FINE, KERNEL * _FINE))
    canvas.paste(sprite, ((canvas.width - sprite.width) // 2, (canvas.height - sprite.height) // 2))
    layer = np.asarray(canvas, np.float32) / 255.0
    layer[..., :3] *= layer[..., 3:]
    # Average over the fine pixels of each pixel: K, fine, K, fine, channels.
    return layer.reshape(KERNEL, _FINE, KERNEL, _FINE, 4).mean(axis=(1, 3))
