"""The stand-in against mmcv's own compiled CPU ops, where a compiled mmcv is at hand.

`VISIONREL_COMPILED_MMCV` is the folder that holds the compiled `mmcv`; docs/detection-ops.md says
how to build one. Its module is loaded under a name of its own, beside the stand-in, and both answer
the same calls of `mmcv.ops`. `pytest -s` prints the largest difference of each op.

mmcv has no CPU kernel of deformable attention and focal loss: those are tested by formula only.
"""

import importlib
import os
from collections.abc import Callable
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmcv.ops import nms, roi_align, soft_nms
from torch import Tensor

from visionrel.detectors.ops import OPS


VARIABLE = "VISIONREL_COMPILED_MMCV"
FOLDER = os.environ.get(VARIABLE)
STAND_IN = SimpleNamespace(**OPS)
LARGEST: dict[str, float] = {}

pytestmark = pytest.mark.skipif(
    not FOLDER, reason=f"{VARIABLE} names no folder with a compiled mmcv; see detection-ops.md"
)


@pytest.fixture(scope="module")
def compiled():
    files = [Path(FOLDER, "mmcv", f"_ext{suffix}") for suffix in EXTENSION_SUFFIXES]
    found = [file for file in files if file.is_file()]
    assert found, f"{VARIABLE}: there is no {files[0]}"
    spec = spec_from_file_location("compiled_mmcv._ext", found[0])
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    print()
    for what, largest in LARGEST.items():
        print(f"{what}: largest difference {largest:.1e}")


@pytest.fixture
def both(compiled, monkeypatch) -> Callable:
    """Calls a function twice: with the stand-in, and with the compiled ops."""

    def call(function: Callable[..., tuple[Tensor, ...]], *args, **kwargs) -> list:
        results = []
        for ops in (STAND_IN, compiled):
            for name in ("nms", "roi_align"):
                monkeypatch.setattr(importlib.import_module(f"mmcv.ops.{name}"), "ext_module", ops)
            results.append(function(*args, **kwargs))
        return results

    return call


def assert_close(what: str, ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs)
    difference = float((ours - theirs).abs().max()) if ours.numel() else 0.0
    LARGEST[what] = max(LARGEST.get(what, 0.0), difference)


def scattered(count: int, side: float = 20.0) -> tuple[Tensor, Tensor]:
    low = torch.rand(count, 2) * side
    return torch.cat([low, low + torch.rand(count, 2) * 15 + 1], 1), torch.rand(count)


def on_a_grid(count: int) -> tuple[Tensor, Tensor]:
    """Whole numbers: many overlaps are exactly a threshold, and many boxes are the same."""
    low = torch.randint(0, 4, (count, 2))
    boxes = torch.cat([low, low + torch.randint(1, 11, (count, 2))], 1)
    return boxes.float(), torch.rand(count)


def tied(count: int) -> tuple[Tensor, Tensor]:
    """Scores of one decimal: many are equal."""
    boxes, scores = scattered(count, side=60.0)
    return boxes, (scores * 10).round() / 10


def flat(count: int) -> tuple[Tensor, Tensor]:
    """Every third box has no area, every fourth ends before it begins."""
    boxes, scores = scattered(count)
    boxes[::3, 2:] = boxes[::3, :2]
    boxes[::4] = boxes[::4][:, [2, 3, 0, 1]]
    return boxes, scores


KINDS = {"scattered": scattered, "grid": on_a_grid, "tied": tied, "flat": flat}


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "tied"])
def test_nms_keeps_the_same_boxes_in_the_same_order(both, kind, offset):
    for count in (0, 1, 2, 15, 150):
        boxes, scores = KINDS[kind](count)
        for threshold in (0.1, 0.2, 0.3, 0.5, 0.6, 0.7, 0.9):
            (dets, kept), (expected_dets, expected) = both(
                nms, boxes, scores, threshold, offset=offset
            )
            assert torch.equal(kept, expected), (count, threshold)
            assert torch.equal(dets, expected_dets)


@pytest.mark.parametrize("offset", [0, 1])
def test_nms_takes_the_earlier_of_equal_scores_where_mmcv_leaves_it_open(both, offset):
    """mmcv's order is that of an unstable sort, so it gets scores that differ."""
    boxes, scores = tied(150)
    ranked = torch.empty_like(scores)
    ranked[scores.sort(descending=True, stable=True).indices] = torch.linspace(1, 0.5, 150)
    for threshold in (0.1, 0.3, 0.5, 0.9):
        (_, kept), _ = both(nms, boxes, scores, threshold, offset=offset)
        _, (_, expected) = both(nms, boxes, ranked, threshold, offset=offset)
        assert torch.equal(kept, expected), threshold


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("method", ["naive", "linear", "gaussian"])
@pytest.mark.parametrize("kind", KINDS)
def test_soft_nms_keeps_the_same_boxes_with_the_same_scores(both, kind, method, offset):
    if kind == "flat" and method == "gaussian":
        pytest.skip("mmcv's scores are not numbers where two boxes without area meet")
    for count in (0, 1, 2, 15, 60):
        boxes, scores = KINDS[kind](count)
        for threshold, least in ((0.3, 0.001), (0.5, 0.3), (0.3, 0.0)):
            (dets, kept), (expected_dets, expected) = both(
                soft_nms, boxes, scores, threshold, 0.5, least, method, offset
            )
            assert torch.equal(kept, expected), (count, threshold, least)
            assert_close(f"soft_nms, {method}", dets, expected_dets)


