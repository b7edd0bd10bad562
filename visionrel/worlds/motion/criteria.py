"""Whether a motion holds of tracks: one geometric test per kind, in the order of its nouns.

A test takes the tracks of the named objects and answers True or False. Thresholds lie between what
the samplers draw and what other kinds show, with room for a reader's error of about a hundredth of
a picture side.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from visionrel.worlds.motion.scene import distances, extent, travel
from visionrel.worlds.motion.tracks import (
    Track,
    behind,
    closest,
    cosine,
    reach,
    straightness,
    swept_degrees,
)


Tracks = Sequence[Track]

STILL = 0.08
"""Greatest extent of an object that is said to stand."""

_APART = 1.22
_NEAR = 1.17
_FAR = 0.42
# Between a push, which ends in touch, and a collision, which does not.
_LEFT_BEHIND = 1.25
# Between a hug and a meeting. An object half hidden in a hug is read too far out.
_ARMS = 0.97


def _length(vector: np.ndarray) -> float:
    return float(np.linalg.norm(vector))


def _same_way(tracks: Tracks, least: float = 0.2, alike: float = 0.6) -> bool:
    first, second = (track.travel for track in tracks[:2])
    return min(_length(first), _length(second)) >= least and cosine(first, second) >= alike


def _opposite_ways(tracks: Tracks, least: float = 0.08) -> bool:
    first, second = (track.travel for track in tracks[:2])
    return min(_length(first), _length(second)) >= least and cosine(first, second) <= -0.7


def _starts_at_once(track: Track) -> bool:
    return _length(travel(track.part(0.0, 0.25))) >= 0.04


def chase(tracks: Tracks) -> bool:
    """Same way, first behind second, gaining on it from the start."""
    gap = distances(tracks[0].path, tracks[1].path)
    return (
        _same_way(tracks)
        and behind(*tracks) >= 0.85
        and gap[0] - gap[-1] >= 0.08
        and closest(tracks) >= 0.7 * (len(gap) - 1)
        and _starts_at_once(tracks[1])
    )


def follow(tracks: Tracks) -> bool:
    """Same way, first behind second at a constant distance, not touching."""
    gap = distances(tracks[0].path, tracks[1].path)
    return (
        _same_way(tracks)
        and behind(*tracks) >= 0.85
        and abs(gap[0] - gap[-1]) <= 0.05
        and float(np.ptp(gap)) <= 0.11
        and float(np.median(reach(*tracks))) >= _APART
        and _starts_at_once(tracks[1])
    )


def tow(tracks: Tracks) -> bool:
    """Same way, first ahead, the second touching it all the time."""
    return (
        _same_way(tracks)
        and behind(tracks[1], tracks[0]) >= 0.85
        and float(np.percentile(reach(*tracks), 75)) <= _NEAR
    )


def push(tracks: Tracks) -> bool:
    """The second stands until the first reaches it, then both go on in touch."""
    between = reach(*tracks)
    return (
        _same_way(tracks, 0.15, 0.75)
        and behind(*tracks) >= 0.85
        and between[0] >= _APART
        and between[-1] <= _LEFT_BEHIND
        and not _starts_at_once(tracks[1])
    )


def _come_together(tracks: Tracks) -> bool:
    gap = distances(tracks[0].path, tracks[1].path)
    return gap[0] >= _FAR and _opposite_ways(tracks) and abs(float(gap[-1] - gap[-3:][0])) <= 0.08


def meet(tracks: Tracks) -> bool:
    """Both come from afar and end side by side."""
    return _come_together(tracks) and _ARMS < reach(*tracks)[-1] <= 1.42


def hug(tracks: Tracks) -> bool:
    """Both come from afar and end in each other's arms."""
    return _come_together(tracks) and reach(*tracks)[-1] <= _ARMS


def part(tracks: Tracks) -> bool:
    """Both start side by side and end far apart."""
    between = reach(*tracks)
    gap = distances(tracks[0].path, tracks[1].path)
    return (
        _ARMS < between[0] <= 1.42
        and gap[-1] >= _FAR
        and _opposite_ways(tracks)
        and min(straightness(track.path) for track in tracks) >= 0.75
    )


