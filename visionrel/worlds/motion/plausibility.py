"""Whether a clip obeys the laws of the world: one check per law, each can fail on its own.

Every clip must move, without objects that jump from place to place or vanish. Where things fall,
an object is held by something or falls freely, bounces at something, stays above the floor, and the
energy never rises above what it was at the start.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from visionrel.worlds.motion.rendering import proportions
from visionrel.worlds.motion.scene import DURATION
from visionrel.worlds.motion.tracking import Reading
from visionrel.worlds.motion.tracks import Track, reach


MOVES = 0.08
"""Least extent of the path of some object in a clip that is said to move."""

GRAVITIES = (1.0, 4.5)
"""Downward accelerations that count as gravity, sides per second squared; 1.7 to 3.4 are drawn."""

_USUAL_GRAVITY = 2.4
_FIT = 0.02
_SUPPORT = 0.055
_HIT = 0.02
_TOUCH = 1.3
_SINKS = 0.07
_MEETS_FLOOR = 0.14


@dataclass(frozen=True)
class Laws:
    """Which laws a clip obeys; None where a law does not apply.

    Attributes:
        moves: something moves; a still clip obeys nothing.
        continuous: no object jumps.
        lasting: no object vanishes or appears in the open.
        falls: what nothing holds falls with one acceleration, that of gravity.
        contacts: turns upwards happen at the floor or at another object; nothing sinks into it.
        energy: never above the start.
    """

    moves: bool
    continuous: bool
    lasting: bool
    falls: bool | None = None
    contacts: bool | None = None
    energy: bool | None = None

    @property
    def score(self) -> float:
        """Share of the applicable laws that are obeyed; 0 if nothing moves."""
        values = [getattr(self, field.name) for field in fields(self)]
        applicable = [value for value in values if value is not None]
        return float(np.mean(applicable)) if self.moves else 0.0

    @property
    def obeyed(self) -> bool:
        """All applicable laws are obeyed."""
        return self.score == 1.0


def check_laws(reading: Reading, tracks: Sequence[Track], kind: str, gravity: bool) -> Laws:
    """Check the tracks of the named objects of a clip.

    Args:
        reading: the clip.
        tracks: the objects that the statement names.
        kind: name of the stated motion; ropes and slopes hold what would fall otherwise.
        gravity: whether the laws of falling apply to it.
    """
    basic = Laws(
        max(track.extent for track in tracks) >= MOVES,
        all(_is_continuous(track) for track in tracks),
        all(_lasts(track, tracks) for track in tracks),
    )
    if not gravity:
        return basic
    falls = _swings(tracks[0]) if kind == "pendulum" else _falls(reading, tracks, kind)
    pull = _measure_gravity(reading, tracks, kind)
    return Laws(
        basic.moves,
        basic.continuous,
        basic.lasting,
        falls,
        None if kind == "pendulum" else _contacts(reading, tracks),
        _energy(tracks, pull),
    )


def _step(track: Track) -> float:
    """Return the seconds between two frames."""
    return DURATION / (len(track.path) - 1)


def _is_continuous(track: Track) -> bool:
    """No step is far longer than both of its neighbours, or longer than anything moves."""
    steps = np.linalg.norm(np.diff(track.path, axis=0), axis=-1)
    scale = _step(track) * 8.0  # the limits are those of 8 frames a second
    around = np.pad(steps, 1, mode="edge")
    neighbours = np.maximum(around[:-2], around[2:])
    return bool((steps <= 0.33 * scale).all() and (steps <= 0.12 * scale + 1.6 * neighbours).all())


def _lasts(track: Track, tracks: Sequence[Track]) -> bool:
    """At most one frame misses the object in the open, not behind another or at the edge."""
    missing = track.seen < 0.5
    for other in tracks:
        if other is not track:
            missing &= reach(track, other) > 0.9
    edge = track.size / 2 - 0.02
    inside = ((track.path > edge) & (track.path < 1 - edge)).all(axis=-1)
    return int((missing & inside).sum()) <= 1


def _gap(reading: Reading, track: Track) -> np.ndarray:
    """Return how far the lower end of an object is above the floor, in each frame."""
    half = proportions(track.name)[1] * track.size / 2
    return reading.floor_at(track.path[:, 0]) - track.path[:, 1] - half


def _held(reading: Reading, track: Track, tracks: Sequence[Track]) -> np.ndarray:
    """Return whether the floor or another object holds an object, in each frame."""
    held = _gap(reading, track) <= _SUPPORT
    for other in tracks:
        if other is not track:
            held |= reach(track, other) <= _TOUCH
    return held


def _flights(reading: Reading, track: Track, tracks: Sequence[Track]) -> list[slice]:
    """Return the stretches of at least four frames that nothing holds, without bounces."""
    free = ~_held(reading, track, tracks)
    # Gravity only adds to the downward speed; where a step loses some, something was hit between
    # the frame before and the frame after.
    bounce = np.flatnonzero(np.diff(track.path[:, 1], 2) < -_HIT) + 1
    free[bounce] = False
    flights, start = [], None
    for frame, flag in enumerate([*free, False]):
        if flag and start is None:
            start = frame
        elif not flag and start is not None:
            if frame - start >= 4:
                flights.append(slice(start, frame))
            start = None
    return flights


def _falls(reading: Reading, tracks: Sequence[Track], kind: str) -> bool | None:
    """Every flight is a parabola of gravity; drops and throws must have one."""
    if kind == "roll_down":
        return _speeds_up(tracks[0])
    flights = [(track, flight) for track in tracks for flight in _flights(reading, track, tracks)]
    if not flights:
        return False if kind in ("drop", "throw") else None
    return all(_is_free_fall(track, flight) for track, flight in flights)


def _fall_fit(track: Track, flight: slice) -> tuple[float, float, float]:
    """Fit a parabola: its acceleration and the mean errors of x and y."""
    path = track.path[flight]
    times = np.arange(len(path)) * _step(track)
    down = np.polyfit(times, path[:, 1], 2)
    across = np.polyfit(times, path[:, 0], 1)
    errors = path - np.stack([np.polyval(across, times), np.polyval(down, times)], axis=-1)
    return (float(2 * down[0]), *np.sqrt(np.mean(errors**2, axis=0)).tolist())


def _is_free_fall(track: Track, flight: slice) -> bool:
    acceleration, *errors = _fall_fit(track, flight)
    seconds = (flight.stop - flight.start - 1) * _step(track)
    # A place is read to about a hundredth, which a short flight magnifies.
    slack = 8 * 0.012 / seconds**2
    return GRAVITIES[0] - slack <= acceleration <= GRAVITIES[1] + slack and max(errors) <= _FIT


def _speeds_up(track: Track) -> bool:
    """Rolling down goes with one acceleration, smaller than that of falling."""
    times = np.arange(len(track.path)) * _step(track)
    way = np.linalg.norm(track.path - track.path[0], axis=-1)
    fit = np.polyfit(times, way, 2)
    error = np.sqrt(np.mean((way - np.polyval(fit, times)) ** 2))
    return bool(0.08 <= 2 * fit[0] <= 1.5 and error <= _FIT)


def _swing_fit(track: Track) -> tuple[float, float]:
    """Return how half the squared speed grows with depth, and how well the two go together."""
    speed = np.linalg.norm(np.diff(track.path, axis=0), axis=-1) / _step(track)
    depth = (track.path[1:, 1] + track.path[:-1, 1]) / 2
    if np.ptp(depth) < 0.02 or np.ptp(speed) < 0.02:
        return 0.0, 0.0
    slope = np.polyfit(depth, speed**2 / 2, 1)[0]
    return float(slope), float(np.corrcoef(depth, speed**2)[0, 1])


def _swings(track: Track) -> bool:
    """On a rope, half the square of the speed grows with the depth by the gravity."""
    slope, alike = _swing_fit(track)
    return 0.7 * GRAVITIES[0] <= slope <= 1.4 * GRAVITIES[1] and alike >= 0.7


def _contacts(reading: Reading, tracks: Sequence[Track]) -> bool:
    """Turns upwards happen at the floor or another object; nothing sinks into the floor."""
    for track in tracks:
        gap, y = _gap(reading, track), track.path[:, 1]
        if gap.min() < -_SINKS:
            return False
        steps = np.diff(y)
        turns = np.flatnonzero((steps[:-1] > 0.03) & (steps[1:] < -0.03)) + 1
        near = np.zeros(len(y), bool)
        for other in tracks:
            if other is not track:
                near |= reach(track, other) <= _TOUCH
        if any(gap[turn] > _MEETS_FLOOR and not near[turn] for turn in turns):
            return False
    return True


def _measure_gravity(reading: Reading, tracks: Sequence[Track], kind: str) -> float:
    """Return the downward acceleration that the clip shows; the usual one where nothing falls."""
    if kind == "pendulum":
        pulls = [_swing_fit(tracks[0])[0]]
    else:
        pulls = [
            _fall_fit(track, flight)[0]
            for track in tracks
            for flight in _flights(reading, track, tracks)
        ]
    return float(np.clip(np.median(pulls or [_USUAL_GRAVITY]), *GRAVITIES))


def _energy(tracks: Sequence[Track], gravity: float) -> bool:
    """Kinetic and potential energy together never exceed their value at the start."""
    total = np.zeros(len(tracks[0].path) - 1)
    reference = 0.0
    for track in tracks:
        mass = track.size**2
        speed = np.linalg.norm(np.diff(track.path, axis=0), axis=-1) / _step(track)
        height = 1.0 - (track.path[1:, 1] + track.path[:-1, 1]) / 2
        total += mass * (speed**2 / 2 + gravity * height)
        reference += mass
    total /= reference
    return bool(total.max() <= total[:3].max() + 0.12)
