"""Draws aerial scenes with Pillow and reads off what each object covers.

The canvas is RGBA: its alpha channel carries the number of the object that covers a pixel, so that
what is hidden behind roofs, trees and vehicles is known exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from visionrel.worlds.aerial.atmosphere import Light, finish_picture
from visionrel.worlds.aerial.ground import (
    GROUND,
    convex_hull,
    draw_patches,
    fill_ground,
    ground_colour,
)
from visionrel.worlds.aerial.mesh import COLOURS, SLOTS, Mesh
from visionrel.worlds.aerial.models import building_mesh, load_model
from visionrel.worlds.aerial.scene import (
    AerialObject,
    AerialScene,
    Building,
    Camera,
    Colour,
    Tree,
)


PICTURE_SIDE = 320
_SUPERSAMPLE = 2
# Alpha of what is neither ground nor a numbered object.
_OTHER = 255
_PALETTE = np.array([COLOURS[slot] for slot in SLOTS], float)
_PAINT, _SECOND = SLOTS.index("paint"), SLOTS.index("second")


@dataclass(frozen=True)
class Annotation:
    """What is known of one region of a picture.

    Attributes:
        name: class, or None for a region whose contents are not labelled.
        box: left, top, width, height in pixels, within the picture.
        visible: share of the object's own outline that is in the picture and not hidden.
        ignore: True where a detector is neither rewarded nor punished.
    """

    name: str | None
    box: tuple[float, float, float, float]
    visible: float
    ignore: bool


@dataclass(frozen=True)
class Outline:
    """Box (left, top, right, bottom) and covered pixels of an object with nothing before it."""

    box: np.ndarray
    pixels: int


@dataclass(frozen=True)
class Solid:
    """A mesh at its place: corners (F, C, 3), outline (P, 3) and normals (F, 3) in world axes.

    Attributes:
        colours: (F, 3) in neutral light.
        number: what the alpha channel shows where the solid is seen.
    """

    corners: np.ndarray
    outline: np.ndarray
    normals: np.ndarray
    colours: np.ndarray
    mesh: Mesh
    number: int


def render_aerial(scene: AerialScene, side: int = PICTURE_SIDE) -> Image.Image:
    """Draw a scene as an RGB picture of `side` pixels."""
    return draw_aerial(scene, side)[0]


def draw_aerial(
    scene: AerialScene, side: int = PICTURE_SIDE
) -> tuple[Image.Image, list[Annotation]]:
    """Draw a scene and annotate it.

    Args:
        scene: what to draw.
        side: height and width of the picture; boxes are in its pixels.

    Returns:
        The RGB picture, and the annotations of objects that show and of regions to ignore.

    Raises:
        ValueError: If there are more than 254 objects.
    """
    if len(scene.objects) >= _OTHER:
        raise ValueError(
            f"`scene` may have at most {_OTHER - 1} objects, got {len(scene.objects)}."
        )
    large = side * _SUPERSAMPLE
    light = Light.of(scene)
    canvas = Image.new("RGBA", (large, large), (*ground_colour(scene, scene.base, "land"), GROUND))
    draw_patches(canvas, scene, large)
    solids = _solids(scene)
    _cast_shadows(canvas, scene, light, solids, large)
    outlines = _draw_solids(canvas, scene, light, solids, large)
    numbers = canvas.getchannel("A")
    annotations = _annotate(scene, outlines, numbers.histogram(), side)
    picture = canvas.convert("RGB").reduce(_SUPERSAMPLE)
    ground = np.asarray(numbers)[::_SUPERSAMPLE, ::_SUPERSAMPLE] == GROUND
    return finish_picture(picture, scene, ground), annotations


def _solids(scene: AerialScene) -> list[Solid]:
    """Everything made of faces: buildings first, then the objects with numbers from 1."""
    solids = []
    for item in scene.buildings:
        # A house this far out of the picture neither shows nor casts a shadow into it.
        u, v, _ = scene.camera.glance(item.x, item.y)
        if not (-0.7 < u < 1.7 and -0.7 < v < 1.7):
            continue
        mesh = building_mesh(item.length, item.width, item.height, item.ridged)
        roof = ground_colour(scene, item.roof, "roof")
        solids.append(_solid(mesh, item, (roof, item.wall), _OTHER))
    for number, item in enumerate(scene.objects, 1):
        colours = (item.paint, item.second)
        solids.append(_solid(load_model(item.name), item, colours, number, item.base, item.size))
    return solids


def _solid(
    mesh: Mesh,
    item: AerialObject | Building,
    colours: tuple[Colour, Colour],
    number: int,
    base: float = 0.0,
    size: float = 1.0,
) -> Solid:
    """Put a mesh in its place; `colours` are those of "paint" and "second"."""
    cos, sin = math.cos(item.heading), math.sin(item.heading)
    turn = np.array([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]])
    place = np.array([item.x, item.y, base])
    palette = _PALETTE.copy()
    palette[_PAINT], palette[_SECOND] = colours
    return Solid(
        mesh.corners @ (turn * size) + place,
        mesh.outline @ (turn * size) + place,
        mesh.normals @ turn,
        palette[mesh.slots],
        mesh,
        number,
    )


def _cast_shadows(
    canvas: Image.Image, scene: AerialScene, light: Light, solids: list[Solid], large: int
) -> None:
    """Darken the ground where the sun does not reach it."""
    if not light.shadow:
        return
    mask = Image.new("L", canvas.size)
    azimuth, elevation = scene.sun
    drift = -np.array([math.cos(azimuth), math.sin(azimuth)]) / math.tan(elevation)
    casts = [convex_hull(solid.outline[:, :2] + solid.outline[:, 2:] * drift) for solid in solids]
    angles = np.linspace(0, 2 * math.pi, 13)[:-1]
    ring = np.stack([np.cos(angles), np.sin(angles)], 1)
    casts += [t.radius * ring + [t.x, t.y] + t.height * drift for t in scene.trees]
    fill_ground(ImageDraw.Draw(mask), scene.camera, casts, [255] * len(casts), large)
    shade = canvas.point([int(value * (1 - light.shadow)) for value in range(256)] * 4)
    canvas.paste(shade, mask=mask)


def _draw_solids(
    canvas: Image.Image, scene: AerialScene, light: Light, solids: list[Solid], large: int
) -> dict[int, Outline]:
    """Draw everything that stands, far to near; say what each object covered when it was drawn."""
    camera, draw = scene.camera, ImageDraw.Draw(canvas)
    eye = np.array([0.0, -camera.height / math.tan(camera.depression), camera.height])
    things: list[tuple[float, Solid | tuple[Tree, list[float]]]] = [
        (math.dist(solid.outline.mean(0), eye), solid) for solid in solids
    ]
    trees = np.array([(t.x, t.y, t.height) for t in scene.trees]).reshape(-1, 3)
    spots, depths = camera.project(trees, large)
    radii = np.array([t.radius for t in scene.trees]) * camera.focal * large / depths
    crowns = np.column_stack([spots, radii])
    for tree, crown, depth in zip(scene.trees, crowns.tolist(), depths.tolist(), strict=True):
        if depth > 1.0 and all(-crown[2] < place < large + crown[2] for place in crown[:2]):
            things.append((math.dist((tree.x, tree.y, tree.height), eye), (tree, crown)))
    outlines: dict[int, Outline] = {}
    for _, thing in sorted(things, key=lambda pair: -pair[0]):
        if isinstance(thing, tuple):
            _draw_tree(draw, scene, light, *thing)
            continue
        box = _draw_solid(draw, camera, light, thing, eye, large)
        if box is not None and thing.number != _OTHER:
            outlines[thing.number] = _measure(canvas, box, thing.number)
    return outlines


def _draw_solid(
    draw: ImageDraw.ImageDraw,
    camera: Camera,
    light: Light,
    solid: Solid,
    eye: np.ndarray,
    large: int,
) -> np.ndarray | None:
    """Draw a solid and return its box (left, top, right, bottom), None if it is out of view."""
    pixels, depths = camera.project(solid.corners, large)
    box = np.concatenate([pixels.min((0, 1)), pixels.max((0, 1))])
    if depths.min() < 1.0 or (box[2:] < 0).any() or (box[:2] > large).any():
        return None
    towards = eye - solid.corners[:, 0]
    facing = np.einsum("fc,fc->f", towards, solid.normals) > 0
    colours = light.shade(solid.colours, solid.normals).astype(int).tolist()
    # The nearest part last; within a part the faces keep their order.
    parts, away = solid.mesh.parts, np.sqrt((towards**2).sum(1))
    middles = np.bincount(parts, away) / np.bincount(parts)
    shapes = pixels.reshape(len(pixels), -1).tolist()
    shown = facing | solid.mesh.flat
    for index in np.argsort(-middles[parts], kind="stable").tolist():
        if shown[index]:
            draw.polygon(shapes[index], fill=(*colours[index], solid.number))
    return box


def _measure(canvas: Image.Image, box: np.ndarray, number: int) -> Outline:
    """Count the pixels of the object that was drawn last."""
    low, high = np.floor(box[:2]).clip(0).astype(int), np.ceil(box[2:]).astype(int) + 1
    left, top, right, bottom = *low, *np.minimum(high, canvas.width)
    cells = canvas.crop((left, top, right, bottom)).getchannel("A").histogram()
    return Outline(box, cells[number])


def _draw_tree(
    draw: ImageDraw.ImageDraw, scene: AerialScene, light: Light, tree: Tree, crown: list[float]
) -> None:
    """Draw a crown (x, y, radius in pixels) as overlapping balls, lighter towards the light."""
    azimuth, (x, y, radius) = scene.sun[0], crown
    leaf = ground_colour(scene, tree.leaf, "road")
    puffs = [(0.0, 0.0, 1.0, 0.72)]
    puffs += [(0.55 * math.cos(a), 0.55 * math.sin(a), 0.55, 0.8) for a in np.arange(6) * 1.047]
    puffs += [(0.3 * math.cos(azimuth), -0.3 * math.sin(azimuth), 0.62, 0.98)]
    puffs += [
        (0.42 * math.cos(azimuth + d), -0.42 * math.sin(azimuth + d), 0.3, 1.16)
        for d in (-0.7, 0.5)
    ]
    for dx, dy, share, tone in puffs:
        cx, cy, r = x + dx * radius, y + dy * radius, share * radius
        fill = (*(min(255, int(c * tone * light.trees)) for c in leaf), _OTHER)
        draw.ellipse((cx - r, cy - r, cx + r, cy + r), fill=fill)


# Less of an object than this shows: it is ignored, below the second number not annotated at all.
_HARD_TO_SEE, _HIDDEN = 0.3, 0.05


def _annotate(
    scene: AerialScene, outlines: dict[int, Outline], shown: list[int], side: int
) -> list[Annotation]:
    """Compare what each object covered with what the finished canvas shows of it."""
    found, crowd = [], []
    for number, item in enumerate(scene.objects, 1):
        if number not in outlines or not outlines[number].pixels:
            continue
        whole = outlines[number].box / _SUPERSAMPLE
        box = whole.clip(0, side)
        inside = _area(box) / _area(whole)
        visible = inside * shown[number] / outlines[number].pixels
        if min(box[2:] - box[:2]) < 1 or visible < _HIDDEN:
            continue
        if item.labelled:
            name, ignore = item.name, bool(visible < _HARD_TO_SEE)
            found.append(Annotation(name, _xywh(box), round(float(visible), 3), ignore))
        else:
            crowd.append(box)
    if crowd:
        union = np.concatenate([np.min(crowd, 0)[:2], np.max(crowd, 0)[2:]])
        found.append(Annotation(None, _xywh(union), 1.0, True))
    return found


def _area(box: np.ndarray) -> float:
    return float((box[2] - box[0]) * (box[3] - box[1]))


def _xywh(box: np.ndarray) -> tuple[float, float, float, float]:
    left, top, right, bottom = box.round(2).tolist()
    return left, top, round(right - left, 2), round(bottom - top, 2)
