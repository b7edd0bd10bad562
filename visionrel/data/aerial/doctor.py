"""The doctor of labels: reads a COCO json and its pictures, and lists everything that is wrong."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from visionrel.artifacts import load_json
from visionrel.data.aerial.conditions import AXES, load_conditions
from visionrel.data.exemplars import EXTENSIONS, open_picture
from visionrel.errors import InputError


# Of problems of one kind, so many are shown; the rest is counted.
SHOWN = 20
# Boxes may reach this many pixels beyond their picture: coordinates are often rounded.
SLACK = 1.0
_Entry = dict[str, Any]


@dataclass
class LabelReport:
    """What a set of labels holds.

    Attributes:
        pictures: number of pictures.
        boxes: number of boxes that count, by class.
        ignored: number of annotations with `iscrowd`.
        sizes: number of pictures by `WIDTHxHEIGHT`.
        warnings: sentences about what is allowed but suspicious.
    """

    pictures: int
    boxes: dict[str, int]
    ignored: int
    sizes: dict[str, int]
    warnings: list[str] = field(default_factory=list)


class _Problems:
    """Problems by kind, so that one kind cannot bury the others."""

    def __init__(self) -> None:
        self.by_kind: dict[str, list[str]] = defaultdict(list)

    def add(self, kind: str, text: str) -> None:
        self.by_kind[kind].append(text)

    def listed(self) -> list[str]:
        lines = []
        for kind, texts in self.by_kind.items():
            lines += texts[:SHOWN]
            if len(texts) > SHOWN:
                lines.append(f"... and {len(texts) - SHOWN} more of this kind ({kind}).")
        return lines


def check_labels(
    labels: Path,
    images: Path,
    classes: Sequence[str] | None = None,
    conditions: Path | None = None,
    axes: Mapping[str, Sequence[str]] = AXES,
    part: bool = False,
) -> LabelReport:
    """Read labels and every picture they name.

    Args:
        labels: COCO json.
        images: folder that the file names start from.
        classes: names that the categories must have, in this order; MMDetection numbers classes
            by the order of the json, whatever the order in its configuration.
        conditions: side file of scene conditions to check with them.
        axes: what the conditions may say.
        part: `classes` may be a part of the categories, as a detector may learn some of them.

    Raises:
        InputError: With everything that would stop or spoil a training, all kinds at once.
    """
    content, problems = _load(labels), _Problems()
    if not Path(images).is_dir():
        problems.add("folder", f"`images_dir` {images} is not a folder.")
    _check_categories(content["categories"], classes, part, problems)
    pictures = _check_pictures(content["images"], Path(images), problems)
    _check_annotations(content, pictures, problems)
    told = None
    if conditions is not None:
        try:
            told = load_conditions(conditions, axes)
        except InputError as error:
            for text in error.problems:
                problems.add("conditions", text)
    if problems.by_kind:
        raise InputError(problems.listed())
    report = _describe(content)
    report.warnings = list(_warnings(content, Path(images), report, told))
    return report


def _load(path: Path) -> dict[str, list[_Entry]]:
    """Read the json and make sure of its outer shape."""
    content = load_json(path)
    lists = ("images", "annotations", "categories")
    bad = [
        name
        for name in lists
        if not isinstance(content, dict)
        or not isinstance(content.get(name), list)
        or not all(isinstance(entry, dict) for entry in content[name])
    ]
    if bad:
        raise InputError(
            f"{path} must be an object with lists of objects `images`, `annotations` and "
            f"`categories`; wrong or missing: {', '.join(bad)}. Convert the labels to COCO first."
        )
    return content


def _check_ids(entries: Sequence[_Entry], what: str, problems: _Problems) -> None:
    """Ids must be whole numbers, each used once."""
    ids = [entry.get("id") for entry in entries]
    for value in ids:
        if not _is_int(value):
            problems.add("ids", f"An id of `{what}` must be a whole number, got {value!r}.")
    for value, count in Counter(filter(_is_int, ids)).items():
        if count > 1:
            problems.add("ids", f"Id {value} stands {count} times in `{what}`; ids are unique.")


def _check_categories(
    categories: Sequence[_Entry], classes: Sequence[str] | None, part: bool, problems: _Problems
) -> None:
    _check_ids(categories, "categories", problems)
    for entry in categories:
        if not (isinstance(entry.get("name"), str) and entry["name"]):
            problems.add("classes", f"Category {entry.get('id')} needs a `name`, a text.")
    names = [str(entry.get("name")) for entry in categories]
    for name, count in Counter(names).items():
        if count > 1:
            problems.add("classes", f"Class {name!r} stands {count} times in `categories`.")
    if part and classes is not None:
        names = [name for name in names if name in classes]
    if classes is None or names == list(classes):
        return
    missing, extra = set(classes) - set(names), set(names) - set(classes)
    for name in sorted(missing):
        problems.add("classes", f"Class {name!r} is expected, but not in `categories`.")
    for name in sorted(extra):
        problems.add("classes", f"Class {name!r} in `categories` is not among those expected.")
    if not missing and not extra and len(names) == len(classes):
        first = next(
            i for i, pair in enumerate(zip(names, classes, strict=True)) if len({*pair}) > 1
        )
        problems.add(
            "classes",
            f"The classes are in another order: number {first} is {names[first]!r}, expected "
            f"{classes[first]!r}; reorder `categories`, labels follow that order.",
        )


def _check_pictures(
    entries: Sequence[_Entry], folder: Path, problems: _Problems
) -> dict[int, tuple[float, float]]:
    """Check names, files and sizes; return the size of each picture by id."""
    _check_ids(entries, "images", problems)
    if not entries:
        problems.add("pictures", "`images` is empty.")
    sizes: dict[int, tuple[float, float]] = {}
    for name, count in Counter(str(entry.get("file_name")) for entry in entries).items():
        if count > 1:
            problems.add("file names", f"{name} stands {count} times in `images`.")
    for entry in entries:
        name, size = entry.get("file_name"), (entry.get("width"), entry.get("height"))
        if not all(_is_number(value) and value > 0 for value in size):
            problems.add("sizes", f"{name}: width and height must be positive, got {size}.")
            continue
        if _is_int(entry.get("id")):
            sizes[entry["id"]] = size
        if problem := _name_problem(name):
            problems.add("file names", problem)
        elif folder.is_dir():
            for kind, text in _file_problems(folder / name, name, size):
                problems.add(kind, text)
    return sizes


def _name_problem(name: Any) -> str | None:
    """File names must stay inside the folder of pictures, on any system."""
    if not isinstance(name, str) or not name:
        return f"A `file_name` must be a non-empty text, got {name!r}."
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or "\0" in name:
        return (
            f"{name!r} leaves the folder of pictures; use names relative to it, with / between "
            "folders and without `..` or drives."
        )
    return None


def _file_problems(path: Path, name: str, size: tuple[float, float]) -> Iterator[tuple[str, str]]:
    if not path.is_file():
        yield "missing pictures", f"{name} is not in the folder of pictures; add it."
        return
    try:
        found = open_picture(path).size
    except ValueError as error:
        yield "unreadable pictures", f"{name}: {error}"
        return
    if found != size:
        yield (
            "sizes",
            f"{name} has {found[0]} x {found[1]} pixels, the labels say {size[0]} x {size[1]}; "
            "its boxes would be off: use the picture that was labelled.",
        )


def _check_annotations(
    content: Mapping[str, list[_Entry]],
    sizes: Mapping[int, tuple[float, float]],
    problems: _Problems,
) -> None:
    _check_ids(content["annotations"], "annotations", problems)
    categories = {entry.get("id") for entry in content["categories"] if _is_int(entry.get("id"))}
    pictures = {entry.get("id") for entry in content["images"] if _is_int(entry.get("id"))}
    for entry in content["annotations"]:
        where = f"Annotation {entry.get('id')}"
        if not _is_int(entry.get("image_id")) or entry["image_id"] not in pictures:
            problems.add("ids", f"{where}: no picture has the id {entry.get('image_id')!r}.")
        if not _is_int(entry.get("category_id")) or entry["category_id"] not in categories:
            problems.add("ids", f"{where}: no category has the id {entry.get('category_id')!r}.")
        if entry.get("iscrowd") not in (0, 1):
            problems.add("fields", f"{where}: needs `iscrowd` 0 or 1.")
        if not (_is_number(entry.get("area")) and entry["area"] > 0):
            problems.add("fields", f"{where}: needs an `area` above 0, got {entry.get('area')!r}.")
        size = sizes.get(entry["image_id"]) if _is_int(entry.get("image_id")) else None
        if text := _box_problem(entry.get("bbox"), size):
            problems.add("boxes", f"{where}: {text}")


def _box_problem(box: Any, size: tuple[float, float] | None) -> str | None:
    if not (isinstance(box, list) and len(box) == 4 and all(map(_is_number, box))):
        return f"`bbox` must be [left, top, width, height], got {str(box)[:60]}."
    left, top, width, height = box
    if width <= 0 or height <= 0:
        return f"the box {box} has no area; remove it."
    if size is None:
        return None
    if left >= size[0] or top >= size[1] or left + width <= 0 or top + height <= 0:
        return f"the box {box} lies outside its picture of {size[0]} x {size[1]}; remove it."
    beyond = max(-left, -top, left + width - size[0], top + height - size[1])
    if beyond > SLACK:
        return (
            f"the box {box} reaches {beyond:g} pixels beyond its picture of {size[0]} x {size[1]}; "
            "cut it, or look whether it holds corners instead of width and height."
        )
    return None


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _describe(content: Mapping[str, list[_Entry]]) -> LabelReport:
    names = {entry["id"]: str(entry["name"]) for entry in content["categories"]}
    counted = Counter(
        names[entry["category_id"]] for entry in content["annotations"] if not entry["iscrowd"]
    )
    sizes = Counter(f"{entry['width']}x{entry['height']}" for entry in content["images"])
    return LabelReport(
        len(content["images"]),
        {name: counted[name] for name in names.values()},
        sum(entry["iscrowd"] for entry in content["annotations"]),
        dict(sizes),
    )


def _warnings(
    content: Mapping[str, list[_Entry]],
    folder: Path,
    report: LabelReport,
    conditions: Mapping[str, Any] | None,
) -> Iterator[str]:
    counted = [entry for entry in content["annotations"] if not entry["iscrowd"]]
    if empty := [name for name, count in report.boxes.items() if not count]:
        yield f"no box of: {', '.join(empty)}"
    bare = report.pictures - len({entry["image_id"] for entry in content["annotations"]})
    if bare:
        yield f"{bare} pictures have no box; MMDetection leaves them out with filter_empty_gt"
    # MMDetection's filter counts ignored boxes too.
    covered = report.pictures - bare - len({entry["image_id"] for entry in counted})
    if covered:
        yield (
            f"{covered} pictures have only ignored boxes; MMDetection keeps them, and needs an "
            "IgnoreAware assigner to ignore anything there"
        )
    seen = Counter((e["image_id"], e["category_id"], *e["bbox"]) for e in counted)
    if twins := sum(count - 1 for count in seen.values()):
        yield f"{twins} boxes stand there more than once"
    if tiny := sum(min(entry["bbox"][2:]) < 1 for entry in counted):
        yield f"{tiny} boxes are under 1 pixel wide or high; MMDetection leaves them out"
    if hidden := sum(bool(entry.get("ignore")) for entry in content["annotations"]):
        yield f"{hidden} annotations have `ignore`, which MMDetection drops; `iscrowd` ignores them"
    listed = {entry["file_name"] for entry in content["images"]}
    spare = sum(
        path.suffix.lower() in EXTENSIONS and path.relative_to(folder).as_posix() not in listed
        for path in folder.rglob("*")
    )
    if spare:
        yield f"{spare} pictures of the folder are not in the labels"
    if conditions is not None and (unknown := len(listed - conditions.keys())):
        yield f"{unknown} pictures have no scene conditions"
