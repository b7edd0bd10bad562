"""Cascade R-CNN with one BatchFormer layer for all stages."""

from typing import Any

from mmdet.models.roi_heads import CascadeRoIHead
from mmdet.registry import MODELS

from visionrel.errors import InputError


@MODELS.register_module()
class BatchFormerCascadeRoIHead(CascadeRoIHead):
    """A cascade whose stages may share their BatchFormer layer.

    With a layer per stage the stock `CascadeRoIHead` does the same.

    Args:
        share_stages: Whether the layer of the first stage serves all. Optimizers with
            `paramwise_cfg` then need `bypass_duplicate=True` in it.
    """

    def __init__(self, *args: Any, share_stages: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not share_stages:
            return
        if not all(hasattr(head, "bf_layer") for head in self.bbox_head):
            raise InputError(
                "`share_stages` needs `BatchFormerShared2FCBBoxHead` in every stage, got "
                f"{', '.join(type(head).__name__ for head in self.bbox_head)}."
            )
        for head in self.bbox_head[1:]:
            head.bf_layer = self.bbox_head[0].bf_layer
