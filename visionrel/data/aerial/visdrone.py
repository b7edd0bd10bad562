"""VisDrone2019-DET to COCO.

One text file per picture, one row per box: left, top, width, height, score, category, truncation,
occlusion. Categories 1 to 10 are the classes, 0 is a region to ignore, 11 is "others". The score
of a row is 0 where the benchmark does not count it.
"""

from __future__ import annotations

from pathlib import Path

from visionrel.data.aerial.coco import Conversion, LabelledBox, LabelledPicture
from visionrel.data.aerial.names import VISDRONE
from visionrel.data.aerial.sources import (
    Findings,
    Size,
    check_folders,
    find_pictures,
    read_numbers,
    read_size,
    warn_unlabelled,
)


FIELDS = (*("left", "top", "width", "height", "score", "category", "truncation", "occlusion"),)
IGNORED_REGION, OTHERS = 0, 11


def convert_visdrone(images: Path, annotations: Path) -> Conversion:
    """Read a split of VisDrone2019-DET.

    Ignored regions and "others" become regions to ignore; rows with score 0 are ignored boxes of
    their class. Coordinates are kept as published and cut at the borders of the picture.

    Args:
        images: folder of pictures.
        annotations: folder of text files with the same names.

    Raises:
        InputError: With every bad row, missing picture and unreadable picture.
    """
    check_folders(images=images, annotations=annotations)
    findings, pictures = Findings(), []
    found = find_pictures(images, findings)
    texts = sorted(Path(annotations).glob("*.txt"))
    for path in texts:
        picture = found.get(path.stem)
        if picture is None:
            findings.problems.append(f"{path.name}: no picture {path.stem} in {images}; add it.")
            continue
        size = read_size(picture, findings)
        if size is not None:
            boxes = _read_boxes(path, size, findings)
            pictures.append(LabelledPicture(picture.name, *size, boxes))
    warn_unlabelled(found, texts, findings)
    return findings.finish(VISDRONE, pictures)


def _read_boxes(path: Path, size: Size, findings: Findings) -> tuple[LabelledBox, ...]:
    boxes = []
    for where, row in read_numbers(path, FIELDS, findings):
        score, category, truncation, occlusion = map(int, row[4:])
        if not IGNORED_REGION <= category <= OTHERS or category != row[5]:
            findings.problems.append(f"{where}: category must be 0 to 11, got {row[5]:g}.")
            continue
        if score not in (0, 1):
            findings.problems.append(f"{where}: score must be 0 or 1, got {row[4]:g}.")
            continue
        box = findings.place(tuple(row[:4]), size, where)
        if box is None:
            continue
        if category in (IGNORED_REGION, OTHERS):
            boxes.append(LabelledBox(box, None))
        else:
            extra = {"truncation": truncation, "occlusion": occlusion}
            boxes.append(LabelledBox(box, VISDRONE[category - 1], score == 0, extra))
    return tuple(boxes)
