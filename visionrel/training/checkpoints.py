"""Checkpoints: a folder per step, written under a temporary name and then renamed."""

import json
import logging
import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from visionrel.artifacts import (
    check_disk_full,
    flush_folder,
    load_header,
    load_tensors,
    save_tensors,
)
from visionrel.errors import InputError
from visionrel.training.config import TrainingConfig


logger = logging.getLogger(__name__)

STATE_FILE = "training_state.safetensors"
_PREFIX = "checkpoint-"


def list_checkpoints(output_dir: Path) -> list[Path]:
    """Finished checkpoints of a run, oldest first."""
    found = [
        path
        for path in output_dir.glob(f"{_PREFIX}*")
        if path.name.removeprefix(_PREFIX).isdigit() and (path / STATE_FILE).is_file()
    ]
    return sorted(found, key=lambda path: int(path.name.removeprefix(_PREFIX)))


def find_checkpoint(config: TrainingConfig) -> Path | None:
    """The checkpoint to go on from; None starts at the beginning.

    Raises:
        InputError: If the named one does not exist, or a new run would overwrite an old one.
    """
    existing = list_checkpoints(config.output_dir)
    wanted = config.resume_from_checkpoint
    if wanted is None:
        if existing:
            raise InputError(
                f"`output_dir` {config.output_dir} already holds {existing[-1].name} of a run. "
                "Pass `--resume_from_checkpoint latest` to go on, or another `--output_dir`."
            )
        return None
    if wanted == "latest":
        return existing[-1] if existing else None
    for path in (Path(wanted), config.output_dir / wanted):
        if (path / STATE_FILE).is_file():
            if existing and path.resolve().parent != config.output_dir.resolve():
                raise InputError(
                    f"`resume_from_checkpoint` is {path}, but `output_dir` {config.output_dir} "
                    f"holds {existing[-1].name} of a run of its own, which would be overwritten. "
                    "Pass another `--output_dir`."
                )
            return path
    known = ", ".join(path.name for path in existing) or "none"
    raise InputError(
        f"`resume_from_checkpoint` {wanted!r} is no checkpoint; {config.output_dir} holds: {known}."
    )


def save_checkpoint(
    output_dir: Path,
    step: int,
    tensors: Mapping[str, Tensor],
    header: Mapping[str, Any],
    save_result: Callable[[Path], None],
    limit: int | None,
) -> Path:
    """Writes `checkpoint-<step>` whole or not at all, then removes the oldest beyond `limit`.

    Args:
        output_dir: Folder of the run.
        step: Optimizer steps done.
        tensors: Everything an exact resume needs.
        header: JSON values beside them.
        save_result: Writes what generation reads into the folder it gets.
        limit: Checkpoints to keep.
    """
    final = output_dir / f"{_PREFIX}{step}"
    temporary = _hidden(final)
    try:
        temporary.mkdir(parents=True)
        save_tensors(temporary / STATE_FILE, tensors, {"header": json.dumps(header)})
        save_result(temporary)
        # Older ones are removed below, so this one must outlive a loss of power.
        flush_folder(temporary)
        replaced = final.rename(_hidden(final)) if final.exists() else None
        temporary.rename(final)
        if replaced is not None:
            shutil.rmtree(replaced, ignore_errors=True)
    except OSError as error:
        check_disk_full(final, error)
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    if limit is not None:
        others = [path for path in list_checkpoints(output_dir) if path != final]
        for old in others[: max(0, len(others) + 1 - limit)]:
            _remove(old)
    return final


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads the tensors and the header of a checkpoint."""
    tensors, metadata = load_tensors(path / STATE_FILE)
    return tensors, _parse_header(path, metadata)


def load_checkpoint_header(path: Path) -> dict[str, Any]:
    """Reads the header of a checkpoint alone, however large its tensors are."""
    return _parse_header(path, load_header(path / STATE_FILE))


def _parse_header(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    if "header" not in metadata:
        raise InputError(f"{path / STATE_FILE} is not a visionrel checkpoint: it has no header.")
    return json.loads(metadata["header"])


def set_aside_later(output_dir: Path, step: int) -> None:
    """Renames checkpoints of steps that a run has gone back behind: it will write its own."""
    for path in list_checkpoints(output_dir):
        if int(path.name.removeprefix(_PREFIX)) > step:
            aside = path.with_name(f"superseded-{path.name}-{uuid.uuid4().hex[:8]}")
            path.rename(aside)
            logger.warning("%s is of a later step; it is kept as %s.", path, aside.name)


def clean_leftovers(output_dir: Path) -> None:
    """Removes what a killed run left unfinished."""
    for path in output_dir.glob(".*.part"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def check_same_run(
    path: Path, header: Mapping[str, Any], config: TrainingConfig, shape: Mapping[str, Any]
) -> None:
    """Refuses to go on with what would make another run; names each thing that differs.

    Args:
        path: The checkpoint.
        header: Its header.
        config: The settings now.
        shape: The run now: samples per step, items in the data and the task's origin.
    """
    free = set(config.free_on_resume)
    if config.seed is None:
        free.add("seed")
    if config.lr_scheduler.startswith("constant"):
        free |= {"max_train_steps", "num_train_epochs"}
    before, now = {**header["config"], **header["run"]}, {**config.to_json(), **shape}
    problems = [
        f"`{key}` is {now.get(key)!r}, but {path} was trained with {before.get(key)!r}."
        for key in sorted({*before, *now} - free)
        if now.get(key) != before.get(key)
    ]
    if problems:
        problems.append("Use the same settings to resume, or start anew in another `output_dir`.")
        raise InputError(problems)


def _hidden(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")


def _remove(path: Path) -> None:
    """Renames first: a kill in the middle leaves a leftover, not half a checkpoint."""
    doomed = path.rename(_hidden(path))
    shutil.rmtree(doomed, ignore_errors=True)
