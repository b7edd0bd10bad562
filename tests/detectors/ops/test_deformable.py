"""Deformable attention on CUDA's path, which can run on any device."""

import pytest
import torch
from mmcv.ops.multi_scale_deform_attn import (
    MultiScaleDeformableAttention,
    MultiScaleDeformableAttnFunction,
)


SHAPES = torch.tensor([[3, 4], [2, 2]])
STARTS = torch.tensor([0, 12])


def inputs(device="cpu"):
    value = torch.randn(2, 16, 2, 3, dtype=torch.float64)
    locations = torch.rand(2, 5, 2, 2, 3, 2, dtype=torch.float64) * 1.2 - 0.1
    weights = torch.rand(2, 5, 2, 2, 3, dtype=torch.float64)
    return [tensor.to(device).requires_grad_() for tensor in (value, locations, weights)]


def attend(value, locations, weights):
    shapes, starts = SHAPES.to(value.device), STARTS.to(value.device)
    return MultiScaleDeformableAttnFunction.apply(value, shapes, starts, locations, weights, 64)


def by_hand(value, locations, weights):
    """The sum of the paper's equation 3, read with bilinear weights 1 - |distance|."""
    output = torch.zeros(2, 5, 2, 3, dtype=torch.float64)
    for level, (height, width) in enumerate(SHAPES.tolist()):
        grid = value[:, STARTS[level] :][:, : height * width].unflatten(1, (height, width))
        for point in range(3):
            x = locations[:, :, :, level, point, 0] * width - 0.5
            y = locations[:, :, :, level, point, 1] * height - 0.5
            for row in range(height):
                for column in range(width):
                    share = (1 - (x - column).abs()).clamp(min=0)
                    share = share * (1 - (y - row).abs()).clamp(min=0)
                    share = share * weights[:, :, :, level, point]
                    output += share[..., None] * grid[:, row, column][:, None]
    return output.flatten(2)


def test_values_are_the_bilinear_sum(device):
    tensors = inputs()
    result = attend(*(tensor.to(device) for tensor in tensors))
    torch.testing.assert_close(result.cpu(), by_hand(*tensors))


def test_gradients_are_the_numerical_ones(device):
    assert torch.autograd.gradcheck(attend, inputs(device))


def test_the_module_runs_forward_and_backward(device):
    module = MultiScaleDeformableAttention(16, num_heads=4, num_levels=2, batch_first=True)
    module.to(device)
    query = torch.randn(2, 16, 16, device=device, requires_grad=True)
    points = torch.rand(2, 16, 2, 2, device=device)
    output = module(
        query,
        reference_points=points,
        spatial_shapes=SHAPES.to(device),
        level_start_index=STARTS.to(device),
    )
    output.sum().backward()
    assert query.grad.isfinite().all() and query.grad.any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_reduced_precision_stays_near_float32(dtype):
    tensors = [tensor.detach().to(dtype) for tensor in inputs()]
    exact = attend(*(tensor.float() for tensor in tensors))
    torch.testing.assert_close(attend(*tensors).float(), exact, rtol=0.05, atol=0.05)
