"""The work of `visionrel detect`: pictures in, pictures with boxes and a COCO json out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visionrel.artifacts import check_file, save_json, sha256_of
from visionrel.data.exemplars import open_picture
from visionrel.detectors.checkpoints import find_weights
from visionrel.detectors.inference import Detector, check_numbers
from visionrel.errors import InputError
from visionrel.records import Record, save_picture


if TYPE_CHECKING:
    from visionrel.cli.detect import DetectSettings


def detect_pictures(settings: DetectSettings) -> dict[str, Any]:
    """Looks at every picture and writes what was found.

    Returns:
        `pictures`, each with its file, the drawn file and the number of boxes by class; and
        `results`, the COCO json.

    Raises:
        InputError: With every unreadable picture or wrong number, before anything is written.
    """
    check_numbers(settings.threshold, settings.tiles, settings.overlap)
    _check_pictures(settings.images)
    detector = Detector(settings.config, settings.weights, settings.device)
    digest = sha256_of(find_weights(settings.weights))
    base = {"name": Path(detector.config.filename).stem, "sha256": digest}
    options = {"threshold": settings.threshold, "tile": settings.tiles, "overlap": settings.overlap}
    rows, entries, boxes = [], [], []
    for number, path in enumerate(settings.images, 1):
        # Opened again: together they may not fit into memory.
        picture = open_picture(path)
        found = detector.detect(picture, **options)
        record = Record("detect", dataclasses.asdict(settings), path.stem, 0, base)
        drawn = save_picture(found.draw(picture), settings.output_dir, number - 1, record)
        counts = found.count()
        text = ", ".join(f"{name} {count}" for name, count in counts.items()) or "nothing"
        rows.append({"file": str(path), "drawn": str(drawn), "boxes": counts, "text": text})
        width, height = picture.size
        entries.append({"id": number, "file_name": str(path), "width": width, "height": height})
        boxes += found.to_coco(number)
    results = _free_name(settings.output_dir / "detections.json")
    annotations = [
        {"id": i, **box, "area": round(box["bbox"][2] * box["bbox"][3], 4), "iscrowd": 0}
        for i, box in enumerate(boxes, 1)
    ]
    save_json(
        results,
        {"images": entries, "annotations": annotations, "categories": found.to_categories()},
    )
    return {"pictures": rows, "results": str(results)}


def _check_pictures(paths: Sequence[Path]) -> None:
    """Opens each picture once, one at a time."""
    problems = []
    for path in paths:
        try:
            check_file(path)
            open_picture(path)
        except (ValueError, OSError) as error:
            text = str(error)
            problems.append(text if str(path) in text else f"{path}: {text}")
    if not paths:
        problems.append("Give at least one picture.")
    if problems:
        raise InputError(problems)


def _free_name(path: Path) -> Path:
    number, free = 1, path
    while free.exists():
        free = path.with_stem(f"{path.stem}_{number}")
        number += 1
    return free
