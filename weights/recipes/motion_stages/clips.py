"""Clips of the motion world as the stages take them."""

import numpy as np
import torch
from torch import Tensor

from visionrel.worlds.motion import (
    DENSE,
    HELD_OUT,
    PHYSICS,
    PLAIN,
    MotionScene,
    render_clip,
    render_masks,
    sample_motion,
)
from visionrel.worlds.motion.scene import APPEARANCES


PLAIN_SHARE = 0.35
"""Share of clips with a bare caption, as most prompts are."""
PHYSICS_SHARE = 0.3
"""Share of clips of falling and rolling things, beyond their part among all motions: most of them
show one object, which is learned first."""
HELD_OUT_SHARE = 0.1
"""Share of held-out relations among clips of which no caption is read."""
MOST_OBJECTS = 3
GRID_FRAMES, GRID_SIDE = 5, 6
"""Cells of the transformer: latent frames, and tokens along a side."""
_PARTS = 2


def draw_scene(rng: np.random.Generator) -> tuple[MotionScene, str]:
    """Draw a scene and its caption, dense or plain."""
    kinds = list(PHYSICS)
    kind = kinds[rng.integers(len(kinds))] if rng.random() < PHYSICS_SHARE else None
    return sample_motion(rng, kind, style=PLAIN if rng.random() < PLAIN_SHARE else DENSE)


def draw_any_motion(rng: np.random.Generator) -> MotionScene:
    """Draw a scene for learners that read no words; held-out relations are among them."""
    kinds = list(HELD_OUT)
    kind = kinds[rng.integers(len(kinds))] if rng.random() < HELD_OUT_SHARE else None
    return sample_motion(rng, kind)[0]


def clip_tensor(scene: MotionScene) -> Tensor:
    """Return the frames of a scene, float32 `(3, frames, side, side)` in [-1, 1]."""
    frames = torch.from_numpy(render_clip(scene)).permute(3, 0, 1, 2)
    return frames.float().div_(127.5).sub_(1.0)


def describe_cells(scene: MotionScene) -> tuple[np.ndarray, np.ndarray]:
    """Return which appearance each object has, and what it covers of each cell.

    The first latent frame stands for the first frame alone, each other one for four.

    Returns:
        Indices in `APPEARANCES`, -1 where a scene has fewer objects, `(3,)` int8; and shares,
        255 is all of a cell, `(3, GRID_FRAMES, GRID_SIDE, GRID_SIDE)` uint8.
    """
    nouns = np.full(MOST_OBJECTS, -1, np.int8)
    coverage = np.zeros((MOST_OBJECTS, GRID_FRAMES, GRID_SIDE, GRID_SIDE), np.uint8)
    count = len(scene.movers)
    nouns[:count] = [APPEARANCES.index(name) for name in scene.names]
    masks = render_masks(scene, GRID_SIDE * _PARTS).astype(np.float32)
    # objects, frames, rows, parts, columns, parts -> objects, frames, rows, columns
    cells = masks.reshape(*masks.shape[:2], GRID_SIDE, _PARTS, GRID_SIDE, _PARTS).mean((3, 5))
    later = cells[:, 1:].reshape(count, GRID_FRAMES - 1, -1, GRID_SIDE, GRID_SIDE).mean(2)
    coverage[:count] = (255 * np.concatenate([cells[:, :1], later], axis=1)).round()
    return nouns, coverage
