"""`data`: a doctor for exemplars, clips and labels, the worlds' pictures, converters to COCO."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visionrel.cli.commands import Command, Group, Result
from visionrel.cli.data_aerial import CONVERT, RENDER_AERIAL, check_labels
from visionrel.cli.data_clips import RENDER_MOTION, check_clips, holds_clips
from visionrel.errors import InputError


if TYPE_CHECKING:
    from visionrel.data.exemplars import Exemplar


# The ReVersion benchmark has 4 to 10 exemplars per relation.
FEW_EXEMPLARS = 4


@dataclass(kw_only=True)
class CheckSettings:
    """What to look at."""

    path: Path
    """Folder of pictures and text.json, folder or table of clips, or a COCO json of boxes."""
    images_dir: Path | None = None
    """Folder of the pictures that a COCO json names."""
    classes: tuple[str, ...] | None = None
    """Class names that a COCO json must have, in this order; or visdrone, uavdt, dota, aerial."""
    conditions: Path | None = None
    """Side file of scene conditions to check with a COCO json."""


@dataclass(kw_only=True)
class RenderScenesSettings:
    """What to draw."""

    relation: str
    """A held-out relation of the scenes world, one that captions do not name."""
    output_dir: Path | None = None
    """Folder to write; outputs/exemplars/RELATION when not given. Must not exist or be empty."""
    count: int = 10
    """Number of pictures."""
    seed: int | None = None
    """Decides the pictures; drawn and printed when not given."""


def check(settings: CheckSettings) -> Result:
    """Reads exemplars or clips, or labels if the path ends in .json.

    Raises:
        InputError: If anything would stop a training.
    """
    if settings.path.suffix.lower() == ".json":
        return check_labels(
            settings.path, settings.images_dir, settings.classes, settings.conditions
        )
    given = [name for name in ("images_dir", "classes", "conditions") if getattr(settings, name)]
    if given:
        raise InputError(
            f"`{'`, `'.join(given)}` belong to labels, but {settings.path} is not a .json; name "
            "the COCO json, or leave them out to check a folder of exemplars."
        )
    if holds_clips(settings.path):
        return check_clips(settings.path)
    return check_exemplars(settings.path)


def check_exemplars(folder: Path) -> Result:
    """Reads every picture and caption; all errors are listed at once.

    Raises:
        InputError: If anything would stop a training.
    """
    from visionrel.data.exemplars import read_exemplars

    exemplars = read_exemplars(folder)
    data = _describe(exemplars)
    lines = [
        f"{folder}: {data['pictures']} pictures, {data['captions']} captions, "
        f"sizes {', '.join(data['sizes'])}",
        *(f"warning: {warning}" for warning in data["warnings"]),
    ]
    return Result("\n".join(lines), data)


def _describe(exemplars: Sequence[Exemplar]) -> dict[str, Any]:
    from visionrel.artifacts import sha256_of
    from visionrel.data.exemplars import is_transparent, open_picture

    sizes = Counter(open_picture(item.path).size for item in exemplars)
    twins: dict[str, list[str]] = {}
    for item in exemplars:
        twins.setdefault(sha256_of(item.path), []).append(item.path.name)
    warnings = [f"{' and '.join(names)} are the same file" for names in twins.values() if names[1:]]
    if len(exemplars) < FEW_EXEMPLARS:
        warnings.append(f"fewer than {FEW_EXEMPLARS} pictures; their objects may be learned too")
    if any(width != height for width, height in sizes):
        warnings.append("pictures that are not square are squashed unless you crop them")
    if transparent := [item.path.name for item in exemplars if is_transparent(item.path)]:
        warnings.append(f"transparent parts are read as white in {', '.join(transparent)}")
    return {
        "pictures": len(exemplars),
        "captions": sum(len(item.templates) for item in exemplars),
        "sizes": [f"{width}x{height} ({count})" for (width, height), count in sizes.items()],
        "warnings": warnings,
    }


def render_scenes(settings: RenderScenesSettings) -> Result:
    """Draws exemplars of one relation of the scenes world.

    Raises:
        InputError: If the relation is unknown, the count below 1 or the folder in use.
    """
    from visionrel.worlds.scenes import HELD_OUT, write_exemplars

    folder = settings.output_dir or Path("outputs/exemplars") / settings.relation
    problems = []
    if settings.relation not in HELD_OUT:
        nearest = get_close_matches(settings.relation, HELD_OUT, n=1)
        hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
        problems.append(
            f"Unknown relation {settings.relation!r}; there are: {', '.join(HELD_OUT)}.{hint}"
        )
    if settings.count < 1:
        problems.append(f"`count` must be at least 1, got {settings.count}.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        problems.append(f"`output_dir` {folder} is in use; nothing is overwritten, choose another.")
    if problems:
        raise InputError(problems)
    write_exemplars(folder, HELD_OUT[settings.relation], settings.count, settings.seed)
    data = {"output_dir": str(folder), "relation": settings.relation, "seed": settings.seed}
    return Result(str(folder), data)


DATA = Group(
    "Check exemplars, clips and labels, draw pictures and clips, convert labels.",
    lambda: {
        "check": Command(
            "Look at every picture, clip, caption and box before training.",
            lambda: CheckSettings,
            check,
            words_first=True,
        ),
        "render": Group(
            "Draw pictures or clips of a procedural world.",
            lambda: {
                "scenes": Command(
                    "Draw two-object scenes that show one relation.",
                    lambda: RenderScenesSettings,
                    render_scenes,
                    words_first=True,
                ),
                "motion": RENDER_MOTION,
                "aerial": RENDER_AERIAL,
            },
        ),
        "convert": CONVERT,
    },
)
