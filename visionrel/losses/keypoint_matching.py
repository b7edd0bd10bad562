"""Keypoint matching loss of RelationBooth."""

from typing import Literal

import torch
from torch import Tensor


KeypointReduction = Literal["mean", "sum", "none"]


def keypoint_matching_loss(
    predicted_latents: Tensor,
    reference_latents: Tensor,
    target_keypoints: Tensor,
    reference_keypoints: Tensor,
    *,
    timesteps: Tensor | None = None,
    max_timestep: int | None = 333,
    reduction: KeypointReduction = "mean",
) -> Tensor:
    r"""Make each part of an object look like the same part of its reference picture.

    "RelationBooth: Towards Relation-Aware Customized Object Generation" (arXiv 2410.23280), the
    keypoint matching loss. With the latents :math:`\hat z` that the generator predicts for the
    target picture, those :math:`z_r` of reference r, and the cells t(r, p) and s(r, p) of keypoint
    p in the target and in the reference, for one sample:

    .. math::
        L = \frac{1}{R K C} \sum_{r, p} \lVert \hat z[t(r, p)] - z_r[s(r, p)] \rVert^2

    Where a part is drawn comes from the target, what it looks like from the reference. A keypoint
    (x, y) lies in the cell in column trunc(x width) and row trunc(y height); nothing is
    interpolated.

    The paper does not divide by the channels C (`reduction` "sum"), the authors' code does. Two
    differences to that code: it scales the references' keypoints by the number of channels, so
    that all of them fall into the first few cells, and it lets 1.0 fall out of the picture; here
    they are scaled as the target's, and 1.0 is the last cell.

    Gradient reaches `predicted_latents` only, at the target's cells.

    Args:
        predicted_latents: clean latents as predicted, shape (batch, channels, height, width).
        reference_latents: those of the references, shape (batch, references, channels, height,
            width); their height and width may be others.
        target_keypoints: (x, y) in [0, 1] in the target, shape (batch, references, keypoints, 2).
        reference_keypoints: (x, y) in [0, 1] in the references, of the same shape.
        timesteps: at which the latents were predicted, shape (batch,); None counts all samples.
        max_timestep: samples with larger timesteps have the loss 0, as their latents are too noisy
            to have parts; None counts all. The default is the authors'.
        reduction: "mean" over everything; "sum" over the channels and the mean over the rest, as in
            the paper; "none" for the "mean" of each sample. Samples with the loss 0 count in it.

    Returns:
        The loss, a scalar of at least 0, or of shape (batch,) for "none"; float32 for narrower
        inputs.

    Raises:
        ValueError: A wrong shape, keypoints outside [0, 1], or an unknown reduction.

    Example:
        >>> predicted = torch.arange(4.0).view(1, 1, 2, 2)
        >>> reference = torch.full((1, 1, 1, 2, 2), 5.0)
        >>> point = torch.tensor([[[[0.9, 0.1]]]])
        >>> keypoint_matching_loss(predicted, reference, point, point)
        tensor(16.)
    """
    _check_shapes(predicted_latents, reference_latents, target_keypoints, reference_keypoints)
    _check_range("target_keypoints", target_keypoints)
    _check_range("reference_keypoints", reference_keypoints)
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f'`reduction` must be "mean", "sum" or "none", got {reduction!r}.')
    dtype = torch.promote_types(predicted_latents.dtype, torch.float32)
    predicted = predicted_latents.to(dtype)
    reference = reference_latents.detach().to(predicted.device, dtype)
    # One plane for all references: batch, references, channels, keypoints.
    planes = predicted[:, None].expand(-1, reference.shape[1], -1, -1, -1)
    drawn = _at_keypoints(planes, target_keypoints)
    difference = drawn - _at_keypoints(reference, reference_keypoints)
    # Filled, not multiplied: latents predicted from noise alone may be infinite.
    skipped = ~_counts(predicted, timesteps, max_timestep)[:, None, None, None]
    losses = difference.masked_fill(skipped, 0).square().mean((1, 2, 3))
    if reduction == "none":
        return losses
    return losses.mean() * (predicted.shape[1] if reduction == "sum" else 1)


def _at_keypoints(latents: Tensor, keypoints: Tensor) -> Tensor:
    """Reads `(batch, references, channels, height, width)` in the cells of the keypoints."""
    height, width = latents.shape[-2:]
    points = keypoints.detach().to(latents.device)
    points = points.to(torch.promote_types(points.dtype, torch.float32))
    columns = (points[..., 0] * width).long().clamp_(max=width - 1)
    rows = (points[..., 1] * height).long().clamp_(max=height - 1)
    cells = (rows * width + columns)[:, :, None].expand(-1, -1, latents.shape[2], -1)
    return latents.flatten(3).gather(3, cells)


def _counts(latents: Tensor, timesteps: Tensor | None, max_timestep: int | None) -> Tensor:
    """Which samples count, shape (batch,)."""
    batch = len(latents)
    if timesteps is not None and timesteps.shape != (batch,):
        raise ValueError(
            f"`timesteps` must have shape ({batch},), one per sample, got {tuple(timesteps.shape)}."
        )
    if timesteps is None or max_timestep is None:
        return torch.ones(batch, dtype=torch.bool, device=latents.device)
    return timesteps.to(latents.device) <= max_timestep


def _check_shapes(
    predicted: Tensor, reference: Tensor, target_points: Tensor, points: Tensor
) -> None:
    if predicted.ndim != 4 or not predicted.is_floating_point() or 0 in predicted.shape:
        raise ValueError(
            "`predicted_latents` must be floating point of shape (batch, channels, height, width), "
            f"nothing empty, got {tuple(predicted.shape)} and {predicted.dtype}."
        )
    batch, channels = predicted.shape[:2]
    if reference.ndim != 5 or reference.shape[0] != batch or reference.shape[2] != channels:
        raise ValueError(
            f"`reference_latents` must have shape ({batch}, references, {channels}, height, width) "
            f"as `predicted_latents` has, got {tuple(reference.shape)}."
        )
    if 0 in reference.shape:
        raise ValueError(f"`reference_latents` is empty: {tuple(reference.shape)}.")
    for name, found in (("target_keypoints", target_points), ("reference_keypoints", points)):
        wanted = (*reference.shape[:2], target_points.shape[-2] if target_points.ndim == 4 else 0)
        if found.shape != (*wanted, 2) or not found.numel() or not found.is_floating_point():
            raise ValueError(
                f"`{name}` must be floating point of shape ({wanted[0]}, {wanted[1]}, keypoints, "
                f"2), the same for both, got {tuple(found.shape)} and {found.dtype}."
            )


def _check_range(name: str, keypoints: Tensor) -> None:
    if not ((keypoints >= 0) & (keypoints <= 1)).all():
        raise ValueError(
            f"`{name}` must be (x, y) in [0, 1], got values from {keypoints.min():.4g} to "
            f"{keypoints.max():.4g}; divide pixels by the picture's width and height."
        )
