"""`replay`: makes a picture or clip again from its record and compares the two, bit for bit."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visionrel.cli.commands import Command, Result
from visionrel.cli.config_file import entries_to_flags
from visionrel.errors import InputError, VisionrelError
from visionrel.registry import Method, get_method


if TYPE_CHECKING:
    import numpy as np

    from visionrel.records import Record


VERB = "generate"
_MOST_THREADS = 1024


@dataclass(kw_only=True)
class ReplaySettings:
    """Which picture or clip to make again."""

    file: Path
    """A picture, a clip, or the .json that lies beside it."""
    output: Path | None = None
    """Where to write the new one; NAME_replay.png or .mp4 in the current folder when not given."""


def replay(settings: ReplaySettings) -> Result:
    """Runs the recorded command again and keeps the one file that was asked for.

    Raises:
        InputError: If the file has no record, or the record is not of a generate command.
        VisionrelError: If the command no longer makes such a file.
    """
    from visionrel.records import read_record

    record = read_record(settings.file)
    method = _find_method(record, settings.file)
    _check_output(settings.output)
    with tempfile.TemporaryDirectory(prefix="visionrel-replay-") as folder:
        config = replace(_read_config(method, record, settings.file), output_dir=Path(folder))
        with _recorded_threads(record, config):
            paths = method.module(VERB).generate(config)
        made, original = _find_twin(paths, record, settings.file)
        changes = list(_changes(record, read_record(made)))
        target = _choose_target(settings, made.suffix)
        target.parent.mkdir(parents=True, exist_ok=True)
        for suffix in (made.suffix, ".json"):
            shutil.copyfile(made.with_suffix(suffix), target.with_suffix(suffix))
    return _compare(original, target, changes)


def _check_output(output: Path | None) -> None:
    """Refuses a wrong name before anything is drawn."""
    if output is None:
        return
    if output.suffix.lower() not in (".png", ".mp4"):
        raise InputError(f"`output` is {output}; it must end in .png or .mp4, as the original.")
    for path in (output, output.with_suffix(".json")):
        if path.exists():
            raise InputError(
                f"`output` {path} exists; nothing is overwritten, choose another name."
            )


def _choose_target(settings: ReplaySettings, suffix: str) -> Path:
    if settings.output is None:
        return _free_name(Path(f"{settings.file.stem}_replay{suffix}"))
    if settings.output.suffix.lower() != suffix:
        raise InputError(f"`output` is {settings.output}; it must end in {suffix}.")
    return settings.output


def _find_method(record: Record, file: Path) -> Method:
    verb, _, name = record.command.partition(" ")
    if verb != VERB:
        raise InputError(f"{file} was made by `visionrel {record.command}`; only {VERB} replays.")
    return get_method(name)


def _read_config(method: Method, record: Record, file: Path) -> Any:
    """Turns the recorded settings into the method's dataclass, with the parsing of the flags."""
    import tyro

    config = method.module("config").GenerateConfig
    settings = dict(record.config)
    if commit := record.base.get("revision"):
        settings["revision"] = commit  # a branch, or no revision at all, may have moved on
    if record.prompt in settings.get("prompts", ()):
        settings["prompts"] = [record.prompt]  # each prompt is drawn by itself
    flags = entries_to_flags(settings, config, file)
    return tyro.cli(config, args=flags, config=[tyro.conf.OmitArgPrefixes])


@contextmanager
def _recorded_threads(record: Record, config: Any) -> Iterator[None]:
    """Gives PyTorch the threads of the record; on a GPU they decide nothing."""
    import torch

    from visionrel.devices import choose_device

    own, recorded = torch.get_num_threads(), record.threads or torch.get_num_threads()
    if not isinstance(recorded, int) or not 1 <= recorded <= _MOST_THREADS:
        raise InputError(f"The record says `threads` {recorded!r}; it may have been edited.")
    if choose_device(getattr(config, "device", "auto")).type == "cpu":
        torch.set_num_threads(recorded)
    try:
        yield
    finally:
        torch.set_num_threads(own)


def _find_twin(paths: Sequence[Path], record: Record, file: Path) -> tuple[Path, Path]:
    """The new file of the same prompt and seed, and the old one, which may be lost.

    A sheet of several pictures has the prompt and seed of its first one, but another size.
    """
    from visionrel.records import read_record

    twins = []
    for path in paths:
        found = read_record(path)
        if (found.prompt, found.seed) == (record.prompt, record.seed):
            twins.append(path)
    if not twins:
        raise VisionrelError(
            f"The recorded settings no longer make a picture or clip of {record.prompt!r} with "
            f"seed {record.seed}; the record may have been edited."
        )
    original = file.with_suffix(twins[0].suffix)
    if len(twins) > 1 and original.is_file():
        shape = _read_values(original).shape
        twins.sort(key=lambda path: _read_values(path).shape != shape)
    return twins[0], original


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


def _largest_difference(first: Path, second: Path) -> int | None:
    """Largest difference of two files' 8-bit values; None if their sizes differ."""
    import numpy as np

    one, two = (_read_values(path).astype(np.int16) for path in (first, second))
    return int(np.abs(one - two).max()) if one.shape == two.shape else None


def _read_values(path: Path) -> np.ndarray:
    """Values of a picture `(height, width, 3)`, or of a clip with its frames before, uint8."""
    if path.suffix.lower() == ".png":
        import numpy as np
        from PIL import Image

        return np.asarray(Image.open(path).convert("RGB"))
    from visionrel.data.video_files import read_pixels

    return read_pixels(path)[0]


def _free_name(path: Path) -> Path:
    number, free = 1, path
    while free.exists() or free.with_suffix(".json").exists():
        free = path.with_stem(f"{path.stem}_{number}")
        number += 1
    return free


REPLAY = Command(
    "Make a picture or clip again from its metadata and compare the two.",
    lambda: ReplaySettings,
    replay,
    words_first=True,
)
