"""Behaviours 11 and 12 of RelationBooth's keypoint matching loss."""

import pytest
import torch
from torch.autograd import gradcheck

from visionrel.losses import keypoint_matching_loss


BATCH, REFERENCES, CHANNELS, KEYPOINTS, HEIGHT, WIDTH = 3, 2, 4, 17, 8, 10


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def make_batch(dtype=torch.float64):
    predicted = torch.randn(BATCH, CHANNELS, HEIGHT, WIDTH, dtype=dtype)
    reference = torch.randn(BATCH, REFERENCES, CHANNELS, HEIGHT, WIDTH, dtype=dtype)
    points = torch.rand(2, BATCH, REFERENCES, KEYPOINTS, 2, dtype=torch.float64)
    return predicted, reference, points[0], points[1]


def cell(point):
    x, y = point.tolist()
    return min(int(y * HEIGHT), HEIGHT - 1), min(int(x * WIDTH), WIDTH - 1)


def direct(predicted, reference, target_points, points):
    """The formula point by point, per sample."""
    losses = []
    for b in range(BATCH):
        terms = []
        for r in range(REFERENCES):
            for p in range(KEYPOINTS):
                i, j = cell(target_points[b, r, p])
                k, m = cell(points[b, r, p])
                terms.append((predicted[b, :, i, j] - reference[b, r, :, k, m]).square())
        losses.append(torch.stack(terms).mean())
    return torch.stack(losses)


def test_formula_and_reductions():
    batch = make_batch()
    expected = direct(*batch)
    torch.testing.assert_close(
        keypoint_matching_loss(*batch, reduction="none"), expected, rtol=1e-12, atol=0
    )
    mean = keypoint_matching_loss(*batch)
    torch.testing.assert_close(mean, expected.mean(), rtol=1e-12, atol=0)
    paper = keypoint_matching_loss(*batch, reduction="sum")
    torch.testing.assert_close(paper, CHANNELS * mean, rtol=1e-12, atol=0)


def test_zero_where_parts_look_alike():
    predicted, reference, target_points, points = make_batch()
    for b in range(BATCH):
        # Every reference point looks like the cell of its target.
        for r in range(REFERENCES):
            for p in range(KEYPOINTS):
                points[b, r, p] = torch.tensor([(p % WIDTH + 0.5) / WIDTH, (r + 0.5) / HEIGHT])
                target_points[b, r, p] = points[b, r, p]
                i, j = cell(points[b, r, p])
                reference[b, r, :, i, j] = predicted[b, :, i, j]
    assert keypoint_matching_loss(predicted, reference, target_points, points) == 0


def test_only_the_cells_of_the_target_matter():
    predicted, reference, target_points, points = make_batch()
    predicted.requires_grad_()
    reference.requires_grad_()
    loss = keypoint_matching_loss(predicted, reference, target_points, points)
    loss.backward()
    assert reference.grad is None
    touched = torch.zeros(BATCH, HEIGHT, WIDTH, dtype=torch.bool)
    for b in range(BATCH):
        for point in target_points[b].flatten(0, 1):
            touched[(b, *cell(point))] = True
    found = (predicted.grad != 0).any(1)
    assert torch.equal(found, touched) and not touched.all()
    changed = predicted.detach() + torch.where(touched[:, None], 0.0, 9.0)
    assert keypoint_matching_loss(changed, reference, target_points, points) == loss


def test_the_order_of_the_objects_does_not_matter():
    predicted, *rest = make_batch()
    swapped = keypoint_matching_loss(predicted, *(each.flip(1) for each in rest))
    torch.testing.assert_close(swapped, keypoint_matching_loss(predicted, *rest))


def test_gradients():
    predicted, *rest = make_batch()
    assert gradcheck(lambda z: keypoint_matching_loss(z, *rest), (predicted.requires_grad_(),))


def test_only_samples_with_little_noise_count():
    batch = make_batch()
    each = keypoint_matching_loss(*batch, reduction="none")
    times = torch.tensor([333, 334, 0])
    gated = keypoint_matching_loss(*batch, timesteps=times, reduction="none")
    assert torch.equal(gated, each * torch.tensor([1, 0, 1]))
    mean = keypoint_matching_loss(*batch, timesteps=times)
    torch.testing.assert_close(mean, (each[0] + each[2]) / BATCH)
    everyone = keypoint_matching_loss(*batch, timesteps=times, max_timestep=None)
    assert torch.equal(everyone, keypoint_matching_loss(*batch))


def test_samples_that_do_not_count_may_be_infinite():
    predicted, *rest = make_batch()
    predicted[1] = float("inf")
    predicted.requires_grad_()
    loss = keypoint_matching_loss(predicted, *rest, timesteps=torch.tensor([0, 999, 0]))
    loss.backward()
    assert loss.isfinite() and predicted.grad.isfinite().all()
    assert not predicted.grad[1].any()


def test_one_is_the_last_cell():
    predicted = torch.arange(6.0).view(1, 1, 2, 3)
    corner = torch.ones(1, 1, 1, 2)
    loss = keypoint_matching_loss(predicted, torch.zeros(1, 1, 1, 4, 4), corner, corner)
    assert loss == 25


def test_narrow_latents_are_summed_in_float32():
    batch = make_batch(torch.bfloat16)
    loss = keypoint_matching_loss(*batch)
    assert loss.dtype == torch.float32
    exact = keypoint_matching_loss(batch[0].double(), batch[1].double(), *batch[2:])
    torch.testing.assert_close(loss.double(), exact, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("number", "change", "message"),
    [
        (0, lambda z: z[0], r"`predicted_latents` must be .* got \(4, 8, 10\)"),
        (1, lambda z: z[:, :, :3], r"`reference_latents` must have shape \(3, references, 4,"),
        (1, lambda z: z[:, :0], "`reference_latents` is empty"),
        (2, lambda p: p[:, :1], "`target_keypoints` must be floating point of shape"),
        (3, lambda p: p[:, :, :5], "`reference_keypoints` must be floating point of shape"),
        (3, lambda p: p.long(), "`reference_keypoints` must be floating point"),
        (2, lambda p: p * 64, r"`target_keypoints` must be \(x, y\) in \[0, 1\].*divide pixels"),
        (3, lambda p: p * float("nan"), "`reference_keypoints` must be"),
    ],
)
def test_bad_tensors(number, change, message):
    batch = list(make_batch())
    batch[number] = change(batch[number])
    with pytest.raises(ValueError, match=message):
        keypoint_matching_loss(*batch)


def test_bad_options():
    batch = make_batch()
    with pytest.raises(ValueError, match='`reduction` must be "mean", "sum" or "none", got'):
        keypoint_matching_loss(*batch, reduction="max")
    with pytest.raises(ValueError, match=r"`timesteps` must have shape \(3,\)"):
        keypoint_matching_loss(*batch, timesteps=torch.tensor([1]))
