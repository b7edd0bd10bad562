"""Overlapping tiles of large pictures: cutting labels, and joining what was found in the tiles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from visionrel.artifacts import atomic_write
from visionrel.data.aerial.coco import (
    Conversion,
    LabelledBox,
    LabelledPicture,
    clip_box,
)
from visionrel.data.exemplars import open_picture
from visionrel.errors import InputError


Tile = tuple[int, int, int, int]
"""Left, top, width, height in pixels of the picture."""


@dataclass(frozen=True)
class TileDetections:
    """What a detector found in one tile.

    Attributes:
        tile: left, top, width, height.
        boxes: (N, 4) left, top, right, bottom in pixels of the tile.
        scores: (N,).
        labels: (N,) integers.
    """

    tile: Tile
    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray


def tile_starts(length: int, tile: int, stride: int) -> list[int]:
    """Return where tiles start so that they cover `length`; the last one ends with it.

    Example:
        >>> tile_starts(2000, 1024, 824)
        [0, 824, 976]

    Raises:
        ValueError: If `stride` is not in [1, tile], or a length is below 1.
    """
    if length < 1 or not 1 <= stride <= tile:
        raise ValueError(
            f"`stride` must lie in [1, tile] and lengths be positive, got length {length}, "
            f"tile {tile}, stride {stride}."
        )
    last = max(length - tile, 0)
    return [*range(0, last, stride), last]


def make_tiles(width: int, height: int, tile: int = 1024, stride: int = 824) -> list[Tile]:
    """Return the tiles of a picture row by row; a smaller picture is one tile of its own size."""
    return [
        (left, top, min(tile, width), min(tile, height))
        for top in tile_starts(height, tile, stride)
        for left in tile_starts(width, tile, stride)
    ]


def cut_boxes(
    boxes: Sequence[LabelledBox], tile: Tile, min_visible: float = 0.5
) -> tuple[LabelledBox, ...]:
    """Return the boxes of a tile in its own pixels.

    Args:
        boxes: of the picture.
        tile: left, top, width, height.
        min_visible: a box of which a smaller share lies in the tile is there, but ignored: a
            detector need not find it and may do so.

    Raises:
        ValueError: If `min_visible` is outside [0, 1].
    """
    if not 0 <= min_visible <= 1:
        raise ValueError(f"`min_visible` must lie in [0, 1], got {min_visible}.")
    found = []
    for item in boxes:
        left, top, width, height = item.box
        box = clip_box((left - tile[0], top - tile[1], width, height), tile[2], tile[3])
        if box[2] <= 0 or box[3] <= 0:
            continue
        partial = box[2] * box[3] < min_visible * width * height
        found.append(replace(item, box=box, ignore=item.ignore or partial))
    return tuple(found)


def write_tiles(
    conversion: Conversion,
    images: Path,
    folder: Path,
    tile: int = 1024,
    stride: int = 824,
    min_visible: float = 0.5,
) -> Conversion:
    """Cut every picture into tiles and write them.

    Tiles are named `NAME__LEFT_TOP` and keep the format of their picture; scene conditions of a
    picture hold for its tiles.

    Args:
        conversion: labels of the whole pictures.
        images: folder that their file names start from.
        folder: a new or empty folder for the tiles.
        tile: side of a tile in pixels.
        stride: distance of two tiles; the overlap is `tile - stride`.
        min_visible: see :func:`cut_boxes`.

    Returns:
        The labels of the tiles.

    Raises:
        InputError: If a number is out of range, the folder is in use, or a picture cannot be read
            or has another size than its labels say; before anything is written.
    """
    problems = []
    if not 1 <= stride <= tile:
        problems.append(f"`stride` must lie in [1, tile], got {stride} with tile {tile}.")
    if not 0 <= min_visible <= 1:
        problems.append(f"`min_visible` must lie in [0, 1], got {min_visible}.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        problems.append(f"{folder} is in use; nothing is overwritten, choose another.")
    problems += _picture_problems(conversion.pictures, images)
    if problems:
        raise InputError(problems)
    made = Conversion(conversion.classes, [], list(conversion.warnings))
    for picture in conversion.pictures:
        image = open_picture(images / picture.file_name)
        for place in make_tiles(picture.width, picture.height, tile, stride):
            name = _tile_name(picture.file_name, place)
            _save_tile(image, place, folder / name)
            boxes = cut_boxes(picture.boxes, place, min_visible)
            made.pictures.append(LabelledPicture(name, place[2], place[3], boxes))
            if picture.file_name in conversion.conditions:
                made.conditions[name] = conversion.conditions[picture.file_name]
    return made


def _picture_problems(pictures: Sequence[LabelledPicture], folder: Path) -> Iterator[str]:
    for picture in pictures:
        try:
            size = open_picture(folder / picture.file_name).size
        except (OSError, ValueError) as error:
            yield f"{picture.file_name}: {error}"
            continue
        if size != (picture.width, picture.height):
            yield (
                f"{picture.file_name} has {size[0]} x {size[1]} pixels, the labels say "
                f"{picture.width} x {picture.height}; use the picture that was labelled."
            )


def _tile_name(file_name: str, tile: Tile) -> str:
    path = PurePosixPath(file_name)
    return str(path.with_name(f"{path.stem}__{tile[0]}_{tile[1]}{path.suffix}"))


def _save_tile(image: Image.Image, tile: Tile, path: Path) -> None:
    left, top, width, height = tile
    kind = Image.registered_extensions()[path.suffix.lower()]
    options = {"quality": 95} if kind == "JPEG" else {}
    with atomic_write(path) as temporary:
        image.crop((left, top, left + width, top + height)).save(temporary, kind, **options)


def merge_tiles(
    found: Sequence[TileDetections],
    size: tuple[int, int],
    iou_threshold: float = 0.5,
    border: float = 2.0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Join the detections of overlapping tiles.

    Non-maximum suppression by class. A box that touches a border between tiles is probably a piece
    of an object that another tile shows whole. Such boxes come after all others and go when more
    than `iou_threshold` of *themselves* is covered by a box that stays; a piece that no other tile
    completes stays.

    Args:
        found: detections by tile.
        size: width and height of the picture; its own borders cut no object further.
        iou_threshold: overlap above which the weaker of two boxes goes, in [0, 1].
        border: distance in pixels that counts as touching.

    Returns:
        Boxes (N, 4) in pixels of the picture, scores (N,) and labels (N,), strongest first.

    Raises:
        ValueError: If shapes or the threshold do not fit.
    """
    if not 0 <= iou_threshold <= 1:
        raise ValueError(f"`iou_threshold` must lie in [0, 1], got {iou_threshold}.")
    for item in found:
        if item.boxes.shape != (len(item.scores), 4) or len(item.scores) != len(item.labels):
            raise ValueError(
                f"`boxes` must be (N, 4) with N scores and labels, got {item.boxes.shape}, "
                f"{item.scores.shape} and {item.labels.shape}."
            )
    if not found:
        return np.zeros((0, 4)), np.zeros(0), np.zeros(0, int)
    boxes = np.concatenate([item.boxes + np.tile(item.tile[:2], 2) for item in found])
    scores = np.concatenate([item.scores for item in found])
    labels = np.concatenate([item.labels for item in found])
    pieces = np.concatenate([_touches(item, size, border) for item in found])
    kept = _suppress(boxes, scores, labels, pieces, iou_threshold)
    kept = kept[np.argsort(-scores[kept], kind="stable")]
    return boxes[kept], scores[kept], labels[kept]


