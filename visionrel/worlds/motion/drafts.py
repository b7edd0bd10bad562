"""What a motion sampler returns, and how it is moved into the picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from visionrel.worlds.motion.scene import SAMPLES, Contact, Mover


TIMES = np.linspace(0.0, 1.0, SAMPLES)
"""The instants of a path as a share of its duration."""

_STANDING = 0.04
_MARGIN = 0.01


@dataclass(frozen=True, eq=False)
class Draft:
    """Paths of a motion before looks and ground are chosen.

    Attributes:
        sizes: sizes of the objects.
        paths: centres, `(objects, SAMPLES, 2)`.
        rotations: degrees, `(objects, SAMPLES)`; None means upright.
        depths: drawing order; None lets the first object be nearest.
        floor, slope, pivot, gravity, contacts: as in `MotionScene`.
    """

    sizes: np.ndarray
    paths: np.ndarray
    rotations: np.ndarray | None = None
    depths: tuple[float, ...] | None = None
    floor: float | None = None
    slope: tuple[tuple[float, float], tuple[float, float]] | None = None
    pivot: tuple[float, float] | None = None
    gravity: float = 0.0
    contacts: tuple[Contact, ...] = ()

    def movers(self, names: Sequence[str]) -> tuple[Mover, ...]:
        """Dress the paths with names; objects face where they go, or each other."""
        rotations = self.rotations
        if rotations is None:
            rotations = np.zeros(self.paths.shape[:2])
        depths = self.depths or tuple(float(index) for index in range(len(names)))
        return tuple(
            Mover(
                name,
                float(self.sizes[index]),
                self.paths[index],
                rotations[index],
                facing(self.paths[index], np.delete(self.paths, index, axis=0)),
                depths[index],
            )
            for index, name in enumerate(names)
        )


def facing(path: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return whether an object faces right at each instant.

    It faces its way; while it stands, the way it went last, or will go first, or the others.
    """
    speed = np.gradient(path[:, 0], TIMES)
    moving = np.abs(speed) > _STANDING
    if not moving.any():
        ahead = others[..., 0].mean() > path[:, 0].mean() if len(others) else False
        return np.full(len(path), bool(ahead))
    last = np.maximum.accumulate(np.where(moving, np.arange(len(path)), -1))
    last[last < 0] = np.argmax(moving)
    return speed[last] > 0


def place(rng: np.random.Generator, draft: Draft, tilt: float = 0.0) -> Draft | None:
    """Turn a draft by up to `tilt` degrees, mirror it or not, and shift it into the picture.

    Returns:
        The placed draft, or None if it does not fit.
    """
    paths = draft.paths
    if tilt:
        angle = np.radians(rng.uniform(-tilt, tilt))
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        paths = paths @ turn.T
    if rng.random() < 0.5:
        paths = paths * [-1.0, 1.0]
    half = draft.sizes[:, None] / 2 + _MARGIN
    low = -(paths.min(axis=1) - half).min(axis=0)
    high = 1.0 - (paths.max(axis=1) + half).max(axis=0)
    if (low > high).any():
        return None
    shift = rng.uniform(low, high)
    floor = None if draft.floor is None else draft.floor + shift[1]
    return replace(draft, paths=paths + shift, floor=floor)


def mirror(draft: Draft) -> Draft:
    """Swap left and right of a draft that already lies in the picture."""
    slope = pivot = None
    if draft.slope is not None:
        (left, top), (right, bottom) = draft.slope
        slope = ((1 - right, bottom), (1 - left, top))
    if draft.pivot is not None:
        pivot = (1 - draft.pivot[0], draft.pivot[1])
    paths = draft.paths * [-1.0, 1.0] + [1.0, 0.0]
    rotations = None if draft.rotations is None else -draft.rotations
    return replace(draft, paths=paths, rotations=rotations, slope=slope, pivot=pivot)
