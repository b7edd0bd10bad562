"""Trains the network behind the judge on rendered scenes of its own."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from visionrel.artifacts import save_tensors
from visionrel.training import SampleRandom, Task
from visionrel.worlds.scenes import (
    HELD_OUT,
    NEUTRAL,
    OBJECTS,
    PICTURE_SIDE,
    RELATIONS,
    TINTS,
    Scene,
    render,
    sample_scene,
)
from visionrel.worlds.scenes.reader import STRIDE, SceneReader, split_pose


CELLS = PICTURE_SIDE // STRIDE
_MOST = 4
_UNKNOWN = -1.0
_HARD = [
    *(
        relation
        for relation in RELATIONS.values()
        if relation.front or relation.subject_turn != "any"
    ),
    *HELD_OUT.values(),
]
"""Relations with sprites that cover one another or are turned."""
_HARDEST = [RELATIONS["inside"], RELATIONS["around"]]
"""One sprite lies wholly on another."""


class ReadingBackTask(Task):
    """Find the sprites of degraded pictures and read their pose.

    Generated pictures are softer and noisier than rendered ones, so half of the pictures are
    blurred and all get noise and a colour cast. The labels stay those of the clean scene.
    """

    num_items = 1_000_000

    def __init__(self, reader: SceneReader) -> None:
        super().__init__()
        self.reader = reader.to(memory_format=torch.channels_last)

    def sample(self, item: int, random: SampleRandom) -> dict[str, Tensor]:
        """Draw a scene: spoken, held out, or up to four sprites anywhere."""
        rng = random.generator
        scene = _any_scene(rng)
        pixels = torch.from_numpy(np.array(render(scene))).permute(2, 0, 1)
        picture = pixels.float().div(127.5).sub(1.0)
        return {"pictures": degrade(picture, random.torch), "labels": label_scene(scene)}

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Focal loss of the heat maps plus the pose losses at and around the centres."""
        pictures = batch["pictures"].contiguous(memory_format=torch.channels_last)
        heat, pose = self.reader(pictures)
        picture, place = (batch["labels"][..., 0] >= 0).nonzero(as_tuple=True)
        labels = batch["labels"][picture, place]
        heat_loss = _heat_loss(heat, picture, labels)
        pose_loss = sum(
            (1.0 if dx == dy == 0 else 0.15) * _pose_loss(pose, picture, labels, dx, dy)
            for dx, dy in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))
        )
        return {"loss": heat_loss + pose_loss, "heat": heat_loss, "pose": pose_loss}

    def save(self, folder: Path, weights: Mapping[str, Tensor], step: int) -> None:
        """Write the network with its running statistics, float16."""
        prefix = "reader."
        state = dict(self.reader.state_dict())
        state |= {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
        tensors = {
            name: value.half().contiguous() if value.is_floating_point() else value
            for name, value in state.items()
        }
        save_tensors(folder / "model.safetensors", tensors, {"step": str(step)})

    def extra_state(self) -> dict[str, Tensor]:
        """Running statistics of the normalisation layers."""
        return {name: value.clone() for name, value in self.reader.named_buffers()}

    def load_extra_state(self, state: Mapping[str, Tensor]) -> None:
        """Take the running statistics back."""
        self.reader.load_state_dict(dict(state), strict=False)


def _any_scene(rng: np.random.Generator) -> Scene:
    kind = rng.random()
    if kind < 0.25:
        return sample_scene(rng)[0]
    if kind < 0.55:
        return sample_scene(rng, _HARD[rng.integers(len(_HARD))])[0]
    if kind < 0.85:
        return sample_scene(rng, _HARDEST[rng.integers(len(_HARDEST))])[0]
    drawn = [sample_scene(rng, NEUTRAL)[0] for _ in range(5)]
    items = [
        replace(scene.objects[0], depth=float(depth))
        for depth, scene in enumerate(drawn[: rng.integers(0, _MOST + 1)])
    ]
    return Scene(tuple(items), drawn[-1].ground, drawn[-1].ground_name)


def label_scene(scene: Scene) -> Tensor:
    """Return `(4, 8)`: class, x, y in cells, log size, cosine, sine, flip, tint; or -1."""
    labels = torch.full((_MOST, 8), _UNKNOWN)
    tints = list(TINTS)
    for row, item in enumerate(scene.objects[:_MOST]):
        angle = math.radians(item.rotation)
        labels[row] = torch.tensor(
            [
                *(OBJECTS.index(item.name), item.x * CELLS, item.y * CELLS, math.log(item.size)),
                *(math.cos(angle), math.sin(angle), item.flip),
                0 if item.tint is None else tints.index(item.tint) + 1,
            ]
        )
    return labels


def degrade(picture: Tensor, generator: torch.Generator) -> Tensor:
    """Soften a picture `(3, H, W)` and add noise, a colour cast and stains."""

    def uniform() -> float:
        return torch.rand((), generator=generator).item()

    def noise(side: int) -> Tensor:
        return torch.randn((3, side, side), generator=generator)

    side = picture.shape[-1]
    if uniform() < 0.35:
        small = F.interpolate(picture[None], (int(28 + 32 * uniform()),) * 2, mode="area")
        picture = F.interpolate(small, (side, side), mode="bilinear")[0]
    picture = picture * (0.8 + 0.4 * uniform()) + 0.08 * noise(1) + 0.06 * uniform() * noise(side)
    if uniform() < 0.4:
        stains = F.interpolate(noise(CELLS)[None], (side, side), mode="bilinear")[0]
        picture = picture + 0.15 * uniform() * stains
    return picture


def _cells(labels: Tensor) -> tuple[Tensor, Tensor]:
    return tuple(labels[:, k].clamp(0, CELLS - 0.01).long() for k in (1, 2))


def _heat_loss(heat: Tensor, picture: Tensor, labels: Tensor) -> Tensor:
    """Penalty-reduced focal loss ("Objects as Points", equation 1)."""
    column, row = _cells(labels)
    axis = torch.arange(float(CELLS), device=heat.device)
    squares = (axis[None, None] - column[:, None, None]) ** 2 + (
        axis[None, :, None] - row[:, None, None]
    ) ** 2
    bumps = torch.exp(-squares / (2 * 0.7**2)).flatten(1)
    target = torch.zeros(heat.shape, device=heat.device).flatten(2).flatten(0, 1)
    target.index_reduce_(0, picture * len(OBJECTS) + labels[:, 0].long(), bumps, "amax")
    target = target.view(heat.shape)
    score = heat.float().sigmoid().clamp(1e-5, 1 - 1e-5)
    found = (1 - score) ** 2 * score.log()
    empty = (1 - target) ** 4 * score**2 * (1 - score).log()
    return -torch.where(target == 1, found, empty).sum() / max(1, len(labels))


def _pose_loss(pose: Tensor, picture: Tensor, labels: Tensor, dx: int, dy: int) -> Tensor:
    """Pose errors read one cell from the centres, `(dx, dy)` away."""
    column, row = _cells(labels)
    column, row = (column + dx).clamp(0, CELLS - 1), (row + dy).clamp(0, CELLS - 1)
    read = split_pose(pose[picture, labels[:, 0].long(), :, row, column].float(), 1)
    offset = labels[:, 1:3] - torch.stack([column, row], 1) - 0.5
    return (
        F.l1_loss(read["offset"], offset)
        + 2 * F.l1_loss(read["size"][:, 0], labels[:, 3])
        + 2 * F.l1_loss(read["rotation"], labels[:, 4:6])
        + 0.3 * F.binary_cross_entropy_with_logits(read["flip"][:, 0], labels[:, 6])
        + 0.3 * F.cross_entropy(read["tint"], labels[:, 7].long())
    )
