"""Relation learning as a module of a head: projection, class names and weight."""

from collections.abc import Mapping
from typing import Any

import torch
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from visionrel.detectors.lango.text_bank import TextBank, build_text_bank
from visionrel.errors import InputError
from visionrel.losses import relation_learning_loss
from visionrel.losses.relation_learning import RelationDistance, RelationLevel


@MODELS.register_module()
class RelationLearningLoss(BaseModule):
    """Relations among class names for the classification features of positive samples.

    A wrapper of :func:`visionrel.losses.relation_learning_loss` (LANGO, arXiv 2505.23193,
    *reconstructed from the abstract*) with a learned projection. It is used in training only;
    nothing of it runs at inference.

    Args:
        text_bank: a shipped bank's name, a file or a dict; see
            :func:`~visionrel.detectors.lango.text_bank.build_text_bank`. Only its classes are used.
        in_channels: width of the features; a head fills it in.
        num_classes: K of the head, which fills it in.
        out_channels: width of the projection.
        level: "proto" compares classes, "inst" samples.
        distance: "kl", "l1" or "mse".
        temperature_text: above 0, for "kl".
        temperature_visual: above 0, for "kl".
        max_instances: at level "inst", a random subset of the positives above this number.
        loss_weight: factor of ``loss_rel``.
    """

    def __init__(
        self,
        text_bank: TextBank | str | Mapping[str, Any],
        in_channels: int,
        num_classes: int,
        out_channels: int = 256,
        level: RelationLevel = "proto",
        distance: RelationDistance = "kl",
        temperature_text: float = 0.1,
        temperature_visual: float = 0.1,
        max_instances: int = 256,
        loss_weight: float = 0.1,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        bank = build_text_bank(text_bank)
        if len(bank.classes) != num_classes:
            raise InputError(
                f"The text bank has {len(bank.classes)} classes ({', '.join(bank.classes)}), the "
                f"head has `num_classes={num_classes}`; use the bank of the data set."
            )
        self.classes = bank.classes
        self.max_instances = max_instances
        self.loss_weight = loss_weight
        self.settings = {
            "level": level,
            "distance": distance,
            "temperature_text": temperature_text,
            "temperature_visual": temperature_visual,
        }
        self.projection = nn.Linear(in_channels, out_channels)
        # Out of checkpoints: these do not depend on the text encoder.
        self.register_buffer("class_embeddings", bank.class_embeddings, persistent=False)
        # A wrong choice is told when the model is built, not after the first batch.
        self(torch.zeros(0, in_channels), torch.zeros(0, dtype=torch.long))

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """The loss before its weight, a float32 scalar.

        Args:
            features: shape (num_samples, in_channels).
            labels: shape (num_samples,); below 0 or from num_classes on is not a class.
        """
        positive = ((labels >= 0) & (labels < len(self.classes))).nonzero().squeeze(1)
        if self.settings["level"] == "inst" and len(positive) > self.max_instances:
            chosen = torch.randperm(len(positive), device=positive.device)[: self.max_instances]
            positive = positive[chosen]
        with torch.autocast(features.device.type, enabled=False):
            projected = self.projection(features[positive].float())
            return relation_learning_loss(
                projected, labels[positive], self.class_embeddings, **self.settings
            )

    def loss(self, features: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """`loss_rel`, weighted, and `relation_unweighted` for the log."""
        loss = self(features, labels)
        return {"loss_rel": self.loss_weight * loss, "relation_unweighted": loss.detach()}
