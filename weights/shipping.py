"""Puts a finished model among the embedded ones and writes its line in the manifest."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from visionrel.errors import InputError
from visionrel.weights_manifest import WeightsEntry, hash_folder, save_entry, weights_folder


LARGEST = 25_000_000
"""Bytes that one embedded model may take."""


def ship_model(
    source: Path, name: str, command: str, seed: int, scores: Mapping[str, Any]
) -> WeightsEntry:
    """Replace the embedded model `name` by the files of `source`.

    Args:
        source: Folder written by a recipe.
        name: Folder below `weights/` and name for `--base`.
        command: The command that trained it.
        seed: Its seed.
        scores: Measured scores by name.

    Raises:
        InputError: If the model is larger than `LARGEST`.
    """
    files = hash_folder(source)
    if (size := sum(file.size for file in files.values())) > LARGEST:
        raise InputError(f"{source} has {size} bytes; an embedded model may have {LARGEST}.")
    place = weights_folder() / name
    shutil.rmtree(place, ignore_errors=True)
    for path in files:
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / path, place / path)
    entry = WeightsEntry(name, files, "Apache-2.0", command, seed, dict(scores))
    save_entry(entry)
    return entry
