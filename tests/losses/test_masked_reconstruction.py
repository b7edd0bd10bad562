"""Behaviours 19 and 20 of DreamRelation's masked reconstruction loss."""

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck

from visionrel.losses import masked_reconstruction_loss


SHAPE = (2, 3, 4, 5, 6)
FORMS = ("paper", "released")


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def make_batch():
    prediction, target = torch.randn(2, *SHAPE, dtype=torch.float64)
    return prediction, target, torch.rand(2, 4, 5, 6, dtype=torch.float64)


def test_both_forms():
    prediction, target, mask = make_batch()
    error = (prediction - target).square()
    for form, power in zip(FORMS, (1, 2), strict=True):
        expected = (error * (1 + 50 * mask[:, None] ** power)).mean()
        loss = masked_reconstruction_loss(prediction, target, mask, form=form)
        torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("form", FORMS)
def test_one_mask_for_all_samples(form):
    prediction, target, mask = make_batch()
    loss = masked_reconstruction_loss(prediction, target, mask[0], form=form)
    same = mask[:1].expand(2, -1, -1, -1)
    assert torch.equal(loss, masked_reconstruction_loss(prediction, target, same, form=form))


def test_forms_agree_on_binary_masks_and_no_mask_is_the_plain_error():
    prediction, target, mask = make_batch()
    binary = (mask > 0.5).double()
    losses = [masked_reconstruction_loss(prediction, target, binary, form=form) for form in FORMS]
    assert torch.equal(*losses)
    plain = F.mse_loss(prediction, target)
    for loss in (
        masked_reconstruction_loss(prediction, target, mask * 0),
        masked_reconstruction_loss(prediction, target, mask, mask_weight=0.0),
    ):
        torch.testing.assert_close(loss, plain, rtol=1e-12, atol=0)


def test_a_doubled_mask_counts_four_times_in_the_released_form():
    prediction, target, mask = make_batch()
    plain = F.mse_loss(prediction, target)
    once, twice = (
        masked_reconstruction_loss(prediction, target, factor * mask, form="released") - plain
        for factor in (1, 2)
    )
    torch.testing.assert_close(twice, 4 * once, rtol=1e-12, atol=0)


@pytest.mark.parametrize("form", FORMS)
def test_gradient_reaches_the_prediction_only(form):
    prediction, target, mask = (each.requires_grad_() for each in make_batch())
    assert gradcheck(
        lambda found: masked_reconstruction_loss(found, target, mask, form=form), (prediction,)
    )
    masked_reconstruction_loss(prediction, target, mask, form=form).backward()
    assert target.grad is None and mask.grad is None


def test_narrow_inputs_are_summed_in_float32():
    narrow = [each.bfloat16() for each in make_batch()]
    loss = masked_reconstruction_loss(*narrow)
    exact = masked_reconstruction_loss(*(each.double() for each in narrow))
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.double(), exact, rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prediction": torch.zeros(3, 4, 5, 6)}, "`prediction` must be floating point of shape"),
        ({"target": torch.zeros(2, 3, 4, 5, 1)}, "`target` must have the shape"),
        ({"mask": torch.zeros(2, 3, 4, 5, 6)}, r"`mask` must have shape \(4, 5, 6\) or \(2, 4,"),
        ({"mask": torch.full((4, 5, 6), -1.0)}, "`mask` must be at least 0"),
        ({"mask": torch.full((4, 5, 6), float("nan"))}, "`mask` must be at least 0"),
        ({"mask_weight": -1.0}, "`mask_weight` must be at least 0"),
        ({"form": "code"}, '`form` must be "paper" or "released", got \'code\''),
    ],
)
def test_bad_arguments(changes, message):
    prediction, target, mask = make_batch()
    settings = {"prediction": prediction, "target": target, "mask": mask}
    with pytest.raises(ValueError, match=message):
        masked_reconstruction_loss(**(settings | changes))
