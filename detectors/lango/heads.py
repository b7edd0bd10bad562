"""Heads of MMDetection whose classification features also learn relations."""

from collections.abc import Mapping
from typing import Any

import torch
from mmdet.models.dense_heads import GFLHead
from mmdet.models.roi_heads.bbox_heads import Shared2FCBBoxHead
from mmdet.registry import MODELS
from torch import Tensor, nn


class _Memory:
    """Keeps what a layer receives during training; `recall` hands it over once."""

    def __init__(self, layer: nn.Module) -> None:
        self.seen: list[Tensor] = []
        layer.register_forward_pre_hook(self._remember)

    def _remember(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if layer.training:
            self.seen.append(inputs[0])

    def forget(self) -> None:
        self.seen.clear()

    def recall(self) -> list[Tensor]:
        seen, self.seen = self.seen, []
        return seen


def _build_relation(
    relation: Mapping[str, Any] | None, in_channels: int, num_classes: int
) -> nn.Module | None:
    if relation is None:
        return None
    sizes = {"in_channels": in_channels, "num_classes": num_classes}
    return MODELS.build({"type": "RelationLearningLoss", **sizes, **relation})


@MODELS.register_module()
class RelationShared2FCBBoxHead(Shared2FCBBoxHead):
    """`Shared2FCBBoxHead` with a relation learning loss on the input of `fc_cls`.

    For `StandardRoIHead` and `CascadeRoIHead`. LANGO-style, reconstructed from the abstract. In
    evaluation mode `loss` gives the base's losses only.

    Args:
        relation: settings of `RelationLearningLoss`; without them this is the base head.
    """

    def __init__(self, *args: Any, relation: Mapping[str, Any] | None = None, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.relation = _build_relation(relation, self.cls_last_dim, self.num_classes)
        if self.relation is not None:
            self._memory = _Memory(self.fc_cls)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """As in the base; keeps the features of the last call in training."""
        if self.relation is not None:
            self._memory.forget()
        return super().forward(x)

    def loss(
        self,
        cls_score: Tensor,
        bbox_pred: Tensor,
        rois: Tensor,
        labels: Tensor,
        *args: Any,
        **kwargs: Any,
    ) -> dict[str, Tensor]:
        """The base's losses and `loss_rel`."""
        losses = super().loss(cls_score, bbox_pred, rois, labels, *args, **kwargs)
        if self.relation is not None and self.training:
            losses.update(self.relation.loss(self._memory.recall()[0], labels))
        return losses


@MODELS.register_module()
class RelationGFLHead(GFLHead):
    """`GFLHead` with a relation learning loss on the last map of the classification tower.

    LANGO-style, reconstructed from the abstract. In evaluation mode `loss` gives the base's losses
    only.

    Args:
        relation: settings of `RelationLearningLoss`; without them this is the base head.
    """

    def __init__(self, *args: Any, relation: Mapping[str, Any] | None = None, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.relation = _build_relation(relation, self.feat_channels, self.num_classes)
        if self.relation is not None:
            self._memory = _Memory(self.gfl_cls)
            self._labels: list[Tensor] = []

    def forward(self, x: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor]]:
        """As in the base; keeps the maps of the last call in training."""
        if self.relation is not None:
            self._memory.forget()
        return super().forward(x)

    def get_targets(self, *args: Any, **kwargs: Any) -> tuple:
        """As in the base; keeps the labels, per level of shape (batch, num_points)."""
        targets = super().get_targets(*args, **kwargs)
        self._labels = targets[1]
        return targets

    def loss_by_feat(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The base's losses and `loss_rel`."""
        losses = super().loss_by_feat(*args, **kwargs)
        if self.relation is not None and self.training:
            # (batch, channels, height, width) to points in the order of the labels.
            maps = [level.permute(0, 2, 3, 1).flatten(0, 2) for level in self._memory.recall()]
            labels = [level.flatten() for level in self._labels]
            losses.update(self.relation.loss(torch.cat(maps), torch.cat(labels)))
        return losses