def regions(count: int) -> Tensor:
    """Shape (count + 4, 5): scattered ones, many across the border, and four chosen ones."""
    low = torch.rand(count, 2) * 90 - 20
    corners = torch.cat([low, low + torch.rand(count, 2) * 60 + 0.1], 1)
    chosen = torch.tensor(
        [
            [0.0, 0.0, 64.0, 48.0],  # the whole picture
            [-40.0, -40.0, 200.0, 200.0],  # more than the picture
            [100.0, 100.0, 140.0, 120.0],  # outside
            [63.5, 47.5, 64.0, 48.0],  # in the last corner
        ]
    )
    corners = torch.cat([corners, chosen])
    return torch.cat([torch.arange(len(corners))[:, None] % 2, corners], 1)


def pooled(
    features: Tensor, rois: Tensor, size: tuple[int, int], scale: float, *settings: object
) -> tuple[Tensor, Tensor]:
    """RoIAlign and its gradient for a fixed weight of every output."""
    features = features.detach().requires_grad_()
    output = roi_align(features, rois, size, scale, *settings)
    weights = torch.linspace(-1, 2, output.numel(), dtype=output.dtype).view_as(output)
    return output.detach(), torch.autograd.grad((output * weights).sum(), features)[0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("ratio", [0, 1, 2])
def test_roi_align_has_the_same_values_and_gradients(both, ratio, mode, aligned, dtype):
    if mode == "max" and dtype == torch.float16:
        pytest.skip("half-precision places are rounded at another step")
    features, rois = torch.randn(2, 3, 12, 16).to(dtype), regions(40).to(dtype)
    for size, scale in (((7, 7), 0.25), ((3, 2), 0.25), ((2, 3), 1.0)):
        for chosen in (rois, rois[:0]):
            ours, theirs = both(pooled, features, chosen, size, scale, ratio, mode, aligned)
            name = f"roi_align, {mode}, {str(dtype).removeprefix('torch.')}"
            assert_close(f"{name}, values", ours[0], theirs[0])
            # Of two samples that differ by less than float32 has digits, either is the maximum.
            if mode == "avg" or dtype == torch.float64:
                assert_close(f"{name}, gradient", ours[1], theirs[1])


@pytest.mark.parametrize("mode", ["avg", "max"])
def test_roi_align_agrees_where_most_features_are_zero(both, mode):
    """As after a ReLU: which of the equal maxima receives the gradient is the same."""
    features, rois = torch.randn(2, 3, 12, 16).double(), regions(9).double()
    features = features.relu() * (torch.rand(2, 1, 12, 16) < 0.3)
    ours, theirs = both(pooled, features, rois, (4, 4), 0.25, 2, mode, True)
    assert_close(f"roi_align, {mode}, float64, values", ours[0], theirs[0])
    assert_close(f"roi_align, {mode}, float64, gradient", ours[1], theirs[1])


@pytest.mark.parametrize("ratio", [0, 2])
@pytest.mark.parametrize("mode", ["avg", "max"])
def test_an_empty_region_differs_only_where_mmcv_has_no_sample(both, mode, ratio):
    features = torch.randn(2, 3, 12, 16).double()
    rois = torch.tensor([[0.0, 8, 8, 8, 8], [1, 20, 8, 20, 30], [0, 4, 12, 40, 12]]).double()
    for aligned in (True, False):
        ours, theirs = both(pooled, features, rois, (2, 2), 0.25, ratio, mode, aligned)
        if (mode, ratio, aligned) == ("max", 0, True):
            assert (theirs[0] == -10000).all()  # where its search for the maximum starts
            assert ours[0].abs().max() < 10  # the sample in the middle
            continue
        assert_close(f"roi_align, {mode}, float64, values", ours[0], theirs[0])
        assert_close(f"roi_align, {mode}, float64, gradient", ours[1], theirs[1])


def test_a_region_that_ends_before_it_begins_is_refused_by_mmcv_alone(both):
    rois = torch.tensor([[0.0, 30, 30, 10, 10]])
    with pytest.raises(RuntimeError, match="non-negative size"):
        both(pooled, torch.randn(1, 2, 12, 16), rois, (2, 2), 0.25, 2, "avg", True)
