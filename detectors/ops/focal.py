"""Sigmoid focal loss (arXiv 1708.02002, equation 5) with the signatures of `mmcv._ext`."""

import torch
from torch import Tensor
from torch.nn import functional as F


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Fills `output` with one loss per row and class.

    Args:
        input: Logits of shape (N, C).
        target: Class of each row, shape (N,); C is background.
        weight: Weight of each class, shape (C,), or empty for none. Background weighs 1.
        output: Shape (N, C).
        gamma: Focusing exponent.
        alpha: Weight of the true class; the others have 1 - alpha.
    """
    output.copy_(_loss(input, target, weight, gamma, alpha))


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Fills `grad_input` (N, C) with the derivative of each loss by its own logit."""
    with torch.enable_grad():
        logits = input.detach().requires_grad_()
        total = _loss(logits, target, weight, gamma, alpha).sum()
    grad_input.copy_(torch.autograd.grad(total, logits)[0])


def _loss(logits: Tensor, target: Tensor, weight: Tensor, gamma: float, alpha: float) -> Tensor:
    logits = logits if logits.dtype == torch.float64 else logits.float()
    true = target[:, None] == torch.arange(logits.shape[1], device=logits.device)
    # The logit of the answer that is right: log p_t = logsigmoid(±logit).
    right = torch.where(true, logits, -logits)
    balance = torch.where(true, alpha, 1 - alpha)
    loss = -balance * torch.sigmoid(-right) ** gamma * F.logsigmoid(right)
    if weight.numel():
        loss = loss * F.pad(weight, (0, 1), value=1.0)[target, None]
    return loss
