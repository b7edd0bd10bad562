"""Pascal VOC xml to COCO.

VOC's own pixels count from 1 and its boxes include their last pixel. Many tools write the same xml
with coordinates that count from 0 and end after the last pixel, so the caller has to say which.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from visionrel.data.aerial.coco import Box, Conversion, LabelledBox, LabelledPicture
from visionrel.data.aerial.sources import (
    Findings,
    Size,
    check_folders,
    find_pictures,
    read_size,
    warn_unlabelled,
)


def convert_voc(
    images: Path,
    annotations: Path,
    classes: Sequence[str] | None = None,
    origin: Literal[0, 1] = 1,
    keep_difficult: bool = False,
) -> Conversion:
    """Read a folder of xml files.

    A picture belongs to the xml with its own name; the `filename` inside, which is often wrong
    after pictures were converted, only earns a warning.

    Args:
        images: folder of pictures.
        annotations: folder of xml files.
        classes: names in the order of their labels; sorted names of the files when not given.
        origin: 1 for the VOC devkit (first pixel is 1, last pixel included), 0 for coordinates of
            pixel borders.
        keep_difficult: train on difficult objects; otherwise they are ignored boxes.

    Raises:
        InputError: With every file that cannot be read, missing picture, wrong size, unknown
            class and impossible box.
    """
    check_folders(images=images, annotations=annotations)
    findings, pictures = Findings(), []
    found = find_pictures(images, findings)
    files = sorted(Path(annotations).glob("*.xml"))
    for path in files:
        root = _read_xml(path, findings)
        picture = found.get(path.stem)
        if picture is None:
            findings.problems.append(f"{path.name}: no picture {path.stem} in {images}; add it.")
        if root is None or picture is None:
            continue
        size = read_size(picture, findings)
        if size is None or not _agrees(root, path, picture, size, findings):
            continue
        boxes = _read_objects(root, path, size, origin, keep_difficult, findings)
        pictures.append(LabelledPicture(picture.name, *size, tuple(boxes)))
    warn_unlabelled(found, files, findings)
    names = {item.name for picture in pictures for item in picture.boxes if item.name}
    if classes is not None and (unknown := sorted(names - set(classes))):
        findings.problems.append(
            f"Classes {', '.join(unknown)} are not among `classes`: {', '.join(classes)}."
        )
    return findings.finish(tuple(classes or sorted(names)), pictures)


def _read_xml(path: Path, findings: Findings) -> ElementTree.Element | None:
    try:
        return ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, OSError, ValueError) as error:
        findings.problems.append(f"{path.name}: not readable as xml ({error}).")
        return None


def _agrees(
    root: ElementTree.Element, path: Path, picture: Path, size: Size, findings: Findings
) -> bool:
    """Compare what the xml says of its picture with the picture."""
    told = root.findtext("filename", "").strip()
    if told and told != picture.name:
        findings.warnings.append(f"{path.name} names the picture {told}; {picture.name} is used.")
    words = root.findtext("size/width"), root.findtext("size/height")
    if None in words or tuple(str(number) for number in size) == tuple(w.strip() for w in words):
        return True
    findings.problems.append(
        f"{path.name}: the xml is for a picture of {words[0]} x {words[1]}, {picture.name} has "
        f"{size[0]} x {size[1]}; use the original picture."
    )
    return False


def _read_objects(
    root: ElementTree.Element,
    path: Path,
    size: Size,
    origin: int,
    keep_difficult: bool,
    findings: Findings,
) -> list[LabelledBox]:
    boxes = []
    for number, item in enumerate(root.iter("object"), 1):
        where = f"{path.name}:object {number}"
        name = (item.findtext("name") or "").strip()
        outline = _read_box(item, origin, where, findings)
        if not name:
            findings.problems.append(f"{where}: has no name.")
        if not name or outline is None:
            continue
        box = findings.place(outline, size, where)
        difficult = int((item.findtext("difficult") or "0").strip() == "1")
        if box is not None:
            ignore = bool(difficult and not keep_difficult)
            boxes.append(LabelledBox(box, name, ignore, {"difficult": difficult}))
    return boxes


def _read_box(item: ElementTree.Element, origin: int, where: str, findings: Findings) -> Box | None:
    """Read a box as left, top, width, height from pixel border to pixel border."""
    try:
        left, top, right, bottom = (
            float(item.findtext(f"bndbox/{side}", "")) for side in ("xmin", "ymin", "xmax", "ymax")
        )
    except ValueError:
        left = top = right = bottom = math.nan
    if not all(map(math.isfinite, (left, top, right, bottom))):
        findings.problems.append(f"{where}: needs bndbox with xmin, ymin, xmax and ymax.")
        return None
    if origin == 1 and min(left, top) < 1:
        findings.problems.append(
            f"{where}: has the coordinate {min(left, top):g}, but VOC counts from 1; if these "
            "files count from 0, convert them with `origin` 0."
        )
        return None
    if right < left or bottom < top:
        findings.problems.append(f"{where}: xmax and ymax must not lie before xmin and ymin.")
        return None
    return left - origin, top - origin, right - left + origin, bottom - top + origin
