"""Sharpens a reading by drawing it: moves, scales and turns sprites until they match the picture.

A network's reading of place, size and turn is a few per cent off, which decides statements near the
edge of a relation, and of sprites that lie, are dyed or are covered it is unsure. The drawing is
known, so the last steps are searches:

- Small changes of one number of one sprite are tried, what lowers the difference to the picture is
  kept, and the changes are halved. Where sprites overlap both orders are tried.
- What still differs may be a sprite that was read in a wrong pose, from which no small change leads
  out: each sprite is tried in coarse poses of every kind.
- A sprite of which the network was unsure counts if drawing it explains pixels that the others
  leave unexplained. Of several the one that explains most comes first: parts of one hidden sprite
  are often read as two or three others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

import numpy as np

from visionrel.worlds.scenes.rendering import PICTURE_SIDE, render
from visionrel.worlds.scenes.scene import (
    TINTS,
    Scene,
    SceneObject,
    distance_between,
    wrap_degrees,
)


SURE = 0.5
"""Least confidence of an object that is there, whatever else is."""

FOUND = 0.3
"""Least confidence of an object that is there if the picture is not explained without it."""

_SCALES = (1.0, 0.5, 0.5, 0.25)
_CHANGES = (
    lambda item, sign: replace(item, x=item.x + 0.03 * sign),
    lambda item, sign: replace(item, y=item.y + 0.03 * sign),
    lambda item, sign: replace(item, size=item.size * 1.12**sign),
    lambda item, sign: replace(item, rotation=wrap_degrees(item.rotation + 16.0 * sign)),
)
"""What is tried, at full scale: 3 % of the picture, 12 % of the size, 16 degrees."""
_COARSE_SIZES = (0.25, 0.32, 0.4, 0.49)
_COARSE_TURNS = tuple(float(turn) for turn in range(-180, 180, 45))
_MOST_FITTED = 4
_COVERED = 0.45
"""Centre distance over the sum of the sizes below which an order of two sprites matters."""
_CLEAN = 1.0
"""Difference in 8-bit levels at which nothing is left to explain."""
_VISIBLE = 24
_LEAST_PIXELS = 12
_EXPLAINED = 0.6
"""Largest share of the error that may be left where a doubtful sprite would be drawn."""
_PROMISING = 1.3
"""Factor on the error up to which a coarse pose is worth a search for small changes."""


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


def fit_objects(image: np.ndarray, items: Sequence[SceneObject]) -> list[SceneObject]:
    """Fit place, size, pose and order of sprites to a picture.

    Args:
        image: uint8 `(64, 64, 3)`.
        items: objects that may be in it, most confident first; those below `FOUND` must explain
            the picture, those below `SURE` must where others explain all of it.

    Returns:
        The objects that are there, four at most.
    """
    ground = tuple(int(c) for c in np.median(image.reshape(-1, 3), axis=0))
    sure = [item for item in items if item.confidence >= SURE][:_MOST_FITTED]
    left = list(items[len(sure) :])
    best = _fit(_Fit(image.astype(np.int16), ground, tuple(sure)))
    while left and len(best.items) < _MOST_FITTED and best.difference >= _CLEAN:
        trials = [(_add(best, item), item) for item in left]
        trials = [pair for pair in trials if _explains(best, pair[0], _EXPLAINED)]
        if not trials:
            break
        best, chosen = min(trials, key=lambda pair: pair[0].difference)
        left.remove(chosen)
    found = [item for item in left if item.confidence >= FOUND]
    room = _MOST_FITTED - len(best.items)
    if found and room and best.difference >= _CLEAN:
        best = _fit(best.take((*best.items, *found[:room])))
    return list(best.items)


def _fit(start: _Fit) -> _Fit:
    fits = [_descend(order) for order in _orders(start)]
    if min(fit.difference for fit in fits) >= _CLEAN:
        fits = [_pose_anew(fit, start) for fit in fits]
    return min(fits, key=lambda fit: fit.difference)


def _pose_anew(fit: _Fit, start: _Fit) -> _Fit:
    """Try each sprite in every coarse pose, the last first, until nothing is left to explain."""
    for index in reversed(range(len(fit.items))):
        if fit.difference < _CLEAN:
            break
        # From the place that was read: with a wrong pose the small changes lead away from it.
        read = start.items[index]
        coarse = _pose(fit.change(index, replace(fit.items[index], x=read.x, y=read.y)), index)
        if coarse.difference < _PROMISING * fit.difference:
            fit = min(fit, _descend(coarse), key=lambda fit: fit.difference)
    return fit


def _add(fit: _Fit, item: SceneObject) -> _Fit:
    """Fit one more sprite, if it explains anything in its best coarse pose."""
    last = len(fit.items)
    start = fit.take((*fit.items, item))
    coarse = min((_pose(order, last) for order in _orders(start)), key=lambda fit: fit.difference)
    return _fit(coarse) if _explains(fit, coarse, _PROMISING) else coarse


def _pose(fit: _Fit, index: int) -> _Fit:
    """The best of all coarse poses of one sprite."""
    # The dye first: of a sprite in a wrong colour the best pose is the one that shows least of it.
    fit = _dye(fit, index)
    poses = product(_COARSE_TURNS, _COARSE_SIZES, (False, True))
    turned = [
        replace(fit.items[index], rotation=turn, size=size, flip=flip) for turn, size, flip in poses
    ]
    return _dye(_choose(fit, index, [fit.items[index], *turned]), index)


def _dye(fit: _Fit, index: int) -> _Fit:
    return _choose(fit, index, [replace(fit.items[index], tint=tint) for tint in (None, *TINTS)])


def _choose(fit: _Fit, index: int, items: Sequence[SceneObject]) -> _Fit:
    return min((fit.change(index, item) for item in items), key=lambda fit: fit.difference)


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


def _explains(before: _Fit, after: _Fit, share: float) -> bool:
    """Whether the last sprite of `after` shows, and leaves at most a share of the error there."""
    differs = np.abs(before.drawing - after.drawing).max(axis=-1) > _VISIBLE
    if differs.sum() < _LEAST_PIXELS:
        return False
    unexplained, left = (
        np.abs(fit.picture - fit.drawing)[differs].mean() for fit in (before, after)
    )
    return bool(left < share * unexplained)
