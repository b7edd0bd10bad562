"""Ground plans: roads with lanes and pavements, and what lies beside them.

A plan is drawn in its own frame, roads along x, then turned as a whole.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from visionrel.worlds.aerial.scene import (
    Building,
    Colour,
    Patch,
    Tree,
    rectangle,
    rotate,
    turn_point,
)


FAR = 420.0
"""Half the length of a road in metres: beyond what the highest camera sees from the side."""

ASPHALT: Colour = (92, 93, 97)
PAVING: Colour = (158, 154, 146)
WHITE: Colour = (232, 232, 226)
WATER: Colour = (58, 106, 128)
FIELDS: tuple[Colour, ...] = (
    *((112, 142, 66), (170, 160, 88), (90, 124, 62), (148, 122, 84), (186, 176, 112)),
)
WALLS: tuple[Colour, ...] = ((196, 184, 164), (176, 140, 116), (206, 200, 190), (150, 146, 142))
ROOFS: tuple[Colour, ...] = ((166, 84, 62), (140, 66, 54), (98, 102, 110), (122, 92, 74))
FLAT_ROOFS: tuple[Colour, ...] = ((174, 172, 168), (140, 142, 146), (196, 190, 178))
LEAVES: tuple[Colour, ...] = ((62, 98, 46), (78, 112, 52), (52, 84, 48), (96, 118, 56))
LANE = 3.4


@dataclass(frozen=True)
class Road:
    """A straight road in the frame of the plan.

    Attributes:
        angle: direction, radians.
        offset: signed distance of its middle from the origin.
        lanes: number of lanes, half of them each way.
        pavement: width of the footways in metres, 0 for none.
    """

    angle: float
    offset: float
    lanes: int
    pavement: float

    @property
    def half(self) -> float:
        """Half the width of the carriageway."""
        return self.lanes * LANE / 2

    def place(self, along: float, across: float) -> tuple[float, float]:
        """Return the point at a distance along the road and left of its middle."""
        return turn_point(along, across + self.offset, self.angle)

    def locate(self, x: float, y: float) -> tuple[float, float]:
        """Return where along and how far left of the middle a point lies."""
        along, across = turn_point(x, y, -self.angle)
        return along, across - self.offset


@dataclass
class Plan:
    """A ground plan under construction; the attributes are those of the scene.

    Attributes:
        roads: with lanes for vehicles and footways for people.
        squares: (x0, x1, y0, y1) where people walk and sit.
        bays: (x, y, heading) of parking places.
    """

    base: Colour
    roads: list[Road] = field(default_factory=list)
    squares: list[tuple[float, float, float, float]] = field(default_factory=list)
    bays: list[tuple[float, float, float]] = field(default_factory=list)
    patches: list[Patch] = field(default_factory=list)
    buildings: list[Building] = field(default_factory=list)
    trees: list[Tree] = field(default_factory=list)
    lamps: list[tuple[float, float]] = field(default_factory=list)

    def is_free(self, x: float, y: float, radius: float) -> bool:
        """Tell whether a disc touches no road, square, building or row of bays."""
        for road in self.roads:
            if abs(road.locate(x, y)[1]) < road.half + road.pavement + radius:
                return False
        for x0, x1, y0, y1 in self.squares:
            if x0 - radius < x < x1 + radius and y0 - radius < y < y1 + radius:
                return False
        return all(
            math.hypot(b.x - x, b.y - y) > radius + max(b.length, b.width) / 2
            for b in self.buildings
        )


def draw_plan(rng: np.random.Generator) -> Plan:
    """Draw one of six kinds of place."""
    kinds = (_street, _crossing, _highway, _riverside, _car_park, _square)
    plan = kinds[rng.choice(len(kinds), p=(0.24, 0.2, 0.14, 0.12, 0.16, 0.14))](rng)
    _plant(rng, plan)
    return plan


def _pick(rng: np.random.Generator, colours: tuple[Colour, ...], spread: int = 10) -> Colour:
    """Choose a colour and vary it a little."""
    colour = colours[rng.integers(len(colours))]
    shifts = rng.integers(-spread, spread + 1, 3).tolist()
    return tuple(min(255, max(0, c + shift)) for c, shift in zip(colour, shifts, strict=True))


def _grass(rng: np.random.Generator) -> Colour:
    return _pick(rng, ((106, 132, 70), (122, 140, 80), (136, 138, 90), (98, 122, 74)))


def _lay(plan: Plan, road: Road) -> None:
    """Add a road with its footways and markings."""
    plan.roads.append(road)
    half, pave = road.half, road.pavement

    def strip(x0: float, x1: float, y0: float, y1: float, colour: Colour, kind: str) -> None:
        corners = rectangle(x0, x1, y0 + road.offset, y1 + road.offset)
        plan.patches.append(Patch(rotate(corners, road.angle), colour, kind))

    if pave:
        strip(-FAR, FAR, -half - pave, half + pave, PAVING, "land")
    strip(-FAR, FAR, -half, half, ASPHALT, "road")
    for y in (-half + 0.3, half - 0.3):
        strip(-FAR, FAR, y - 0.08, y + 0.08, WHITE, "paint")
    for lane in range(1, road.lanes):
        y = -half + lane * LANE
        if lane * 2 == road.lanes and road.lanes > 2:
            strip(-FAR, FAR, y - 0.1, y + 0.1, (224, 190, 86), "paint")
            continue
        for x in np.arange(-90.0, 90.0, 7.0):
            strip(x, x + 3.0, y - 0.09, y + 0.09, WHITE, "paint")
    for along in np.arange(-84.0, 85.0, 24.0):
        side = 1 if round(along / 24.0) % 2 else -1
        x, y = road.place(along + 6.0, side * (half + max(pave * 0.35, 0.8)))
        plan.lamps.append((x, y))


def _zebra(plan: Plan, road: Road, along: float) -> None:
    """Paint a pedestrian crossing over a road."""
    for across in np.arange(-road.half + 0.5, road.half - 0.6, 1.1):
        start = across + road.offset
        corners = rectangle(along - 1.6, along + 1.6, start, start + 0.6)
        plan.patches.append(Patch(rotate(corners, road.angle), WHITE, "paint"))


def _house(rng: np.random.Generator, plan: Plan, road: Road, along: float, across: float) -> None:
    """Put a house beside a road if there is room."""
    length, width = rng.uniform(8, 15), rng.uniform(7, 11)
    ridged = bool(rng.random() < 0.6)
    x, y = road.place(along, across)
    if not plan.is_free(x, y, max(length, width) / 2 + 0.5):
        return
    plan.buildings.append(
        Building(
            *(x, y, road.angle),
            *(length, width, rng.uniform(3.0, 4.5) if ridged else rng.uniform(3.5, 7.0)),
            _pick(rng, WALLS),
            _pick(rng, ROOFS if ridged else FLAT_ROOFS),
            ridged,
        )
    )


def _houses(rng: np.random.Generator, plan: Plan, road: Road, sides: tuple[int, ...]) -> None:
    for side in sides:
        for along in np.arange(-70.0, 71.0, 17.0):
            if rng.random() < 0.72:
                away = road.half + road.pavement + rng.uniform(7.5, 10.0)
                _house(rng, plan, road, along + rng.uniform(-2, 2), side * away)


def _plant(rng: np.random.Generator, plan: Plan) -> None:
    """Scatter trees where nothing else stands, some of them in a row along the first road."""
    road = plan.roads[0]
    for along in np.arange(-60.0, 61.0, rng.uniform(9, 16)):
        for side in (-1, 1):
            x, y = road.place(along, side * (road.half + road.pavement + 1.6))
            if rng.random() < 0.4 and plan.is_free(x, y, 1.2):
                _tree(rng, plan, x, y, rng.uniform(1.3, 2.2))
    for x, y in rng.uniform(-65, 65, (34, 2)).tolist():
        if plan.is_free(x, y, 2.6):
            _tree(rng, plan, x, y, rng.uniform(1.6, 3.2))


def _tree(rng: np.random.Generator, plan: Plan, x: float, y: float, radius: float) -> None:
    plan.trees.append(Tree(x, y, radius, radius * rng.uniform(1.1, 1.6), _pick(rng, LEAVES)))


def _street(rng: np.random.Generator) -> Plan:
    plan = Plan(_grass(rng))
    _lay(plan, Road(0.0, rng.uniform(-5, 5), int(rng.choice([2, 2, 4])), rng.uniform(2.2, 4.0)))
    _zebra(plan, plan.roads[0], rng.uniform(-10, 10))
    _houses(rng, plan, plan.roads[0], (-1, 1))
    return plan


def _crossing(rng: np.random.Generator) -> Plan:
    plan = Plan(_grass(rng))
    main = Road(0.0, rng.uniform(-4, 4), int(rng.choice([2, 4])), 3.0)
    side = Road(np.pi / 2, rng.uniform(-4, 4), 2, 3.0)
    _lay(plan, side)
    _lay(plan, main)
    # The crossing itself carries no markings.
    x = side.place(0.0, 0.0)[0]
    box = rectangle(x - side.half, x + side.half, main.offset - main.half, main.offset + main.half)
    plan.patches.append(Patch(box, ASPHALT, "road"))
    for sign in (-1, 1):
        _zebra(plan, main, x + sign * (side.half + 2.4))
        _zebra(plan, side, main.offset + sign * (main.half + 2.4))
    _houses(rng, plan, main, (-1, 1))
    return plan


def _fields(rng: np.random.Generator, plan: Plan, side: int, start: float) -> None:
    """Lay fields with furrows to one side of the first road."""
    road, x = plan.roads[0], -150.0
    while x < 150.0:
        width, depth = rng.uniform(24, 46), rng.uniform(60, 110)
        colour = _pick(rng, FIELDS)
        low, high = sorted((side * start, side * (start + depth)))
        plan.patches.append(
            Patch(rectangle(x, x + width, low + road.offset, high + road.offset), colour)
        )
        darker = tuple(int(c * 0.9) for c in colour)
        for row in np.arange(x + 0.6, x + width - 0.8, 2.4):
            corners = rectangle(row, row + 1.0, low + road.offset, high + road.offset)
            plan.patches.append(Patch(corners, darker))
        x += width + 1.2


def _highway(rng: np.random.Generator) -> Plan:
    plan = Plan(_grass(rng))
    road = Road(0.0, rng.uniform(-4, 4), int(rng.choice([4, 4, 6])), 0.0)
    _lay(plan, road)
    for side in (-1, 1):
        _fields(rng, plan, side, road.half + rng.uniform(4, 8))
    return plan


def _riverside(rng: np.random.Generator) -> Plan:
    plan = Plan(_grass(rng))
    road = Road(0.0, rng.uniform(-3, 6), 2, 3.2)
    bank = road.offset - road.half - road.pavement - 2.0
    width = rng.uniform(14, 30)
    plan.patches.append(
        Patch(rectangle(-FAR, FAR, bank - width - 1.2, bank + 1.2), (126, 122, 114))
    )
    plan.patches.append(Patch(rectangle(-FAR, FAR, bank - width, bank), WATER, "water"))
    for x, y in rng.uniform((-70, bank - width + 1), (70, bank - 1), (70, 2)):
        ripple = rectangle(x, x + rng.uniform(1, 3.5), y, y + 0.16)
        plan.patches.append(Patch(ripple, (104, 150, 168), "water"))
    _lay(plan, road)
    _houses(rng, plan, road, (1,))
    # Nothing may stand in the water: a road without lanes keeps the place free.
    plan.roads.append(Road(0.0, bank - width / 2, 0, width / 2 + 1.2))
    return plan


def _car_park(rng: np.random.Generator) -> Plan:
    plan = Plan(_grass(rng))
    road = Road(0.0, rng.uniform(9, 13), 2, 2.4)
    edge = road.offset - road.half - road.pavement
    x0, x1, rows = -rng.uniform(18, 34), rng.uniform(18, 34), int(rng.integers(2, 4))
    bottom = edge - rows * 16.5
    plan.patches.append(Patch(rectangle(x0, x1, bottom, edge + 0.2), (104, 104, 107), "road"))
    for row in range(rows):
        for y, heading in ((edge - row * 16.5 - 3.2, 1), (edge - row * 16.5 - 13.3, -1)):
            for x in np.arange(x0 + 2.0, x1 - 1.5, 2.9):
                line = rectangle(x - 1.5, x - 1.38, y - 2.6, y + 2.6)
                plan.patches.append(Patch(line, WHITE, "paint"))
                plan.bays.append((float(x), y, heading * np.pi / 2))
    _lay(plan, road)
    plan.squares.append((x0, x1, bottom, edge))
    _houses(rng, plan, road, (1,))
    return plan


def _square(rng: np.random.Generator) -> Plan:
    plan = Plan(_grass(rng))
    road = Road(0.0, rng.uniform(11, 15), 2, 3.0)
    top = road.offset - road.half - road.pavement
    x0, x1, y0 = -rng.uniform(14, 22), rng.uniform(14, 22), top - rng.uniform(22, 34)
    stone = _pick(rng, ((178, 168, 150), (168, 160, 152), (186, 176, 160)))
    plan.patches.append(Patch(rectangle(x0, x1, y0, top + 0.2), stone))
    joint = tuple(int(c * 0.93) for c in stone)
    for x in np.arange(x0 + 2, x1, 4.0):
        plan.patches.append(Patch(rectangle(x, x + 0.3, y0, top), joint))
    for y in np.arange(y0 + 2, top, 4.0):
        plan.patches.append(Patch(rectangle(x0, x1, y, y + 0.3), joint))
    _lay(plan, road)
    plan.squares.append((x0, x1, y0, top))
    _houses(rng, plan, road, (1,))
    for x, y in rng.uniform((x0 + 2, y0 + 2), (x1 - 2, top - 2), (5, 2)).tolist():
        _tree(rng, plan, x, y, rng.uniform(1.2, 1.9))
    for x in np.arange(x0, x1, 15.0):
        _house(rng, plan, Road(0.0, 0.0, 0, 0.0), float(x) + 5, y0 - 8)
    return plan
