"""What frozen models make of the clips, on disk: teacher tokens, latents and text states.

A file's name is a hash of everything that decides its content, so that nothing stale is ever read,
an interrupted pass goes on where it stopped, and several processes may fill one folder.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from visionrel.artifacts import load_header, load_tensors, save_tensors
from visionrel.errors import InputError


logger = logging.getLogger(__name__)


class FeatureCache:
    """Named tensors by content.

    Args:
        folder: Where the files lie; made when the first one is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def path(self, kind: str, **decides: Any) -> Path:
        """The file for some content.

        Args:
            kind: What is in it, such as "teacher".
            decides: JSON values that decide the content: hashes of clip and model, sizes.
        """
        text = json.dumps(decides, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()
        return self.folder / kind / digest[:2] / f"{digest}.safetensors"

    def fill(self, path: Path, make: Callable[[], Mapping[str, Tensor]]) -> bool:
        """Makes a file if there is none or it is cut short; it appears whole or not at all.

        Returns:
            Whether it had to be made.
        """
        if self.has(path):
            return False
        if path.is_file():
            logger.warning("%s is damaged and made anew.", path)
        save_tensors(path, make())
        return True

    @staticmethod
    def has(path: Path) -> bool:
        """Whether a file is there with as many bytes as its header says; no tensor is read."""
        if not path.is_file():
            return False
        try:
            load_header(path)
        except InputError:
            return False
        return True

    def load(self, path: Path) -> dict[str, Tensor]:
        """Reads a file.

        Raises:
            InputError: If it is missing or damaged; names it.
        """
        return load_tensors(path)[0]
