"""BatchFormer over the sampled regions of a two-stage detector (arXiv 2203.01522 at RoI level)."""

from collections.abc import Mapping
from typing import Any

import torch
from mmdet.models.roi_heads.bbox_heads import Shared2FCBBoxHead
from mmdet.registry import MODELS
from torch import Tensor

from visionrel.detectors.batchformer.layer import BatchFormerLayer
from visionrel.errors import InputError


@MODELS.register_module()
class BatchFormerShared2FCBBoxHead(Shared2FCBBoxHead):
    """Regions of all images of a process attend to each other before a shared classifier.

    Only the classification is doubled: a box is found from its own region. Scores, boxes, accuracy
    and everything at test time are those of `Shared2FCBBoxHead`. The authors evaluated no two-stage
    detector.

    Args:
        bf: Arguments of `BatchFormerLayer` other than `embed_dims`.
        max_samples: Regions that take part at most, for memory grows with their square: all
            objects first, then a random choice of background. None takes all.
        share_classifier: Whether the classifier also learns from features without BatchFormer, as
            it sees them at test time. False is the authors' RIDE variant, which does not.
    """

    def __init__(
        self,
        *args: Any,
        bf: Mapping[str, Any] | None = None,
        max_samples: int | None = 512,
        share_classifier: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if not self.with_cls:
            raise InputError("BatchFormer needs a head with a classifier, got `with_cls` False.")
        if max_samples is not None and max_samples < 1:
            raise InputError(f"`max_samples` must be at least 1 or None, got {max_samples}.")
        self.bf_layer = BatchFormerLayer(self.cls_last_dim, **(bf or {}))
        self.max_samples, self.share_classifier = max_samples, share_classifier
        self._features: Tensor | None = None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Classifies and refines regions (N, C, 7, 7); training keeps the features for `loss`."""
        if not self.training:
            return super().forward(x)
        features = (self.avg_pool(x) if self.with_avg_pool else x).flatten(1)
        for layer in self.shared_fcs:
            features = self.relu(layer(features))
        self._features = features
        return self.fc_cls(features), self.fc_reg(features) if self.with_reg else None

    def loss(
        self,
        cls_score: Tensor,
        bbox_pred: Tensor | None,
        rois: Tensor,
        labels: Tensor,
        label_weights: Tensor,
        *args: Any,
        **kwargs: Any,
    ) -> dict[str, Tensor]:
        """The losses of the base head, with the classification loss averaged over both streams."""
        losses = super().loss(cls_score, bbox_pred, rois, labels, label_weights, *args, **kwargs)
        # The graph must not outlive the step.
        features, self._features = self._features, None
        if features is None:
            return losses
        kept = self._choose(labels)
        scores = self.fc_cls(self.bf_layer(features[kept]))
        if not len(labels):
            # Nothing to classify; all parameters still take part, which DDP insists on.
            return {**losses, "loss_cls": cls_score.sum() + scores.sum()}
        mixed = self._classification_loss(scores, labels[kept], label_weights[kept])
        for name, value in mixed.items():
            losses[name] = (losses[name] + value) / 2 if self.share_classifier else value
        return losses

    def _choose(self, labels: Tensor) -> Tensor:
        """Indices of the regions that take part, at most `max_samples` of them."""
        if self.max_samples is None or len(labels) <= self.max_samples:
            return torch.arange(len(labels), device=labels.device)
        order = torch.randperm(len(labels), device=labels.device)
        background = (labels[order] == self.num_classes).int()
        return order[background.argsort(stable=True)][: self.max_samples].sort().values

    def _classification_loss(
        self, scores: Tensor, labels: Tensor, weights: Tensor
    ) -> dict[str, Tensor]:
        average = max((weights > 0).sum().item(), 1.0)
        loss = self.loss_cls(scores, labels, weights, avg_factor=average)
        return loss if isinstance(loss, dict) else {"loss_cls": loss}
