"""What the converters share: finding pictures, reading rows of numbers, keeping book."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from visionrel.data.aerial.coco import Box, Conversion, LabelledPicture, clip_box
from visionrel.data.exemplars import large_pictures
from visionrel.errors import InputError


EXTENSIONS = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff")
Size = tuple[int, int]


@dataclass
class Findings:
    """Everything that is wrong with a source, and everything that was changed on the way.

    Attributes:
        problems: sentences; any of them stops the conversion once all files are read.
        warnings: sentences.
        cut: places of boxes that reached beyond their picture.
        empty: places of boxes without area inside their picture.
    """

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)

    def place(self, box: Box, size: Size, where: str) -> Box | None:
        """Cut a box down to its picture; None if nothing is left."""
        clipped = clip_box(box, *size)
        if clipped[2] <= 0 or clipped[3] <= 0:
            self.empty.append(where)
            return None
        if not all(map(_is_close, clipped, box)):
            self.cut.append(where)
        return clipped

    def finish(self, classes: tuple[str, ...], pictures: list[LabelledPicture]) -> Conversion:
        """Raise what was found or return the conversion with its warnings.

        Raises:
            InputError: With every problem.
        """
        if not pictures and not self.problems:
            self.problems.append("No labelled picture was found; check the folders.")
        if self.problems:
            raise InputError(self.problems)
        warnings = list(self.warnings)
        for places, text in (
            (self.cut, "reached beyond their picture and were cut"),
            (self.empty, "have no area inside their picture and were left out"),
        ):
            if places:
                shown = ", ".join(places[:5]) + (", ..." if len(places) > 5 else "")
                warnings.append(f"{len(places)} boxes {text}: {shown}.")
        return Conversion(classes, pictures, warnings)


def _is_close(one: float, two: float) -> bool:
    """Whether two coordinates differ by no more than the noise of adding and subtracting."""
    return math.isclose(one, two, abs_tol=1e-6)


def check_folders(**folders: Path | None) -> None:
    """Refuse arguments that are not folders.

    Raises:
        InputError: Naming each.
    """
    problems = [
        f"`{name}` {folder} is not a folder."
        for name, folder in folders.items()
        if folder is not None and not Path(folder).is_dir()
    ]
    if problems:
        raise InputError(problems)


def find_pictures(folder: Path, findings: Findings) -> dict[str, Path]:
    """Return the pictures of a folder by file name without extension."""
    found: dict[str, Path] = {}
    for path in sorted(Path(folder).iterdir()):
        if path.suffix.lower() not in EXTENSIONS or path.name.startswith("."):
            continue
        if path.stem in found:
            findings.problems.append(
                f"{path.name} and {found[path.stem].name} have the same stem; remove one."
            )
        found[path.stem] = path
    return found


def warn_unlabelled(
    pictures: Mapping[str, Path], labels: Sequence[Path], findings: Findings
) -> None:
    """Tell which pictures, by stem, have no label file and are left out."""
    for name in sorted(pictures.keys() - {path.stem for path in labels}):
        findings.warnings.append(f"{pictures[name].name} has no label file and was left out.")


def read_size(path: Path, findings: Findings) -> Size | None:
    """Return width and height from the header of a picture, None if it cannot be read."""
    try:
        with large_pictures(), Image.open(path) as picture:
            return picture.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        findings.problems.append(f"{path.name}: the picture cannot be read ({error}); replace it.")
        return None


def read_lines(path: Path, findings: Findings) -> Iterator[tuple[str, str]]:
    """Give place (`name:line`) and text of each line that is not blank."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        findings.problems.append(f"{path.name}: not readable as text ({error}).")
        return
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield f"{path.name}:{number}", line.strip()


def read_numbers(
    path: Path, fields: Sequence[str], findings: Findings, at_least: int | None = None
) -> Iterator[tuple[str, list[float]]]:
    """Give place and numbers of each row of a comma-separated file.

    A comma at the end of a row, which VisDrone has, is no further field.

    Args:
        path: the file.
        fields: what the numbers mean.
        findings: receives rows that do not fit.
        at_least: number of fields that must be there; all of them when not given.
    """
    needed = len(fields) if at_least is None else at_least
    for where, line in read_lines(path, findings):
        words = line.rstrip(",").split(",")
        try:
            values = [float(word) for word in words]
        except ValueError:
            values = [math.nan]
        if not needed <= len(values) <= len(fields) or not all(map(math.isfinite, values)):
            findings.problems.append(
                f"{where}: expected {len(fields)} numbers ({', '.join(fields)}), got {line[:80]!r}."
            )
        elif values[fields.index("width")] < 0 or values[fields.index("height")] < 0:
            findings.problems.append(f"{where}: width and height must not be negative: {line!r}.")
        else:
            yield where, values
