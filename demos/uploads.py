"""Uploaded exemplars become a folder such as `visionrel train` reads, within limits."""

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from visionrel.artifacts import save_json
from visionrel.data.exemplars import CAPTIONS_NAME
from visionrel.errors import InputError


MAX_FILE_SIZE = "8mb"
MAX_FILES = 40
MAX_SIDE = 4096


def write_upload(
    files: Sequence[str] | None, captions: Sequence[Sequence[str]], folder: Path
) -> None:
    """Copies uploaded pictures into a new folder and writes their captions beside them.

    Whether pictures and captions fit together is left to `visionrel.data.read_exemplars`.

    Args:
        files: Pictures; with a text.json among them the captions are its own.
        captions: Rows of (file name, caption), several per picture if need be.
        folder: The folder to make.

    Raises:
        InputError: If there are no files, too many, two of one name, or too large pictures.
    """
    paths = [Path(file) for file in files or ()]
    if problems := list(_problems(paths)):
        raise InputError(problems)
    folder.mkdir(parents=True)
    for path in paths:
        shutil.copyfile(path, folder / path.name)
    if not has_captions(paths):
        save_json(folder / CAPTIONS_NAME, _group(captions))


def has_captions(files: Sequence[str | Path]) -> bool:
    """Whether a caption file is among the uploaded files."""
    return any(Path(file).name == CAPTIONS_NAME for file in files)


def _problems(paths: Sequence[Path]) -> Iterator[str]:
    if not paths:
        yield "No pictures were uploaded; add at least one, with a caption such as 'cat {} stone'."
    if len(paths) > MAX_FILES:
        yield f"{len(paths)} files were uploaded; at most {MAX_FILES} are allowed."
    for name, times in Counter(path.name for path in paths).items():
        if times > 1:
            yield f"{times} files are called {name}; rename them."
    for path in paths:
        width, height = read_size(path)
        if max(width, height) > MAX_SIDE:
            yield (
                f"{path.name} measures {width} x {height} pixels; at most {MAX_SIDE} a side are "
                "allowed: make it smaller."
            )


def read_size(path: Path) -> tuple[int, int]:
    """Reads the size from the head of the file; what is no picture is reported by its reader."""
    try:
        with Image.open(path) as picture:
            return picture.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return 0, 0


def _group(rows: Sequence[Sequence[str]]) -> dict[str, list[str]]:
    """Rows of (name, caption) to the layout of text.json; empty rows are left out."""
    grouped: dict[str, list[str]] = {}
    for name, caption in rows:
        if name or caption:
            grouped.setdefault(name, []).append(caption)
    return grouped
