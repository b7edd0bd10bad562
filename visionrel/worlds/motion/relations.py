"""Kinematic motions of two subjects, sampled around the origin and moving to the right.

A sampler takes a generator, the nouns and the sizes of the objects and returns a `Draft`. `touch`
is half the sum of two sizes, the distance at which the objects touch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from visionrel.worlds.motion.drafts import TIMES, Draft
from visionrel.worlds.motion.rendering import proportions


Names = Sequence[str]


def ease(start: float, end: float) -> np.ndarray:
    """Return a smooth rise from 0 to 1 between two shares of the duration, `(SAMPLES,)`."""
    share = np.clip((TIMES - start) / (end - start), 0.0, 1.0)
    return share * share * (3.0 - 2.0 * share)


def ramp(start: float, end: float) -> np.ndarray:
    """Return a linear rise from 0 to 1 between two shares of the duration, `(SAMPLES,)`."""
    return np.clip((TIMES - start) / (end - start), 0.0, 1.0)


def _line(x: np.ndarray | float, y: np.ndarray | float = 0.0) -> np.ndarray:
    return np.stack(np.broadcast_arrays(x, y, TIMES)[:2], axis=-1).astype(float)


def _draft(sizes: np.ndarray, *paths: np.ndarray, **rest) -> Draft:
    return Draft(sizes, np.stack(paths), **rest)


def _one_after_another(
    rng: np.random.Generator, sizes: np.ndarray, gap: np.ndarray, lead: np.ndarray, wave: float
) -> Draft:
    """Let the second go along a wavy line and the first on the same line, `gap` behind."""
    length, phase = rng.uniform(0.7, 1.2), rng.uniform(0, 2 * np.pi)
    trail = lead - gap

    def height(x: np.ndarray) -> np.ndarray:
        return wave * np.sin(2 * np.pi * x / length + phase)

    return _draft(sizes, _line(trail, height(trail)), _line(lead, height(lead)))


def chase(rng: np.random.Generator, names: Names, sizes: np.ndarray) -> Draft:
    """The first runs after the second and gains on it."""
    start, end = rng.uniform(0.38, 0.45), sizes.mean() * rng.uniform(0.92, 1.0)
    gap = start + (end - start) * TIMES
    lead = rng.uniform(0.25, 0.38) * TIMES
    return _one_after_another(rng, sizes, gap, lead, rng.uniform(0.0, 0.06))


def follow(rng: np.random.Generator, names: Names, sizes: np.ndarray) -> Draft:
    """The first goes after the second at a constant distance."""
    gap = np.full_like(TIMES, sizes.mean() * rng.uniform(1.32, 1.55))
    lead = rng.uniform(0.3, 0.42) * TIMES
    return _one_after_another(rng, sizes, gap, lead, rng.uniform(0.0, 0.06))


def tow(rng: np.random.Generator, names: Names, sizes: np.ndarray) -> Draft:
    """The first goes ahead and the second clings to its back."""
    gap = np.full_like(TIMES, sizes.mean() * rng.uniform(0.9, 1.0))
    lead = rng.uniform(0.32, 0.46) * ease(0.0, 1.0)
    behind = _one_after_another(rng, sizes[::-1], gap, lead, rng.uniform(0.0, 0.03))
    return Draft(sizes, behind.paths[::-1])


def push(rng: np.random.Generator, names: Names, sizes: np.ndarray) -> Draft:
    """The first comes up to the second and shoves it along."""
    touch = sizes.mean() * rng.uniform(0.88, 0.98)
    meeting = rng.uniform(0.25, 0.4)
    approach, shove = rng.uniform(0.14, 0.24), rng.uniform(0.25, 0.36)
    second = shove * ramp(meeting, 1.0)
    first = -touch - approach * (1 - ramp(0.0, meeting)) + second
    return _draft(sizes, _line(first), _line(second))


def _closing(
    rng: np.random.Generator, sizes: np.ndarray, end: float, arrival: tuple[float, float]
) -> Draft:
    """Bring two from afar to the distance `end`, where they stay."""
    start = rng.uniform(0.62, 0.74)
    share = rng.uniform(0.38, 0.62)
    closed = (start - end) * ease(rng.uniform(0.0, 0.12), rng.uniform(*arrival))
    return _draft(
        sizes,
        _line(-start * share + closed * share),
        _line(start * (1 - share) - closed * (1 - share)),
    )


def meet(rng: np.random.Generator, names: Names, sizes: np.ndarray) -> Draft:
    """Both come toward each other and stop side by side."""
    return _closing(rng, sizes, sizes.mean() * rng.uniform(1.08, 1.2), (0.6, 0.82))


def hug(rng: np.random.Generator, names: Names, sizes: np.ndarray) -> Draft:
    """Both come toward each other and stay in each other's arms, swaying."""
    draft = _closing(rng, sizes, sizes.mean() * rng.uniform(0.55, 0.66), (0.5, 0.68))
    sway = 0.02 * np.sin(2 * np.pi * rng.uniform(1.5, 2.5) * TIMES) * ease(0.5, 0.7)
    return Draft(sizes, draft.paths + _line(sway))


