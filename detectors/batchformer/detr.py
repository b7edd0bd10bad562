"""DETR, Conditional DETR, Deformable DETR and DINO with BatchFormerV2 in the encoder.

In two-stream training everything behind the first BatchFormer layer sees 2B images, the originals
first, with the targets of the B images twice. MMDetection divides losses by the targets of all 2B,
so each stream weighs one half. Prediction is that of the base detector.
"""

from typing import Any

from mmdet.models.detectors import DETR, DINO, ConditionalDETR, DeformableDETR
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from torch import Tensor

from visionrel.detectors.batchformer.encoders import (
    BatchFormerEncoderMixin,
    BFDeformableDetrTransformerEncoder,
    BFDetrTransformerEncoder,
    repeat_rows,
)


class BatchFormerDetrMixin:
    """Doubles whatever belongs to images once the encoder has doubled them."""

    encoder_type: type[BatchFormerEncoderMixin]

    def _init_layers(self) -> None:
        settings = dict(self.encoder)
        self.encoder = {key: value for key, value in settings.items() if key != "bf"}
        super()._init_layers()
        self.encoder = self.encoder_type(**settings)

    def forward_encoder(self, **inputs: Any) -> dict[str, Any]:
        """Encodes, and brings a mask among the outputs to the rows of `memory`."""
        outputs = super().forward_encoder(**inputs)
        if "memory_mask" in outputs:
            rows = len(outputs["memory"])
            outputs["memory_mask"] = repeat_rows(outputs["memory_mask"], rows)
        return outputs

    def pre_decoder(
        self, memory: Tensor, batch_data_samples: SampleList | None = None, **inputs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Prepares queries for the rows of `memory`; denoising queries need targets for each."""
        if batch_data_samples is not None:
            streams = len(memory) // len(batch_data_samples)
            inputs["batch_data_samples"] = batch_data_samples * streams
        return super().pre_decoder(memory, **inputs)

    def forward_decoder(self, memory: Tensor, **inputs: Any) -> dict[str, Any]:
        """Decodes with masks, positions and ratios for the rows of `memory`."""
        for name in ("memory_mask", "memory_pos", "valid_ratios"):
            if name in inputs:
                inputs[name] = repeat_rows(inputs[name], len(memory))
        return super().forward_decoder(memory=memory, **inputs)

    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> dict[str, Tensor]:
        """Computes the losses of both streams against the same targets."""
        features = self.extract_feat(batch_inputs)
        head_inputs = self.forward_transformer(features, batch_data_samples)
        # [decoder layers, 2B, queries, C]
        streams = len(head_inputs["hidden_states"][0]) // len(batch_data_samples)
        return self.bbox_head.loss(**head_inputs, batch_data_samples=batch_data_samples * streams)


@MODELS.register_module()
class BFDETR(BatchFormerDetrMixin, DETR):
    """DETR with BatchFormerV2; settings in `encoder.bf`."""

    encoder_type = BFDetrTransformerEncoder


@MODELS.register_module()
class BFConditionalDETR(BatchFormerDetrMixin, ConditionalDETR):
    """Conditional DETR with BatchFormerV2; settings in `encoder.bf`."""

    encoder_type = BFDetrTransformerEncoder


@MODELS.register_module()
class BFDeformableDETR(BatchFormerDetrMixin, DeformableDETR):
    """Deformable DETR with BatchFormerV2, also in two stages and with box refinement."""

    encoder_type = BFDeformableDetrTransformerEncoder


@MODELS.register_module()
class BFDINO(BatchFormerDetrMixin, DINO):
    """DINO with BatchFormerV2; not among the detectors of the paper."""

    encoder_type = BFDeformableDetrTransformerEncoder
