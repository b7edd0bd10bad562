"""What decoding told of videos, kept in a file: what did not change is not decoded again."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from visionrel.artifacts import load_json, save_json, sha256_of
from visionrel.data.video_scan import VideoFacts, scan
from visionrel.errors import InputError


# Raised when `scan` asks more of a video, or tells more.
_RULES = 1


class ScanMemory:
    """Facts and hashes of videos by path, size and time of the last change.

    Args:
        path: JSON file of an earlier run; read if it is there and whole.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._known = _read(self.path)
        self._grown = False

    def scan(self, video: Path) -> VideoFacts:
        """As the function `scan`, but decodes only what is new or changed."""
        key = _key(video)
        if key not in self._known:
            facts = scan(video)
            self._known[key] = {**asdict(facts), "sha256": sha256_of(video)}
            self._grown = True
        known = {name: value for name, value in self._known[key].items() if name != "sha256"}
        return VideoFacts(**{**known, "steps": tuple(known["steps"])})

    def digest(self, video: Path) -> str:
        """SHA-256 of a video that was scanned."""
        return self._known[_key(video)]["sha256"]

    def save(self) -> None:
        """Writes the file if there is anything new; it appears whole."""
        if self._grown:
            save_json(self.path, {"rules": _RULES, "videos": self._known})


def _key(video: Path) -> str:
    """Changes with the file; a file that is missing is told by `scan`."""
    if not video.is_file():
        return ""
    facts = video.stat()
    return f"{video.resolve()} {facts.st_size} {facts.st_mtime_ns}"


def _read(path: Path) -> dict[str, dict[str, Any]]:
    try:
        found = load_json(path)
    except InputError:
        return {}
    return found["videos"] if found.get("rules") == _RULES else {}
