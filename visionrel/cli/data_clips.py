"""Clips: `data render motion`, and `data check` for videos."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from visionrel.cli.commands import Command, Result
from visionrel.errors import InputError


@dataclass(kw_only=True)
class RenderMotionSettings:
    """What to draw."""

    kinds: tuple[str, ...] = ()
    """Motions to draw in turn; any that captions can name when none is given."""
    output_dir: Path = Path("outputs/motion")
    """Folder to write. Must not exist or be empty."""
    count: int = 100
    """Number of clips."""
    side: int = 48
    """Height and width in pixels."""
    frames: int = 17
    """Frames of the two seconds that a clip lasts."""
    seed: int | None = None
    """Decides the clips; the command line draws and prints one when not given."""


def render_motion(settings: RenderMotionSettings) -> Result:
    """Draws clips of the motion world with captions.

    Raises:
        InputError: If a motion is unknown, a number too small or the folder in use.
    """
    from visionrel.worlds.motion.writing import write_clips

    if problems := list(_render_problems(settings)):
        raise InputError(problems)
    seed, folder = settings.seed or 0, settings.output_dir
    write_clips(folder, settings.count, seed, settings.kinds, settings.side, settings.frames)
    return Result(
        f"{folder}: {settings.count} clips",
        {"output_dir": str(folder), "clips": settings.count, "seed": seed},
    )


def _render_problems(settings: RenderMotionSettings) -> list[str]:
    from visionrel.worlds.motion import KINDS

    problems = []
    for kind in settings.kinds:
        if kind not in KINDS:
            nearest = get_close_matches(kind, KINDS, n=1)
            hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
            problems.append(f"Unknown motion {kind!r}; there are: {', '.join(KINDS)}.{hint}")
    for name, least in (("count", 1), ("side", 16), ("frames", 2)):
        if (value := getattr(settings, name)) < least:
            problems.append(f"`{name}` must be at least {least}, got {value}.")
    folder = settings.output_dir
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        problems.append(f"`output_dir` {folder} is in use; nothing is overwritten, choose another.")
    return problems


def holds_clips(path: Path) -> bool:
    """Whether a path is a table of clips or a folder with a video in it."""
    from visionrel.data.clips import EXTENSIONS

    if path.suffix.lower() == ".csv":
        return True
    return path.is_dir() and any(file.suffix.lower() in EXTENSIONS for file in path.iterdir())


def check_clips(path: Path) -> Result:
    """Decodes every video and reads every caption; all errors are listed at once.

    Raises:
        InputError: If anything would stop a training.
    """
    from visionrel.data.clips import read_clips

    clips = read_clips(path)
    sizes = Counter(f"{clip.width}x{clip.height}, {clip.frames} frames" for clip in clips)
    shown = [f"{size} ({count})" for size, count in sizes.most_common()]
    data = {"clips": len(clips), "sizes": shown}
    return Result(f"{path}: {len(clips)} clips, {'; '.join(shown)}", data)


RENDER_MOTION = Command(
    "Draw clips of moving objects, with captions.",
    lambda: RenderMotionSettings,
    render_motion,
)
