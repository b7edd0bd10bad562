"""Scene condition loss in the style of LANGO, reconstructed from the paper's abstract."""

import torch
import torch.nn.functional as F
from torch import Tensor


def scene_condition_loss(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    r"""Cross-entropy with soft labels over the pictures whose condition is known.

    "Language-guided Learning for Object Detection Tackling Multiple Variations in Aerial Images"
    (LANGO, arXiv 2505.23193) says that the scene's conditions are interpreted, not how that is
    taught. This loss is our *reconstruction*. For one axis, such as the weather, with the valid
    pictures V:

    .. math::
        L = -\frac{1}{|V|} \sum_{i \in V} \sum_k t_{ik} \log \mathrm{softmax}(l_i)_k

    Hard labels give the usual cross-entropy. Without a valid picture the loss is 0, with the graph
    intact. Gradient reaches ``logits`` only.

    Args:
        logits: shape (batch, num_conditions), num_conditions at least 1.
        target: probability of each condition, same shape; rows of valid pictures are not
            negative and have sum 1, other rows may hold anything.
        valid: shape (batch,), boolean or 0 and 1: which pictures have a label.

    Returns:
        The loss, a scalar of at least 0 in ``logits``'s dtype (computed in float32 at least).

    Example:
        >>> logits = torch.tensor([[0.0, 0.0], [9.0, 0.0]])
        >>> target = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> scene_condition_loss(logits, target, torch.tensor([True, False]))
        tensor(0.6931)
    """
    _check_shapes(logits, target, valid)
    dtype = torch.promote_types(logits.dtype, torch.float32)
    known = valid.to(logits.device).bool()
    if not known.any():
        return logits.sum() * 0
    labels = target.detach().to(logits.device)[known].to(dtype)
    _check_labels(labels)
    return F.cross_entropy(logits[known].to(dtype), labels).to(logits.dtype)


def _check_shapes(logits: Tensor, target: Tensor, valid: Tensor) -> None:
    if logits.ndim != 2 or logits.shape[1] == 0 or not logits.is_floating_point():
        raise ValueError(
            "`logits` must be floating point of shape (batch, num_conditions), got shape "
            f"{tuple(logits.shape)} and {logits.dtype}; pass the logits of one axis."
        )
    if target.shape != logits.shape or not target.is_floating_point():
        raise ValueError(
            f"`target` must be floating point of shape {tuple(logits.shape)}, as `logits`, got "
            f"shape {tuple(target.shape)} and {target.dtype}; pass one probability per condition "
            "(torch.nn.functional.one_hot for hard labels)."
        )
    if valid.shape != logits.shape[:1]:
        raise ValueError(
            f"`valid` must have shape ({logits.shape[0]},), got {tuple(valid.shape)}; pass one "
            "truth value per picture."
        )


def _check_labels(labels: Tensor) -> None:
    # The tolerance lets float16 labels pass.
    if not ((labels >= 0).all() and (labels.sum(1) - 1).abs().max() < 1e-2):
        raise ValueError(
            "`target` must be probabilities: at least 0 and with sum 1 in the rows of valid "
            f"pictures, got a least value of {labels.min():.4g} and sums from "
            f"{labels.sum(1).min():.4g} to {labels.sum(1).max():.4g}; set `valid` to False where "
            "no label is known."
        )
