"""Reads which of two overlapping sprites is in front, by drawing both answers.

A network sees too few overlaps to learn the order well, but the drawing is known: render the two
sprites in either order and see which comes nearer to the picture where the two drawings differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from visionrel.worlds.scenes.rendering import PICTURE_SIDE, render
from visionrel.worlds.scenes.scene import Scene, SceneObject, distance_between


CLEAR_LEVELS = 8.0
"""Difference of the two errors, in 8-bit levels, at which an order has odds of e to 1."""

_LEAST_PIXELS = 6
_VISIBLE = 24


def read_depths(image: np.ndarray, items: Sequence[SceneObject]) -> list[SceneObject]:
    """Set the depth of each object to its share of covered overlaps.

    Args:
        image: uint8 `(64, 64, 3)`.
        items: objects read from it.

    Returns:
        The objects; 0 is in front of all that it overlaps, 0.5 is open or touches nothing.
    """
    covered: dict[int, list[float]] = {}
    for first, second in combinations(range(len(items)), 2):
        chance = front_probability(image, items[first], items[second])
        if chance is not None:
            covered.setdefault(first, []).append(1.0 - chance)
            covered.setdefault(second, []).append(chance)
    return [
        replace(item, depth=float(np.mean(covered.get(index, [0.5]))))
        for index, item in enumerate(items)
    ]


def front_probability(image: np.ndarray, first: SceneObject, second: SceneObject) -> float | None:
    """Return the probability that the first covers the second, None where they do not overlap."""
    if distance_between(first, second) > 0.71 * (first.size + second.size):
        return None
    ground = tuple(int(c) for c in np.median(image.reshape(-1, 3), axis=0))
    drawings, differs = _draw_orders(first, second, ground)
    if differs.sum() < _LEAST_PIXELS:
        return None
    over, under = (np.abs(image - drawing)[differs].mean() for drawing in drawings)
    return float(1.0 / (1.0 + np.exp(np.clip((over - under) / CLEAR_LEVELS, -30, 30))))


def order_shows(first: SceneObject, second: SceneObject) -> bool:
    """Whether a picture tells which of the two is in front."""
    return bool(_draw_orders(first, second, (128, 128, 128))[1].sum() >= 2 * _LEAST_PIXELS)


def _draw_orders(
    first: SceneObject, second: SceneObject, ground: tuple[int, int, int]
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the drawings with the first and with the second in front, and where they differ."""
    drawings = [
        np.asarray(render(Scene(pair, ground, ""), PICTURE_SIDE), np.float32)
        for pair in (
            (replace(first, depth=0.0), replace(second, depth=1.0)),
            (replace(first, depth=1.0), replace(second, depth=0.0)),
        )
    ]
    return drawings, np.abs(drawings[0] - drawings[1]).max(axis=-1) > _VISIBLE
