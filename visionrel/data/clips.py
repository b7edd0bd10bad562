"""Sets of captioned video clips, checked before training.

A set is a folder of videos with one `NAME.txt` of caption beside each, or a CSV file with the
columns `video` and `caption`, whose videos lie beside it.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from visionrel.data.video_scan import VideoFacts, scan
from visionrel.errors import InputError


EXTENSIONS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm")
CAPTION_SUFFIX = ".txt"
COLUMNS = ("video", "caption")

VARIABLE = 0.2
"""Share of the usual time between frames by which one may differ before the rate is variable."""


@dataclass(frozen=True)
class Clip:
    """One video and what is said of it.

    Attributes:
        path: the video file, known to be readable.
        caption: what it shows.
        frames: how many frames it has.
        fps: mean frames per second.
        height, width: of a frame, in pixels.
    """

    path: Path
    caption: str
    frames: int
    fps: float
    height: int
    width: int


def read_clips(
    source: str | Path,
    min_frames: int = 2,
    multiple: int = 1,
    constant_rate: bool = True,
    scan: Callable[[Path], VideoFacts] = scan,
) -> list[Clip]:
    """Read and check a set of clips, in the order of their names or of the table.

    Every video is decoded once, unless `scan` knows it. Nothing is written.

    Args:
        source: folder of videos with a `NAME.txt` beside each, or a CSV file.
        min_frames: shorter clips are refused; a clip of one frame has no motion.
        multiple: height and width must be multiples of this.
        constant_rate: refuse clips whose frames are not evenly spaced in time.
        scan: what decodes a video; that of a `ScanMemory` decodes only what it does not know.

    Errors:
        InputError: with every problem of every clip.
    """
    source = Path(source)
    if source.is_dir():
        entries, problems = _folder_entries(source)
    elif source.is_file():
        entries, problems = _table_entries(source)
    else:
        raise InputError(f"`source` is {source}, which does not exist; give a folder or a CSV file")
    clips = []
    for path, caption in entries:
        try:
            facts = scan(path)
        except ValueError as error:
            problems.append(f"{path.name}: {error}")
            continue
        clip = Clip(path, caption, facts.frames, facts.fps, facts.height, facts.width)
        found = list(_clip_problems(facts, min_frames, multiple, constant_rate))
        problems.extend(f"{path.name}: {problem}" for problem in found)
        clips.append(clip)
    if problems:
        raise InputError(problems)
    return clips


def _clip_problems(
    facts: VideoFacts, min_frames: int, multiple: int, constant_rate: bool
) -> Iterator[str]:
    if facts.frames == 1:
        yield "the clip has one frame; use a clip that moves, or remove it."
    elif facts.frames < min_frames:
        yield (
            f"the clip has {facts.frames} frames, at least {min_frames} are needed; give a longer "
            "one or lower `min_frames`."
        )
    if facts.height % multiple or facts.width % multiple:
        yield (
            f"the clip is {facts.width} x {facts.height}, its sides must be multiples of "
            f"{multiple}; crop or scale it."
        )
    least, usual, longest = facts.steps
    if constant_rate and facts.frames > 2:
        if usual <= 0 or max(usual - least, longest - usual) > VARIABLE * usual:
            yield (
                f"the frame rate is variable ({least:.3f} to {longest:.3f} s between "
                "frames); re-encode it at a constant rate, for example with ffmpeg -vf fps=8."
            )


def _folder_entries(folder: Path) -> tuple[list[tuple[Path, str]], list[str]]:
    """List the videos of a folder with their captions, and what is wrong with those."""
    # Hidden files are not the user's: macOS leaves such beside every file.
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name[0] != ".")
    videos = [path for path in files if path.suffix.lower() in EXTENSIONS]
    problems = [] if videos else [f"{folder} holds no video; put one of {', '.join(EXTENSIONS)}."]
    entries = []
    for path in videos:
        caption, problem = _read_caption(path.with_suffix(CAPTION_SUFFIX))
        if problem:
            problems.append(f"{path.name}: {problem}")
        entries.append((path, caption))
    stems = {path.stem for path in videos}
    problems.extend(
        f"{path.name}: no video of this name; add it or remove the caption."
        for path in files
        if path.suffix.lower() == CAPTION_SUFFIX and path.stem not in stems
    )
    return entries, problems


def _read_caption(path: Path) -> tuple[str, str | None]:
    """A caption, and what is wrong with it."""
    try:
        caption = path.read_text(encoding="utf-8-sig").strip() if path.is_file() else ""
    except UnicodeDecodeError:
        return "", f"{path.name} is not UTF-8; save it as UTF-8."
    return caption, None if caption else f"no caption; write what it shows into {path.name}."


def _table_entries(path: Path) -> tuple[list[tuple[Path, str]], list[str]]:
    """List the rows of a CSV file, and what is wrong with them."""
    entries, problems = [], []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            missing = [column for column in COLUMNS if column not in (rows.fieldnames or ())]
            if missing:
                names = " and ".join(missing)
                return [], [f"{path.name} has no column {names}; name it in line 1."]
            for row in rows:
                name, caption = ((row[column] or "").strip() for column in COLUMNS)
                where = f"{path.name}, line {rows.line_num}"
                if problem := _row_problem(row, name, caption):
                    problems.append(f"{where}: {problem}")
                if _is_below(name):
                    entries.append((path.parent / name, caption))
    except UnicodeDecodeError:
        problems.append(f"{path.name} is not UTF-8; save it as UTF-8.")
    except csv.Error as error:
        where = f"{path.name}, near line {rows.line_num}"
        problems.append(f"{where}: the table cannot be read ({error}); correct it.")
    if not entries and not problems:
        problems.append(f"{path.name} lists no clip; add a row for each.")
    return entries, problems


def _row_problem(row: Mapping[str | None, Any], name: str, caption: str) -> str | None:
    if None in row:
        return "more fields than columns; put a caption that has commas in double quotes."
    if not _is_below(name):
        return f"`video` is {name!r}; use a file name below the table's folder."
    return None if caption else f"{name} has no caption; write one."


def _is_below(name: str) -> bool:
    """Whether a file's name leads nowhere but into the table's folder."""
    return bool(name) and not Path(name).is_absolute() and ".." not in Path(name).parts
