"""Motions computed by the physics engine pymunk: falls, throws, collisions, rolling, swinging.

The engine works in hundredths of a picture side, so that its tolerances stay far below a pixel.
Animals and cars keep upright; balls and boxes turn freely.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from visionrel.errors import InputError
from visionrel.worlds.motion.drafts import Draft, mirror
from visionrel.worlds.motion.rendering import proportions
from visionrel.worlds.motion.scene import BOXES, DURATION, FLOOR, SAMPLES, Contact


_UNIT = 100.0
_SUBSTEPS = 4
_FREE_TURNING = ("ball", *BOXES)

Names = Sequence[str]


def load_engine() -> ModuleType:
    """Import pymunk.

    Errors:
        InputError: it is not installed.
    """
    try:
        import pymunk
    except ImportError as error:
        raise InputError(
            "the motion world needs `pymunk` for physics; install it: pip install 'pymunk>=7'"
        ) from error
    return pymunk


class Simulation:
    """A small world of bodies; lengths are in picture sides, y points down.

    Args:
        gravity: downward acceleration in sides per second squared.
        names: looks of the bodies, which decide their shapes.
        sizes: their longer sides.
    """

    def __init__(self, gravity: float, names: Names, sizes: np.ndarray) -> None:
        self.engine = load_engine()
        self.space = self.engine.Space()
        self.space.gravity = (0.0, gravity * _UNIT)
        self.space.iterations = 20
        self.gravity, self.names, self.sizes = gravity, names, np.asarray(sizes)
        self.bodies: list[Any] = []
        self.contacts: list[Contact] = []
        self.time = 0.0
        self._indices: dict[Any, int] = {}
        self.space.on_collision(begin=self._note_contact)

    def add_line(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Add a fixed line, such as the floor."""
        ends = [(x * _UNIT, y * _UNIT + 5.0) for x, y in (start, end)]
        # The line is thick so that nothing tunnels; its upper edge is where it is asked for.
        line = self.engine.Segment(self.space.static_body, *ends, 5.0)
        line.elasticity, line.friction = 1.0, 1.0
        self.space.add(line)

    def add_floor(self, height: float) -> None:
        """Add a level floor."""
        self.add_line((-2.0, height), (3.0, height))

    def add_body(
        self,
        place: tuple[float, float],
        velocity: tuple[float, float] = (0.0, 0.0),
        elasticity: float = 0.3,
        friction: float = 0.6,
    ) -> Any:
        """Add the next body at a centre with a velocity in sides per second."""
        index = len(self.bodies)
        name, size = self.names[index], float(self.sizes[index]) * _UNIT
        mass, radius = size * size / 500.0, size / 2
        width, height = (share * size for share in proportions(name))
        moment = self.engine.moment_for_circle(mass, 0, radius)
        if name in BOXES:
            moment = self.engine.moment_for_box(mass, (width, height))
        body = self.engine.Body(mass, moment if name in _FREE_TURNING else float("inf"))
        body.position = (place[0] * _UNIT, place[1] * _UNIT)
        body.velocity = (velocity[0] * _UNIT, velocity[1] * _UNIT)
        if name == "ball":
            shape = self.engine.Circle(body, radius)
            body.angular_velocity = velocity[0] * _UNIT / radius
        else:
            shape = self.engine.Poly.create_box(body, (width, height))
        shape.elasticity, shape.friction = elasticity, friction
        self.space.add(body, shape)
        self.bodies.append(body)
        self._indices[body] = index
        return body

    def hang(self, pivot: tuple[float, float], body: Any) -> None:
        """Tie a body to a fixed place with a rod of the present distance."""
        anchor = (pivot[0] * _UNIT, pivot[1] * _UNIT)
        self.space.add(self.engine.PinJoint(self.space.static_body, body, anchor, (0, 0)))

    def run(self, **rest: Any) -> Draft:
        """Let time pass and return the paths; `rest` goes into the `Draft`."""
        paths = np.empty((len(self.bodies), SAMPLES, 2))
        angles = np.empty((len(self.bodies), SAMPLES))
        step = DURATION / (SAMPLES - 1) / _SUBSTEPS
        for instant in range(SAMPLES):
            for index, body in enumerate(self.bodies):
                paths[index, instant] = body.position.x / _UNIT, body.position.y / _UNIT
                # y points down here, so a positive angle is clockwise.
                angles[index, instant] = -np.degrees(body.angle)
            for _ in range(_SUBSTEPS):
                self.space.step(step)
                self.time += step
        return Draft(
            self.sizes,
            paths,
            angles,
            gravity=self.gravity,
            contacts=tuple(self.contacts),
            **rest,
        )

    def _note_contact(self, arbiter: Any, space: Any, data: Any) -> None:
        indices = [self._indices.get(shape.body) for shape in arbiter.shapes]
        known = sorted(index for index in indices if index is not None)
        if known and self.time <= DURATION:
            second = known[1] if len(known) > 1 else FLOOR
            self.contacts.append(Contact(self.time, known[0], second))


def draw_gravity(rng: np.random.Generator) -> float:
    """Draw a downward acceleration, sides per second squared."""
    return rng.uniform(1.8, 3.0)


def standing(name: str, size: float, floor: float) -> float:
    """Return the height of the centre of an object that stands on the floor."""
    return floor - proportions(name)[1] * size / 2