def part(rng: np.random.Generator, names: Names, sizes: np.ndarray) -> Draft:
    """Both stand side by side and go away from each other."""
    return Draft(sizes, meet(rng, names, sizes).paths[:, ::-1])


def rebound(rng: np.random.Generator, names: Names, sizes: np.ndarray) -> Draft:
    """Both come together, touch and go back where they came from."""
    touch, turn = sizes.mean() * rng.uniform(0.88, 1.0), rng.uniform(0.42, 0.55)
    before, after = rng.uniform(0.55, 0.7), rng.uniform(0.52, 0.68)
    share = rng.uniform(0.4, 0.6)
    apart = touch + (before - touch) * (1 - ramp(0.0, turn)) + (after - touch) * ramp(turn, 1.0)
    return _draft(sizes, _line(-apart * share), _line(apart * (1 - share)))


def pass_by(rng: np.random.Generator, names: Names, sizes: np.ndarray) -> Draft:
    """Both go straight on in opposite directions, one beside the other's way."""
    offset = sizes.mean() * rng.uniform(0.95, 1.2) * (1 if rng.random() < 0.5 else -1)
    first, second = (rng.uniform(0.5, 0.66) * (TIMES - rng.uniform(0.42, 0.58)) for _ in range(2))
    return _draft(sizes, _line(first), _line(-second, offset))


def orbit(rng: np.random.Generator, names: Names, sizes: np.ndarray) -> Draft:
    """The first goes around the second, which stands."""
    radius = rng.uniform(sizes.mean() * 1.15, 0.485 - sizes[0] / 2)
    return _draft(sizes, radius * _turning(rng, (330, 430)), _line(0.0))


def dance(rng: np.random.Generator, names: Names, sizes: np.ndarray) -> Draft:
    """Both go around the place between them."""
    radius = sizes.mean() * rng.uniform(0.55, 0.7)
    turning = _turning(rng, (300, 480))
    return _draft(sizes, radius * turning, -radius * turning)


def _turning(rng: np.random.Generator, sweep: tuple[float, float]) -> np.ndarray:
    angle = 2 * np.pi * rng.random() + np.radians(rng.uniform(*sweep)) * TIMES
    if rng.random() < 0.5:
        angle = -angle
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def seesaw(rng: np.random.Generator, names: Names, sizes: np.ndarray) -> Draft:
    """Both stand side by side; when one goes up the other goes down."""
    apart = rng.uniform(max(0.3, sizes.mean() * 1.1), 0.6)
    height = rng.uniform(0.12, 0.2) * np.sin(
        2 * np.pi * rng.uniform(1.0, 1.6) * TIMES + rng.uniform(0, 2 * np.pi)
    )
    return _draft(sizes, _line(-apart / 2, height), _line(apart / 2, -height))


def jump_over(rng: np.random.Generator, names: Names, sizes: np.ndarray) -> Draft:
    """The first hops over the second, which stands on the same floor."""
    heights = [size * proportions(name)[1] for size, name in zip(sizes, names, strict=True)]
    reach = sizes.mean() + rng.uniform(0.03, 0.12)
    share = ramp(rng.uniform(0.05, 0.25), rng.uniform(0.72, 0.9))
    rise = heights[1] * rng.uniform(1.05, 1.25) + rng.uniform(0.1, 0.2)
    hop = -heights[0] / 2 - rise * 4 * share * (1 - share)
    first = _line(-reach + (reach + sizes.mean() + rng.uniform(0.03, 0.12)) * share, hop)
    return _draft(sizes, first, _line(0.0, -heights[1] / 2), floor=0.0)


def hand_over(rng: np.random.Generator, names: Names, sizes: np.ndarray) -> Draft:
    """The first hands the third, a small thing, to the second."""
    sizes = np.array([*sizes[:2], rng.uniform(0.15, 0.18)])
    apart = rng.uniform(0.5, 0.68)
    share = ease(rng.uniform(0.08, 0.25), rng.uniform(0.7, 0.9))
    reach = (sizes[:2] + sizes[2]) / 2 * rng.uniform(0.75, 0.9)
    held = -apart / 2 + reach[0] + (apart - reach.sum()) * share
    arc = rng.uniform(-0.04, 0.04) - rng.uniform(0.0, 0.14) * 4 * share * (1 - share)
    level = rng.uniform(-0.05, 0.05)
    paths = (_line(-apart / 2), _line(apart / 2, level), _line(held, arc + level * share))
    return _draft(sizes, *paths, depths=(1.0, 2.0, 0.0))


def wander(rng: np.random.Generator, names: Names, sizes: np.ndarray) -> Draft:
    """Every object goes its own smooth way: any configuration at all."""
    paths = []
    for size in sizes:
        low, high = size / 2 + 0.01, 0.99 - size / 2
        points = rng.uniform(low, high, (3, 2))
        if rng.random() < 0.25:
            points[1:] = points[0]
        t = TIMES[:, None]
        paths.append(points[0] * (1 - t) ** 2 + 2 * points[1] * t * (1 - t) + points[2] * t**2)
    return Draft(np.asarray(sizes), np.stack(paths))
