"""Sharpens a reading by drawing it: moves, scales and turns sprites until they match the picture.

A network's reading of place, size and turn is a few per cent off, which decides statements near the
edge of a relation. The drawing is known, so the last step is a search: try small changes of
one number of one sprite, keep what lowers the difference to the picture, halve the changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from visionrel.worlds.scenes.rendering import PICTURE_SIDE, render
from visionrel.worlds.scenes.scene import Scene, SceneObject, wrap_degrees


_SCALES = (1.0, 0.5, 0.5, 0.25)
_CHANGES = (
    lambda item, sign: replace(item, x=item.x + 0.03 * sign),
    lambda item, sign: replace(item, y=item.y + 0.03 * sign),
    lambda item, sign: replace(item, size=item.size * 1.12**sign),
    lambda item, sign: replace(item, rotation=wrap_degrees(item.rotation + 16.0 * sign)),
)
"""What is tried, at full scale: 3 % of the picture, 12 % of the size, 16 degrees."""
_MOST_FITTED = 4


def fit_objects(image: np.ndarray, items: Sequence[SceneObject]) -> list[SceneObject]:
    """Fit place, size and turn of sprites to a picture.

    Args:
        image: uint8 `(64, 64, 3)`.
        items: objects read from it, most confident first, with depths; pictures with more than
            four are returned as they are, for they are no scenes.

    Returns:
        The objects in the same order.
    """
    fitted = list(items)
    if not 0 < len(fitted) <= _MOST_FITTED:
        return fitted
    ground = tuple(int(c) for c in np.median(image.reshape(-1, 3), axis=0))
    picture = image.astype(np.int16)
    best = _difference(picture, ground, fitted)
    for scale in _SCALES:
        for index in range(len(fitted)):
            for change in _CHANGES:
                for sign in (scale, -scale):
                    trial = list(fitted)
                    trial[index] = change(fitted[index], sign)
                    difference = _difference(picture, ground, trial)
                    if difference < best:
                        fitted, best = trial, difference
                        break
    return fitted


def _difference(
    picture: np.ndarray, ground: tuple[int, ...], items: Sequence[SceneObject]
) -> float:
    """Return the mean absolute difference to the drawing, in 8-bit levels."""
    drawing = np.asarray(render(Scene(tuple(items), ground, ""), PICTURE_SIDE), np.int16)
    return float(np.abs(picture - drawing).mean())
