"""Draws scenes with Pillow from a small atlas of sprites."""

from __future__ import annotations

from functools import cache, lru_cache
from importlib.resources import files

import numpy as np
from PIL import Image

from visionrel.worlds.scenes.scene import OBJECTS, TINTS, Scene, SceneObject


PICTURE_SIDE = 64
CELL = 64
ATLAS_COLUMNS = 8
_SUPERSAMPLE = 2


@cache
def _atlas() -> Image.Image:
    source = files("visionrel.worlds.scenes") / "sprites" / "atlas.png"
    with source.open("rb") as stream:
        return Image.open(stream).convert("RGBA")


@cache
def load_sprite(name: str, tint: str | None = None, flip: bool = False) -> Image.Image:
    """Return the sprite of a noun, RGBA, `CELL` pixels square, dyed and mirrored as asked."""
    row, column = divmod(OBJECTS.index(name), ATLAS_COLUMNS)
    box = (column * CELL, row * CELL, (column + 1) * CELL, (row + 1) * CELL)
    sprite = _atlas().crop(box)
    if tint is not None:
        sprite = _dye(sprite, TINTS[tint])
    return sprite.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip else sprite


def _dye(sprite: Image.Image, hue: float) -> Image.Image:
    """Set the hue of every pixel and raise its saturation; light and shade stay."""
    hsv = np.asarray(sprite.convert("RGB").convert("HSV")).copy()
    hsv[..., 0] = round(hue * 255)
    hsv[..., 1] = np.maximum(hsv[..., 1], 150)
    # Black stays black and white would stay white: pull both towards the middle.
    hsv[..., 2] = (70 + hsv[..., 2] * (185 / 255)).astype(np.uint8)
    dyed = Image.fromarray(hsv, "HSV").convert("RGB").convert("RGBA")
    dyed.putalpha(sprite.getchannel("A"))
    return dyed


def render(scene: Scene, side: int = PICTURE_SIDE) -> Image.Image:
    """Draw a scene as an RGB picture of `side` pixels, the farthest object first."""
    canvas_side = side * _SUPERSAMPLE
    canvas = Image.new("RGB", (canvas_side, canvas_side), scene.ground)
    for item in sorted(scene.objects, key=lambda item: -item.depth):
        _paste(canvas, item)
    return canvas.reduce(_SUPERSAMPLE)


def render_coverage(scene: Scene, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return what share of each cell an object covers in sight, and what of it others hide.

    Returns:
        Two arrays `(objects, side, side)` in [0, 1]; objects keep the order of the scene.
    """
    covered = np.zeros((len(scene.objects), side, side), np.float32)
    visible = np.zeros_like(covered)
    for index, item in sorted(enumerate(scene.objects), key=lambda pair: -pair[1].depth):
        fine = Image.new("L", (PICTURE_SIDE, PICTURE_SIDE))
        sprite, corner = _place(item, PICTURE_SIDE)
        fine.paste(sprite.getchannel("A"), corner)
        covered[index] = np.asarray(fine.resize((side, side), Image.Resampling.BOX)) / 255
        visible *= 1 - covered[index]
        visible[index] = covered[index]
    return visible, covered - visible


def _paste(canvas: Image.Image, item: SceneObject) -> None:
    sprite, corner = _place(item, canvas.width)
    canvas.paste(sprite, corner, sprite)


def _place(item: SceneObject, side: int) -> tuple[Image.Image, tuple[int, int]]:
    """Return the sprite as it stands in a picture of `side` pixels, and its upper left corner."""
    pixels = max(2, round(item.size * side))
    rotation = item.rotation if abs(item.rotation) > 0.5 else 0.0
    sprite = _pose(item.name, item.tint, item.flip, pixels, rotation)
    left = round(item.x * side - sprite.width / 2)
    top = round(item.y * side - sprite.height / 2)
    return sprite, (left, top)


# The judge draws the same sprite in many places, and every sprite in some poses.
@lru_cache(maxsize=4096)
def _pose(name: str, tint: str | None, flip: bool, pixels: int, rotation: float) -> Image.Image:
    sprite = load_sprite(name, tint, flip).resize((pixels, pixels), Image.Resampling.BILINEAR)
    return sprite.rotate(rotation, Image.Resampling.BICUBIC, expand=True) if rotation else sprite
