"""MMDetection's assigners, with regions to ignore that count in every picture.

Its own forget them where a picture has no box that counts: all of it becomes background.
"""

from typing import Any

from mmdet.models.task_modules import AssignResult, ATSSAssigner, MaxIoUAssigner
from mmdet.registry import TASK_UTILS
from mmengine.structures import InstanceData
from torch import Tensor


@TASK_UTILS.register_module()
class IgnoreAwareMaxIoUAssigner(MaxIoUAssigner):
    """`MaxIoUAssigner` that also ignores where there is nothing to find; same arguments."""

    def assign(
        self,
        pred_instances: InstanceData,
        gt_instances: InstanceData,
        gt_instances_ignore: InstanceData | None = None,
        **kwargs: Any,
    ) -> AssignResult:
        """Assigns as `MaxIoUAssigner` does.

        Args:
            pred_instances: `priors` (N, 4), corners in pixels.
            gt_instances: `bboxes` (G, 4) and `labels` (G,); G may be 0.
            gt_instances_ignore: `bboxes` (I, 4) to ignore.
            **kwargs: What heads pass to every assigner; not used.

        Returns:
            `gt_inds` (N,): -1 ignored, 0 background, otherwise the number of the box from 1.
        """
        result = super().assign(pred_instances, gt_instances, gt_instances_ignore, **kwargs)
        if _is_forgotten(gt_instances, gt_instances_ignore):
            priors, ignored = pred_instances.priors, gt_instances_ignore.bboxes
            if self.ignore_wrt_candidates:
                shares = self.iou_calculator(priors, ignored, mode="iof")
            else:
                # ignored, priors -> priors, ignored
                shares = self.iou_calculator(ignored, priors, mode="iof").T
            _ignore(result, shares, self.ignore_iof_thr)
        return result


@TASK_UTILS.register_module()
class IgnoreAwareATSSAssigner(ATSSAssigner):
    """`ATSSAssigner` that also ignores where there is nothing to find; same arguments."""

    def assign(
        self,
        pred_instances: InstanceData,
        num_level_priors: list[int],
        gt_instances: InstanceData,
        gt_instances_ignore: InstanceData | None = None,
    ) -> AssignResult:
        """Assigns as `ATSSAssigner` does.

        Args:
            pred_instances: `priors` (N, 4 or more), corners in pixels first.
            num_level_priors: How many of the N belong to each level.
            gt_instances: `bboxes` (G, 4) and `labels` (G,); G may be 0.
            gt_instances_ignore: `bboxes` (I, 4) to ignore.

        Returns:
            `gt_inds` (N,): -1 ignored, 0 background, otherwise the number of the box from 1.
        """
        result = super().assign(pred_instances, num_level_priors, gt_instances, gt_instances_ignore)
        if _is_forgotten(gt_instances, gt_instances_ignore):
            priors, ignored = pred_instances.priors[:, :4], gt_instances_ignore.bboxes
            shares = self.iou_calculator(priors, ignored, mode="iof")
            _ignore(result, shares, self.ignore_iof_thr)
        return result


def _is_forgotten(counted: InstanceData, ignored: InstanceData | None) -> bool:
    """Whether MMDetection returns before it looks at the boxes to ignore."""
    return len(counted.bboxes) == 0 and ignored is not None and len(ignored.bboxes) > 0


def _ignore(result: AssignResult, shares: Tensor, threshold: float) -> None:
    """Ignores priors by their overlaps (N, I) with the boxes to ignore; none below 0."""
    if threshold > 0 and len(shares):
        result.gt_inds[shares.amax(1) > threshold] = -1
