"""Intervals for scores measured on crossed samples: the same items judged for several seeds.

Outcomes are arrays `(..., S, N)`: S training seeds by N items (subject-object pairs), and any
leading axes (relations), which are the fixed set the claim is about. Seeds and items are both
samples, so both are resampled with replacement, the same ones in every leading cell, and every
chosen seed meets every chosen item. Resampling single outcomes, or each cell on its own, would
treat as independent what shares a seed or an item, and give intervals that are too short.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np


LEAST_SEEDS = 3
"""Trainings that a verdict needs."""


@dataclass(frozen=True)
class Interval:
    """A score with the bounds that hold it at a confidence level.

    Attributes:
        estimate: The measured value.
        low, high: Lower and upper bound.
        level: Confidence in (0, 1).
    """

    estimate: float
    low: float
    high: float
    level: float = 0.95

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies outside the bounds as they are printed.

        Bounds are drawn at random: beyond the third digit another drawing moves them.
        """
        return _rounded(self.low) > 0 or _rounded(self.high) < 0

    def __str__(self) -> str:
        estimate, low, high = map(_rounded, (self.estimate, self.low, self.high))
        return f"{estimate:.3f} [{low:.3f}, {high:.3f}]"


def _rounded(value: float) -> float:
    """To three digits, without a minus before 0."""
    return round(value, 3) + 0.0


def bootstrap_interval(
    outcomes: np.ndarray, *, level: float = 0.95, resamples: int = 4000, seed: int = 0
) -> Interval:
    """Percentile bootstrap of the mean over seeds and items (Efron and Tibshirani 1993, ch. 13).

    Args:
        outcomes: `(..., S, N)` scores, usually 0 or 1.
        level: Confidence in (0, 1).
        resamples: Number of bootstrap samples.
        seed: Seed of the resampling.

    Returns:
        The mean with its bounds.

    Raises:
        ValueError: If `outcomes` has fewer than two axes, is empty or holds NaN.

    Example:
        >>> str(bootstrap_interval(np.ones((3, 10))))
        '1.000 [1.000, 1.000]'
    """
    cells = _check_outcomes("outcomes", outcomes)
    means = _resampled_means(cells, resamples, np.random.default_rng(seed))
    return _percentile_interval(cells.mean(), means, level)


def bootstrap_difference(
    first: np.ndarray,
    second: np.ndarray,
    *,
    level: float = 0.95,
    resamples: int = 4000,
    seed: int = 0,
) -> Interval:
    """Paired bootstrap of mean(first) - mean(second), both judged on the same seeds and items.

    Args:
        first: `(..., S, N)` scores.
        second: Scores of the same shape; entry by entry the same seed and item.
        level: Confidence in (0, 1).
        resamples: Number of bootstrap samples.
        seed: Seed of the resampling.

    Returns:
        The difference with its bounds.

    Raises:
        ValueError: If the shapes differ.
    """
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if first.shape != second.shape:
        raise ValueError(
            f"`first` and `second` must be paired: got shapes {first.shape} and {second.shape}."
        )
    return bootstrap_interval(first - second, level=level, resamples=resamples, seed=seed)


def bootstrap_mean_where(
    outcomes: np.ndarray,
    counts: np.ndarray,
    *,
    level: float = 0.95,
    resamples: int = 4000,
    seed: int = 0,
) -> Interval | None:
    """Percentile bootstrap of the mean over those outcomes that count.

    Which outcomes count is resampled with them: the ratio of two means over the same seeds and
    items.

    Args:
        outcomes: `(..., S, N)` scores.
        counts: Of the same shape, 1 or True where an outcome counts.
        level: Confidence in (0, 1).
        resamples: Number of bootstrap samples; those in which nothing counts are left out.
        seed: Seed of the resampling.

    Returns:
        The mean with its bounds; None if nothing counts.
    """
    counted = _check_outcomes("counts", counts)
    if not counted.any():
        return None
    scores = _check_outcomes("outcomes", outcomes) * counted
    above, below = (
        _resampled_means(cells, resamples, np.random.default_rng(seed))
        for cells in (scores, counted)
    )
    means = above[below > 0] / below[below > 0]
    return _percentile_interval(scores.sum() / counted.sum(), means, level)


def _percentile_interval(estimate: float, resampled: np.ndarray, level: float) -> Interval:
    if not 0 < level < 1:
        raise ValueError(f"`level` must lie between 0 and 1, got {level}.")
    tail = (1 - level) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return Interval(float(estimate), float(low), float(high), level)


def share(values: Sequence[int]) -> Interval:
    """Wilson interval of the share of ones among independent ones and zeros."""
    return wilson_interval(sum(values), len(values))


def wilson_interval(successes: int, total: int, *, level: float = 0.95) -> Interval:
    """Wilson score interval of a share of independent trials (Wilson 1927).

    Example:
        >>> str(wilson_interval(0, 100))
        '0.000 [0.000, 0.037]'
    """
    if not 0 <= successes <= total or total == 0:
        raise ValueError(f"`successes` must lie in 0..`total` > 0, got {successes} of {total}.")
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share = successes / total
    centre = (share + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z * math.sqrt(share * (1 - share) / total + z**2 / (4 * total**2)) / (1 + z**2 / total)
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half), level)


def _check_outcomes(name: str, outcomes: np.ndarray) -> np.ndarray:
    """Returns the outcomes as `(cells, S, N)` floats."""
    array = np.asarray(outcomes, dtype=float)
    if array.ndim < 2 or array.size == 0:
        raise ValueError(f"`{name}` must be (..., seeds, items), not empty; got {array.shape}.")
    if np.isnan(array).any():
        raise ValueError(f"`{name}` holds NaN; leave unmeasured items out.")
    return array.reshape(-1, *array.shape[-2:])


def _resampled_means(
    cells: np.ndarray, resamples: int, generator: np.random.Generator
) -> np.ndarray:
    """Means of bootstrap samples, `(resamples,)`; how often a row is drawn is its weight."""
    _, seeds, items = cells.shape
    seed_counts = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples)
    item_counts = generator.multinomial(items, np.full(items, 1 / items), size=resamples)
    total = np.einsum("bs,sn,bn->b", seed_counts, cells.sum(0), item_counts, optimize=True)
    return total / cells.size
