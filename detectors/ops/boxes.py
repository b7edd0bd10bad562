"""Non-maximum suppression with the signatures of `mmcv._ext`."""

import torch
from torch import Tensor
from torchvision.ops import nms as torchvision_nms


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Greedy suppression of boxes that overlap a better one by more than the threshold.

    Args:
        boxes: Shape (N, 4) as x1, y1, x2, y2.
        scores: Shape (N,).
        iou_threshold: Largest overlap that two kept boxes may have.
        offset: Width is x2 - x1 + offset, 0 or 1.

    Returns:
        Indices of the kept boxes, best first.
    """
    # A wider box with offset 0 has the areas and overlaps of the box with offset 1.
    widened = boxes + boxes.new_tensor([0, 0, offset, offset])
    if widened.dtype != torch.float64:
        widened = widened.float()
        # As mmcv's: torchvision compares in double, where 30 / 100 in single exceeds 0.3.
        iou_threshold = torch.tensor(iou_threshold, dtype=torch.float32).item()
    return torchvision_nms(widened, scores.to(widened.dtype), iou_threshold)


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Soft-NMS (arXiv 1704.04503): overlapping boxes lose score instead of being removed.

    Args:
        boxes: Shape (N, 4).
        scores: Shape (N,).
        dets: Shape (N, 5); its first rows receive the kept boxes with their new scores.
        iou_threshold: From which overlap on methods 0 and 1 act.
        sigma: Width of method 2.
        min_score: Boxes that fall below are dropped.
        method: 0 removes, 1 multiplies by 1 - IoU, 2 by exp(-IoU^2 / sigma).
        offset: Width is x2 - x1 + offset, 0 or 1.

    Returns:
        Indices of the kept boxes in the order of selection.
    """
    remaining = torch.arange(len(boxes), device=boxes.device)
    scores, kept = scores.clone(), []
    while len(remaining):
        place = int(scores[remaining].argmax())
        best = remaining[place].clone()
        dets[len(kept)] = torch.cat([boxes[best], scores[best, None]])
        kept.append(best)
        # Which of two equal scores comes first depends on this order, and it is mmcv's.
        remaining[place] = remaining[0]
        remaining = remaining[1:]
        overlap = _overlap(boxes[best], boxes[remaining], offset)
        scores[remaining] *= _decay(overlap, iou_threshold, sigma, method)
        remaining = _without(remaining, scores[remaining] < min_score)
    return torch.stack(kept) if kept else remaining


def _without(order: Tensor, dropped: Tensor) -> Tensor:
    """Fills each gap, the first one first, with the last entry that stays."""
    count = len(order) - int(dropped.sum())
    gaps = dropped[:count].nonzero().squeeze(1)
    last = (~dropped[count:]).nonzero().squeeze(1).flip(0) + count
    order[gaps] = order[last]
    return order[:count]


def _decay(overlap: Tensor, iou_threshold: float, sigma: float, method: int) -> Tensor:
    if method == 2:
        return torch.exp(-(overlap**2) / sigma)
    return torch.where(overlap >= iou_threshold, (1 - overlap) * method, 1)


def _overlap(box: Tensor, others: Tensor, offset: int) -> Tensor:
    """IoU of one box (4,) with others (N, 4)."""
    low, high = torch.maximum(box[:2], others[:, :2]), torch.minimum(box[2:], others[:, 2:])
    intersection = (high - low + offset).clamp(min=0).prod(-1)
    areas = (others[:, 2:] - others[:, :2] + offset).prod(-1)
    return intersection / ((box[2:] - box[:2] + offset).prod() + areas - intersection)
