"""Detectors of MMDetection with a visual semantic reasoner after the neck."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmdet.models.detectors import GFL, CascadeRCNN, FasterRCNN
from mmdet.registry import MODELS
from torch import Tensor


class LangoMixin:
    """Adds the reasoner to a detector; LANGO-style, reconstructed from the abstract.

    The relation learning loss belongs to the heads (`RelationShared2FCBBoxHead`,
    `RelationGFLHead`); both parts work alone.

    Args:
        vsr: settings of `VisualSemanticReasoner`; without them this is the base detector.
    """

    def __init__(self, *args: Any, vsr: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.vsr = None
        if vsr is not None:
            self.vsr = MODELS.build({"type": "VisualSemanticReasoner", **vsr})
        self._scene_logits: dict[str, Tensor] | None = None

    def extract_feat(self, batch_inputs: Tensor) -> tuple[Tensor, ...]:
        """The neck's maps after the reasoner; keeps its logits for `loss`."""
        features = super().extract_feat(batch_inputs)
        if self.vsr is None:
            return features
        features, self._scene_logits = self.vsr(features)
        return features

    def loss(self, batch_inputs: Tensor, batch_data_samples: Sequence[Any]) -> dict[str, Any]:
        """The base's losses and `loss_scene`."""
        losses = super().loss(batch_inputs, batch_data_samples)
        if self.vsr is not None:
            losses.update(self.vsr.loss(self._scene_logits, batch_data_samples))
            self._scene_logits = None
        return losses


@MODELS.register_module()
class LangoFasterRCNN(LangoMixin, FasterRCNN):
    """`FasterRCNN` with `vsr`."""


@MODELS.register_module()
class LangoCascadeRCNN(LangoMixin, CascadeRCNN):
    """`CascadeRCNN` with `vsr`."""


@MODELS.register_module()
class LangoGFL(LangoMixin, GFL):
    """`GFL` with `vsr`."""
