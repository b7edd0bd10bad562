"""What a moving scene is: objects with a path in time on a coloured ground.

Lengths are in picture sides, y points down, times are in seconds. A scene lasts `DURATION` and
keeps `SAMPLES` evenly spaced instants of every path; a clip of any number of frames reads between
them, so 17 frames are 8 frames a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


ANIMALS: tuple[str, ...] = ("cat", "dog", "turtle", "crab", "elephant", "panda")
"""Nouns whose sprites walk and fly upright."""

BOXES: dict[str, tuple[int, int, int]] = {
    "box": (150, 95, 45),
    "purple box": (120, 45, 150),
    "green box": (15, 110, 85),
}
"""Boxes and their colours, 8-bit RGB; only the first is called by captions, the others stack."""

OBJECTS: tuple[str, ...] = (*ANIMALS, "car", "ball", "box")
"""Nouns that captions use."""

APPEARANCES: tuple[str, ...] = (*ANIMALS, "car", "ball", *BOXES)
"""Everything that can be told apart by its looks."""

GROUNDS: dict[str, tuple[int, int, int]] = {
    "white": (245, 245, 245),
    "blue": (135, 185, 240),
    "green": (145, 205, 130),
    "purple": (170, 140, 215),
}
"""Colours of the ground by name, 8-bit RGB."""

SHADE = 0.68
"""Floors, slopes and ropes have the ground's colour times this."""

SIZES = (0.21, 0.29)
"""Smallest and largest side of an object; a box of a stack is smaller."""

DURATION = 2.0
SAMPLES = 65
FRAMES = 17
FRAMES_PER_SECOND = 8.0
CLIP_SIDE = 48

LEAVES_BY = 0.02
"""How far a drawn object may reach out of the picture."""

FLOOR = "floor"
"""Name of the floor and of a slope in a contact."""


@dataclass(frozen=True, eq=False)
class Mover:
    """One object and how it moves.

    Attributes:
        name: one of `APPEARANCES`.
        size: longer side of the drawn object.
        path: centre (x, y) at each instant, `(SAMPLES, 2)`.
        rotation: degrees counter-clockwise at each instant, `(SAMPLES,)`.
        faces_right: mirrored to face right at each instant, `(SAMPLES,)`.
        depth: drawing order, 0 is nearest the viewer.
    """

    name: str
    size: float
    path: np.ndarray
    rotation: np.ndarray
    faces_right: np.ndarray
    depth: float = 0.0


@dataclass(frozen=True)
class Contact:
    """A touch that begins: when, and the indices of the objects, or `FLOOR` for the second."""

    time: float
    first: int
    second: int | str


@dataclass(frozen=True, eq=False)
class MotionScene:
    """A clip before it is drawn.

    Attributes:
        kind: name of the motion.
        movers: objects in the order in which the kind names them.
        ground: 8-bit RGB colour of the ground; `ground_name` is one of `GROUNDS`.
        floor: height of the floor line, None without one.
        slope: two ends of an inclined line, the left one first, None without one.
        pivot: where the rope of the first object is fixed, None without one.
        gravity: downward acceleration in sides per second squared, 0 where nothing falls.
        contacts: touches that began, in the order of time; physics only.
    """

    kind: str
    movers: tuple[Mover, ...]
    ground: tuple[int, int, int]
    ground_name: str
    floor: float | None = None
    slope: tuple[tuple[float, float], tuple[float, float]] | None = None
    pivot: tuple[float, float] | None = None
    gravity: float = 0.0
    contacts: tuple[Contact, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Nouns of the objects."""
        return tuple(mover.name for mover in self.movers)

    def trajectories(self, frames: int = FRAMES) -> np.ndarray:
        """Return the centres at each frame, `(objects, frames, 2)`."""
        return np.stack([sample_path(mover.path, frames) for mover in self.movers])


def frame_times(frames: int) -> np.ndarray:
    """Return the instant of each frame as a place in a path of `SAMPLES`, `(frames,)`."""
    return np.linspace(0.0, SAMPLES - 1, frames)


def sample_path(values: np.ndarray, frames: int) -> np.ndarray:
    """Read a path `(SAMPLES, ...)` at each frame, linearly between its instants."""
    times = frame_times(frames)
    low = np.minimum(times.astype(int), SAMPLES - 2)
    share = (times - low).reshape(-1, *(1,) * (values.ndim - 1))
    return values[low] * (1 - share) + values[low + 1] * share


def travel(path: np.ndarray) -> np.ndarray:
    """Return the displacement from the first to the last instant of a path `(T, 2)`."""
    return path[-1] - path[0]


def extent(path: np.ndarray) -> float:
    """Return the longer side of the upright box around a path `(T, 2)`."""
    return float(np.ptp(path, axis=0).max())


def distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the distance of two paths `(T, 2)` at each instant."""
    return np.linalg.norm(first - second, axis=-1)


def lies_inside(movers: Sequence[Mover], margin: float = 0.0) -> bool:
    """Whether every object stays in the picture at every instant, up to `margin`."""
    return all(
        mover.path.min() >= mover.size / 2 - margin
        and mover.path.max() <= 1 - mover.size / 2 + margin
        for mover in movers
    )
