"""Suppression against plain loops over boxes."""

import math

import pytest
import torch
from mmcv.ops import batched_nms, nms, soft_nms

from visionrel.detectors.ops import boxes as ops


def random_boxes(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(count, 2, generator=generator) * 20
    size = torch.rand(count, 2, generator=generator) * 15 + 1
    return torch.cat([low, low + size], 1), torch.rand(count, generator=generator)


def iou(first: list[float], second: list[float], offset: int) -> float:
    sides = [
        min(first[axis + 2], second[axis + 2]) - max(first[axis], second[axis]) + offset
        for axis in (0, 1)
    ]
    shared = max(sides[0], 0) * max(sides[1], 0)
    areas = [(box[2] - box[0] + offset) * (box[3] - box[1] + offset) for box in (first, second)]
    return shared / (sum(areas) - shared)


def greedy(boxes, scores, threshold, offset):
    boxes, kept = boxes.tolist(), []
    for index in scores.argsort(descending=True).tolist():
        if all(iou(boxes[other], boxes[index], offset) <= threshold for other in kept):
            kept.append(index)
    return kept


def soft(boxes, scores, threshold, sigma, min_score, method, offset):
    boxes, left = boxes.tolist(), dict(enumerate(scores.tolist()))
    kept = []
    while left:
        best = max(left, key=left.get)
        kept.append((best, left.pop(best)))
        for other in list(left):
            overlap = iou(boxes[best], boxes[other], offset)
            if method == "gaussian":
                left[other] *= math.exp(-(overlap**2) / sigma)
            elif overlap >= threshold:
                left[other] *= 0 if method == "naive" else 1 - overlap
            if left[other] < min_score:
                del left[other]
    return kept


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nms_keeps_what_a_loop_keeps(offset, threshold, dtype, device):
    boxes, scores = random_boxes(60)
    dets, kept = nms(boxes.to(device, dtype), scores.to(device, dtype), threshold, offset=offset)
    assert kept.tolist() == greedy(boxes, scores, threshold, offset)
    torch.testing.assert_close(dets[:, :4].cpu(), boxes[kept.cpu()].to(dtype))


def test_the_offset_decides_for_boxes_that_only_touch():
    boxes = torch.tensor([[0.0, 0, 1, 1], [1, 0, 2, 1]])
    scores = torch.tensor([0.9, 0.8])
    assert nms(boxes, scores, 0.2, offset=0)[1].tolist() == [0, 1]
    assert nms(boxes, scores, 0.2, offset=1)[1].tolist() == [0]  # IoU 2 / 6


def test_an_overlap_of_exactly_the_threshold_is_allowed(device):
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 3]], device=device)
    scores = torch.tensor([0.9, 0.8], device=device)
    assert nms(boxes, scores, 0.3)[1].tolist() == [0, 1]  # 0.3 in single precision is above 0.3
    assert nms(boxes, scores, 0.29)[1].tolist() == [0]


def test_nms_limits_score_and_number():
    boxes, scores = random_boxes(40)
    whole = greedy(boxes, scores, 0.5, 0)
    kept = nms(boxes, scores, 0.5, score_threshold=0.3, max_num=4)[1].tolist()
    assert kept == [index for index in whole if scores[index] > 0.3][:4]


def test_half_precision_is_computed_in_float32():
    boxes, scores = random_boxes(30)
    halves = boxes.half(), scores.half()
    expected = ops.nms(halves[0].float(), halves[1].float(), 0.5, 0)
    assert torch.equal(ops.nms(*halves, 0.5, 0), expected)


def test_classes_do_not_suppress_each_other_unless_asked():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 9]])
    scores, classes = torch.tensor([0.5, 0.9, 0.4]), torch.tensor([0, 1, 0])
    settings = {"type": "nms", "iou_threshold": 0.5}
    assert batched_nms(boxes, scores, classes, settings)[1].tolist() == [1, 0]
    assert batched_nms(boxes, scores, classes, settings, class_agnostic=True)[1].tolist() == [1]
    by_class = batched_nms(boxes, scores, classes, {**settings, "split_thr": 1})
    assert by_class[1].tolist() == [1, 0]


@pytest.mark.parametrize("method", ["naive", "linear", "gaussian"])
@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("min_score", [0.001, 0.3])
def test_soft_nms_scores_as_a_loop_does(method, offset, min_score):
    boxes, scores = random_boxes(40, seed=1)
    settings = (0.3, 0.5, min_score, method, offset)
    dets, kept = soft_nms(boxes, scores, *settings)
    expected = soft(boxes, scores, *settings)
    assert kept.tolist() == [index for index, _ in expected]
    torch.testing.assert_close(dets[:, 4], torch.tensor([score for _, score in expected]))
    torch.testing.assert_close(dets[:, :4], boxes[kept])


def test_soft_nms_orders_equal_scores_as_mmcv_does():
    """mmcv puts the first box that is left where the best was, and the last where one drops out."""
    low = torch.arange(4.0)[:, None] * 20
    apart = torch.cat([low, low + 10], 1).repeat(1, 2)[:, [0, 2, 1, 3]]
    assert soft_nms(apart, torch.tensor([0.5, 0.5, 0.9, 0.5]))[1].tolist() == [2, 1, 0, 3]
    boxes = torch.cat([apart[:1], apart])  # the second is dropped for the first
    scores = torch.tensor([0.9, 0.8, 0.5, 0.5, 0.5])
    kept = soft_nms(boxes, scores, 0.3, method="naive")[1]
    assert kept.tolist() == [0, 4, 2, 3]


def test_naive_soft_nms_is_nms():
    boxes, scores = random_boxes(40, seed=2)
    kept = soft_nms(boxes, scores, 0.5, min_score=1e-6, method="naive")[1]
    assert kept.tolist() == greedy(boxes, scores, 0.5, 0)


@pytest.mark.parametrize("count", [0, 1])
def test_no_box_or_one_box(count):
    boxes, scores = random_boxes(count)
    for suppress in (nms, soft_nms):
        dets, kept = suppress(boxes, scores, 0.5)
        assert dets.shape == (count, 5) and kept.tolist() == list(range(count))
