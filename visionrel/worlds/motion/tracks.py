"""A path in time as the judge sees it, and the measures that tell motions apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from visionrel.worlds.motion.scene import FRAMES, MotionScene, distances, extent, travel


@dataclass(frozen=True, eq=False)
class Track:
    """Where an object is in each frame.

    Attributes:
        name: one of `APPEARANCES`.
        size: longer side in picture sides.
        path: centres `(frames, 2)`, filled in where the object was not seen.
        seen: 1 for each frame in which it was found, else 0, `(frames,)`; 1 for a drawn object.
    """

    name: str
    size: float
    path: np.ndarray
    seen: np.ndarray

    @property
    def travel(self) -> np.ndarray:
        """Displacement from first to last frame, `(2,)`."""
        return travel(self.path)

    @property
    def extent(self) -> float:
        """Longer side of the upright box around the path."""
        return extent(self.path)

    def part(self, start: float, end: float) -> np.ndarray:
        """Return the path between two shares of its duration."""
        last = len(self.path) - 1
        return self.path[round(start * last) : round(end * last) + 1]


def true_tracks(scene: MotionScene, frames: int = FRAMES) -> list[Track]:
    """Return the drawn paths of a scene as tracks."""
    return [
        Track(mover.name, mover.size, path, np.ones(frames))
        for mover, path in zip(scene.movers, scene.trajectories(frames), strict=True)
    ]


def touching(first: Track, second: Track) -> float:
    """Return the centre distance at which two objects touch."""
    return (first.size + second.size) / 2


def reach(first: Track, second: Track) -> np.ndarray:
    """Return the distance of two objects at each frame; 1 is touching."""
    return distances(first.path, second.path) / touching(first, second)


def swept_degrees(around: np.ndarray) -> float:
    """Return the net angle, without sign, that vectors `(frames, 2)` sweep around the origin."""
    angles = np.unwrap(np.arctan2(around[:, 1], around[:, 0]))
    return abs(float(np.degrees(angles[-1] - angles[0])))


def cosine(first: np.ndarray, second: np.ndarray) -> float:
    """Return the cosine of the angle between two vectors; 0 if one of them vanishes."""
    scale = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(first @ second) / scale if scale > 1e-6 else 0.0


def behind(first: Track, second: Track) -> float:
    """Return the share of frames in which the first is behind the second on the second's way."""
    way = second.travel
    return float(np.mean((first.path - second.path) @ way < 0))


def straightness(path: np.ndarray) -> float:
    """Return the net displacement over the length of a path, 1 for a straight one."""
    length = np.linalg.norm(np.diff(path, axis=0), axis=-1).sum()
    return float(np.linalg.norm(travel(path)) / max(length, 1e-6))


def closest(tracks: Sequence[Track]) -> int:
    """Return the frame in which the first two are nearest to each other."""
    return int(np.argmin(distances(tracks[0].path, tracks[1].path)))
