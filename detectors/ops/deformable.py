"""Multi-scale deformable attention (arXiv 2010.04159, section 4.1) as `mmcv._ext` has it.

On the CPU mmcv uses a PyTorch form of its own; on CUDA it asks for these two ops, which compute the
same form.
"""

import torch
from torch import Tensor


def ms_deform_attn_forward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int,
) -> Tensor:
    """Weighted sum of values read at fractional places of every level.

    Args:
        value: Shape (B, sum of H * W over levels, heads, channels per head).
        value_spatial_shapes: Shape (levels, 2) as height, width.
        value_level_start_index: Not needed here.
        sampling_locations: Shape (B, queries, heads, levels, points, 2) as x, y in [0, 1].
        attention_weights: Shape (B, queries, heads, levels, points).
        im2col_step: Not needed here.

    Returns:
        Shape (B, queries, heads * channels per head).
    """
    from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

    shapes = value_spatial_shapes.tolist()
    return multi_scale_deformable_attn_pytorch(value, shapes, sampling_locations, attention_weights)


def ms_deform_attn_backward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_sampling_loc: Tensor,
    grad_attn_weight: Tensor,
    im2col_step: int,
) -> None:
    """Computes the forward pass again and fills the three gradients."""
    inputs = [value, sampling_locations, attention_weights]
    with torch.enable_grad():
        value, locations, weights = (tensor.detach().requires_grad_() for tensor in inputs)
        output = ms_deform_attn_forward(
            value, value_spatial_shapes, value_level_start_index, locations, weights, im2col_step
        )
    gradients = torch.autograd.grad(output, [value, locations, weights], grad_output)
    targets = [grad_value, grad_sampling_loc, grad_attn_weight]
    for target, gradient in zip(targets, gradients, strict=True):
        target.copy_(gradient)
