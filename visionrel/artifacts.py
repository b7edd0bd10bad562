"""The only door to disk formats: what training leaves and generation reads.

Tensors are kept in safetensors. Pickles are read with `weights_only=True`, and only when they hold
nothing but named tensors. Every file is written under a temporary name and then renamed, so a
program that is killed leaves either the old file or the new one.
"""

import contextlib
import errno
import hashlib
import io
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from visionrel.errors import InputError, MachineError


PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt")
PICKLE_REMEDY = (
    "convert it on a machine that trusts it: "
    "safetensors.torch.save_file(torch.load(PATH, weights_only=False), 'weights.safetensors')"
)


def sha256_of(path: Path) -> str:
    """Hash of a file's bytes as 64 hex digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_file(path: Path) -> None:
    """Refuses a path that is not a file with something in it."""
    if not Path(path).is_file():
        raise InputError(f"{path} does not exist or is not a file.")
    if Path(path).stat().st_size == 0:
        raise InputError(f"{path} is empty (0 bytes); copy or download it again.")


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path`; moves it there on success, removes it on failure.

    Raises:
        VisionrelError: If the disk is full; whatever stood at `path` is untouched.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        yield temporary
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        check_disk_full(path, error)
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Gives a folder to fill, whose files are at `path` once the block ends; none on failure.

    Raises:
        InputError: If there is something at `path` already; nothing is overwritten.
    """
    path = Path(path).resolve()
    check_output_folder(path)
    if path.is_dir() and any(path.iterdir()):
        raise InputError(f"{path} is in use; nothing is overwritten, choose another folder.")
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        # Not renamed as a whole: `path` may be the folder that someone works in.
        path.mkdir(exist_ok=True)
        for each in sorted(temporary.iterdir()):
            each.rename(path / each.name)
    except OSError as error:
        check_disk_full(path, error)
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def flush_folder(folder: Path) -> None:
    """Waits until all files below a folder are on the disk and not only in the system's memory."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb+") as file:
                os.fsync(file.fileno())


def check_disk_full(path: Path, error: Exception) -> None:
    """Raises the message for a full disk if that is what `error` says."""
    if getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error):
        raise MachineError(
            f"No space left on the disk while writing {path}; earlier files are intact. Free some "
            "space or choose another `output_dir`; a smaller `checkpoints_total_limit` keeps less."
        ) from error


def check_output_folder(path: Path) -> None:
    """Refuses a folder that cannot be made because a file stands in its place or above it."""
    path = Path(path).absolute()
    standing = next(each for each in (path, *path.parents) if each.exists())
    if not standing.is_dir():
        raise InputError(
            f"`output_dir` is {path}, but {standing} is a file; choose another folder."
        )


def load_json(path: Path) -> Any:
    """Reads a JSON file; errors name the file and the place in it."""
    check_file(path)
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON: {error}.") from error


def save_json(path: Path, value: Any) -> None:
    """Writes indented JSON; paths become strings."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=os.fspath)
    with atomic_write(path) as temporary:
        temporary.write_text(f"{text}\n", encoding="utf-8")


def save_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Writes named tensors and a text header; each tensor is copied, so views cost their own size.

    Args:
        path: File ending in `.safetensors`.
        tensors: Tensors on any device.
        metadata: Header entries; a reader gets them without loading the tensors.
    """
    copies = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
    with atomic_write(path) as temporary:
        save_file(copies, temporary, metadata={"format": "pt", **(metadata or {})})


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Reads named tensors and the header of a safetensors file.

    Raises:
        InputError: If the file is missing, empty, cut short or not safetensors.
    """
    with _open_tensors(path) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}
        return tensors, dict(file.metadata() or {})


def load_header(path: Path) -> dict[str, str]:
    """Reads the header of a safetensors file alone; raises as `load_tensors` does."""
    with _open_tensors(path) as file:
        return dict(file.metadata() or {})


@contextlib.contextmanager
def _open_tensors(path: Path) -> Iterator[Any]:
    check_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path} is not a whole safetensors file ({error}); it may be half-downloaded: "
            "fetch or train it again."
        ) from error


def load_pickled_tensors(path: Path) -> dict[str, Tensor]:
    """Reads a `.bin`, `.pt` or `.pth` file that holds nothing but named tensors.

    Raises:
        InputError: If the file holds anything else: unpickling that could run its code.
    """
    check_file(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can fail anywhere
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{path} cannot be read as plain tensors ({reason}). Nothing in it was run; "
            f"{PICKLE_REMEDY}."
        ) from error
    if not isinstance(content, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    ):
        raise InputError(
            f"{path} must hold a dict of named tensors and nothing else; {PICKLE_REMEDY}."
        )
    return {name: value.detach() for name, value in content.items()}


def save_learned_embeds(
    path: Path, embeddings: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Writes one float32 row per token, the layout that `load_textual_inversion` reads.

    Args:
        path: `.safetensors`, or `.bin` for tools that only read pickles.
        embeddings: Token to row of shape (D,) or rows of shape (n, D).
        metadata: Header entries; kept in safetensors only.
    """
    rows = {token: row.detach().cpu().float().clone() for token, row in embeddings.items()}
    if Path(path).suffix == ".safetensors":
        save_tensors(path, rows, metadata)
        return
    # PyTorch's own writing does not tell a full disk from other failures.
    content = io.BytesIO()
    torch.save(rows, content)
    with atomic_write(path) as temporary:
        temporary.write_bytes(content.getbuffer())


def load_learned_embeds(path: Path, width: int | None = None) -> dict[str, Tensor]:
    """Reads token rows from safetensors or from the authors' `.bin`.

    Args:
        path: The file.
        width: Width D of the text encoder they are meant for; checked when given.

    Returns:
        Token to float32 tensor of shape (D,) or (n, D).
    """
    path = Path(path)
    pickled = path.suffix in PICKLE_SUFFIXES
    embeddings = load_pickled_tensors(path) if pickled else load_tensors(path)[0]
    problems = [] if embeddings else [f"{path} holds no token."]
    for token, row in embeddings.items():
        if row.ndim not in (1, 2) or not row.is_floating_point():
            problems.append(
                f"{path}: {token!r} must be floats of shape (D,) or (n, D), "
                f"got {row.dtype} of shape {tuple(row.shape)}."
            )
        elif width is not None and row.shape[-1] != width:
            problems.append(
                f"{path}: {token!r} has width {row.shape[-1]}, but the text encoder has {width}; "
                "it was learned on another base model."
            )
        elif not torch.isfinite(row).all():
            problems.append(f"{path}: {token!r} contains NaN or infinity; train it again.")
    if problems:
        raise InputError(problems)
    return {token: row.float() for token, row in embeddings.items()}
