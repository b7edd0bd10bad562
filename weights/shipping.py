"""Puts a finished model among the embedded ones and writes its line in the manifest."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from visionrel.artifacts import load_json, save_json
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
        InputError: If the model is empty or larger than `LARGEST`.
    """
    size = sum(file.size for file in hash_folder(source).values())
    if not 0 < size <= LARGEST:
        raise InputError(f"{source} has {size} bytes; an embedded model has 1 to {LARGEST}.")
    place = weights_folder() / name
    shutil.rmtree(place, ignore_errors=True)
    # Contents only: safetensors makes files that nobody else may read.
    shutil.copytree(source, place, copy_function=shutil.copyfile)
    for config in place.rglob("config.json"):
        _forget_origin(config)
    files = hash_folder(place)
    entry = WeightsEntry(name, files, "Apache-2.0", command, seed, dict(scores))
    save_entry(entry)
    return entry


def _forget_origin(config: Path) -> None:
    """Drop the folder of the training machine that Diffusers writes into configurations."""
    settings = load_json(config)
    if settings.pop("_name_or_path", None) is not None:
        save_json(config, settings)
