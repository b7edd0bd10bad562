"""Focal loss: the op that MMDetection calls on CUDA against its own formula for the CPU."""

import pytest
import torch
from mmcv.ops import sigmoid_focal_loss
from mmdet.models.losses.focal_loss import py_sigmoid_focal_loss
from torch.nn import functional as F


TARGET = torch.tensor([0, 2, 3, 1, 3])  # 3 is background


def logits(dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(5, 3, dtype=dtype, requires_grad=True)


@pytest.mark.parametrize("gamma, alpha", [(2.0, 0.25), (0.5, 0.9)])
def test_values_are_those_of_the_formula(gamma, alpha, device):
    pred = logits().to(device)
    one_hot = F.one_hot(TARGET, 4)[:, :3].to(device)
    expected = py_sigmoid_focal_loss(pred, one_hot, None, gamma, alpha, "none")
    result = sigmoid_focal_loss(pred, TARGET.to(device), gamma, alpha, None, "none")
    torch.testing.assert_close(result, expected)


def test_without_focus_it_is_half_the_cross_entropy():
    pred = logits()
    result = sigmoid_focal_loss(pred, TARGET, 0.0, 0.5, None, "sum")
    one_hot = F.one_hot(TARGET, 4)[:, :3].double()
    expected = F.binary_cross_entropy_with_logits(pred, one_hot, reduction="sum") / 2
    torch.testing.assert_close(result, expected)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("weighted", [False, True])
def test_gradients_are_the_numerical_ones(reduction, weighted):
    weight = torch.tensor([0.5, 2.0, 3.0], dtype=torch.float64) if weighted else None
    if reduction == "none":
        # mmcv multiplies the incoming gradient; only a sum over the result is used in practice
        loss = sigmoid_focal_loss(pred := logits(), TARGET, 2.0, 0.25, weight, reduction)
        each = torch.autograd.grad(loss.sum(), pred)[0]
        total = sigmoid_focal_loss(pred, TARGET, 2.0, 0.25, weight, "sum")
        torch.testing.assert_close(each, torch.autograd.grad(total, pred)[0])
        return
    assert torch.autograd.gradcheck(
        lambda pred: sigmoid_focal_loss(pred, TARGET, 2.0, 0.25, weight, reduction), logits()
    )


def test_class_weights_scale_rows_and_leave_the_background():
    weight = torch.tensor([0.5, 2.0, 3.0], dtype=torch.float64)
    plain = sigmoid_focal_loss(pred := logits(), TARGET, 2.0, 0.25, None, "none")
    scaled = sigmoid_focal_loss(pred, TARGET, 2.0, 0.25, weight, "none")
    factors = torch.tensor([0.5, 3.0, 1.0, 2.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(scaled, plain * factors[:, None])


def test_extreme_logits_stay_finite():
    pred = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    for target in (0, 1, 3):
        loss = sigmoid_focal_loss(pred, torch.tensor([target]), 2.0, 0.25, None, "sum")
        assert loss.isfinite() and torch.autograd.grad(loss, pred)[0].isfinite().all()


def test_no_row():
    pred = torch.empty(0, 3, requires_grad=True)
    loss = sigmoid_focal_loss(pred, TARGET[:0], 2.0, 0.25, None, "sum")
    assert loss == 0 and torch.autograd.grad(loss, pred)[0].shape == (0, 3)
