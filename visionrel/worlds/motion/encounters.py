"""Two bodies that gravity, friction and a rope bring together or not: what contact hangs on.

The engine of the physics kinds decides. What a first look tells, the kind, the nouns and who moves,
is drawn alike whether they meet or not; speed, gap, friction and the place of the second decide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from visionrel.worlds.motion.drafts import Draft
from visionrel.worlds.motion.physics import (
    Simulation,
    draw_gravity,
    maybe_mirrored,
    standing,
)
from visionrel.worlds.motion.sampling import draw_ground, make_scene
from visionrel.worlds.motion.scene import LEAVES_BY, OBJECTS, SIZES, MotionScene, lies_inside


_ROLLING = ("ball", "car")
_SLIDING = tuple(name for name in OBJECTS if name != "ball")

Names = Sequence[str]


def collide(rng: np.random.Generator, names: Names, sizes: np.ndarray) -> Draft:
    """The first slides towards the second, which stands; friction stops it before or not."""
    floor = rng.uniform(0.72, 0.92)
    world = Simulation(draw_gravity(rng), names, sizes)
    world.add_floor(floor)
    start, gap, speed = rng.uniform(0.13, 0.18), rng.uniform(0.2, 0.36), rng.uniform(0.3, 0.55)
    # Friction f stops it after speed^2 / (2 f gravity).
    way = gap * rng.uniform(0.5, 1.6)
    friction = speed**2 / (2 * way * world.gravity)
    place = (start + sizes.mean() + gap, standing(names[1], sizes[1], floor))
    world.add_body((start, standing(names[0], sizes[0], floor)), (speed, 0.0), 0.3, friction)
    world.add_body(place, (0.0, 0.0), 0.3, 0.5)
    return maybe_mirrored(rng, world.run(floor=floor))


def roll(rng: np.random.Generator, names: Names, sizes: np.ndarray) -> Draft:
    """Both roll the same way; the one behind catches up or not."""
    floor = rng.uniform(0.6, 0.92)
    world = Simulation(draw_gravity(rng), names, sizes)
    world.add_floor(floor)
    start, gap, slower = rng.uniform(0.13, 0.16), rng.uniform(0.12, 0.3), rng.uniform(0.02, 0.12)
    speeds = (slower + gap * rng.uniform(0.1, 1.2), slower)
    for index, x in enumerate((start, start + sizes.mean() + gap)):
        friction = 0.8 if names[index] == "ball" else 0.005
        place = (x, standing(names[index], sizes[index], floor))
        world.add_body(place, (speeds[index], 0.0), 0.0, friction)
    return maybe_mirrored(rng, world.run(floor=floor))


def throw(rng: np.random.Generator, names: Names, sizes: np.ndarray) -> Draft:
    """The first flies in an arc; the second stands where it comes down, or not."""
    floor = rng.uniform(0.82, 0.92)
    world = Simulation(rng.uniform(1.8, 2.6), names, sizes)
    world.add_floor(floor)
    start = (rng.uniform(0.13, 0.22), rng.uniform(0.5, 0.65))
    velocity = (rng.uniform(0.15, 0.6), -rng.uniform(0.75, 1.25))
    world.add_body(start, velocity, rng.uniform(0.1, 0.3), 0.9)
    place = (rng.uniform(0.5, 0.86), standing(names[1], sizes[1], floor))
    world.add_body(place, (0.0, 0.0), 0.2, 0.6)
    return maybe_mirrored(rng, world.run(floor=floor))


def drop(rng: np.random.Generator, names: Names, sizes: np.ndarray) -> Draft:
    """The first falls with some speed to the side, onto the second or beside it."""
    floor = rng.uniform(0.82, 0.92)
    world = Simulation(draw_gravity(rng), names, sizes)
    world.add_floor(floor)
    x, y = rng.uniform(0.15, 0.4), rng.uniform(0.14, 0.26)
    world.add_body((x, y), (rng.uniform(0.0, 0.5), 0.0), rng.uniform(0.1, 0.3), 0.9)
    place = (x + rng.uniform(0.15, 0.5), standing(names[1], sizes[1], floor))
    world.add_body(place, (0.0, 0.0), 0.2, 0.6)
    return maybe_mirrored(rng, world.run(floor=floor))


def pendulum(rng: np.random.Generator, names: Names, sizes: np.ndarray) -> Draft:
    """The first swings on a rope; the second stands in its way or out of its reach."""
    floor = rng.uniform(0.84, 0.93)
    pivot = (rng.uniform(0.36, 0.5), rng.uniform(0.02, 0.1))
    length, angle = rng.uniform(0.4, 0.58), np.radians(rng.uniform(20, 45))
    world = Simulation(rng.uniform(2.4, 3.4), names, sizes)
    world.add_floor(floor)
    place = (pivot[0] - length * np.sin(angle), pivot[1] + length * np.cos(angle))
    world.hang(pivot, world.add_body(place))
    stands = (pivot[0] + rng.uniform(0.1, 0.46), standing(names[1], sizes[1], floor))
    world.add_body(stands, (0.0, 0.0), 0.3, 0.6)
    return maybe_mirrored(rng, world.run(floor=floor, pivot=pivot))


ENCOUNTERS: dict[str, Callable[[np.random.Generator, Names, np.ndarray], Draft]] = {
    draw.__name__: draw for draw in (collide, roll, throw, drop, pendulum)
}
"""How the first is set going, by the name of the physics kind that it has."""

_ROLES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    **dict.fromkeys(ENCOUNTERS, (OBJECTS, OBJECTS)),
    "collide": (_SLIDING, _SLIDING),
    "roll": (_ROLLING, _ROLLING),
}


def sample_encounter(rng: np.random.Generator, kind: str) -> MotionScene:
    """Draw a scene of two bodies; whether they touch is told by :func:`first_touch`.

    Args:
        rng: source of randomness; equal states give equal scenes.
        kind: one of `ENCOUNTERS`. It says how the first is set going; the scene need not hold what
            a caption of that kind says.
    """
    while True:
        first, second = (str(rng.choice(role)) for role in _ROLES[kind])
        if first == second:
            continue
        names = (first, second)
        draft = ENCOUNTERS[kind](rng, names, rng.uniform(*SIZES, 2))
        if lies_inside(draft.movers(names), LEAVES_BY):
            return make_scene(kind, draft, names, *draw_ground(rng))


def first_touch(scene: MotionScene) -> float | None:
    """Return the second at which two objects of a physics scene touch first; None if never."""
    times = [touch.time for touch in scene.contacts if isinstance(touch.second, int)]
    return min(times, default=None)
