"""The flat part of a scene: polygons of the ground as a camera sees them."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from visionrel.worlds.aerial.scene import AerialScene, Camera, Colour


GROUND = 0
"""Alpha of pixels that show the ground."""
_SNOW: Colour = (226, 230, 236)


def ground_colour(scene: AerialScene, colour: Colour, kind: str) -> Colour:
    """Cover with snow, or darken by rain, what the ground is made of."""
    weather = scene.conditions.weather
    if weather == "snow":
        share = {"land": 0.82, "road": 0.45, "paint": 0.3, "water": 0.15, "roof": 0.8}[kind]
        return tuple(int(c + share * (s - c)) for c, s in zip(colour, _SNOW, strict=True))
    if weather == "rain" and kind != "paint":
        return tuple(int(c * 0.78) for c in colour)
    return colour


def draw_patches(canvas: Image.Image, scene: AerialScene, large: int) -> None:
    """Draw what lies flat, in the order of the scene, cut to what the camera sees.

    Args:
        canvas: RGBA, `large` pixels square.
        scene: whose patches to draw.
        large: height and width of the canvas.
    """
    if not scene.patches:
        return
    frame = _seen_frame(scene.camera)
    corners = np.stack([patch.corners for patch in scene.patches])
    heights = np.stack([_heights(corners, *edge) for edge in _edges(frame)])
    seen = (heights >= 0).any(-1).all(0)
    whole = (heights >= 0).all((0, 2))
    shapes, fills = [], []
    for index in np.flatnonzero(seen).tolist():
        patch = scene.patches[index]
        shape = patch.corners if whole[index] else _clip(patch.corners, frame)
        if len(shape) > 2:
            shapes.append(shape)
            fills.append((*ground_colour(scene, patch.colour, patch.kind), GROUND))
    fill_ground(ImageDraw.Draw(canvas), scene.camera, shapes, fills, large)


def fill_ground(
    draw: ImageDraw.ImageDraw,
    camera: Camera,
    shapes: list[np.ndarray],
    fills: list[tuple[int, ...]] | list[int],
    large: int,
) -> None:
    """Fill polygons (N, 2) of the ground; those that reach behind the camera are left out."""
    if not shapes:
        return
    points = np.zeros((sum(map(len, shapes)), 3))
    points[:, :2] = np.concatenate(shapes)
    pixels, depths = camera.project(points, large)
    flat, start = pixels.ravel().tolist(), 0
    for shape, fill in zip(shapes, fills, strict=True):
        end = start + len(shape)
        if depths[start:end].min() > 1.0:
            draw.polygon(flat[2 * start : 2 * end], fill=fill)
        start = end


def _seen_frame(camera: Camera) -> np.ndarray:
    """Corners of the ground in view with a margin, counter-clockwise."""
    return camera.ground(np.array([[-0.1, 1.1], [1.1, 1.1], [1.1, -0.1], [-0.1, -0.1]]), 1)


def _edges(frame: np.ndarray) -> zip[tuple[np.ndarray, np.ndarray]]:
    return zip(frame, np.roll(frame, -1, 0), strict=True)


def _heights(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """How far points (..., 2) lie left of an edge, times its length."""
    edge, off = end - start, points - start
    return edge[0] * off[..., 1] - edge[1] * off[..., 0]


def _clip(polygon: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Cut a polygon down to a convex, counter-clockwise frame (Sutherland and Hodgman)."""
    for edge in _edges(frame):
        heights = _heights(polygon, *edge)
        if (heights >= 0).all():
            continue
        kept = []
        for index, height in enumerate(heights):
            before = heights[index - 1]
            if (height >= 0) != (before >= 0):
                share = before / (before - height)
                kept.append(polygon[index - 1] + share * (polygon[index] - polygon[index - 1]))
            if height >= 0:
                kept.append(polygon[index])
        polygon = np.array(kept).reshape(-1, 2)
    return polygon


def convex_hull(points: np.ndarray) -> np.ndarray:
    """Return the corners of the convex hull of points (N, 2) (Andrew's monotone chain)."""
    ordered = sorted(set(map(tuple, points.round(2).tolist())))

    def chain(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
        found: list[tuple[float, float]] = []
        for x, y in points:
            while len(found) > 1 and (found[-1][0] - found[-2][0]) * (y - found[-2][1]) <= (
                found[-1][1] - found[-2][1]
            ) * (x - found[-2][0]):
                found.pop()
            found.append((x, y))
        return found

    return np.array(chain(ordered)[:-1] + chain(ordered[::-1])[:-1])
