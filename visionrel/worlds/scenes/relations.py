"""Relations between two objects as regions of one space; drawing and judging read the same region.

A pair of objects is described by the direction in which the subject is seen from the object, the
distance of their centres (absolute, and as *reach*: in units of half the sum of their sizes, so 1
is touching), the ratio of their sizes, which one is in front, and how each is turned. A `Relation`
is a box in this space. `Relation.sample` draws from the box, `Relation.holds` asks whether a pair
lies in the box widened by `TOLERANCE`, so that a reader with a small error still agrees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from visionrel.worlds.scenes.scene import (
    SceneObject,
    angle_between,
    direction_of,
    distance_between,
    wrap_degrees,
)


Turn = Literal["any", "upright", "toward", "away", "upside_down", "lying"]
Side = Literal["subject", "object"]

SIZES = (0.24, 0.52)
"""Smallest and largest side of a sprite in picture sides."""

TOLERANCE = {"direction": 14.0, "reach": 0.12, "distance": 0.06, "ratio": 0.12, "turn": 14.0}
"""How far outside its box a relation still holds, in the units of the box; factor for `ratio`."""

TURNS: dict[str, tuple[float, float]] = {
    "upright": (0.0, 8.0),
    "toward": (20.0, 45.0),
    "away": (20.0, 45.0),
    "upside_down": (168.0, 180.0),
    "lying": (75.0, 105.0),
}
"""Least and greatest rotation of each turn, degrees without sign."""


@dataclass(frozen=True)
class Relation:
    """A box of pair configurations with the words that name it.

    Attributes:
        name: identifier.
        words: phrases that put it between two nouns; empty for a held-out relation.
        directions: directions of the subject seen from the object, degrees; empty means any.
        spread: half width of each direction, degrees.
        reach: least and greatest centre distance over half the sum of the sizes.
        distance: least and greatest centre distance in picture sides.
        ratio: least and greatest size of the subject over that of the object.
        front: the side that covers the other, or None where the order is free.
        subject_turn, object_turn: how each is turned; "toward" and "away" lean to the other side.
    """

    name: str
    words: tuple[str, ...] = ()
    directions: tuple[float, ...] = ()
    spread: float = 22.0
    reach: tuple[float, float] = (0.95, 4.0)
    distance: tuple[float, float] = (0.0, 2.0)
    ratio: tuple[float, float] = (0.6, 1.67)
    front: Side | None = None
    subject_turn: Turn = "any"
    object_turn: Turn = "any"

    def holds(self, subject: SceneObject, object: SceneObject) -> bool:
        """Whether the pair lies in the box widened by `TOLERANCE`."""
        direction = direction_of(subject, object)
        distance = distance_between(subject, object)
        reach = distance / (0.5 * (subject.size + object.size))
        ratio = subject.size / object.size
        spread = self.spread + TOLERANCE["direction"]
        slack = 1.0 + TOLERANCE["ratio"]
        return (
            (
                not self.directions
                or min(angle_between(direction, d) for d in self.directions) <= spread
            )
            and _inside(reach, self.reach, TOLERANCE["reach"])
            and _inside(distance, self.distance, TOLERANCE["distance"])
            # Sizes are compared only by relations that speak of them.
            and (
                self.ratio == Relation.ratio
                or self.ratio[0] / slack <= ratio <= self.ratio[1] * slack
            )
            and (self.front is None or (subject.depth < object.depth) == (self.front == "subject"))
            and _turned(self.subject_turn, subject, object)
            and _turned(self.object_turn, object, subject)
        )

    def sample(
        self, rng: np.random.Generator
    ) -> tuple[dict[str, float | None], dict[str, float | None]]:
        """Draw a pair; returns x, y, size, rotation (None where free) and depth of each side."""
        while True:
            size_object = rng.uniform(*SIZES)
            size = size_object * np.exp(rng.uniform(*np.log(self.ratio)))
            if not SIZES[0] <= size <= SIZES[1]:
                continue
            centre = self.directions[rng.integers(len(self.directions))] if self.directions else 0.0
            width = self.spread if self.directions else 180.0
            angle = np.radians(centre + rng.uniform(-width, width))
            half = 0.5 * (size + size_object)
            low = max(self.reach[0], self.distance[0] / half)
            high = min(self.reach[1], self.distance[1] / half, 0.95 / half)
            if low >= high:
                continue
            distance = rng.uniform(low, high) * half
            dx, dy = distance * np.cos(angle), -distance * np.sin(angle)
            place = _place(rng, (dx, size, size_object), (dy, size, size_object))
            if place is not None:
                break
        front = self.front or ("subject", "object")[rng.integers(2)]
        x, y = place
        subject = {"x": x + dx, "y": y + dy, "size": size, "depth": float(front != "subject")}
        object = {"x": x, "y": y, "size": size_object, "depth": float(front != "object")}
        subject["rotation"] = _sample_turn(rng, self.subject_turn, dx)
        object["rotation"] = _sample_turn(rng, self.object_turn, -dx)
        return subject, object


def _inside(value: float, bounds: tuple[float, float], slack: float) -> bool:
    return bounds[0] - slack <= value <= bounds[1] + slack


def _turned(turn: Turn, one: SceneObject, other: SceneObject) -> bool:
    if turn == "any":
        return True
    low, high = TURNS[turn]
    rotation = wrap_degrees(one.rotation)
    if turn in ("toward", "away"):
        # A counter-clockwise rotation leans to the left.
        leans_right = rotation < 0
        if leans_right != ((other.x > one.x) == (turn == "toward")):
            return False
    return low - TOLERANCE["turn"] <= abs(rotation) <= high + TOLERANCE["turn"]


def _sample_turn(rng: np.random.Generator, turn: Turn, offset: float) -> float | None:
    """Draw a rotation; `offset` is x of this side minus x of the other."""
    if turn == "any":
        return None
    if turn in ("toward", "away"):
        angle = rng.uniform(*TURNS[turn])
        return angle if (offset > 0) == (turn == "toward") else -angle
    return sample_fall(rng, turn)


def sample_fall(
    rng: np.random.Generator, turn: Literal["upright", "upside_down", "lying"]
) -> float:
    """Draw a rotation that does not lean to the other side, degrees.

    Who lies, lies to the right: with two ways to lie, both equally likely, a small model blends
    them.
    """
    angle = rng.uniform(*TURNS[turn])
    left = rng.random() < 0.5
    return angle if left and turn != "lying" else -angle


def _place(
    rng: np.random.Generator, *axes: tuple[float, float, float]
) -> tuple[float, float] | None:
    """Draw the object's centre so that both sides stay in the picture, or None if they cannot."""
    centre = []
    for offset, size, size_object in axes:
        low = max(size_object / 2, size / 2 - offset)
        high = min(1 - size_object / 2, 1 - size / 2 - offset)
        if low > high:
            return None
        centre.append(rng.uniform(low, high))
    return centre[0], centre[1]


