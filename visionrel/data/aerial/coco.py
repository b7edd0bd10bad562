"""Boxes of aerial pictures and the COCO json that detectors read.

Category ids are 1, 2, ... in the order of the class names. What a detector must neither find nor
avoid has `iscrowd=1`, which MMDetection passes to its assigners as an ignored box and pycocotools
leaves out of the score. Neither knows an ignored box without a class, and MMDetection skips
annotations of unknown categories; a region to ignore is therefore written once per class.
MMDetection's own assigners heed it only in pictures that also have a counted box, those of
`visionrel.detectors` in all of them; detectors of the DETR family have none that does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from visionrel.artifacts import save_json
from visionrel.data.aerial.conditions import SceneConditions, save_conditions


Box = tuple[float, float, float, float]
"""Left, top, width, height in pixels; the picture spans 0 to its width and 0 to its height."""


@dataclass(frozen=True)
class LabelledBox:
    """One box.

    Attributes:
        box: left, top, width, height.
        name: class name, or None for a region to ignore whatever stands in it.
        ignore: True where a detector is neither rewarded nor punished; always so without a name.
        extra: further entries of the annotation, such as `difficult`.
    """

    box: Box
    name: str | None
    ignore: bool = False
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LabelledPicture:
    """A picture and its boxes; `file_name` is relative to the folder of pictures."""

    file_name: str
    width: int
    height: int
    boxes: tuple[LabelledBox, ...]


@dataclass
class Conversion:
    """What a converter made.

    Attributes:
        classes: names in the order of their ids.
        pictures: in the order of their ids.
        warnings: what was changed or left out on the way, one sentence each.
        conditions: scene conditions by file name, where the source tells them.
    """

    classes: tuple[str, ...]
    pictures: list[LabelledPicture]
    warnings: list[str] = field(default_factory=list)
    conditions: SceneConditions = field(default_factory=dict)

    def count(self) -> dict[str, int]:
        """Return the number of boxes that count, by class."""
        counts = dict.fromkeys(self.classes, 0)
        for picture in self.pictures:
            for item in picture.boxes:
                if item.name is not None and not item.ignore:
                    counts[item.name] += 1
        return counts

    def save(self, labels: Path, conditions: Path | None = None) -> None:
        """Write the COCO json, and the side file of conditions where there are any."""
        save_json(labels, to_coco(self.pictures, self.classes))
        if conditions is not None and self.conditions:
            save_conditions(conditions, self.conditions)


def to_coco(pictures: Sequence[LabelledPicture], classes: Sequence[str]) -> dict[str, Any]:
    """Build the content of a COCO json; ids of pictures and annotations start at 1.

    Args:
        pictures: with boxes inside them; see :func:`clip_box`.
        classes: names; category ids follow their order from 1.
    """
    ids = {name: index for index, name in enumerate(classes, 1)}
    annotations: list[dict[str, Any]] = []
    for picture_id, picture in enumerate(pictures, 1):
        for item in picture.boxes:
            for name in classes if item.name is None else (item.name,):
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": picture_id,
                        "category_id": ids[name],
                        "bbox": list(item.box),
                        "area": round(item.box[2] * item.box[3], 4),
                        "iscrowd": int(item.ignore or item.name is None),
                        **item.extra,
                    }
                )
    return {
        "images": [
            {"id": i, "file_name": p.file_name, "width": p.width, "height": p.height}
            for i, p in enumerate(pictures, 1)
        ],
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for name, number in ids.items()],
    }


def clip_box(box: Box, width: float, height: float) -> Box:
    """Cut a box down to a picture; what lies outside gets width or height 0.

    Example:
        >>> clip_box((-5, 10, 20, 20), 100, 25)
        (0, 10, 15, 15)
    """
    left, top = min(max(box[0], 0), width), min(max(box[1], 0), height)
    right = min(max(box[0] + box[2], 0), width)
    bottom = min(max(box[1] + box[3], 0), height)
    return left, top, right - left, bottom - top
