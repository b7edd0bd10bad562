"""RoIAlign against a sample-by-sample loop, torchvision and numerical derivatives."""

import math

import pytest
import torch
from mmcv.ops import RoIAlign, roi_align
from torchvision.ops import roi_align as torchvision_roi_align


REGIONS = [
    [0, 1.3, 2.1, 9.7, 12.4],
    [1, 0.0, 0.0, 15.0, 15.0],
    [0, -3.1, -2.3, 5.0, 6.2],  # leaves the picture
    [1, 11.0, 3.0, 30.0, 40.0],
    [0, 4.0, 4.0, 4.0, 4.0],  # empty
]


def inputs(channels: int = 2, dtype: torch.dtype = torch.float64):
    return torch.randn(2, channels, 8, 8, dtype=dtype), torch.tensor(REGIONS, dtype=dtype)


def sample(plane, y: float, x: float) -> float:
    height, width = plane.shape
    if y < -1 or y > height or x < -1 or x > width:
        return 0.0
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    down, along = y - top, x - left
    upper = plane[top, left] * (1 - along) + plane[top, right] * along
    lower = plane[bottom, left] * (1 - along) + plane[bottom, right] * along
    return float(upper * (1 - down) + lower * down)


def loop(features, rois, size, scale, ratio, mode, aligned):
    output = torch.zeros(len(rois), features.shape[1], size, size, dtype=features.dtype)
    shift = 0.5 if aligned else 0.0
    for index, (image, *corners) in enumerate(rois.tolist()):
        left, top, right, bottom = (corner * scale - shift for corner in corners)
        width, height = right - left, bottom - top
        if not aligned:
            width, height = max(width, 1.0), max(height, 1.0)
        rows = ratio or max(math.ceil(height / size), 1)
        columns = ratio or max(math.ceil(width / size), 1)
        for channel, plane in enumerate(features[int(image)]):
            for y in range(size):
                for x in range(size):
                    values = [
                        sample(
                            plane,
                            top + (y + (i + 0.5) / rows) * height / size,
                            left + (x + (j + 0.5) / columns) * width / size,
                        )
                        for i in range(rows)
                        for j in range(columns)
                    ]
                    pooled = max(values) if mode == "max" else sum(values) / len(values)
                    output[index, channel, y, x] = pooled
    return output


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("ratio", [0, 1, 2])
def test_values_are_those_of_a_loop(aligned, mode, ratio):
    features, rois = inputs()
    if mode == "avg" and ratio == 0:
        rois = rois[:-1]  # the mean over no sample is 0, tested below
    settings = (3, 0.5, ratio, mode, aligned)
    torch.testing.assert_close(
        roi_align(features, rois, *settings), loop(features, rois, *settings)
    )


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("ratio", [0, 2])
def test_the_gradient_is_the_numerical_one(aligned, mode, ratio):
    features, rois = inputs(channels=1)
    features.requires_grad_()

    def compute(features):
        return roi_align(features, rois, 2, 0.5, ratio, mode, aligned)

    assert torch.autograd.gradcheck(compute, features)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_mean_and_its_gradient_are_torchvisions(dtype, device):
    features, rois = (tensor.to(device) for tensor in inputs(dtype=dtype))
    features.requires_grad_()
    ours = roi_align(features, rois, (3, 4), 0.5, 2, "avg", True)
    theirs = torchvision_roi_align(features, rois, (3, 4), 0.5, 2, True)
    weights = torch.randn_like(ours)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(
        *(torch.autograd.grad((output * weights).sum(), features)[0] for output in (ours, theirs))
    )


def test_an_empty_region_has_mean_zero_and_no_region_has_an_empty_result():
    features, rois = inputs()
    features.requires_grad_()
    assert not roi_align(features, rois[-1:], 2, 0.5, 0, "avg", True).any()
    for mode in ("avg", "max"):
        nothing = roi_align(features, rois[:0], 2, 0.5, 0, mode, True)
        assert nothing.shape == (0, 2, 2, 2)
        assert not torch.autograd.grad(nothing.sum(), features)[0].any()


def test_bfloat16_is_computed_in_float32():
    features, rois = inputs(dtype=torch.float32)
    half = features.bfloat16().requires_grad_()
    for mode in ("avg", "max"):
        expected = roi_align(half.detach().float(), rois.bfloat16().float(), 2, 0.5, 2, mode, True)
        result = roi_align(half, rois.bfloat16(), 2, 0.5, 2, mode, True)
        assert torch.equal(result, expected.bfloat16())
        assert torch.autograd.grad(result.sum(), half)[0].isfinite().all()


def test_the_module_takes_regions_of_another_precision():
    features, rois = inputs(dtype=torch.float32)
    result = RoIAlign(2, spatial_scale=0.5)(features, rois.double())
    torch.testing.assert_close(result, RoIAlign(2, spatial_scale=0.5)(features, rois))
