"""What a scene is: objects with a place, a size and a pose on a coloured ground."""

from __future__ import annotations

import math
from dataclasses import dataclass


OBJECTS: tuple[str, ...] = (
    *("cat", "dog", "rabbit", "elephant", "duck", "owl", "turtle", "crab", "panda", "penguin"),
    *("tree", "flower", "mushroom", "apple", "burger", "car", "bus", "boat", "house", "chair"),
    *("clock", "guitar", "umbrella", "hat"),
)
"""Nouns of the world, one sprite each."""

GROUNDS: dict[str, tuple[int, int, int]] = {
    "white": (245, 245, 245),
    "gray": (150, 150, 155),
    "blue": (135, 185, 240),
    "green": (145, 205, 130),
    "yellow": (245, 225, 130),
    "pink": (250, 185, 205),
    "purple": (170, 140, 215),
    "brown": (165, 125, 95),
}
"""Colours of the ground by name, 8-bit RGB."""

TINTS: dict[str, float] = {"red": 0.0, "green": 0.36, "blue": 0.6, "purple": 0.78}
"""Hues in [0, 1) that a sprite can be dyed with; an undyed sprite has the tint `None`."""


@dataclass(frozen=True)
class SceneObject:
    """One sprite in a scene.

    Attributes:
        name: noun, one of `OBJECTS`.
        x, y: centre in picture sides, (0, 0) is the upper left corner, (1, 1) the lower right.
        size: side of the sprite's square in picture sides.
        rotation: degrees in [-180, 180), counter-clockwise, 0 is upright.
        flip: mirrored left to right before it is rotated.
        tint: one of `TINTS`, or None for its own colours.
        depth: drawing order, 0 is nearest the viewer.
        confidence: 1 for a drawn object, the judge's score in [0, 1] for one it read.
    """

    name: str
    x: float
    y: float
    size: float
    rotation: float = 0.0
    flip: bool = False
    tint: str | None = None
    depth: float = 0.0
    confidence: float = 1.0


@dataclass(frozen=True)
class Scene:
    """Objects on a ground; `ground` is an 8-bit RGB colour, `ground_name` one of `GROUNDS`."""

    objects: tuple[SceneObject, ...]
    ground: tuple[int, int, int]
    ground_name: str


def wrap_degrees(angle: float) -> float:
    """Return the same angle in [-180, 180)."""
    return (angle + 180.0) % 360.0 - 180.0


def angle_between(first: float, second: float) -> float:
    """Return the unsigned angle between two directions, degrees in [0, 180]."""
    return abs(wrap_degrees(first - second))


def direction_of(subject: SceneObject, object: SceneObject) -> float:
    """Return where the subject stands as seen from the object: 0 right, 90 above, 180 left."""
    return math.degrees(math.atan2(object.y - subject.y, subject.x - object.x))


def distance_between(subject: SceneObject, object: SceneObject) -> float:
    """Return the distance of the two centres in picture sides."""
    return math.hypot(subject.x - object.x, subject.y - object.y)