def rebound(tracks: Tracks) -> bool:
    """Both come together, touch, and go back where they came from."""
    first, second = tracks
    gap, turn = distances(first.path, second.path), closest(tracks)
    share = turn / (len(gap) - 1)
    sides = first.path - second.path
    return (
        0.25 <= share <= 0.75
        and min(gap[0], gap[-1]) >= _FAR
        and reach(first, second)[turn] <= _NEAR
        and cosine(sides[0], sides[-1]) >= 0.7
        and min(extent(track.path[: turn + 1]) for track in tracks) >= 0.07
        and min(extent(track.path[turn:]) for track in tracks) >= 0.07
    )


def pass_by(tracks: Tracks) -> bool:
    """Both go straight on in opposite directions, beside each other's way."""
    first, second = tracks
    sides = first.path - second.path
    return (
        _opposite_ways(tracks, 0.3)
        and min(straightness(track.path) for track in tracks) >= 0.9
        and cosine(sides[0], sides[-1]) <= 0.3
        and 0.25 <= closest(tracks) / (len(sides) - 1) <= 0.75
        and float(reach(first, second).min()) >= 0.7
    )


def orbit(tracks: Tracks) -> bool:
    """The first goes around the second, which stands, at one distance."""
    first, second = tracks
    gap = distances(first.path, second.path)
    return (
        second.extent <= STILL
        and swept_degrees(first.path - second.path) >= 285
        and float(np.ptp(gap) / gap.mean()) <= 0.4
    )


def dance(tracks: Tracks) -> bool:
    """Both go around the place between them, which stands."""
    first, second = tracks
    return (
        min(first.extent, second.extent) >= 0.17
        and extent((first.path + second.path) / 2) <= 0.12
        and swept_degrees(first.path - second.path) >= 250
    )


def seesaw(tracks: Tracks) -> bool:
    """Both stay in their columns; one goes up when the other goes down."""
    first, second = (track.path for track in tracks)
    heights = np.ptp(first[:, 1]), np.ptp(second[:, 1])
    return (
        max(np.ptp(first[:, 0]), np.ptp(second[:, 0])) <= STILL
        and min(heights) >= 0.15
        and float(np.corrcoef(first[:, 1], second[:, 1])[0, 1]) <= -0.8
    )


def jump_over(tracks: Tracks) -> bool:
    """The first starts and lands on either side of the second, high above it in between."""
    first, second = tracks
    sides = first.path - second.path
    crossing = int(np.argmin(np.abs(sides[:, 0])))
    touch = (first.size + second.size) / 2
    return (
        second.extent <= STILL
        and min(abs(sides[0, 0]), abs(sides[-1, 0])) >= 0.7 * touch
        and sides[0, 0] * sides[-1, 0] < 0
        and max(abs(sides[0, 1]), abs(sides[-1, 1])) <= 0.15
        and sides[crossing, 1] <= -0.75 * touch
        and swept_degrees(sides) <= 240
    )


def hand_over(tracks: Tracks) -> bool:
    """The third goes from the first to the second; both stand."""
    first, second, item = tracks
    given, taken = reach(first, item), reach(second, item)
    return (
        max(first.extent, second.extent) <= STILL
        and given[0] <= 1.15 <= 1.35 <= taken[0]
        and taken[-1] <= 1.15 <= 1.35 <= given[-1]
    )


def drop(tracks: Tracks) -> bool:
    """It falls from its highest place, turns at the floor and comes up again."""
    x, y = tracks[0].path.T
    # The first turn; a later bounce may be caught nearer to the floor.
    rising = np.flatnonzero(np.diff(y) < -0.02)
    if not len(rising):
        return False
    turn = rising[0]
    return (
        float(np.ptp(x)) <= 0.16
        and y[0] <= y.min() + 0.03
        and y[turn] - y[0] >= 0.2
        and y[turn] - y[turn:].min() >= 0.04
    )


