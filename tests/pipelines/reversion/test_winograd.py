"""Winograd's convolution and the group norm with channels last give PyTorch's numbers."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from visionrel.pipelines.reversion.fast.resnet import Convolution, GroupNorm
from visionrel.pipelines.reversion.fast.winograd import SIDE, Tiling, Workspace, transform_kernel


def convolve(tiling: Tiling, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, out=None):
    """Channels first, as PyTorch has them."""
    tiling.inside.copy_(x.permute(0, 2, 3, 1))
    return tiling.convolve(transform_kernel(weight), bias, out).permute(0, 3, 1, 2)


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("size", [(4, 4), (8, 12), (16, 4)])
@pytest.mark.parametrize("channels", [(1, 1), (5, 7), (32, 16)])
def test_same_as_convolving(rows, size, channels):
    incoming, out = channels
    x, weight, bias = (
        torch.randn(rows, incoming, *size),
        torch.randn(out, incoming, 3, 3) / (9 * incoming) ** 0.5,
        torch.randn(out),
    )
    found = convolve(Tiling((rows, *size, incoming), out, Workspace()), x, weight, bias)
    expected = F.conv2d(x.double(), weight.double(), bias.double(), padding=1)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)


def test_a_kernel_of_one_position_shifts_the_picture():
    """Zeros come in from beyond the border."""
    x = torch.arange(64.0).view(1, 1, 8, 8)
    tiling = Tiling((1, 8, 8, 1), 1, Workspace())
    for position in range(9):
        weight = torch.zeros(9)
        weight[position] = 1
        weight = weight.view(1, 1, 3, 3)
        found = convolve(tiling, x, weight, torch.zeros(1))
        assert (found - F.conv2d(x, weight, padding=1)).abs().max() < 1e-4


def test_layers_share_memory_and_not_results():
    space = Workspace()
    small, large = space.tile((1, 4, 4, 3), 2), space.tile((2, 8, 8, 5), 6)
    assert space.tile((1, 4, 4, 3), 2) is small
    cases = [
        (small, torch.randn(1, 3, 4, 4), torch.randn(2, 3, 3, 3), torch.randn(2)),
        (large, torch.randn(2, 5, 8, 8), torch.randn(6, 5, 3, 3), torch.randn(6)),
    ] * 2
    found = [convolve(*case) for case in cases]
    for result, (_, x, weight, bias) in zip(found, cases, strict=True):
        expected = F.conv2d(x, weight, bias, padding=1)
        torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-4)


def test_result_goes_where_it_is_wanted():
    tiling, out = Tiling((1, SIDE, SIDE, 2), 3, Workspace()), torch.empty(1, SIDE, SIDE, 3)
    found = convolve(tiling, torch.randn(1, 2, 4, 4), torch.randn(3, 2, 3, 3), torch.zeros(3), out)
    assert found.data_ptr() == out.data_ptr()


@torch.inference_mode()
@pytest.mark.parametrize(
    ("channels", "rows", "size", "tiled"),
    [
        ((32, 64), 8, (8, 8), True),
        ((32, 64), 2, (16, 16), True),
        ((32, 64), 8, (4, 4), False),  # too few tiles
        ((32, 64), 8, (10, 8), False),  # no whole tiles
        ((16, 64), 8, (8, 8), False),  # too few channels
        ((1024, 512), 8, (8, 8), False),  # too large a kernel
    ],
)
def test_winograds_way_where_it_is_faster(channels, rows, size, tiled):
    layer = nn.Conv2d(*channels, 3, padding=1)
    kernels = {}
    convolution = Convolution(layer, Workspace(), kernels)
    x = torch.randn(rows, channels[0], *size)
    for bias in (None, torch.randn(channels[1])):
        placed = convolution.place(rows, *size).copy_(x.permute(0, 2, 3, 1))
        found = convolution(placed, bias).permute(0, 3, 1, 2)
        expected = F.conv2d(x, layer.weight, layer.bias if bias is None else bias, padding=1)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert (layer in kernels) == tiled


@pytest.mark.parametrize("groups", [1, 4, 12])
@pytest.mark.parametrize("mean", [0.0, 3.0])
def test_group_norm(groups, mean):
    layer = nn.GroupNorm(groups, 12)
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    x = mean + torch.randn(3, 12, 4, 6)
    found = GroupNorm(layer)(x.permute(0, 2, 3, 1).contiguous())
    torch.testing.assert_close(found.permute(0, 3, 1, 2), layer(x), rtol=1e-4, atol=1e-5)


def test_group_norm_of_one_value():
    found = GroupNorm(nn.GroupNorm(2, 4))(torch.full((1, 4, 4, 4), 1000.0))
    assert found.isfinite().all()
