"""Both methods in one head, and a relation loss with wrong language as a control."""

from typing import Any

import torch
from mmdet.registry import MODELS

from visionrel.detectors.batchformer import BatchFormerShared2FCBBoxHead
from visionrel.detectors.lango.heads import RelationShared2FCBBoxHead
from visionrel.detectors.lango.relation import RelationLearningLoss


@MODELS.register_module()
class RelationBatchFormerShared2FCBBoxHead(RelationShared2FCBBoxHead, BatchFormerShared2FCBBoxHead):
    """`BatchFormerShared2FCBBoxHead` with a relation learning loss.

    The relation loss sees the features of the original regions, which are those of test time.
    """


@MODELS.register_module()
class ShuffledRelationLearningLoss(RelationLearningLoss):
    """A relation loss whose class names carry each other's vectors: a negative control.

    Every name gets the vector of another one, so whatever it teaches is not what the words mean.

    Args:
        shuffle_seed: Decides who gets whose.
    """

    def __init__(self, *args: Any, shuffle_seed: int = 0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        count = len(self.class_embeddings)
        order = torch.randperm(count, generator=torch.Generator().manual_seed(shuffle_seed))
        # One cycle through a random order: nobody keeps the own vector.
        givers = torch.empty_like(order)
        givers[order] = order.roll(1)
        self.class_embeddings = self.class_embeddings[givers]
