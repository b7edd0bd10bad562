"""Meshes of flat faces, and a modeller that builds them from blocks, columns and discs.

Lengths are metres: x to the front of a model, y to its left, z up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


CORNERS = 8
"""Every face has this many corners; those with fewer repeat their last one."""

# What a face is made of; "paint" and "second" are chosen per object.
COLOURS: dict[str, tuple[int, int, int]] = {
    "paint": (0, 0, 0),
    "second": (0, 0, 0),
    "glass": (38, 48, 60),
    "rubber": (28, 28, 30),
    "metal": (120, 122, 126),
    "lamp": (255, 246, 205),
    "tail": (190, 22, 22),
    "skin": (226, 178, 142),
    "hair": (48, 36, 30),
    "dark": (52, 50, 54),
    "pale": (226, 226, 222),
    "plate": (245, 205, 70),
}
SLOTS = tuple(COLOURS)
# Twelve ways around at four tilts: enough to find every corner that a shadow could show.
_DIRECTIONS = np.array(
    [
        (math.cos(around), math.sin(around), tilt)
        for around in np.arange(12) * math.pi / 6 + 0.1
        for tilt in (-0.5, 0.0, 0.5, 2.0)
    ]
)


@dataclass(frozen=True)
class Mesh:
    """Faces of a model.

    Attributes:
        corners: (F, CORNERS, 3) metres.
        normals: (F, 3) unit vectors to the outside.
        slots: (F,) indices into `SLOTS`.
        parts: (F,) number of the part; parts are drawn far to near, faces of a part in order.
        flat: (F,) True where both sides of a face can be seen.
        outline: (P, 3) the outermost corners, whose convex hull is that of the model.
        bounds: (2, 3) lowest and highest coordinates.
    """

    corners: np.ndarray
    normals: np.ndarray
    slots: np.ndarray
    parts: np.ndarray
    flat: np.ndarray
    outline: np.ndarray
    bounds: np.ndarray


class Modeller:
    """Collects faces; every call of `block` or `tube` starts a new part unless told otherwise."""

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale
        self.faces: list[tuple[np.ndarray, str, int, bool]] = []
        self.part = -1

    def face(
        self, corners: list[tuple[float, float, float]], slot: str, flat: bool = False
    ) -> None:
        """Add a face, counter-clockwise from outside, to the current part."""
        corners = corners + [corners[-1]] * (CORNERS - len(corners))
        self.faces.append((np.array(corners, float) * self.scale, slot, max(self.part, 0), flat))

    def block(
        self,
        x: tuple[float, float],
        y: tuple[float, float],
        z: tuple[float, float],
        sides: str,
        top: str | None = None,
        front: str | None = None,
        back: str | None = None,
        inset: tuple[float, float, float] = (0.0, 0.0, 0.0),
        same_part: bool = False,
    ) -> None:
        """Add a block without its floor; `inset` narrows the top at its back, front and flanks."""
        self.part += not same_part
        (x0, x1), (y0, y1), (z0, z1) = x, y, z
        u0, u1, v0, v1 = x0 + inset[0], x1 - inset[1], y0 + inset[2], y1 - inset[2]
        low = [(x0, y0, z0), (x1, y0, z0), (x1, y1, z0), (x0, y1, z0)]
        high = [(u0, v0, z1), (u1, v0, z1), (u1, v1, z1), (u0, v1, z1)]
        for (i, j), slot in zip(
            ((0, 1), (1, 2), (2, 3), (3, 0)),
            (sides, front or sides, sides, back or sides),
            strict=True,
        ):
            self.face([low[i], low[j], high[j], high[i]], slot)
        self.face(high, top or sides)

    def tube(
        self,
        centre: tuple[float, float],
        radii: tuple[float, float],
        z: tuple[float, float],
        sides: str,
        top: str | None = None,
    ) -> None:
        """Add an upright six-sided column."""
        self.part += 1
        ring = [
            (centre[0] + radii[0] * math.cos(a), centre[1] + radii[1] * math.sin(a))
            for a in np.linspace(0, 2 * math.pi, 7)[:-1]
        ]
        for (ax, ay), (bx, by) in zip(ring, ring[1:] + ring[:1], strict=True):
            self.face([(ax, ay, z[0]), (bx, by, z[0]), (bx, by, z[1]), (ax, ay, z[1])], sides)
        self.face([(px, py, z[1]) for px, py in ring], top or sides)

    def wheel(self, x: float, y: float, radius: float, slot: str = "rubber") -> None:
        """Add an upright disc that faces left and right."""
        angles = np.linspace(0, 2 * math.pi, CORNERS + 1)[:-1]
        self.face(
            [(x + radius * math.cos(a), y, radius * (1 + math.sin(a))) for a in angles], slot, True
        )

    def panel(self, x: tuple[float, float], y: float, z: tuple[float, float], slot: str) -> None:
        """Add a flat piece to the left (y > 0) or right flank of the current part."""
        corners = [(x[0], y, z[0]), (x[1], y, z[0]), (x[1], y, z[1]), (x[0], y, z[1])]
        self.face(corners if y < 0 else corners[::-1], slot)

    def plate(self, x: float, y: tuple[float, float], z: tuple[float, float], slot: str) -> None:
        """Add a flat piece to the front (x > 0) or back of the current part."""
        corners = [(x, y[0], z[0]), (x, y[1], z[0]), (x, y[1], z[1]), (x, y[0], z[1])]
        self.face(corners if x > 0 else corners[::-1], slot)

    def build(self) -> Mesh:
        """Return the mesh."""
        corners = np.stack([face[0] for face in self.faces])
        following = np.roll(corners, -1, 1)
        # Newell's formula: right for any flat polygon, repeated corners included.
        normals = np.cross(corners, following).sum(1)
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
        points = corners.reshape(-1, 3)
        outermost = np.unique((points @ _DIRECTIONS.T).argmax(0))
        return Mesh(
            corners,
            normals,
            np.array([SLOTS.index(face[1]) for face in self.faces]),
            np.array([face[2] for face in self.faces]),
            np.array([face[3] for face in self.faces]),
            np.unique(points[outermost], axis=0),
            np.stack([points.min(0), points.max(0)]),
        )
