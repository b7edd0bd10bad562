"""Contact sheets: rows of pictures with a heading, and captions large enough to read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from visionrel.artifacts import atomic_write


INK, MUTED, GOOD, BAD, PAPER = "#1a1a1a", "#666666", "#1a7f37", "#c62828", "#ffffff"
_CELL, _GAP, _CAPTION, _HEADING = 160, 12, 40, 34


@dataclass(frozen=True)
class SheetRow:
    """One or more lines of pictures under a heading.

    Attributes:
        heading: Stands above the pictures.
        pictures: Any number, of any size.
        captions: One per picture.
        verdicts: Draws a green (True) or red (False) frame; None, or an empty tuple, draws none.
    """

    heading: str
    pictures: Sequence[Image.Image]
    captions: Sequence[str]
    verdicts: Sequence[bool | None] = field(default=())


@dataclass(frozen=True)
class Pictures:
    """A sheet as a figure of a report.

    Attributes:
        name: File name without its ending.
        title: Alternative text.
        rows: What it shows.
        columns: Pictures per line.
    """

    name: str
    title: str
    rows: tuple[SheetRow, ...]
    columns: int = 5

    def to_dict(self) -> dict[str, Any]:
        """Returns the words on the sheet, ready for JSON."""
        captions = {row.heading: list(row.captions) for row in self.rows}
        return {"name": self.name, "title": self.title, "captions": captions}

    def save(self, path: Path) -> None:
        """Draws the sheet as a PNG."""
        with atomic_write(path) as temporary:
            draw_sheet(self.rows, self.columns).save(temporary, format="png")


def draw_sheet(rows: Sequence[SheetRow], columns: int = 5) -> Image.Image:
    """Draws rows below one another, each wrapped after `columns` pictures."""
    lines = [-(-len(row.pictures) // columns) for row in rows]
    width = columns * (_CELL + _GAP) + _GAP
    height = sum(_HEADING + count * (_CELL + _CAPTION) for count in lines) + _GAP
    sheet = Image.new("RGB", (width, height), PAPER)
    top = _GAP // 2
    for row, count in zip(rows, lines, strict=True):
        ImageDraw.Draw(sheet).text((_GAP, top + 4), row.heading, INK, ImageFont.load_default(18))
        _draw_row(sheet, row, top + _HEADING, columns)
        top += _HEADING + count * (_CELL + _CAPTION)
    return sheet


def _draw_row(sheet: Image.Image, row: SheetRow, top: int, columns: int) -> None:
    verdicts = row.verdicts or (None,) * len(row.pictures)
    for index, (picture, caption, verdict) in enumerate(
        zip(row.pictures, row.captions, verdicts, strict=True)
    ):
        line, column = divmod(index, columns)
        place = (_GAP + column * (_CELL + _GAP), top + line * (_CELL + _CAPTION))
        _draw_picture(sheet, picture, place, verdict)
        _draw_caption(sheet, caption, (place[0], place[1] + _CELL + 5))


def _draw_picture(
    sheet: Image.Image, picture: Image.Image, place: tuple[int, int], verdict: bool | None
) -> None:
    # Whole pixels stay sharp when a small picture is enlarged.
    grow = picture.width < _CELL
    how = Image.Resampling.NEAREST if grow else Image.Resampling.LANCZOS
    sheet.paste(picture.convert("RGB").resize((_CELL, _CELL), how), place)
    if verdict is not None:
        x, y = place
        ImageDraw.Draw(sheet).rectangle(
            (x - 3, y - 3, x + _CELL + 2, y + _CELL + 2), outline=GOOD if verdict else BAD, width=3
        )


def _draw_caption(sheet: Image.Image, caption: str, place: tuple[int, int]) -> None:
    """Writes at most two lines, at word boundaries."""
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    lines = [""]
    for word in caption.split():
        longer = f"{lines[-1]} {word}".strip()
        if draw.textlength(longer, font) <= _CELL or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    draw.multiline_text(place, "\n".join(lines[:2]), MUTED, font, spacing=1)
