"""Draws moving scenes with Pillow: the sprites of the scenes world, a ball and boxes."""

from __future__ import annotations

from functools import cache, lru_cache

import numpy as np
from PIL import Image, ImageDraw

from visionrel.worlds.motion.scene import (
    BOXES,
    CLIP_SIDE,
    FRAMES,
    SHADE,
    MotionScene,
    Mover,
    sample_path,
)
from visionrel.worlds.scenes.rendering import load_sprite


_SUPERSAMPLE = 4
_CELL = 64
_BALL = (40, 85, 215)
_LINE = 0.022
_COVERED = 128


@cache
def load_appearance(name: str, faces_right: bool = False) -> Image.Image:
    """Return the tightly cropped RGBA picture of one of `APPEARANCES`; sprites face left."""
    if name == "ball":
        return _draw_ball()
    if name in BOXES:
        return _draw_box(BOXES[name])
    sprite = load_sprite(name, flip=faces_right)
    return sprite.crop(sprite.getbbox())


def proportions(name: str) -> tuple[float, float]:
    """Return width and height of an appearance; the longer one is 1."""
    width, height = load_appearance(name).size
    return width / max(width, height), height / max(width, height)


def _draw_ball() -> Image.Image:
    """Draw a ball whose white band shows how it turns."""
    side = _CELL * 2
    ball = Image.new("RGBA", (side, side))
    disc = Image.new("L", (side, side))
    ImageDraw.Draw(disc).ellipse((0, 0, side - 1, side - 1), fill=255)
    face = Image.new("RGBA", (side, side), (*_BALL, 255))
    ImageDraw.Draw(face).rectangle((0, side * 0.4, side, side * 0.6), fill=(250, 250, 250, 255))
    ball.paste(face, mask=disc)
    return ball.resize((_CELL, _CELL), Image.Resampling.LANCZOS)


def _draw_box(colour: tuple[int, int, int]) -> Image.Image:
    """Draw a box with a darker frame."""
    box = Image.new("RGBA", (_CELL, _CELL), (*(round(c * 0.6) for c in colour), 255))
    frame = _CELL // 8
    ImageDraw.Draw(box).rectangle((frame, frame, _CELL - frame - 1, _CELL - frame - 1), colour)
    return box


def render_clip(scene: MotionScene, side: int = CLIP_SIDE, frames: int = FRAMES) -> np.ndarray:
    """Draw a scene as uint8 `(frames, side, side, 3)`; the frames span all its time."""
    backdrop = _backdrop(scene, side * _SUPERSAMPLE)
    clip = np.empty((frames, side, side, 3), np.uint8)
    placed = [_Placed(mover, frames, side * _SUPERSAMPLE) for mover in _back_to_front(scene)]
    ropes = _ropes(scene, frames)
    for frame in range(frames):
        canvas = backdrop.copy()
        if ropes is not None:
            _draw_line(canvas, scene.pivot, ropes[frame], _shade(scene))
        for item in placed:
            sprite, corner = item.at(frame)
            canvas.paste(sprite, corner, sprite)
        clip[frame] = canvas.reduce(_SUPERSAMPLE)
    return clip


def render_masks(scene: MotionScene, side: int = CLIP_SIDE, frames: int = FRAMES) -> np.ndarray:
    """Return where each object is seen, bool `(objects, frames, side, side)`.

    What a nearer object hides does not count. Objects keep the order of the scene.
    """
    masks = np.zeros((len(scene.movers), frames, side, side), bool)
    order = sorted(range(len(scene.movers)), key=lambda index: -scene.movers[index].depth)
    for place, index in enumerate(order):
        item = _Placed(scene.movers[index], frames, side * _SUPERSAMPLE)
        for frame in range(frames):
            sprite, corner = item.at(frame)
            canvas = Image.new("L", (side * _SUPERSAMPLE, side * _SUPERSAMPLE))
            canvas.paste(sprite.getchannel("A"), corner)
            masks[index, frame] = np.asarray(canvas.reduce(_SUPERSAMPLE)) >= _COVERED
        masks[order[:place]] &= ~masks[index]
    return masks


class _Placed:
    """One object resized for a canvas once, then turned and placed frame by frame."""

    def __init__(self, mover: Mover, frames: int, side: int) -> None:
        self.path = sample_path(mover.path, frames) * side
        self.rotation = sample_path(mover.rotation, frames)
        self.faces_right = sample_path(mover.faces_right.astype(float), frames) >= 0.5
        self.name, self.pixels = mover.name, max(4, round(mover.size * side))

    def at(self, frame: int) -> tuple[Image.Image, tuple[int, int]]:
        """Return the sprite of a frame and its upper left corner."""
        sprite = _resized(self.name, bool(self.faces_right[frame]), self.pixels)
        if abs(self.rotation[frame]) > 0.5:
            sprite = sprite.rotate(self.rotation[frame], Image.Resampling.BILINEAR, expand=True)
        x, y = self.path[frame]
        return sprite, (round(x - sprite.width / 2), round(y - sprite.height / 2))


@lru_cache(maxsize=512)
def _resized(name: str, faces_right: bool, pixels: int) -> Image.Image:
    width, height = (max(1, round(share * pixels)) for share in proportions(name))
    return load_appearance(name, faces_right).resize((width, height), Image.Resampling.BILINEAR)


def _back_to_front(scene: MotionScene) -> list[Mover]:
    return sorted(scene.movers, key=lambda mover: -mover.depth)


def _shade(scene: MotionScene) -> tuple[int, ...]:
    return tuple(round(c * SHADE) for c in scene.ground)


def _backdrop(scene: MotionScene, side: int) -> Image.Image:
    """Draw the ground with its floor and slope."""
    canvas = Image.new("RGB", (side, side), scene.ground)
    drawing = ImageDraw.Draw(canvas)
    if scene.floor is not None:
        drawing.rectangle((0, round(scene.floor * side), side, side), _shade(scene))
    if scene.slope is not None:
        (left, top), (right, bottom) = scene.slope
        corners = [(left, top), (right, bottom), (right, 1.0), (left, 1.0)]
        drawing.polygon([(x * side, y * side) for x, y in corners], _shade(scene))
    return canvas


def _ropes(scene: MotionScene, frames: int) -> np.ndarray | None:
    return None if scene.pivot is None else sample_path(scene.movers[0].path, frames)


def _draw_line(
    canvas: Image.Image, start: tuple[float, float], end: np.ndarray, colour: tuple[int, ...]
) -> None:
    side = canvas.width
    points = [(float(x) * side, float(y) * side) for x, y in (start, end)]
    ImageDraw.Draw(canvas).line(points, colour, width=round(_LINE * side))
