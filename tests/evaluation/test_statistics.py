import numpy as np
import pytest

from visionrel.evaluation import (
    bootstrap_difference,
    bootstrap_interval,
    bootstrap_mean_where,
    share,
    wilson_interval,
)


def test_estimate_is_the_mean_and_lies_within_the_bounds():
    outcomes = np.random.default_rng(0).random((6, 3, 100)) < 0.7
    interval = bootstrap_interval(outcomes)
    assert interval.estimate == pytest.approx(outcomes.mean())
    assert interval.low < interval.estimate < interval.high


def test_same_seed_gives_the_same_interval():
    outcomes = np.random.default_rng(1).random((3, 20))
    assert bootstrap_interval(outcomes) == bootstrap_interval(outcomes)
    assert bootstrap_interval(outcomes) != bootstrap_interval(outcomes, seed=1)


def test_one_seed_matches_the_normal_approximation():
    outcomes = np.random.default_rng(2).random((1, 400)) < 0.5
    interval = bootstrap_interval(outcomes, resamples=20000)
    half = 1.96 * outcomes.std() / 20
    assert interval.high - interval.low == pytest.approx(2 * half, rel=0.05)


def test_seeds_that_disagree_widen_the_interval():
    """Three seeds at 0.2, 0.5 and 0.8 are less certain than three seeds at 0.5."""
    items = np.linspace(0, 1, 100, endpoint=False)
    disagree = np.stack([items < level for level in (0.2, 0.5, 0.8)])
    agree = np.stack([items < 0.5] * 3)
    wide, narrow = bootstrap_interval(disagree), bootstrap_interval(agree)
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


def test_covers_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(3)
    covered = 0
    for trial in range(200):
        outcomes = generator.random((4, 3, 50)) < 0.6
        interval = bootstrap_interval(outcomes, resamples=400, seed=trial)
        covered += interval.low <= 0.6 <= interval.high
    assert covered >= 180


def test_cells_that_share_their_items_are_no_more_certain_than_one():
    items = np.random.default_rng(6).random((1, 1, 100)) < 0.5
    one, nine = bootstrap_interval(items), bootstrap_interval(items.repeat(9, axis=0))
    assert nine.high - nine.low == pytest.approx(one.high - one.low)


def test_pairing_takes_out_what_both_variants_share():
    generator = np.random.default_rng(4)
    difficulty = generator.random((1, 200))
    first, second = difficulty < 0.6, difficulty < 0.5
    paired = bootstrap_difference(first, second)
    alone = bootstrap_interval(first)
    assert paired.excludes_zero and paired.low > 0
    assert paired.high - paired.low < alone.high - alone.low


def test_difference_of_equal_outcomes_is_zero():
    outcomes = np.random.default_rng(5).random((2, 3, 10))
    interval = bootstrap_difference(outcomes, outcomes)
    assert (interval.estimate, interval.low, interval.high) == (0, 0, 0)
    assert not interval.excludes_zero


def test_the_mean_over_what_counts():
    generator = np.random.default_rng(7)
    counts = generator.random((3, 200)) < 0.5
    outcomes = np.where(counts, generator.random((3, 200)) < 0.8, 0)
    found = bootstrap_mean_where(outcomes, counts)
    assert found.estimate == pytest.approx(outcomes[counts].mean())
    assert found.low < found.estimate < found.high < 0.9
    everything = np.ones_like(counts)
    assert bootstrap_mean_where(outcomes, everything) == bootstrap_interval(outcomes)
    assert bootstrap_mean_where(outcomes, ~everything) is None


def test_resamples_in_which_nothing_counts_are_left_out():
    counts = np.zeros((1, 5))
    counts[0, 0] = 1
    assert str(bootstrap_mean_where(counts * 0.5, counts)) == "0.500 [0.500, 0.500]"


@pytest.mark.parametrize(
    ("successes", "total", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),  # no success still leaves room
        (5, 10, 0.2366, 0.7634),  # symmetric about one half
        (10, 10, 0.7225, 1.0),  # all successes never reach certainty
    ],
)
def test_wilson_interval(successes, total, low, high):
    interval = wilson_interval(successes, total)
    assert interval.low == pytest.approx(low, abs=1e-4)
    assert interval.high == pytest.approx(high, abs=1e-4)
    assert share([1] * successes + [0] * (total - successes)) == interval


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bootstrap_interval(np.zeros(5)), "seeds, items"),
        (lambda: bootstrap_interval(np.zeros((3, 0))), "not empty"),
        (lambda: bootstrap_interval(np.full((1, 2), np.nan)), "NaN"),
        (lambda: bootstrap_interval(np.zeros((1, 2)), level=95), "level"),
        (lambda: bootstrap_difference(np.zeros((1, 2)), np.zeros((2, 1))), "paired"),
        (lambda: wilson_interval(3, 2), "successes"),
    ],
)
def test_bad_values_are_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()
