"""Sharpens a reading by drawing it: moves, scales and turns sprites until they match the picture.

A network's reading of place, size and turn is a few per cent off, which decides statements near the
edge of a relation, and it is unsure of sprites that others cover. The drawing is known, so the last
step is a search: try small changes of one number of one sprite, keep what lowers the difference to
the picture, halve the changes. Where sprites overlap both orders are tried, and a sprite of which
the network was unsure counts if drawing it explains pixels that the others leave unexplained.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from visionrel.worlds.scenes.rendering import PICTURE_SIDE, render
from visionrel.worlds.scenes.scene import Scene, SceneObject, distance_between, wrap_degrees


_SCALES = (1.0, 0.5, 0.5, 0.25)
_CHANGES = (
    lambda item, sign: replace(item, x=item.x + 0.03 * sign),
    lambda item, sign: replace(item, y=item.y + 0.03 * sign),
    lambda item, sign: replace(item, size=item.size * 1.12**sign),
    lambda item, sign: replace(item, rotation=wrap_degrees(item.rotation + 16.0 * sign)),
)
"""What is tried, at full scale: 3 % of the picture, 12 % of the size, 16 degrees."""
_MOST_FITTED = 4
_COVERED = 0.45
"""Centre distance over the sum of the sizes below which an order of two sprites matters."""
_CLEAN = 1.0
"""Difference in 8-bit levels at which nothing is left to explain."""
_VISIBLE = 24
_LEAST_PIXELS = 12
_EXPLAINED = 0.6
"""Largest share of the error that may be left where a doubtful sprite would be drawn."""


@dataclass(frozen=True)
class _Fit:
    """Objects and the picture they should give."""

    picture: np.ndarray
    ground: tuple[int, int, int]
    items: tuple[SceneObject, ...]

    @cached_property
    def drawing(self) -> np.ndarray:
        return np.asarray(render(Scene(self.items, self.ground, ""), PICTURE_SIDE), np.int16)

    @cached_property
    def difference(self) -> float:
        """Mean absolute difference of drawing and picture, in 8-bit levels."""
        return float(np.abs(self.picture - self.drawing).mean())

    def change(self, index: int, item: SceneObject) -> _Fit:
        return self.take((*self.items[:index], item, *self.items[index + 1 :]))

    def take(self, items: Sequence[SceneObject]) -> _Fit:
        return _Fit(self.picture, self.ground, tuple(items))


def fit_objects(
    image: np.ndarray, items: Sequence[SceneObject], doubtful: Sequence[SceneObject] = ()
) -> list[SceneObject]:
    """Fit place, size, turn and order of sprites to a picture.

    Args:
        image: uint8 `(64, 64, 3)`.
        items: objects read from it, most confident first; pictures with more than four are
            returned as they are, for they are no scenes.
        doubtful: further objects that may be there.

    Returns:
        The objects in the same order, then those of the doubtful ones that explain the picture.
    """
    if len(items) > _MOST_FITTED:
        return list(items)
    ground = tuple(int(c) for c in np.median(image.reshape(-1, 3), axis=0))
    best = _fit(_Fit(image.astype(np.int16), ground, tuple(items)))
    for item in doubtful:
        if len(best.items) == _MOST_FITTED or best.difference < _CLEAN:
            break
        trial = _fit(best.take((*best.items, item)))
        best = trial if _explains(best, trial) else best
    return list(best.items)


def _fit(start: _Fit) -> _Fit:
    return min((_descend(order) for order in _orders(start)), key=lambda fit: fit.difference)


def _orders(start: _Fit) -> Iterator[_Fit]:
    """Both orders of the last sprite and the one nearest to it, if they overlap."""
    *others, last = start.items or [None]
    if not others:
        yield start
        return
    distances = [distance_between(item, last) / (item.size + last.size) for item in others]
    nearest = int(np.argmin(distances))
    if distances[nearest] > _COVERED:
        yield start
        return
    for depths in ((0.0, 1.0), (1.0, 0.0)):
        pair = start.change(nearest, replace(others[nearest], depth=depths[0]))
        yield pair.change(len(others), replace(last, depth=depths[1]))


def _descend(fit: _Fit) -> _Fit:
    for scale in _SCALES:
        for index in range(len(fit.items)):
            for change in _CHANGES:
                for sign in (scale, -scale):
                    trial = fit.change(index, change(fit.items[index], sign))
                    if trial.difference < fit.difference:
                        fit = trial
                        break
    return fit


def _explains(before: _Fit, after: _Fit) -> bool:
    """Whether the last sprite of `after` shows, and shows what is in the picture."""
    differs = np.abs(before.drawing - after.drawing).max(axis=-1) > _VISIBLE
    if differs.sum() < _LEAST_PIXELS:
        return False
    unexplained, left = (
        np.abs(fit.picture - fit.drawing)[differs].mean() for fit in (before, after)
    )
    return bool(left < _EXPLAINED * unexplained)