def maybe_mirrored(rng: np.random.Generator, draft: Draft) -> Draft:
    """Swap left and right of a draft or not."""
    return mirror(draft) if rng.random() < 0.5 else draft


def drop(rng: np.random.Generator, names: Names, sizes: np.ndarray) -> Draft:
    """It falls from a height and bounces."""
    floor = rng.uniform(0.8, 0.92)
    world = Simulation(draw_gravity(rng), names, sizes)
    world.add_floor(floor)
    place = (rng.uniform(0.2, 0.8), rng.uniform(0.15, 0.32))
    world.add_body(place, (rng.uniform(-0.04, 0.04), 0.0), rng.uniform(0.6, 0.85), 0.1)
    return world.run(floor=floor)


def throw(rng: np.random.Generator, names: Names, sizes: np.ndarray) -> Draft:
    """It flies up in an arc and comes down."""
    floor = rng.uniform(0.82, 0.92)
    world = Simulation(rng.uniform(1.8, 2.6), names, sizes)
    world.add_floor(floor)
    place = (rng.uniform(0.13, 0.22), rng.uniform(0.5, 0.68))
    # A ball rolls on after it has landed, the others soon stop.
    speeds = (0.28, 0.38) if names[0] == "ball" else (0.42, 0.65)
    velocity = (rng.uniform(*speeds), -rng.uniform(0.85, 1.35))
    world.add_body(place, velocity, rng.uniform(0.3, 0.6), 0.7)
    return maybe_mirrored(rng, world.run(floor=floor))


def collide(rng: np.random.Generator, names: Names, sizes: np.ndarray) -> Draft:
    """The first runs into the second, which stands, and sets it moving."""
    floor = rng.uniform(0.72, 0.92)
    world = Simulation(draw_gravity(rng), names, sizes)
    world.add_floor(floor)
    elasticity = rng.uniform(0.85, 0.98)
    start = rng.uniform(0.13, 0.18)
    place = (start + sizes.mean() + rng.uniform(0.12, 0.25), standing(names[1], sizes[1], floor))
    speed = rng.uniform(0.5, 0.85)
    world.add_body((start, standing(names[0], sizes[0], floor)), (speed, 0.0), elasticity, 0.03)
    world.add_body(place, (0.0, 0.0), elasticity, rng.uniform(0.2, 0.4))
    return maybe_mirrored(rng, world.run(floor=floor))


def roll(rng: np.random.Generator, names: Names, sizes: np.ndarray) -> Draft:
    """It rolls along the floor."""
    floor = rng.uniform(0.6, 0.92)
    world = Simulation(draw_gravity(rng), names, sizes)
    world.add_floor(floor)
    friction = 0.8 if names[0] == "ball" else 0.02
    place = (rng.uniform(0.13, 0.2), standing(names[0], sizes[0], floor))
    world.add_body(place, (rng.uniform(0.24, 0.34), 0.0), 0.0, friction)
    return maybe_mirrored(rng, world.run(floor=floor))


def roll_down(rng: np.random.Generator, names: Names, sizes: np.ndarray) -> Draft:
    """It rolls down a slope."""
    floor = rng.uniform(0.84, 0.92)
    angle = np.radians(rng.uniform(11, 17))
    slope = ((0.0, floor - np.tan(angle)), (1.0, floor))
    world = Simulation(rng.uniform(1.7, 2.3), names, sizes)
    world.add_line((-1.0, floor - 2 * np.tan(angle)), (2.0, floor + np.tan(angle)))
    x, radius = rng.uniform(0.13, 0.24), sizes[0] / 2
    place = (x, floor - (1 - x) * np.tan(angle) - radius / np.cos(angle))
    world.add_body(place, (0.0, 0.0), 0.0, 1.0)
    return maybe_mirrored(rng, world.run(slope=slope))


def pendulum(rng: np.random.Generator, names: Names, sizes: np.ndarray) -> Draft:
    """It swings on a rope."""
    pivot = (rng.uniform(0.42, 0.58), rng.uniform(0.02, 0.1))
    length, angle = rng.uniform(0.4, 0.54), np.radians(rng.uniform(32, 52))
    world = Simulation(rng.uniform(2.4, 3.4), names, sizes)
    place = (pivot[0] - length * np.sin(angle), pivot[1] + length * np.cos(angle))
    world.hang(pivot, world.add_body(place))
    return maybe_mirrored(rng, world.run(pivot=pivot))


def topple(rng: np.random.Generator, names: Names, sizes: np.ndarray) -> Draft:
    """A stack of three boxes, the upper ones too far to one side, falls over."""
    floor = rng.uniform(0.86, 0.93)
    side = rng.uniform(0.19, 0.23)
    world = Simulation(rng.uniform(2.2, 3.2), names, np.full(3, side))
    world.add_floor(floor)
    x = rng.uniform(0.3, 0.5)
    shifts = np.cumsum([0.0, rng.uniform(0.2, 0.38), rng.uniform(0.42, 0.6)]) * side
    for level, shift in enumerate(shifts):
        place = (x + shift, floor - side * (level + 0.5))
        world.add_body(place, (0.08 * level, 0.0), elasticity=0.0, friction=0.7)
    return maybe_mirrored(rng, world.run(floor=floor))
