"""Behaviours 1, 2 and 8 of DreamRelation's space-time relational contrastive loss."""

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck

from visionrel.losses import relational_contrastive_loss


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def make_batch(anchors=10, positives=4, negatives=11, channels=12):
    counts = ((), (positives,), (negatives,))
    return [torch.randn(anchors, *each, channels, dtype=torch.float64) for each in counts]


def test_formula():
    anchors, positives, negatives = make_batch()
    terms = []
    for a, p, n in zip(anchors, positives, negatives, strict=True):
        good = F.cosine_similarity(a, p, dim=-1) / 0.07
        bad = F.cosine_similarity(a, n, dim=-1) / 0.07
        terms.append(torch.cat([good, bad]).logsumexp(0) - good.logsumexp(0))
    loss = relational_contrastive_loss(anchors, positives, negatives)
    torch.testing.assert_close(loss, torch.stack(terms).mean(), rtol=1e-12, atol=0)
    assert loss > 0


def test_scale_and_order_do_not_matter():
    anchors, positives, negatives = make_batch()
    loss = relational_contrastive_loss(anchors, positives, negatives)
    for changed in (
        (anchors * 9, positives, negatives),
        (anchors * 1e-10, positives * 1e200, negatives),
        (anchors, positives * torch.rand(10, 4, 1), negatives),
        (anchors, positives, negatives * torch.rand(10, 11, 1)),
        (anchors, positives.flip(1), negatives.flip(1)),
        (anchors.flip(0), positives.flip(0), negatives.flip(0)),
    ):
        torch.testing.assert_close(relational_contrastive_loss(*changed), loss)


def test_without_negatives_it_is_zero():
    anchors, positives, negatives = make_batch(negatives=0)
    anchors.requires_grad_()
    loss = relational_contrastive_loss(anchors, positives, negatives)
    loss.backward()
    assert loss == 0 and torch.equal(anchors.grad, torch.zeros_like(anchors))


def test_gradients():
    batch = [each.requires_grad_() for each in make_batch(3, 2, 4, 5)]
    assert gradcheck(relational_contrastive_loss, batch)


def test_what_stands_still_is_finite_and_has_no_gradient():
    anchors, positives, negatives = make_batch()
    anchors[3] = 0
    positives[5, 1] = 0
    for each in (anchors, positives, negatives):
        each.requires_grad_()
    loss = relational_contrastive_loss(anchors, positives, negatives)
    loss.backward()
    assert loss.isfinite()
    assert torch.equal(anchors.grad[3], torch.zeros(12).double())
    assert torch.equal(positives.grad[5, 1], torch.zeros(12).double())
    assert all(each.grad.isfinite().all() for each in (anchors, positives, negatives))
    still = torch.zeros(10, 12, dtype=torch.float64)
    level = relational_contrastive_loss(still, positives, negatives)
    torch.testing.assert_close(level.item(), torch.tensor(15 / 4).log().item(), rtol=1e-6, atol=0)


def test_narrow_inputs_are_summed_in_float32():
    narrow = [each.bfloat16() for each in make_batch()]
    with torch.autocast("cpu", torch.bfloat16):
        loss = relational_contrastive_loss(*narrow)
    exact = relational_contrastive_loss(*(each.double() for each in narrow))
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.double(), exact, rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("number", "change", "message"),
    [
        (0, lambda rows: rows[0], r"`anchors` must be .* got \(12,\)"),
        (0, lambda rows: rows[:0], "`anchors` must be"),
        (1, lambda rows: rows[:, :0], r"`positives` must be .*at least 1 for each anchor"),
        (1, lambda rows: rows[:5], r"`positives` must be floating point of shape \(10, number, 12"),
        (2, lambda rows: rows[..., :3], r"`negatives` must be .* got \(10, 11, 3\)"),
        (2, lambda rows: rows.long(), "`negatives` must be floating point"),
    ],
)
def test_bad_tensors(number, change, message):
    batch = make_batch()
    batch[number] = change(batch[number])
    with pytest.raises(ValueError, match=message):
        relational_contrastive_loss(*batch)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_bad_temperature(temperature):
    with pytest.raises(ValueError, match="`temperature` must be above 0"):
        relational_contrastive_loss(*make_batch(), temperature=temperature)
