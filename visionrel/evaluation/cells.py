"""A long evaluation as small cells on disk: what is finished is never done again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from visionrel.artifacts import load_json, save_json
from visionrel.errors import InputError


logger = logging.getLogger(__name__)


class Cells:
    """Finished measurements, one JSON file each.

    Args:
        folder: Where they lie; may hold those of an earlier run.
        settings: What decides the measurements; an earlier run must have had the same.
        total: How many will be asked for, for the time left.

    Raises:
        InputError: If the folder holds cells of other settings.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], total: int) -> None:
        self.folder = folder
        self.total = total
        self.asked = self.made = 0
        self.seconds = 0.0
        self._check_settings(folder / "settings.json", dict(settings))

    def get(self, name: str, make: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """Reads a cell, or makes and stores it.

        Args:
            name: File name without its ending.
            make: Measures; must return JSON values.
        """
        self.asked += 1
        path = self.folder / f"{name}.json"
        if path.exists():
            return load_json(path)
        start = time.monotonic()
        save_json(path, make())
        spent = time.monotonic() - start
        self.made += 1
        self.seconds += spent
        left = (self.total - self.asked) * self.seconds / self.made / 60
        logger.info(
            "[%d/%d] %s: %.0f s, at most %.0f min left", self.asked, self.total, name, spent, left
        )
        return load_json(path)

    @staticmethod
    def _check_settings(path: Path, settings: dict[str, Any]) -> None:
        if not path.exists():
            save_json(path, settings)
            return
        earlier = load_json(path)
        differing = [
            f"`{key}` was {earlier.get(key)!r}, is {settings.get(key)!r}"
            for key in sorted({*earlier, *settings})
            if earlier.get(key) != settings.get(key)
        ]
        if differing:
            raise InputError(
                f"{path.parent} holds measurements of other settings ({'; '.join(differing)}); "
                "take the same settings, or another `output_dir`."
            )
