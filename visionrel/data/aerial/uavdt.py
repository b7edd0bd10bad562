"""UAVDT-DET to COCO, with the attributes of its sequences as scene conditions.

Pictures are `M0101/img000001.jpg, ...`, frames count from 1. `M0101_gt_whole.txt` has rows of
frame, target, left, top, width, height, out of view, occlusion, category (1 car, 2 truck, 3 bus).
`M0101_gt_ignore.txt` has the same rows for regions to ignore; their last three fields mean nothing.
`M0101_attr.txt` has ten flags for the whole sequence.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from visionrel.data.aerial.coco import Conversion, LabelledBox, LabelledPicture
from visionrel.data.aerial.conditions import AXES
from visionrel.data.aerial.names import UAVDT
from visionrel.data.aerial.sources import (
    Findings,
    Size,
    check_folders,
    find_pictures,
    read_lines,
    read_numbers,
    read_size,
)


FIELDS = (
    *("frame", "target", "left", "top", "width", "height"),
    *("out of view", "occlusion", "category"),
)
FOG = ("weather", "fog")
# The ten flags in the order of the file, each with the axis and phrase that it means.
ATTRIBUTES: dict[str, tuple[str, str] | None] = {
    "daylight": ("time", "daytime"),
    "night": ("time", "night"),
    "fog": FOG,
    "low altitude": ("altitude", "low altitude"),
    "medium altitude": ("altitude", "medium altitude"),
    "high altitude": ("altitude", "high altitude"),
    "front view": ("view", "at an oblique angle"),
    "side view": ("view", "from the side"),
    "bird view": ("view", "straight down"),
    "long term": None,
}
Boxes = dict[int, list[tuple[str, LabelledBox]]]


def convert_uavdt(images: Path, ground_truth: Path, attributes: Path | None = None) -> Conversion:
    """Read sequences of UAVDT-DET.

    Coordinates are kept as published and cut at the borders of the picture. Frames after the last
    labelled one of a sequence carry no labels in the release and are left out.

    Args:
        images: folder with one folder of frames per sequence.
        ground_truth: folder of `*_gt_whole.txt` and `*_gt_ignore.txt`.
        attributes: folder of `*_attr.txt`; when given, only its sequences are read, which is how
            the release tells training (`M_attr/train`) from test (`M_attr/test`).

    Raises:
        InputError: With every bad row, missing file and unreadable picture.
    """
    check_folders(images=images, ground_truth=ground_truth, attributes=attributes)
    findings, pictures, conditions = Findings(), [], {}
    flags = _read_attributes(attributes, findings) if attributes else {}
    names = sorted(flags) or sorted(
        path.name.removesuffix("_gt_whole.txt")
        for path in Path(ground_truth).glob("*_gt_whole.txt")
    )
    for name in names:
        for picture in _read_sequence(name, Path(images), Path(ground_truth), findings):
            pictures.append(picture)
            if flags.get(name):
                conditions[picture.file_name] = flags[name]
    conversion = findings.finish(UAVDT, pictures)
    conversion.conditions = conditions
    return conversion


def _read_sequence(
    name: str, images: Path, ground_truth: Path, findings: Findings
) -> list[LabelledPicture]:
    whole = ground_truth / f"{name}_gt_whole.txt"
    if not whole.is_file() or not (images / name).is_dir():
        findings.problems.append(
            f"Sequence {name} needs {whole} and the folder {images / name}; add what is missing."
        )
        return []
    boxes: Boxes = defaultdict(list)
    _read_rows(whole, boxes, findings, ignored=False)
    last = max(boxes, default=0)
    ignore = ground_truth / f"{name}_gt_ignore.txt"
    if ignore.is_file():
        _read_rows(ignore, boxes, findings, ignored=True)
    found = find_pictures(images / name, findings)
    frames = {int(stem[3:]): path for stem, path in found.items() if re.fullmatch(r"img\d+", stem)}
    if missing := sorted(frame for frame in boxes if frame not in frames and frame <= last):
        findings.problems.append(
            f"{name}: no picture for {len(missing)} labelled frames, the first is "
            f"img{missing[0]:06d}; add the pictures."
        )
    if unlabelled := sum(frame > last for frame in frames):
        findings.warnings.append(
            f"{name}: {unlabelled} pictures after frame {last} have no labels and were left out."
        )
    pictures = []
    for frame, path in sorted(frames.items()):
        size = read_size(path, findings) if frame <= last else None
        if size is not None:
            placed = _place(boxes.get(frame, []), size, findings)
            pictures.append(LabelledPicture(f"{name}/{path.name}", *size, placed))
    return pictures


def _read_rows(path: Path, boxes: Boxes, findings: Findings, ignored: bool) -> None:
    for where, row in read_numbers(path, FIELDS, findings, at_least=6 if ignored else None):
        frame, category = int(row[0]), 0 if ignored else int(row[8])
        if frame < 1:
            findings.problems.append(f"{where}: frames count from 1, got {row[0]:g}.")
        elif ignored:
            boxes[frame].append((where, LabelledBox(tuple(row[2:6]), None)))
        elif category not in (1, 2, 3):
            findings.problems.append(
                f"{where}: category must be 1 (car), 2 (truck) or 3 (bus), got {row[8]:g}."
            )
        else:
            extra = {"out_of_view": int(row[6]), "occlusion": int(row[7]), "track_id": int(row[1])}
            item = LabelledBox(tuple(row[2:6]), UAVDT[category - 1], extra=extra)
            boxes[frame].append((where, item))


def _place(
    items: list[tuple[str, LabelledBox]], size: Size, findings: Findings
) -> tuple[LabelledBox, ...]:
    placed = []
    for where, item in items:
        box = findings.place(item.box, size, where)
        if box is not None:
            placed.append(LabelledBox(box, item.name, item.ignore, item.extra))
    return tuple(placed)


def _read_attributes(folder: Path, findings: Findings) -> dict[str, dict[str, tuple[float, ...]]]:
    """Read the flags of every sequence; several flags of one axis share its probability.

    A time without fog is one of the other kinds of weather, each as likely: with fog or nothing the
    axis would have one answer only.
    """
    read: dict[str, dict[str, tuple[float, ...]]] = {}
    for path in sorted(Path(folder).glob("*_attr.txt")):
        # The release has a file name with a space: "M0701 _attr.txt".
        name = path.name.removesuffix("_attr.txt").strip()
        rows = [(where, line.split(",")) for where, line in read_lines(path, findings)]
        if len(rows) != 1 or len(rows[0][1]) != len(ATTRIBUTES) or set(rows[0][1]) - {"0", "1"}:
            findings.problems.append(
                f"{path.name}: expected one row of {len(ATTRIBUTES)} flags 0 or 1 "
                f"({', '.join(ATTRIBUTES)})."
            )
            continue
        told = [
            meaning
            for meaning, flag in zip(ATTRIBUTES.values(), rows[0][1], strict=True)
            if meaning and flag == "1"
        ]
        axes = {axis for axis, _ in told}
        if "time" in axes and "weather" not in axes:
            told += [("weather", phrase) for phrase in AXES["weather"] if phrase != FOG[1]]
        read[name] = {
            axis: _shares([phrase for other, phrase in told if other == axis], AXES[axis])
            for axis in dict(told)
        }
    if not read and not findings.problems:
        findings.problems.append(f"`attributes` {folder} holds no *_attr.txt.")
    return read


def _shares(told: list[str], phrases: tuple[str, ...]) -> tuple[float, ...]:
    return tuple((phrase in told) / len(told) for phrase in phrases)
