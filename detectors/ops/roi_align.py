"""RoIAlign with the signatures of `mmcv._ext`: results are written into the given tensors.

The mean is torchvision's. The maximum is built on it: a call with one sample per bin and bins as
fine as the sampling grid returns the samples themselves, and a maximum over each block of them is
the maximum over a bin.
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import roi_align


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Fills `output`, and for the maximum also the place of each maximum.

    Args:
        input: Feature map of shape (B, C, H, W).
        rois: Shape (R, 5) as image index, x1, y1, x2, y2 in image coordinates.
        output: Shape (R, C, aligned_height, aligned_width).
        argmax_y: Shape of `output` if the mode is the maximum: row in the sampling grid.
        argmax_x: The same for the column.
        aligned_height: Rows of bins.
        aligned_width: Columns of bins.
        spatial_scale: Feature cells per image pixel.
        sampling_ratio: Samples per bin and axis; 0 takes as many as the bin has cells.
        pool_mode: 0 for the maximum, 1 for the mean.
        aligned: Whether pixel centres lie at half coordinates.
    """
    features, rois = _computable(input), rois.to(_computable(input).dtype)
    size = (aligned_height, aligned_width)
    if pool_mode == 1:
        output.copy_(roi_align(features, rois, size, spatial_scale, sampling_ratio, aligned))
        return
    for rows, grid in _grids(rois, size, spatial_scale, sampling_ratio, aligned):
        fine = (size[0] * grid[0], size[1] * grid[1])
        samples = roi_align(features, rois[rows], fine, spatial_scale, 1, aligned)
        best, place = F.max_pool2d(samples, grid, return_indices=True)
        output[rows] = best.to(output.dtype)
        argmax_y[rows] = (place // fine[1]).to(argmax_y.dtype)
        argmax_x[rows] = (place % fine[1]).to(argmax_x.dtype)


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Adds the gradient of the feature map to `grad_input`; arguments as in the forward pass."""
    grad = _computable(grad_output)
    rois, size = rois.to(grad.dtype), (aligned_height, aligned_width)

    def add(grad: Tensor, rois: Tensor, sampling_ratio: int) -> None:
        grad_input.add_(
            torch.ops.torchvision._roi_align_backward(
                grad,
                rois,
                spatial_scale,
                *grad.shape[2:],
                *grad_input.shape,
                sampling_ratio,
                aligned,
            )
        )

    if pool_mode == 1:
        add(grad, rois, sampling_ratio)
        return
    for rows, grid in _grids(rois, size, spatial_scale, sampling_ratio, aligned):
        fine = (size[0] * grid[0], size[1] * grid[1])
        place = (argmax_y[rows] * fine[1]).long() + argmax_x[rows].long()
        samples = grad.new_zeros(*grad[rows].shape[:2], fine[0] * fine[1])
        samples.scatter_(2, place.flatten(2), grad[rows].flatten(2))
        add(samples.unflatten(2, fine), rois[rows], 1)


def _computable(tensor: Tensor) -> Tensor:
    """Bfloat16, which torchvision's kernels lack, becomes float32."""
    return tensor.float() if tensor.dtype == torch.bfloat16 else tensor


def _grids(
    rois: Tensor,
    size: tuple[int, int],
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> Iterator[tuple[Tensor, tuple[int, int]]]:
    """Groups regions by their samples per bin (vertical, horizontal); yields indices and grid."""
    if not len(rois):
        return
    if sampling_ratio > 0:
        yield torch.arange(len(rois), device=rois.device), (sampling_ratio, sampling_ratio)
        return
    # [R, 2] as height, width
    extent = (rois[:, [4, 3]] - rois[:, [2, 1]]) * spatial_scale
    extent = extent.clamp(min=0 if aligned else 1)
    grids = (extent / extent.new_tensor(size)).ceil().clamp(min=1).long()
    for grid in grids.unique(dim=0):
        rows = (grids == grid).all(-1).nonzero().squeeze(1)
        yield rows, (int(grid[0]), int(grid[1]))
