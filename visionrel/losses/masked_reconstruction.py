"""Masked reconstruction loss of DreamRelation."""

from typing import Literal

import torch
from torch import Tensor


MaskForm = Literal["paper", "released"]


def masked_reconstruction_loss(
    prediction: Tensor,
    target: Tensor,
    mask: Tensor,
    mask_weight: float = 50.0,
    form: MaskForm = "paper",
) -> Tensor:
    r"""Squared error of a video in which subjects count more than the rest.

    "DreamRelation: Relation-Centric Video Customization" (arXiv 2503.07602), equation 2. With the
    error e of prediction and target, and the mask M of the subjects in training:

    .. math::
        L = \text{mean}\left[ (\lambda M + 1) e^2 \right]

    The mean is over everything, so that a larger subject weighs more. The authors' code squares
    the mask (`form` "released"), :math:`\text{mean}[(\lambda M^2 + 1) e^2]`: another value where a
    mask is fractional, as masks at the latents' size are, or where masks of several subjects are
    added up. A mask of zeros gives the plain squared error.

    Gradient reaches `prediction` only.

    Args:
        prediction: shape (batch, channels, frames, height, width).
        target: of the same shape.
        mask: at least 0, usually at most 1, shape (batch, frames, height, width), or (frames,
            height, width) for one mask of all samples.
        mask_weight: lambda, at least 0. The default is the authors'.
        form: "paper" or "released".

    Returns:
        The loss, a scalar of at least 0; float32 for narrower inputs.

    Raises:
        ValueError: A wrong shape, a negative or not finite mask or weight, or an unknown form.

    Example:
        >>> prediction, target = torch.ones(1, 1, 1, 1, 2), torch.zeros(1, 1, 1, 1, 2)
        >>> masked_reconstruction_loss(prediction, target, torch.tensor([[[1.0, 0.0]]]))
        tensor(26.)
    """
    _check_inputs(prediction, target, mask, mask_weight, form)
    dtype = torch.promote_types(prediction.dtype, torch.float32)
    error = prediction.to(dtype) - target.detach().to(prediction.device, dtype)
    mask = mask.detach().to(prediction.device, dtype)
    if form == "released":
        mask = mask.square()
    if mask.ndim == 4:
        mask = mask[:, None]  # over the channels
    return ((mask_weight * mask + 1) * error.square()).mean()


def _check_inputs(
    prediction: Tensor, target: Tensor, mask: Tensor, mask_weight: float, form: str
) -> None:
    if prediction.ndim != 5 or not prediction.is_floating_point() or 0 in prediction.shape:
        raise ValueError(
            "`prediction` must be floating point of shape (batch, channels, frames, height, "
            f"width), nothing empty, got {tuple(prediction.shape)} and {prediction.dtype}."
        )
    if target.shape != prediction.shape:
        raise ValueError(
            f"`target` must have the shape {tuple(prediction.shape)} of `prediction`, got "
            f"{tuple(target.shape)}."
        )
    places = prediction.shape[2:]
    if mask.shape not in (places, (prediction.shape[0], *places)):
        raise ValueError(
            f"`mask` must have shape {tuple(places)} or {(prediction.shape[0], *places)}, got "
            f"{tuple(mask.shape)}; bring it to the size of the latents."
        )
    if not ((mask >= 0) & mask.isfinite()).all():
        raise ValueError(
            f"`mask` must be at least 0 and finite, got {mask.min():.4g} to {mask.max():.4g}."
        )
    if not 0 <= mask_weight < float("inf"):
        raise ValueError(f"`mask_weight` must be at least 0 and finite, got {mask_weight}.")
    if form not in ("paper", "released"):
        raise ValueError(f'`form` must be "paper" or "released", got {form!r}.')
