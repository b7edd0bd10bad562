"""The list of embedded models: what lies in `visionrel.weights`, its hashes and its provenance."""

import hashlib
import importlib.resources
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from visionrel.artifacts import load_json, save_json, sha256_of
from visionrel.errors import InputError


MANIFEST = "manifest.json"


@dataclass(frozen=True)
class FileEntry:
    """Hash and size in bytes of one file."""

    sha256: str
    size: int


@dataclass(frozen=True)
class WeightsEntry:
    """One embedded model.

    Attributes:
        name: Folder below `visionrel.weights` and name for `--base`.
        files: Path inside the folder, with `/`, to hash and size.
        licence: SPDX name.
        command: The command that trained it.
        seed: Its seed.
        scores: Measured scores by name.
    """

    name: str
    files: Mapping[str, FileEntry]
    licence: str
    command: str
    seed: int
    scores: Mapping[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.files.values())


def weights_folder() -> Path:
    """The installed folder of the embedded models."""
    return Path(str(importlib.resources.files("visionrel.weights")))


def load_manifest(folder: Path | None = None) -> dict[str, WeightsEntry]:
    """Reads the manifest; a folder without one embeds nothing.

    Args:
        folder: Folder of `manifest.json`, the installed weights by default.
    """
    path = (folder or weights_folder()) / MANIFEST
    if not path.exists():
        return {}
    try:
        return {name: _read_entry(name, values) for name, values in load_json(path).items()}
    except (AttributeError, TypeError) as error:
        raise InputError(f"{path} is not a weights manifest ({error}).") from error


def _read_entry(name: str, values: Mapping[str, Any]) -> WeightsEntry:
    files = {path: FileEntry(**entry) for path, entry in values["files"].items()}
    return WeightsEntry(**{**values, "name": name, "files": files})


def hash_folder(folder: Path) -> dict[str, FileEntry]:
    """Hash and size of every file below a folder, in sorted order; hidden files are left out."""
    paths = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): FileEntry(sha256_of(path), path.stat().st_size)
        for path in paths
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }


def save_entry(entry: WeightsEntry, folder: Path | None = None) -> None:
    """Writes one entry into the manifest and keeps the others."""
    folder = folder or weights_folder()
    entries = {**load_manifest(folder), entry.name: entry}
    values = {name: asdict(entries[name]) for name in sorted(entries)}
    for value in values.values():
        del value["name"]
    save_json(folder / MANIFEST, values)


def find_damage(entry: WeightsEntry, folder: Path | None = None) -> list[str]:
    """Compares an embedded model with its entry; returns one sentence per differing file."""
    place = (folder or weights_folder()) / entry.name
    problems = []
    for name, expected in entry.files.items():
        path = place / name
        if not path.is_file():
            problems.append(f"{path} is missing; install visionrel again.")
        elif path.stat().st_size != expected.size:
            problems.append(
                f"{path} has {path.stat().st_size} bytes, the manifest says {expected.size}; "
                "it is cut short or replaced: install visionrel again."
            )
        elif (found := sha256_of(path)) != expected.sha256:
            problems.append(
                f"{path} has sha256 {found}, the manifest says {expected.sha256}; "
                "it was changed: install visionrel again."
            )
    return problems


def embedded_folder(name: str) -> Path:
    """Folder of one embedded model, its hashes verified.

    Raises:
        InputError: If there is no such model or a file differs from the manifest.
    """
    entries = load_manifest()
    if name not in entries:
        raise InputError(
            f"There is no embedded model {name!r}; there are: {', '.join(entries) or 'none'}. "
            "Install visionrel again, or build it with `visionrel weights build`."
        )
    if problems := find_damage(entries[name]):
        raise InputError(problems)
    return weights_folder() / name


def digest_of(files: Mapping[str, FileEntry]) -> str:
    """One hash for a set of files: changes with any name or any byte."""
    listing = json.dumps({name: files[name].sha256 for name in sorted(files)})
    return hashlib.sha256(listing.encode()).hexdigest()