def throw(tracks: Tracks) -> bool:
    """It goes to one side, up, and then down farther than it rose or to the floor."""
    x, y = tracks[0].path.T
    apex = int(np.argmin(y))
    steps = np.diff(x) * np.sign(x[-1] - x[0])
    return (
        abs(x[-1] - x[0]) >= 0.3
        and float(steps.min()) >= -0.04
        and 0 < apex < len(y) - 2
        and y[0] - y[apex] >= 0.08
        and y[apex:].max() - y[apex] >= 0.2
    )


def collide(tracks: Tracks) -> bool:
    """The second stands until the first touches it, then leaves it behind."""
    first, second = tracks
    hit, between = closest(tracks), reach(first, second)
    way = np.sign(second.path[0, 0] - first.path[0, 0])
    return (
        0 < hit < len(between) - 2
        and max(np.ptp(first.path[:, 1]), np.ptp(second.path[:, 1])) <= 0.07
        and min(between[0], between[-1]) > _LEFT_BEHIND
        # The touch itself may fall between two frames.
        and between[hit] <= 1.3
        and extent(second.path[:hit]) <= STILL
        and second.travel[0] * way >= 0.1
        and (first.path[hit, 0] - first.path[0, 0]) * way >= 0.1
    )


def roll(tracks: Tracks) -> bool:
    """It goes level to one side."""
    x, y = tracks[0].path.T
    return abs(x[-1] - x[0]) >= 0.3 and float(np.ptp(y)) <= 0.07 and _is_monotonic(x)


def roll_down(tracks: Tracks) -> bool:
    """It goes down a straight slope, faster and faster."""
    x, y = tracks[0].path.T
    if np.ptp(x) < 0.25:
        return False
    slope, start = np.polyfit(x, y, 1)
    half = len(x) // 2
    return (
        0.1 <= abs(slope) <= 0.6
        and slope * (x[-1] - x[0]) > 0
        and float(np.abs(y - slope * x - start).max()) <= 0.035
        and abs(x[-1] - x[half]) >= 1.7 * abs(x[half] - x[0])
    )


def pendulum(tracks: Tracks) -> bool:
    """It goes to and fro on an arc that is lowest in the middle."""
    path = tracks[0].path
    steps = np.diff(path[:, 0])
    turn = int(np.argmax(np.abs(path[:, 0] - path[0, 0])))
    radius, error = fit_circle(path)
    return (
        float(np.ptp(path[:, 0])) >= 0.22
        and 2 <= turn <= len(steps) - 1
        and abs(path[-1, 0] - path[turn, 0]) >= 0.04
        and _is_monotonic(path[: turn + 1, 0])
        and 0.25 <= radius <= 0.9
        and error <= 0.025
    )


def topple(tracks: Tracks) -> bool:
    """Three boxes stand on each other; in the end the pile is lower and one lies elsewhere."""
    start, end = (np.array([track.path[frame] for track in tracks]) for frame in (0, -1))
    side = float(np.mean([track.size for track in tracks]))
    return (
        float(np.ptp(start[:, 0])) <= 1.3 * side
        and float(np.ptp(start[:, 1])) >= 1.6 * side
        and end[:, 1].min() - start[:, 1].min() >= 0.5 * side
        and float(np.linalg.norm(end - start, axis=-1).max()) >= side
    )


def fit_circle(path: np.ndarray) -> tuple[float, float]:
    """Fit a circle to points `(T, 2)`; return its radius and the greatest distance from it."""
    system = np.column_stack([path, np.ones(len(path))])
    a, b, c = np.linalg.lstsq(system, (path**2).sum(axis=-1), rcond=None)[0]
    centre = np.array([a, b]) / 2
    radius = float(np.sqrt(max(c + centre @ centre, 0.0)))
    if centre[1] >= path[:, 1].mean():
        return 0.0, np.inf  # hanging means that the centre is above
    return radius, float(np.abs(np.linalg.norm(path - centre, axis=-1) - radius).max())


def _is_monotonic(values: np.ndarray, slack: float = 0.03) -> bool:
    steps = np.diff(values) * np.sign(values[-1] - values[0])
    return bool((steps >= -slack).all())
