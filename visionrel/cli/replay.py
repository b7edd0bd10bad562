"""`replay`: makes a picture again from its record and compares the two, bit for bit."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visionrel.cli.commands import Command, Result
from visionrel.cli.config_file import entries_to_flags
from visionrel.errors import InputError, VisionrelError
from visionrel.registry import Method, get_method


if TYPE_CHECKING:
    from visionrel.records import Record


VERB = "generate"


@dataclass(kw_only=True)
class ReplaySettings:
    """Which picture to make again."""

    file: Path
    """A picture, or the .json that lies beside it."""
    output: Path | None = None
    """Where to write the new picture; NAME_replay.png in the current folder when not given."""


def replay(settings: ReplaySettings) -> Result:
    """Runs the recorded command again and keeps the one picture that was asked for.

    Raises:
        InputError: If the file has no record, or the record is not of a generate command.
        VisionrelError: If the command no longer makes such a picture.
    """
    from visionrel.records import read_record

    record = read_record(settings.file)
    method = _find_method(record, settings.file)
    original = settings.file.with_suffix(".png")
    target = settings.output or _free_name(Path(f"{settings.file.stem}_replay.png"))
    if target.exists():
        raise InputError(f"`output` {target} exists; nothing is overwritten, choose another name.")
    with tempfile.TemporaryDirectory(prefix="visionrel-replay-") as folder:
        config = replace(_read_config(method, record, settings.file), output_dir=Path(folder))
        made = _find_twin(method.module(VERB).generate(config), record, original)
        changes = list(_changes(record, read_record(made)))
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(made, target)
    return _compare(original, target, changes)


def _find_method(record: Record, file: Path) -> Method:
    verb, _, name = record.command.partition(" ")
    if verb != VERB:
        raise InputError(f"{file} was made by `visionrel {record.command}`; only {VERB} replays.")
    return get_method(name)


def _read_config(method: Method, record: Record, file: Path) -> Any:
    """Turns the recorded settings into the method's dataclass, with the parsing of the flags."""
    import tyro

    config = method.module("config").GenerateConfig
    flags = entries_to_flags(record.config, config, file)
    return tyro.cli(config, args=flags, config=[tyro.conf.OmitArgPrefixes])


def _find_twin(paths: Sequence[Path], record: Record, original: Path) -> Path:
    """The new picture of the same prompt and seed; a sheet of several pictures has another size."""
    from visionrel.records import read_record

    twins = []
    for path in paths:
        found = read_record(path)
        if (found.prompt, found.seed) == (record.prompt, record.seed):
            twins.append(path)
    if not twins:
        raise VisionrelError(
            f"The recorded settings no longer make a picture of {record.prompt!r} with seed "
            f"{record.seed}; the record may have been edited."
        )
    if original.is_file():
        twins.sort(key=lambda path: _size(path) != _size(original))
    return twins[0]


def _changes(old: Record, new: Record) -> Iterator[str]:
    """Names everything besides the settings that decides a picture and is not as it was."""
    before, now = asdict(old), asdict(new)
    for part in ("base", "adapter", "versions"):
        for key in sorted({*before[part], *now[part]}):
            was, value = before[part].get(key), now[part].get(key)
            if was != value:
                yield f"{part} {key} was {was}, is {value}"


def _compare(original: Path, target: Path, changes: Sequence[str]) -> Result:
    data: dict[str, Any] = {"file": str(target), "changes": list(changes), "identical": None}
    if not original.is_file():
        return Result("\n".join([str(target), *changes]), data)
    difference = _largest_difference(original, target)
    data |= {"identical": difference == 0, "largest_difference": difference}
    if difference == 0:
        return Result(f"{target}: identical to {original}", data)
    how = "another size" if difference is None else f"up to {difference}/255 per value"
    text = f"{target}: differs from {original} by {how}"
    return Result("\n".join([text, *changes]), data, ok=False)


def _size(path: Path) -> tuple[int, int]:
    from PIL import Image

    with Image.open(path) as picture:
        return picture.size


def _largest_difference(first: Path, second: Path) -> int | None:
    """Largest difference of two pictures' 8-bit values; None if their sizes differ."""
    import numpy as np
    from PIL import Image

    one, two = (np.asarray(Image.open(path).convert("RGB"), np.int16) for path in (first, second))
    return int(np.abs(one - two).max()) if one.shape == two.shape else None


def _free_name(path: Path) -> Path:
    number, free = 1, path
    while free.exists():
        free = path.with_stem(f"{path.stem}_{number}")
        number += 1
    return free


REPLAY = Command(
    "Make a picture again from its metadata and compare the two.",
    lambda: ReplaySettings,
    replay,
    words_first=True,
)
