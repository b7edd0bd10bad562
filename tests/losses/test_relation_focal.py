"""Behaviours 9-11 of ReVersion's timestep distribution."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from visionrel.losses import (
    focal_probabilities_at,
    relation_focal_probabilities,
    sample_timesteps,
)


@settings(max_examples=40, deadline=None)
@given(num_timesteps=st.integers(1, 1500), alpha=st.sampled_from([0.0, 0.25, 0.5, 1.0]))
def test_closed_form(num_timesteps, alpha):
    probabilities = relation_focal_probabilities(num_timesteps, alpha)
    assert probabilities.shape == (num_timesteps,) and probabilities.dtype == torch.float64
    assert (probabilities >= 0).all()
    torch.testing.assert_close(probabilities.sum().item(), 1.0, rtol=0, atol=1e-12)
    assert (probabilities.diff() >= -1e-18).all()
    if num_timesteps > 1:
        step = num_timesteps // 2
        expected = (1 - alpha * math.cos(math.pi * step / num_timesteps)) / (num_timesteps - alpha)
        torch.testing.assert_close(probabilities[step].item(), expected, rtol=1e-10, atol=0)


def test_published_figures():
    probabilities = relation_focal_probabilities(1000)
    steps = torch.arange(1000)
    expected = {0: 5.00250e-4, 500: 1.00050e-3, 999: 1.500748e-3}
    for step, value in expected.items():
        torch.testing.assert_close(probabilities[step].item(), value, rtol=1e-5, atol=0)
    torch.testing.assert_close((probabilities @ steps.double()).item(), 600.8717, rtol=1e-6, atol=0)
    for first, last, share in ((500, 1000, 0.659234), (800, 1000, 0.293648), (0, 200, 0.106457)):
        torch.testing.assert_close(probabilities[first:last].sum().item(), share, rtol=1e-5, atol=0)


def test_zero_is_uniform_and_one_never_draws_the_first():
    assert torch.equal(relation_focal_probabilities(8, 0.0), torch.full((8,), 0.125).double())
    assert relation_focal_probabilities(1000, 1.0)[0] == 0


def test_the_authors_batches_come_out():
    random = np.random.RandomState(2023)
    probabilities = relation_focal_probabilities(1000)
    drawn = [sample_timesteps(probabilities, 2, random).tolist() for _ in range(4)]
    assert drawn == [[480, 926], [712, 232], [255, 616], [44, 814]]


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_draws_equal_numpy_choice(alpha):
    probabilities = relation_focal_probabilities(50, alpha)
    ours = sample_timesteps(probabilities, 1000, np.random.RandomState(7))
    theirs = np.random.RandomState(7).choice(50, size=1000, p=probabilities.numpy())
    assert ours.dtype == torch.int64
    np.testing.assert_array_equal(ours.numpy(), theirs)


def test_new_style_generator():
    drawn = sample_timesteps(relation_focal_probabilities(10), 20000, np.random.default_rng(0))
    shares = torch.bincount(drawn, minlength=10) / 20000
    torch.testing.assert_close(shares.double(), relation_focal_probabilities(10), rtol=0, atol=0.02)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_alpha_outside_the_unit_interval(alpha):
    with pytest.raises(ValueError, match="`alpha` must lie in"):
        relation_focal_probabilities(1000, alpha)


@pytest.mark.parametrize("num_timesteps", [0, -3, 2.5])
def test_bad_number_of_timesteps(num_timesteps):
    with pytest.raises(ValueError, match="`num_timesteps`"):
        relation_focal_probabilities(num_timesteps)


def test_bad_probabilities():
    with pytest.raises(ValueError, match=r"`probabilities`.*2, 3"):
        sample_timesteps(torch.ones(2, 3), 1, np.random.default_rng(0))


def schedule(last_beta: float) -> torch.Tensor:
    betas = torch.linspace(0.00085**0.5, last_beta**0.5, 1000) ** 2
    return (1 - betas).cumprod(0)


@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_on_the_published_schedule_it_is_the_published_distribution(alpha):
    found = focal_probabilities_at(schedule(0.012), alpha)
    assert torch.equal(found, relation_focal_probabilities(1000, alpha))


def test_elsewhere_equal_noise_gets_equal_weight():
    noisier = schedule(0.025)
    found, published = focal_probabilities_at(noisier), relation_focal_probabilities(1000)
    torch.testing.assert_close(found.sum().item(), 1.0, rtol=0, atol=1e-12)
    ratio, known = (a / (1 - a) for a in (noisier, schedule(0.012)))
    for level in (50.0, 1.0, 0.05):  # as much is drawn below every signal-to-noise ratio
        shares = [p[r > level].sum().item() for p, r in ((found, ratio), (published, known))]
        assert shares[0] == pytest.approx(shares[1], abs=2e-3)
    assert found[ratio < known[-1]].sum() == 0
    silent = torch.cat([noisier[:-1], torch.zeros(1)])  # ends in noise alone
    assert focal_probabilities_at(silent).isfinite().all()


def test_a_schedule_without_such_noise_is_refused():
    with pytest.raises(ValueError, match="without relation-focal sampling"):
        focal_probabilities_at(torch.full((10,), 1e-6))
