"""Joins sightings into tracks, and decides which objects a clip shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from visionrel.worlds.motion.backdrop import read_backdrop
from visionrel.worlds.motion.reader import Sightings, sight, to_reading_size
from visionrel.worlds.motion.scene import FRAMES
from visionrel.worlds.motion.tracks import Track


SEEN = 0.35
"""Least score of a frame in which an object is said to be seen."""

FOUND = 0.5
"""Least median score of an object that is said to be in a clip."""

LIKENESS = 0.33
"""Greatest median colour error of an object that is said to be in a clip."""

_SAME_PLACE = 0.1
_ERROR_SCALE = 0.08
_UNLIKE = 6.0
_FREE_STEP = 0.15
_JUMP_COST = 3.0
_FAR_BETTER = 0.7
_CLEAREST = 0.2


@dataclass(frozen=True, eq=False)
class Reading:
    """What was read from a clip.

    Attributes:
        tracks: the objects found, by name.
        doubled: names of which a second one seems to be there.
        floor: height of the floor at the left and right edge, None without one.
    """

    tracks: Mapping[str, Track]
    doubled: frozenset[str]
    floor: tuple[float, float] | None

    def floor_at(self, x: np.ndarray) -> np.ndarray:
        """Return the height of the floor below each x; the picture's lower edge without one."""
        left, right = self.floor or (1.0, 1.0)
        return left + (right - left) * x


def read_clip(clip: np.ndarray) -> Reading:
    """Read a clip, uint8 `(frames, H, W, 3)`.

    Of a clip with more frames than the world's every second, third, ... is read, so that the
    judge's limits for a step from frame to frame, and the errors of a place, mean the same.

    Errors:
        InputError: another type or shape, or fewer than two frames.
    """
    stride = max(1, round((len(clip) - 1) / (FRAMES - 1)))
    frames = to_reading_size(clip[::stride])
    backdrop = read_backdrop(frames)
    sightings = sight(frames, backdrop)
    paths = {name: _follow(seen) for name, seen in sightings.items()}
    found = {name for name in paths if _is_found(name, paths)}
    # Once it is known what is there, an object hidden for a while is not looked for in the others.
    there = {name: sightings[name] for name in paths if name in found}
    paths |= {name: _follow(seen, _claimed(seen, there)) for name, seen in there.items()}
    doubled = {name for name in found if _is_doubled(name, sightings[name], paths, found)}
    tracks = {name: _track(paths[name]) for name in paths if name in found}
    return Reading(tracks, frozenset(doubled), backdrop.floor)


def _claimed(sightings: Sightings, everything: Mapping[str, Sightings]) -> np.ndarray:
    """Return which candidates `(frames, candidates)` another appearance explains far better."""
    claimed = np.zeros(sightings.score.shape, bool)
    for other in everything.values():
        if other is not sightings:
            # frames, candidates of this, candidates of the other
            steps = sightings.place[:, :, None] - other.place[:, None]
            same = np.linalg.norm(steps, axis=-1) < _SAME_PLACE
            better = other.error[:, None] < _FAR_BETTER * sightings.error[:, :, None]
            claimed |= (same & better).any(axis=-1)
    return claimed


def _follow(sightings: Sightings, claimed: np.ndarray | float = 0.0) -> Sightings:
    """Keep one candidate per frame: like the object, not another's, not far from the last one.

    A jump costs no more than a bounded sum, so a real one is followed, a doubtful one is not.
    """
    cost = np.minimum(np.square(sightings.error / _ERROR_SCALE), _UNLIKE) + _UNLIKE * claimed
    frames, count = cost.shape
    total, origin = cost[0], np.zeros((frames, count), int)
    for frame in range(1, frames):
        before, now = sightings.place[frame - 1], sightings.place[frame]
        steps = np.linalg.norm(now[:, None] - before[None], axis=-1)
        ways = total[None] + _JUMP_COST * np.clip(steps / _FREE_STEP - 1.0, 0.0, 1.0)
        origin[frame] = ways.argmin(axis=1)
        total = cost[frame] + ways.min(axis=1)
    chosen = np.empty(frames, int)
    chosen[-1] = total.argmin()
    for frame in range(frames - 1, 0, -1):
        chosen[frame - 1] = origin[frame, chosen[frame]]
    index = np.arange(frames)
    return Sightings(
        sightings.name,
        sightings.place[index, chosen],
        sightings.score[index, chosen],
        sightings.error[index, chosen],
        sightings.size[index, chosen],
    )


def _is_found(name: str, paths: Mapping[str, Sightings]) -> bool:
    """Whether an appearance explains its places, and no other explains them better."""
    mine = paths[name]
    if np.median(mine.score) < FOUND or np.median(mine.error) > LIKENESS:
        return False
    return not any(
        _explains_better(mine.place, mine.error, other)
        for other in paths.values()
        if other.name != name
    )


def _explains_better(place: np.ndarray, error: np.ndarray, other: Sightings) -> bool:
    """Whether another appearance is at the same places most of the time, with less error.

    The clearest frames decide: where objects overlap, neither explains the place.
    """
    same = np.linalg.norm(other.place - place, axis=-1) < _SAME_PLACE
    if same.mean() <= 0.5:
        return False
    mine, others = (np.quantile(errors[same], _CLEAREST) for errors in (error, other.error))
    return bool(others < mine)


def _is_doubled(
    name: str, sightings: Sightings, paths: Mapping[str, Sightings], found: set[str]
) -> bool:
    """Whether a second place is as good as the followed one, in most frames."""
    mine = paths[name]
    away = np.linalg.norm(sightings.place - mine.place[:, None], axis=-1) > 0.7 * mine.size[:, None]
    like = away & (sightings.error < 1.3 * np.median(mine.error) + 0.03) & (sightings.score > FOUND)
    for other in found - {name}:
        apart = np.linalg.norm(sightings.place - paths[other].place[:, None], axis=-1)
        like &= apart > _SAME_PLACE
    return bool(like.any(axis=1).mean() > 0.5)


def _track(path: Sightings) -> Track:
    """Fill in the frames in which the object was not seen."""
    seen = path.score >= min(SEEN, path.score.max())
    frames = np.arange(len(seen))
    filled = np.stack(
        [np.interp(frames, frames[seen], path.place[seen, axis]) for axis in (0, 1)], axis=-1
    )
    # Half hidden, an object looks smaller: the clearer half of the frames tells its size.
    clear = seen & (path.error <= np.median(path.error[seen]))
    return Track(path.name, float(np.median(path.size[clear])), filled, np.where(seen, 1.0, 0.0))


def tracks_of(reading: Reading, names: Sequence[str]) -> list[Track]:
    """Return the tracks of named objects, in their order."""
    return [reading.tracks[name] for name in names]
