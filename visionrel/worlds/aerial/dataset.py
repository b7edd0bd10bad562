"""Writes pictures of the aerial world with COCO json and scene conditions, split by condition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from visionrel.artifacts import atomic_folder, atomic_write
from visionrel.data.aerial.coco import Conversion, LabelledBox, LabelledPicture
from visionrel.data.aerial.conditions import AXES, encode_conditions
from visionrel.errors import InputError
from visionrel.worlds.aerial.rendering import PICTURE_SIDE, Annotation, draw_aerial
from visionrel.worlds.aerial.sampling import sample_aerial
from visionrel.worlds.aerial.scene import CLASSES, Conditions


Weights = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Split:
    """Under which conditions the pictures of a split are taken.

    Attributes:
        number: sets its random streams apart from those of other splits.
        weights: per axis, how likely each phrase is; phrases that are absent never occur.
    """

    number: int
    weights: Weights

    def draw(self, rng: np.random.Generator) -> Conditions:
        """Draw one phrase per axis."""
        drawn = {}
        for axis in AXES:
            phrases, shares = zip(*self.weights[axis].items(), strict=True)
            drawn[axis] = phrases[int(rng.choice(len(phrases), p=np.array(shares) / sum(shares)))]
        return Conditions(**drawn)


_SEEN: Weights = {
    "time": {"daytime": 0.75, "dusk or dawn": 0.25},
    "weather": {"clear weather": 0.5, "cloudy weather": 0.3, "rain": 0.1, "snow": 0.1},
    "view": {"at an oblique angle": 0.6, "from the side": 0.4},
    "altitude": {"low altitude": 0.3, "medium altitude": 0.4, "high altitude": 0.3},
}

SPLITS: dict[str, Split] = {
    "train": Split(0, _SEEN),
    "val": Split(1, _SEEN),
    "test-night": Split(2, {**_SEEN, "time": {"night": 1.0}}),
    "test-fog": Split(3, {**_SEEN, "weather": {"fog": 1.0}}),
    "test-steep": Split(4, {**_SEEN, "view": {"straight down": 1.0}}),
}
"""Training and validation know neither night nor fog nor a view straight down; each test split
changes exactly one axis."""


@dataclass(frozen=True)
class Written:
    """Files of one split, and how many boxes of each class count in it."""

    pictures: Path
    labels: Path
    conditions: Path
    counts: dict[str, int]


def write_aerial(
    folder: Path, sizes: Mapping[str, int], seed: int = 0, side: int = PICTURE_SIDE
) -> dict[str, Written]:
    """Write splits of the aerial world into a new or empty folder.

    A split gets `SPLIT/000000.jpg, ...`, `SPLIT.json` (COCO) and `SPLIT-conditions.json`. Picture
    *i* of a split depends on the seed, the split and *i* only. Everything is written beside the
    folder first: it is filled once all is there.

    Args:
        folder: where to write.
        sizes: number of pictures per name of `SPLITS`.
        seed: decides every picture.
        side: height and width of the pictures.

    Raises:
        InputError: With every problem; nothing is overwritten.
    """
    folder = Path(folder)
    _check(folder, sizes, side)
    with atomic_folder(folder) as unfinished:
        counts = {
            name: _write_split(unfinished, name, count, seed, side) for name, count in sizes.items()
        }
    return {
        name: Written(folder / name, *_label_files(folder, name), counts[name]) for name in sizes
    }


def _check(folder: Path, sizes: Mapping[str, int], side: int) -> None:
    problems = [
        f"Unknown split {name!r}; there are: {', '.join(SPLITS)}."
        for name in sizes
        if name not in SPLITS
    ]
    problems += [
        f"Split {name!r} must have at least 1 picture, got {count}."
        for name, count in sizes.items()
        if count < 1
    ]
    if side < 64:
        problems.append(f"`side` must be at least 64 pixels, got {side}.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        problems.append(f"`folder` {folder} is in use; nothing is overwritten, choose another.")
    if problems:
        raise InputError(problems)


def _write_split(folder: Path, name: str, count: int, seed: int, side: int) -> dict[str, int]:
    """Write one split; return how many boxes of each class count in it."""
    split = SPLITS[name]
    made = Conversion(CLASSES, [])
    for index in tqdm(range(count), desc=name, unit="picture", mininterval=1.0):
        rng = np.random.default_rng([seed, split.number, index])
        conditions = split.draw(rng)
        picture, annotations = draw_aerial(sample_aerial(rng, conditions), side)
        file_name = f"{index:06d}.jpg"
        with atomic_write(folder / name / file_name) as temporary:
            picture.save(temporary, "JPEG", quality=92)
        made.pictures.append(LabelledPicture(file_name, side, side, _boxes(annotations)))
        made.conditions[file_name] = encode_conditions(conditions.phrases())
    made.save(*_label_files(folder, name))
    return made.count()


def _label_files(folder: Path, split: str) -> tuple[Path, Path]:
    """Return where the boxes and the scene conditions of a split are."""
    return folder / f"{split}.json", folder / f"{split}-conditions.json"


def _boxes(annotations: Sequence[Annotation]) -> tuple[LabelledBox, ...]:
    return tuple(
        LabelledBox(item.box, item.name, item.ignore, _extra(item)) for item in annotations
    )


def _extra(annotation: Annotation) -> dict[str, Any]:
    return {} if annotation.name is None else {"visible": annotation.visible}


def count_classes(count: int = 200, seed: int = 0, split: str = "train") -> dict[str, int]:
    """Count the boxes of each class in `count` pictures of a split without keeping them."""
    counts = dict.fromkeys(CLASSES, 0)
    for index in range(count):
        rng = np.random.default_rng([seed, SPLITS[split].number, index])
        for item in draw_aerial(sample_aerial(rng, SPLITS[split].draw(rng)), 64)[1]:
            if item.name is not None and not item.ignore:
                counts[item.name] += 1
    return counts