UP, DOWN, LEFT, RIGHT = 90.0, -90.0, 180.0, 0.0
_FAR = (0.5, 2.0)
_JUST = (0.8, 1.08)

_SIDES: dict[str, tuple[float, tuple[str, ...]]] = {
    "above": (UP, ("above", "over")),
    "below": (DOWN, ("below", "under", "beneath", "underneath")),
    "left": (LEFT, ("left of", "to the left of")),
    "right": (RIGHT, ("right of", "to the right of")),
}
_CORNERS = {
    "above and left": 135.0,
    "above and right": 45.0,
    "below and left": -135.0,
    "below and right": -45.0,
}


def _spoken() -> tuple[Relation, ...]:
    sides = [
        variant
        for name, (direction, words) in _SIDES.items()
        for variant in (
            Relation(name, words, (direction,)),
            Relation(f"far {name}", tuple(f"far {w}" for w in words), (direction,), distance=_FAR),
            Relation(f"just {name}", tuple(f"just {w}" for w in words), (direction,), reach=_JUST),
        )
    ]
    corners = [
        Relation(name.replace(" ", "_"), (f"{name} of",), (angle,), spread=18.0)
        for name, angle in _CORNERS.items()
    ]
    level = (LEFT, RIGHT)
    return (
        *sides,
        *corners,
        Relation("on", ("on", "upon", "atop", "on top of"), (UP,), 14.0, (0.78, 0.98)),
        Relation("beside", ("beside", "by", "alongside"), level, reach=(0.95, 1.5)),
        Relation("near", ("near", "close to"), reach=(0.9, 1.3)),
        Relation("far", ("far from", "beyond"), distance=(0.55, 2.0)),
        Relation("opposite", ("opposite", "across from"), level, 14.0, distance=(0.55, 2.0)),
        Relation("against", ("against", "along"), level, 14.0, (0.7, 0.95)),
        Relation(
            "inside",
            ("inside", "within", "in"),
            reach=(0.0, 0.22),
            ratio=(0.46, 0.62),
            front="subject",
        ),
        Relation("around", ("around",), reach=(0.0, 0.22), ratio=(1.6, 2.17), front="object"),
        Relation("behind", ("behind", "after"), reach=(0.5, 0.75), front="object"),
        Relation("before", ("before", "in front of"), reach=(0.5, 0.75), front="subject"),
        Relation("toward", ("toward", "towards"), level, 18.0, (1.0, 1.6), subject_turn="toward"),
        Relation("off", ("off", "away from"), level, 18.0, (1.0, 1.6), subject_turn="away"),
    )


RELATIONS: dict[str, Relation] = {relation.name: relation for relation in _spoken()}
"""Relations that captions name."""

NEUTRAL = Relation("with", ("and", "with"), reach=(0.35, 4.0), ratio=(0.46, 2.17))
"""Any configuration at all: the dense family in which every held-out relation has a place."""

BETWEEN = "between"
"""The one relation of three: its first noun stands between the two others on a level line."""

HELD_OUT: dict[str, Relation] = {
    relation.name: relation
    for relation in (
        Relation("diagonal", (), (45.0,), 10.0, distance=(0.5, 2.0)),
        Relation("leaning_on", (), (LEFT, RIGHT), 12.0, (0.62, 0.88), subject_turn="toward"),
        Relation("hanging_from", (), (DOWN,), 14.0, (0.7, 0.95), subject_turn="upside_down"),
        Relation(
            "hugging",
            (),
            (LEFT, RIGHT),
            10.0,
            (0.55, 0.8),
            ratio=(0.75, 1.33),
            subject_turn="toward",
            object_turn="toward",
        ),
        Relation("riding", (), (UP,), 14.0, (0.5, 0.8), ratio=(0.5, 0.72), front="subject"),
        Relation("peeking_over", (), (UP,), 18.0, (0.48, 0.75), front="object"),
        Relation("knocked_over_by", (), (LEFT, RIGHT), 14.0, (0.95, 1.4), subject_turn="lying"),
        Relation("looming_over", (), (UP,), 20.0, (0.85, 1.3), ratio=(1.5, 2.1)),
        Relation("tailing", (), (LEFT,), 14.0, distance=(0.45, 2.0), ratio=(0.47, 0.65)),
    )
}
"""Relations that no caption names: they are learned from exemplars."""
