"""Aerial data: `data render aerial`, `data convert`, and `data check` for labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from visionrel.cli.commands import Command, Group, Result
from visionrel.errors import InputError


if TYPE_CHECKING:
    from visionrel.data.aerial import Conversion


@dataclass(kw_only=True)
class RenderAerialSettings:
    """How many pictures to draw, and where."""

    output_dir: Path = Path("outputs/aerial")
    """Folder to write. Must not exist or be empty."""
    train: int = 2000
    """Pictures to train on: by day and at dusk, no fog, never straight down."""
    val: int = 500
    """Pictures under the same conditions as those to train on."""
    test: int = 300
    """Pictures of each split that holds out a condition: night, fog, straight down."""
    side: int = 320
    """Height and width in pixels."""
    seed: int | None = None
    """Decides the pictures; drawn and printed when not given."""


@dataclass(kw_only=True)
class ConvertSettings:
    """What every conversion needs."""

    images_dir: Path
    """Folder of the pictures."""
    output_file: Path
    """COCO json to write. Must not exist, nor the file of scene conditions beside it."""
    tiles_dir: Path | None = None
    """Cuts the pictures into tiles in this folder; the labels are then those of the tiles."""
    tile: int = 1024
    """Side of a tile in pixels."""
    stride: int = 824
    """Distance from one tile to the next; tiles overlap by `tile - stride`."""
    min_visible: float = 0.5
    """A box of which less than this share lies in a tile is ignored there."""


@dataclass(kw_only=True)
class ConvertVisdroneSettings(ConvertSettings):
    """Where a split of VisDrone2019-DET is."""

    annotations_dir: Path
    """Folder of text files, one per picture."""


@dataclass(kw_only=True)
class ConvertUavdtSettings(ConvertSettings):
    """Where UAVDT-DET is; `images_dir` has a folder per sequence."""

    annotations_dir: Path
    """Folder of *_gt_whole.txt and *_gt_ignore.txt."""
    attributes_dir: Path | None = None
    """Folder of *_attr.txt; picks its sequences and gives their scene conditions."""


@dataclass(kw_only=True)
class ConvertDotaSettings(ConvertSettings):
    """Where a split of DOTA v1.0 is."""

    annotations_dir: Path
    """Folder labelTxt."""
    keep_difficult: bool = False
    """Train on difficult objects; otherwise they are ignored."""


@dataclass(kw_only=True)
class ConvertVocSettings(ConvertSettings):
    """Where the xml files are."""

    annotations_dir: Path
    """Folder of xml files, one per picture."""
    classes: tuple[str, ...] | None = None
    """Names in the order of their labels; sorted names of the files when not given."""
    origin: Literal[0, 1] = 1
    """What the first pixel is called. 1 as in the VOC devkit, last pixel included; 0 if not."""
    keep_difficult: bool = False
    """Train on difficult objects; otherwise they are ignored."""


def render_aerial(settings: RenderAerialSettings) -> Result:
    """Draws the splits of the aerial world; a split of 0 pictures is left out."""
    from visionrel.worlds.aerial import SPLITS, write_aerial

    sizes = {
        name: settings.test if name.startswith("test-") else getattr(settings, name)
        for name in SPLITS
    }
    sizes = {name: count for name, count in sizes.items() if count != 0}
    written = write_aerial(settings.output_dir, sizes, settings.seed or 0, settings.side)
    lines = [
        f"{item.labels}: {sizes[name]} pictures, {sum(item.counts.values())} boxes"
        for name, item in written.items()
    ]
    data = {
        "output_dir": str(settings.output_dir),
        "seed": settings.seed,
        "splits": {name: item.counts for name, item in written.items()},
    }
    return Result("\n".join(lines), data)


def convert_visdrone(settings: ConvertVisdroneSettings) -> Result:
    """Converts VisDrone2019-DET."""
    from visionrel.data.aerial import convert_visdrone

    _check_output(settings)
    return _write(settings, convert_visdrone(settings.images_dir, settings.annotations_dir))


def convert_uavdt(settings: ConvertUavdtSettings) -> Result:
    """Converts UAVDT-DET."""
    from visionrel.data.aerial import convert_uavdt

    _check_output(settings)
    source = settings.images_dir, settings.annotations_dir, settings.attributes_dir
    return _write(settings, convert_uavdt(*source))


def convert_dota(settings: ConvertDotaSettings) -> Result:
    """Converts DOTA v1.0."""
    from visionrel.data.aerial import convert_dota

    _check_output(settings)
    source = settings.images_dir, settings.annotations_dir, settings.keep_difficult
    return _write(settings, convert_dota(*source))


def convert_voc(settings: ConvertVocSettings) -> Result:
    """Converts Pascal VOC xml."""
    from visionrel.data.aerial import convert_voc

    _check_output(settings)
    made = convert_voc(
        settings.images_dir,
        settings.annotations_dir,
        settings.classes,
        settings.origin,
        settings.keep_difficult,
    )
    return _write(settings, made)


def _check_output(settings: ConvertSettings) -> None:
    if settings.output_file.exists():
        raise InputError(
            f"`output_file` {settings.output_file} exists; nothing is overwritten, choose another."
        )


def _write(settings: ConvertSettings, made: Conversion) -> Result:
    """Cuts tiles if asked, writes the labels, and the conditions beside them."""
    from visionrel.data.aerial import write_tiles

    output = settings.output_file
    conditions = output.with_name(f"{output.stem}-conditions.json")
    if made.conditions and conditions.exists():
        raise InputError(f"{conditions} exists; nothing is overwritten, choose another name.")
    if settings.tiles_dir is not None:
        place = settings.images_dir, settings.tiles_dir
        made = write_tiles(made, *place, settings.tile, settings.stride, settings.min_visible)
    made.save(output, conditions)
    counts = made.count()
    data = {
        "output_file": str(output),
        "conditions_file": str(conditions) if made.conditions else None,
        "pictures": len(made.pictures),
        "boxes": counts,
        "warnings": made.warnings,
    }
    boxes = ", ".join(f"{name} {count}" for name, count in counts.items())
    lines = [f"{output}: {len(made.pictures)} pictures; {boxes}"]
    return Result("\n".join(lines + [f"warning: {text}" for text in made.warnings]), data)


def check_labels(
    labels: Path, images: Path | None, classes: tuple[str, ...] | None, conditions: Path | None
) -> Result:
    """Reads a COCO json with its pictures; all errors are listed at once."""
    from visionrel.data.aerial import CLASS_SETS, check_labels

    if images is None:
        raise InputError("`images_dir` is needed to check a COCO json; give the pictures' folder.")
    if classes and len(classes) == 1:
        classes = CLASS_SETS.get(classes[0], classes)
    report = check_labels(labels, images, classes, conditions)
    boxes = ", ".join(f"{name} {count}" for name, count in report.boxes.items())
    lines = [
        f"{labels}: {report.pictures} pictures, {sum(report.boxes.values())} boxes, "
        f"{report.ignored} ignored",
        f"classes: {boxes}",
        *(f"warning: {text}" for text in report.warnings),
    ]
    return Result("\n".join(lines), vars(report))


RENDER_AERIAL = Command(
    "Draw pictures of the aerial world with boxes and scene conditions.",
    lambda: RenderAerialSettings,
    render_aerial,
)
CONVERT = Group(
    "Turn the labels of a data set into COCO json.",
    lambda: {
        "visdrone": Command(
            "VisDrone2019-DET, ten classes with ignored regions.",
            lambda: ConvertVisdroneSettings,
            convert_visdrone,
        ),
        "uavdt": Command(
            "UAVDT-DET, three classes, with its attributes as scene conditions.",
            lambda: ConvertUavdtSettings,
            convert_uavdt,
        ),
        "dota": Command(
            "DOTA v1.0, fifteen classes, upright boxes.", lambda: ConvertDotaSettings, convert_dota
        ),
        "voc": Command("Pascal VOC xml files.", lambda: ConvertVocSettings, convert_voc),
    },
)
