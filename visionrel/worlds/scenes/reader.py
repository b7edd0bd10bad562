"""The network behind the judge: finds sprites and reads their pose from 64 x 64 pictures.

A centre-point detector (Zhou et al. 2019, "Objects as Points", arXiv 1904.07850) with one addition:
every class has its own pose channels, so that two sprites with one centre ("inside") do not share
a reading.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from visionrel.worlds.scenes.scene import OBJECTS, TINTS


STRIDE = 4
POSE_CHANNELS = {
    "offset": 2,  # centre minus cell centre, in cells, (x, y)
    "size": 1,  # logarithm of the sprite's side in picture sides
    "rotation": 2,  # cosine and sine
    "flip": 1,  # logit: mirrored
    "tint": len(TINTS) + 1,  # logits: own colours, then TINTS in order
}
"""Pose channels of each class and their widths."""


class _Block(nn.Module):
    """Two convolutions around a skip connection."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, features: Tensor) -> Tensor:
        return torch.relu(features + self.layers(features))


def _down(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class SceneReader(nn.Module):
    """Pictures `(N, 3, 64, 64)` in [-1, 1] to heat maps `(N, classes, 16, 16)` and poses.

    Poses are `(N, classes, channels, 16, 16)`; `POSE_CHANNELS` names the channels.
    """

    def __init__(self, widths: tuple[int, int, int, int] = (24, 64, 96, 128)) -> None:
        super().__init__()
        stem, fine, middle, coarse = widths
        self.fine = nn.Sequential(_down(3, stem), _down(stem, fine), _Block(fine))
        self.middle = nn.Sequential(_down(fine, middle), _Block(middle), _Block(middle))
        self.coarse = nn.Sequential(_down(middle, coarse), _Block(coarse), _Block(coarse))
        self.from_coarse = nn.Conv2d(coarse, middle, 1)
        self.from_middle = nn.Conv2d(middle, fine, 1)
        self.merge_middle, self.merge_fine = _Block(middle), _Block(fine)
        self.trunk = nn.Sequential(nn.Conv2d(fine, 128, 3, padding=1), nn.ReLU())
        self.heat = nn.Conv2d(128, len(OBJECTS), 1)
        self.pose = nn.Conv2d(128, len(OBJECTS) * sum(POSE_CHANNELS.values()), 1)
        # Most cells are empty: start from a probability of 0.02 (the focal loss's usual prior).
        nn.init.constant_(self.heat.bias, -3.9)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Compute heat logits and poses."""
        fine = self.fine(pictures)
        middle = self.middle(fine)
        coarse = self.from_coarse(self.coarse(middle))
        middle = self.merge_middle(middle + nn.functional.interpolate(coarse, scale_factor=2.0))
        lifted = nn.functional.interpolate(self.from_middle(middle), scale_factor=2.0)
        features = self.trunk(self.merge_fine(fine + lifted))
        pose = self.pose(features)
        return self.heat(features), pose.unflatten(1, (len(OBJECTS), -1))


def split_pose(pose: Tensor, dim: int) -> dict[str, Tensor]:
    """Split the channel axis `dim` of poses into `POSE_CHANNELS`."""
    parts = pose.split(tuple(POSE_CHANNELS.values()), dim)
    return dict(zip(POSE_CHANNELS, parts, strict=True))
