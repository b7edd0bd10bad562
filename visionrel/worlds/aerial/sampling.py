"""Draws random aerial scenes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from visionrel.data.aerial.conditions import AXES
from visionrel.worlds.aerial.layouts import LANE, Plan, Road, draw_plan
from visionrel.worlds.aerial.models import load_model
from visionrel.worlds.aerial.scene import (
    FREQUENCIES,
    AerialObject,
    AerialScene,
    Building,
    Camera,
    Colour,
    Conditions,
    Patch,
    Tree,
    rotate,
    turn_point,
)


# Metres above the ground, and degrees below the horizon; the bands do not touch.
HEIGHTS: dict[str, tuple[float, float]] = {
    "low altitude": (15, 21),
    "medium altitude": (23, 31),
    "high altitude": (34, 46),
}
DEPRESSIONS: dict[str, tuple[float, float]] = {
    "straight down": (82, 90),
    "at an oblique angle": (46, 68),
    "from the side": (32, 40),
}
_COUNTS = {"low altitude": (7, 16), "medium altitude": (12, 26), "high altitude": (18, 40)}
_TRIES = 25
# A shorter thing, in picture sides, is not drawn: 5 pixels at 320.
_SMALLEST = 0.016
_CROWD_SHARE = 0.15

_CARS: tuple[Colour, ...] = (
    *((236, 236, 234), (236, 236, 234), (188, 190, 194), (148, 150, 156), (46, 47, 52)),
    *((40, 42, 48), (176, 36, 36), (44, 78, 150), (98, 104, 112), (150, 128, 96), (34, 92, 72)),
)
_VANS: tuple[Colour, ...] = (
    *((240, 240, 238), (240, 240, 238), (226, 222, 208), (172, 176, 182), (52, 92, 160)),
)
_CABS: tuple[Colour, ...] = ((190, 44, 38), (48, 88, 166), (232, 232, 230), (216, 142, 38))
_LOADS: tuple[Colour, ...] = (
    *((224, 224, 220), (152, 156, 160), (74, 102, 132), (86, 104, 70), (172, 138, 96)),
)
_BUSES: tuple[Colour, ...] = ((238, 188, 44), (206, 52, 44), (56, 146, 88), (52, 118, 190))
_BRIGHT: tuple[Colour, ...] = (
    *((206, 40, 40), (40, 92, 190), (34, 142, 84), (236, 176, 36), (232, 232, 228)),
    *((46, 46, 52), (150, 70, 160), (230, 116, 40), (110, 170, 210), (180, 120, 90)),
)
_TROUSERS: tuple[Colour, ...] = ((40, 44, 60), (58, 54, 50), (70, 88, 124), (30, 30, 34))
# Main and second colour by class.
_PAINTS: dict[str, tuple[tuple[Colour, ...], tuple[Colour, ...]]] = {
    "car": (_CARS, _CARS),
    "van": (_VANS, ((180, 40, 40), (40, 80, 160), (80, 84, 90))),
    "truck": (_CABS, _LOADS),
    "bus": (_BUSES, ((240, 240, 236),)),
    "bicycle": (_BRIGHT, _BRIGHT),
    "motor": (_BRIGHT, _BRIGHT),
    "tricycle": (((44, 96, 170), (42, 128, 84), (176, 44, 40)), _LOADS),
    "awning-tricycle": (((44, 96, 170), (42, 128, 84), (176, 44, 40)), _BRIGHT[:4]),
    "pedestrian": (_BRIGHT, _TROUSERS),
    "people": (_BRIGHT, _TROUSERS),
}
# Share of the vehicles that carry a rider, and where the rider sits: forward, up, metres.
_RIDERS = {
    "motor": (0.55, -0.35, 1.1),
    "bicycle": (0.6, -0.3, 1.15),
    "tricycle": (0.7, 0.45, 0.75),
    "awning-tricycle": (0.7, 0.45, 0.75),
}
_PEOPLE = ("pedestrian", "people")
_SMALL = (*_PEOPLE, "bicycle", "motor", "tricycle", "awning-tricycle")


def sample_conditions(rng: np.random.Generator) -> Conditions:
    """Draw every axis evenly."""
    return Conditions(
        **{axis: phrases[rng.integers(len(phrases))] for axis, phrases in AXES.items()}
    )


def sample_aerial(rng: np.random.Generator, conditions: Conditions | None = None) -> AerialScene:
    """Draw one scene.

    Args:
        rng: source of randomness; equal states give equal scenes.
        conditions: time, weather, view and altitude; None draws every axis evenly.
    """
    conditions = conditions or sample_conditions(rng)
    camera = Camera(
        float(rng.uniform(*HEIGHTS[conditions.altitude])),
        math.radians(rng.uniform(*DEPRESSIONS[conditions.view])),
    )
    plan, turn = draw_plan(rng), float(rng.uniform(0, 2 * math.pi))
    night = conditions.time == "night"
    objects = _Population(rng, plan, camera, turn, night).fill(_COUNTS[conditions.altitude])
    low = conditions.time == "dusk or dawn"
    return AerialScene(
        conditions,
        camera,
        plan.base,
        _turned_patches(plan.patches, turn),
        tuple(_turned(building, turn) for building in plan.buildings),
        tuple(_turned(tree, turn) for tree in plan.trees),
        tuple(objects),
        tuple(turn_point(*lamp, turn) for lamp in plan.lamps),
        (
            float(rng.uniform(0, 2 * math.pi)),
            math.radians(rng.uniform(16, 24) if low else rng.uniform(38, 66)),
        ),
        int(rng.integers(2**31)),
    )


_Placed = TypeVar("_Placed", AerialObject, Building, Tree)


def _turned(item: _Placed, turn: float) -> _Placed:
    """Turn a thing about the origin."""
    x, y = turn_point(item.x, item.y, turn)
    if isinstance(item, Tree):
        return replace(item, x=x, y=y)
    return replace(item, x=x, y=y, heading=item.heading + turn)


def _turned_patches(patches: list[Patch], turn: float) -> tuple[Patch, ...]:
    corners = rotate(np.stack([patch.corners for patch in patches]), turn)
    return tuple(
        Patch(place, patch.colour, patch.kind)
        for patch, place in zip(patches, corners, strict=True)
    )


@dataclass(frozen=True)
class _Spot:
    """A place in the frame of the plan where something may stand."""

    x: float
    y: float
    heading: float
    moving: bool = False


class _Population:
    """Puts objects into a plan, evenly over the picture, none through another."""

    def __init__(
        self, rng: np.random.Generator, plan: Plan, camera: Camera, turn: float, night: bool
    ) -> None:
        self.rng, self.plan, self.camera, self.turn = rng, plan, camera, turn
        self.night = night
        self.roads = [road for road in plan.roads if road.lanes]
        self.objects: list[AerialObject] = []
        # Discs (x, y, radius) that cover the footprints of what stands already.
        self.discs = np.empty((0, 3))

    def fill(self, counts: tuple[int, int]) -> list[AerialObject]:
        """Draw classes by their frequency and place each where it belongs; in world axes."""
        count = int(self.rng.integers(*counts))
        if self.rng.random() < _CROWD_SHARE:
            self._crowd()
        names = self.rng.choice(list(FREQUENCIES), count, p=list(FREQUENCIES.values()))
        for name in map(str, names):
            for _ in range(_TRIES):
                spot = self._spot(name)
                if spot and self._put(name, spot):
                    break
        return [_turned(item, self.turn) for item in self.objects]

    def _point(self) -> tuple[float, float]:
        """Draw a point of the plan, evenly over the picture."""
        seen = self.camera.ground_point(*self.rng.uniform(0.02, 0.98, 2).tolist())
        return turn_point(*seen, -self.turn)

    def _spot(self, name: str) -> _Spot | None:
        rng = self.rng
        if name in _PEOPLE:
            return self._footway() if rng.random() < 0.85 else self._crossing_road()
        if self.plan.bays and name in ("car", "van", "motor") and rng.random() < 0.65:
            near = self._point()
            x, y, heading = min(self.plan.bays, key=lambda bay: math.dist(bay[:2], near))
            return _Spot(x, y + rng.uniform(-0.3, 0.3), heading + math.pi * int(rng.integers(2)))
        if name in _SMALL and rng.random() < 0.3:
            return self._footway()
        return self._lane(name)

    def _road(self, x: float, y: float) -> Road:
        """Choose a road, the nearer the likelier."""
        weights = [1 / (abs(road.locate(x, y)[1]) + 3.0) for road in self.roads]
        mark = self.rng.random() * sum(weights)
        for road, weight in zip(self.roads, weights, strict=True):
            mark -= weight
            if mark < 0:
                return road
        return self.roads[-1]

    def _lane(self, name: str) -> _Spot:
        """A place in a lane, driving on the right; small vehicles keep to the edge."""
        rng, point = self.rng, self._point()
        road = self._road(*point)
        along = road.locate(*point)[0]
        lane = int(rng.integers(road.lanes))
        across = -road.half + (lane + 0.5) * LANE
        moving = True
        if name in _SMALL:
            across = math.copysign(road.half - 0.9, across) + rng.uniform(-0.3, 0.5)
        elif name in ("car", "van") and road.pavement and rng.random() < 0.15:
            across, moving = math.copysign(road.half + 0.4, across), False
        x, y = road.place(along, across + rng.uniform(-0.25, 0.25))
        ahead = road.angle if across < 0 else road.angle + math.pi
        return _Spot(x, y, ahead + float(rng.normal(0, 0.035)), moving)

    def _footway(self) -> _Spot | None:
        """A place on a footway or a square."""
        rng, (x, y) = self.rng, self._point()
        heading = float(rng.uniform(0, 2 * math.pi))
        if any(x0 < x < x1 and y0 < y < y1 for x0, x1, y0, y1 in self.plan.squares):
            return _Spot(x, y, heading)
        paved = [road for road in self.roads if road.pavement]
        if not paved:
            return None
        road = paved[rng.integers(len(paved))]
        along, across = road.locate(x, y)
        margin = road.half + rng.uniform(0.4, road.pavement - 0.4)
        return _Spot(*road.place(along, math.copysign(margin, across)), heading)

    def _crossing_road(self) -> _Spot:
        """A place on the carriageway, walking across it."""
        point = self._point()
        road = self._road(*point)
        across = self.rng.uniform(-road.half, road.half)
        return _Spot(*road.place(road.locate(*point)[0], across), road.angle + math.pi / 2)

    def _put(self, name: str, spot: _Spot, labelled: bool = True) -> bool:
        """Place an object, with its rider, unless it is out of view, tiny or in another's way."""
        size = float(self.rng.uniform(0.93, 1.08))
        (back, right, _), (front, left, _) = load_model(name).bounds.tolist()
        length, width = (front - back) * size, (left - right) * size
        u, v, metre = self.camera.glance(*turn_point(spot.x, spot.y, self.turn))
        if not (0 < u < 1 and 0 < v < 1) or metre * max(length, 1.6) < _SMALLEST:
            return False
        # Discs along its length stand for its footprint.
        count = max(1, round(length / width))
        radius = width / 2 * 1.12 + 0.05
        reach = max(length / 2 - radius, 0.0)
        steps = np.linspace(-reach, reach, count)
        across = np.array([math.cos(spot.heading), math.sin(spot.heading)])
        centres = steps[:, None] * across + [spot.x, spot.y]
        off = centres[:, None] - self.discs[:, :2]
        if ((off**2).sum(-1) < (radius + self.discs[:, 2]) ** 2).any():
            return False
        self.discs = np.vstack([self.discs, np.column_stack([centres, np.full(count, radius)])])
        self.objects.append(self._paint(name, spot, size, labelled))
        share, forward, up = _RIDERS.get(name, (0.0, 0.0, 0.0))
        if labelled and self.rng.random() < share:
            x, y = turn_point(forward, 0.0, spot.heading)
            seat = replace(spot, x=spot.x + x, y=spot.y + y)
            self.objects.append(replace(self._paint("people", seat, size, True), base=up * size))
        return True

    def _paint(self, name: str, spot: _Spot, size: float, labelled: bool) -> AerialObject:
        first, second = (colours[self.rng.integers(len(colours))] for colours in _PAINTS[name])
        base = 0.42 if name == "people" else 0.0
        return AerialObject(
            *(name, spot.x, spot.y, spot.heading, first, second, base, size),
            *(spot.moving and self.night and name not in _PEOPLE, labelled),
        )

    def _crowd(self) -> None:
        """Put a dense group on a square or a footway; its members carry no label."""
        name = ("pedestrian", "motor", "bicycle")[self.rng.integers(3)]
        centre = self._footway()
        if centre is None:
            return
        road = self._road(centre.x, centre.y)
        walking = name == "pedestrian"
        step, depth, rows = (1.2, 1.2, 3) if walking else (1.35, 3.0, 1)
        for row in range(rows):
            for column in range(int(self.rng.integers(5, 10))):
                x, y = turn_point(column * step, row * depth, road.angle)
                spot = _Spot(
                    centre.x + x + self.rng.uniform(-0.1, 0.1),
                    centre.y + y + self.rng.uniform(-0.1, 0.1),
                    self.rng.uniform(0, 6.28) if walking else road.angle + math.pi / 2,
                )
                self._put(name, spot, labelled=False)
