"""The motions of the world: what each is called, who takes part, how it is drawn and judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from visionrel.worlds.motion import criteria, physics, relations
from visionrel.worlds.motion.drafts import Draft
from visionrel.worlds.motion.scene import ANIMALS, BOXES, OBJECTS, SIZES
from visionrel.worlds.motion.tracks import Track


Roles = tuple[tuple[str, ...], ...]
"""The nouns that each place of a motion can hold."""

_WALKERS = (*ANIMALS, "car")
_THINGS = ("ball", "box")
_PAIR: Roles = (_WALKERS, _WALKERS)
_LEVEL = 25.0


@dataclass(frozen=True)
class Kind:
    """One motion.

    Attributes:
        name: identifier.
        texts: how captions say it, `{0}` is the first noun; empty for a held-out relation.
        roles: nouns that each place can hold; nouns of one clip are distinct.
        draw: samples a draft of it.
        holds: whether tracks, in the order of the nouns, show it.
        tilt: greatest angle to the level, degrees, for motions in the plane.
        gravity: things fall in it, so the laws of falling apply.
    """

    name: str
    texts: tuple[str, ...]
    roles: Roles
    draw: Callable[[np.random.Generator, Sequence[str], np.ndarray], Draft]
    holds: Callable[[Sequence[Track]], bool]
    tilt: float = 0.0
    gravity: bool = False

    def sample_names(self, rng: np.random.Generator) -> tuple[str, ...]:
        """Draw distinct nouns for its places."""
        names: list[str] = []
        for role in self.roles:
            free = [name for name in role if name not in names]
            names.append(free[rng.integers(len(free))])
        return tuple(names)

    def sample_sizes(self, rng: np.random.Generator) -> np.ndarray:
        """Draw a size for each place."""
        return rng.uniform(*SIZES, len(self.roles))


def _relation(name: str, words: Sequence[str], roles: Roles = _PAIR, tilt: float = _LEVEL) -> Kind:
    texts = tuple(word if "{0}" in word else "{0} " + word + " {1}" for word in words)
    return Kind(name, texts, roles, getattr(relations, name), getattr(criteria, name), tilt)


def _physics(name: str, texts: Sequence[str], roles: Roles) -> Kind:
    draw, holds = getattr(physics, name), getattr(criteria, name)
    return Kind(name, tuple(texts), roles, draw, holds, gravity=True)


RELATIONS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        _relation("chase", ("chases", "is chasing", "runs after")),
        _relation("follow", ("follows", "is following", "goes after")),
        _relation("push", ("pushes", "is pushing", "shoves"), (_WALKERS, OBJECTS)),
        _relation("meet", ("meets", "{0} and {1} meet", "goes to meet")),
        _relation("hug", ("hugs", "is hugging", "{0} and {1} hug"), (ANIMALS, ANIMALS)),
        _relation("part", ("leaves", "parts from", "{0} and {1} part")),
        _relation("pass_by", ("passes by", "passes", "walks past")),
        _relation("orbit", ("orbits", "circles", "goes around"), (OBJECTS, OBJECTS), 180.0),
        _relation(
            "jump_over", ("jumps over", "leaps over", "hops over"), (ANIMALS, OBJECTS), tilt=0.0
        ),
        _relation(
            "hand_over",
            ("{0} hands {2} to {1}", "{0} gives {2} to {1}", "{0} passes {2} to {1}"),
            (ANIMALS, ANIMALS, _THINGS),
            tilt=0.0,
        ),
    )
}
"""Relations that captions name."""

HELD_OUT: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        _relation("dance", (), tilt=0.0),
        _relation("rebound", ()),
        _relation("seesaw", (), tilt=0.0),
        _relation("tow", ()),
    )
}
"""Relations that no caption names: they are learned from exemplar clips."""

PHYSICS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        _physics("drop", ("{0} drops and bounces", "{0} falls and bounces"), (OBJECTS,)),
        _physics("throw", ("{0} is thrown", "{0} flies through the air"), (OBJECTS,)),
        _physics(
            "collide",
            ("{0} hits {1}", "{0} collides with {1}", "{0} bumps into {1}"),
            (("ball", "car"), (*_WALKERS, "box")),
        ),
        _physics("roll", ("{0} rolls on the ground", "{0} rolls along"), (("ball", "car"),)),
        _physics("roll_down", ("{0} rolls down a slope", "{0} rolls downhill"), (("ball",),)),
        _physics("pendulum", ("{0} swings on a rope", "{0} hangs and swings"), (OBJECTS,)),
        _physics(
            "topple",
            ("a stack of boxes falls", "a stack of boxes topples over"),
            (tuple(BOXES),) * 3,
        ),
    )
}
"""Motions that obey gravity and contact."""

KINDS: dict[str, Kind] = RELATIONS | HELD_OUT | PHYSICS
"""Every motion that can be judged."""

NEUTRAL = Kind(
    "together", ("{0} and {1}", "{0} with {1}"), _PAIR, relations.wander, lambda tracks: True
)
"""Two objects on any smooth ways: the dense family in which held-out relations have a place."""

ALONE = Kind("alone", ("{0}",), (OBJECTS,), relations.wander, lambda tracks: True)
"""One object on any smooth way."""
