"""Small solid models of vehicles, people and houses.

Small things are larger than life, so that they keep a shape of their own in a picture of 320
pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from visionrel.worlds.aerial.mesh import Mesh, Modeller


def _lamps(model: Modeller, front: float, back: float, half: float, z: tuple[float, float]) -> None:
    for low, high in ((-half, -half * 0.55), (half * 0.55, half)):
        model.plate(front + 0.02, (low, high), z, "lamp")
        model.plate(back - 0.02, (low, high), z, "tail")


def _wheels(model: Modeller, places: tuple[float, ...], half: float, radius: float) -> None:
    for x in places:
        for y in (-half - 0.03, half + 0.03):
            model.wheel(x, y, radius)


def _car() -> Mesh:
    model = Modeller()
    model.block((-2.15, 2.15), (-0.9, 0.9), (0.28, 0.85), "paint", inset=(0.05, 0.12, 0.04))
    _lamps(model, 2.15, -2.15, 0.85, (0.55, 0.78))
    _wheels(model, (-1.35, 1.35), 0.9, 0.33)
    model.block(
        (-1.75, 0.95), (-0.82, 0.82), (0.85, 1.45), "glass", "paint", inset=(0.5, 0.75, 0.14)
    )
    return model.build()


def _van() -> Mesh:
    model = Modeller()
    model.block((1.2, 2.6), (-0.98, 0.98), (0.3, 1.15), "paint", inset=(0.0, 0.15, 0.03))
    _lamps(model, 2.6, -2.6, 0.95, (0.65, 0.95))
    _wheels(model, (-1.6, 1.65), 0.98, 0.38)
    model.block(
        (-2.6, 1.95), (-0.98, 0.98), (0.3, 2.2), "paint", front="glass", inset=(0.05, 0.85, 0.08)
    )
    for y in (-0.97, 0.97):
        model.panel((0.25, 1.15), y, (1.3, 1.9), "glass")
        model.panel((-2.3, 0.05), y, (0.75, 0.85), "second")
    model.plate(-2.6, (-0.75, 0.75), (1.35, 1.95), "glass")
    return model.build()


def _truck() -> Mesh:
    model = Modeller()
    model.block((-4.0, 3.9), (-0.95, 0.95), (0.5, 0.85), "dark")
    _wheels(model, (-3.0, -2.1, 2.8), 1.15, 0.5)
    model.block((2.2, 4.1), (-1.15, 1.15), (0.55, 2.55), "paint", inset=(0.1, 0.35, 0.1))
    model.plate(4.0, (-0.95, 0.95), (1.5, 2.3), "glass")
    for y in (-1.13, 1.13):
        model.panel((2.9, 3.7), y, (1.5, 2.2), "glass")
    _lamps(model, 4.12, -4.12, 1.1, (0.75, 1.05))
    model.block((-4.1, 1.75), (-1.25, 1.25), (0.85, 3.1), "second")
    for x in (-2.6, -1.1, 0.4):
        model.face(
            [(x, -1.25, 3.12), (x + 0.12, -1.25, 3.12), (x + 0.12, 1.25, 3.12), (x, 1.25, 3.12)],
            "metal",
        )
    return model.build()


def _bus() -> Mesh:
    model = Modeller()
    model.block((-5.6, 5.6), (-1.3, 1.3), (0.35, 3.1), "paint", inset=(0.05, 0.15, 0.08))
    for y in (-1.31, 1.31):
        model.panel((-5.2, 5.0), y, (1.45, 2.5), "glass")
        for x in (-3.3, -1.2, 0.9, 3.0):
            model.panel((x, x + 0.16), y * 1.005, (1.45, 2.5), "paint")
        model.panel((-5.5, 5.5), y, (0.75, 1.0), "second")
    model.plate(5.57, (-1.15, 1.15), (1.3, 2.75), "glass")
    model.plate(-5.62, (-1.0, 1.0), (1.5, 2.5), "glass")
    _lamps(model, 5.62, -5.62, 1.2, (0.6, 0.95))
    _wheels(model, (-3.6, 3.6), 1.31, 0.5)
    for x0, x1 in ((-3.8, -1.9), (1.6, 3.5)):
        model.block((x0, x1), (-0.75, 0.75), (3.1, 3.4), "pale")
    model.block((-0.6, 0.4), (-0.5, 0.5), (3.1, 3.2), "second")
    return model.build()


def _bicycle() -> Mesh:
    model = Modeller(1.4)
    for x in (-0.55, 0.55):
        model.wheel(x, 0.0, 0.36)
        model.wheel(x, 0.0, 0.24, "metal")
        model.block((x - 0.34, x + 0.34), (-0.035, 0.035), (0.5, 0.7), "rubber", same_part=True)
    model.block((-0.5, 0.45), (-0.05, 0.05), (0.62, 0.78), "paint")
    model.block((-0.42, -0.12), (-0.09, 0.09), (0.85, 0.95), "dark")
    model.block((0.42, 0.52), (-0.34, 0.34), (0.95, 1.05), "metal")
    return model.build()


def _motor() -> Mesh:
    model = Modeller(1.35)
    for x in (-0.65, 0.7):
        model.wheel(x, 0.0, 0.33)
        model.block((x - 0.3, x + 0.3), (-0.09, 0.09), (0.3, 0.62), "rubber", same_part=True)
    model.block((-0.75, 0.5), (-0.22, 0.22), (0.35, 0.8), "paint", inset=(0.05, 0.15, 0.04))
    model.block((-0.8, 0.0), (-0.17, 0.17), (0.8, 0.95), "dark")
    model.block((0.0, 0.45), (-0.2, 0.2), (0.8, 1.0), "paint", inset=(0.0, 0.15, 0.05))
    model.block((0.48, 0.62), (-0.42, 0.42), (0.98, 1.1), "dark")
    model.plate(0.66, (-0.12, 0.12), (0.8, 0.98), "lamp")
    return model.build()


def _tricycle(awning: bool) -> Mesh:
    model = Modeller(1.3)
    _wheels(model, (-0.95,), 0.62, 0.34)
    model.wheel(1.25, 0.0, 0.34)
    model.block((0.95, 1.5), (-0.1, 0.1), (0.4, 0.75), "rubber")
    model.block((0.1, 1.2), (-0.13, 0.13), (0.45, 0.62), "paint")
    model.block((-1.6, 0.15), (-0.62, 0.62), (0.45, 0.98), "paint", "dark")
    model.block((-1.45, 0.0), (-0.5, 0.5), (0.9, 1.0), "second")
    model.block((1.0, 1.12), (-0.42, 0.42), (1.02, 1.14), "metal")
    if awning:
        for x in (-1.5, 0.85):
            for y in (-0.6, 0.56):
                model.block((x, x + 0.05), (y, y + 0.05), (0.98, 1.72), "metal")
        model.block((-1.75, 1.15), (-0.78, 0.78), (1.7, 1.95), "second", inset=(0.1, 0.1, 0.2))
        for x in (-1.15, -0.25, 0.65):
            high = [
                (x, -0.57, 1.97),
                (x + 0.3, -0.57, 1.97),
                (x + 0.3, 0.57, 1.97),
                (x, 0.57, 1.97),
            ]
            model.face(high, "pale")
    return model.build()


def _pedestrian() -> Mesh:
    model = Modeller(1.3)
    for y, x in ((-0.17, 0.08), (0.05, -0.08)):
        model.block((x - 0.09, x + 0.09), (y, y + 0.13), (0.0, 0.85), "second")
    model.tube((0.0, 0.0), (0.17, 0.3), (0.8, 1.45), "paint")
    model.tube((0.02, 0.0), (0.14, 0.14), (1.45, 1.75), "skin", "hair")
    return model.build()


def _people() -> Mesh:
    """A person who sits: trunk, thighs forward, shins down."""
    model = Modeller(1.3)
    for y in (-0.22, 0.08):
        model.block((0.32, 0.48), (y, y + 0.14), (-0.3, 0.15), "second")
        model.block((-0.1, 0.5), (y, y + 0.15), (0.1, 0.28), "second")
    model.tube((-0.08, 0.0), (0.18, 0.3), (0.12, 0.78), "paint")
    model.tube((0.0, 0.0), (0.15, 0.15), (0.78, 1.08), "skin", "hair")
    return model.build()


_MODELS: dict[str, Callable[[], Mesh]] = {
    "pedestrian": _pedestrian,
    "people": _people,
    "bicycle": _bicycle,
    "car": _car,
    "van": _van,
    "truck": _truck,
    "tricycle": lambda: _tricycle(awning=False),
    "awning-tricycle": lambda: _tricycle(awning=True),
    "bus": _bus,
    "motor": _motor,
}


@cache
def load_model(name: str) -> Mesh:
    """Return the mesh of a class."""
    return _MODELS[name]()


def building_mesh(length: float, width: float, height: float, ridged: bool) -> Mesh:
    """Return a house; walls are "second", the roof "paint"."""
    model = Modeller()
    x, y = length / 2, width / 2
    if not ridged:
        model.block((-x, x), (-y, y), (0, height), "second", "paint")
        for y0 in (-y + 0.25, y - 0.75):
            model.block((-x + 0.3, -x + 1.8), (y0, y0 + 0.5), (height, height + 0.5), "metal")
        return model.build()
    model.block((-x, x), (-y, y), (0, height), "second")
    ridge, over = height + width * 0.3, 0.4
    for sign in (-1, 1):
        gable = [
            (sign * x, -sign * y, height),
            (sign * x, sign * y, height),
            (sign * x, 0.0, ridge),
        ]
        model.face(gable, "second")
    for sign in (-1, 1):
        low = [(-x - over, sign * (y + over), height), (x + over, sign * (y + over), height)]
        high = [(x + over, 0.0, ridge), (-x - over, 0.0, ridge)]
        model.face(low + high if sign < 0 else (low + high)[::-1], "paint")
    return model.build()