def _touches(item: TileDetections, size: tuple[int, int], border: float) -> np.ndarray:
    """Tell which boxes touch a border of their tile that is not a border of the picture, (N,)."""
    left, top, width, height = item.tile
    x0, y0, x1, y1 = item.boxes.reshape(-1, 4).T
    return (
        ((x0 <= border) & (left > 0))
        | ((y0 <= border) & (top > 0))
        | ((x1 >= width - border) & (left + width < size[0]))
        | ((y1 >= height - border) & (top + height < size[1]))
    )


def _suppress(
    boxes: np.ndarray,
    scores: np.ndarray,
    labels: np.ndarray,
    pieces: np.ndarray,
    threshold: float,
) -> np.ndarray:
    """Return the indices of the boxes that stay, whole ones first, then by score."""
    order = np.lexsort((-scores, pieces))
    areas = (boxes[:, 2:] - boxes[:, :2]).clip(0).prod(1)
    kept: list[int] = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(int(best))
        low = np.maximum(boxes[best, :2], boxes[rest, :2])
        high = np.minimum(boxes[best, 2:], boxes[rest, 2:])
        shared = (high - low).clip(0).prod(1)
        whole = np.where(pieces[rest], areas[rest], areas[best] + areas[rest] - shared)
        overlap = shared / np.maximum(whole, 1e-9)
        order = rest[(overlap <= threshold) | (labels[rest] != labels[best])]
    return np.array(kept, int)
