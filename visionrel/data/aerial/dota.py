"""DOTA v1.0 to COCO with horizontal boxes.

`labelTxt` has one text file per picture: two header lines (`imagesource:`, `gsd:`), then rows of
four corners `x1 y1 ... x4 y4`, the class name and a flag for difficult objects.
"""

from __future__ import annotations

import math
from difflib import get_close_matches
from pathlib import Path

from visionrel.data.aerial.coco import Conversion, LabelledBox, LabelledPicture
from visionrel.data.aerial.names import DOTA
from visionrel.data.aerial.sources import (
    Findings,
    Size,
    check_folders,
    find_pictures,
    read_lines,
    read_size,
    warn_unlabelled,
)


HEADERS = ("imagesource:", "gsd:", "acquisition dates:")


def convert_dota(images: Path, labels: Path, keep_difficult: bool = False) -> Conversion:
    """Read a split of DOTA v1.0; every polygon becomes the upright box around it.

    The pictures are large: cut them with :func:`visionrel.data.aerial.write_tiles`.

    Args:
        images: folder of pictures.
        labels: folder `labelTxt`.
        keep_difficult: train on difficult objects; otherwise they are ignored boxes, as in the
            benchmark's evaluation.

    Raises:
        InputError: With every bad row, missing picture and unreadable picture.
    """
    check_folders(images=images, labels=labels)
    findings, pictures = Findings(), []
    found = find_pictures(images, findings)
    texts = sorted(Path(labels).glob("*.txt"))
    for path in texts:
        picture = found.get(path.stem)
        if picture is None:
            findings.problems.append(f"{path.name}: no picture {path.stem} in {images}; add it.")
            continue
        size = read_size(picture, findings)
        if size is not None:
            boxes = _read_boxes(path, size, keep_difficult, findings)
            pictures.append(LabelledPicture(picture.name, *size, boxes))
    warn_unlabelled(found, texts, findings)
    return findings.finish(DOTA, pictures)


def _read_boxes(
    path: Path, size: Size, keep_difficult: bool, findings: Findings
) -> tuple[LabelledBox, ...]:
    boxes = []
    for where, line in read_lines(path, findings):
        if line.lower().startswith(HEADERS):
            continue
        words = line.split()
        corners = _numbers(words[:8])
        if len(words) != 10 or corners is None or words[9] not in ("0", "1"):
            findings.problems.append(
                f"{where}: expected eight coordinates, a class and 0 or 1 (difficult), "
                f"got {line[:90]!r}."
            )
        elif words[8] not in DOTA:
            nearest = get_close_matches(words[8], DOTA, n=1)
            hint = f"did you mean {nearest[0]!r}?" if nearest else f"known: {', '.join(DOTA)}."
            findings.problems.append(f"{where}: unknown class {words[8]!r}; {hint}")
        else:
            left, top = min(corners[::2]), min(corners[1::2])
            outline = (left, top, max(corners[::2]) - left, max(corners[1::2]) - top)
            box, difficult = findings.place(outline, size, where), int(words[9])
            if box is not None:
                ignore = bool(difficult and not keep_difficult)
                boxes.append(LabelledBox(box, words[8], ignore, {"difficult": difficult}))
    return tuple(boxes)


def _numbers(words: list[str]) -> list[float] | None:
    try:
        values = [float(word) for word in words]
    except ValueError:
        return None
    return values if len(values) == 8 and all(map(math.isfinite, values)) else None
