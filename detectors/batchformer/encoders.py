"""BatchFormerV2 inside the encoders of the DETR family (arXiv 2204.01254, section 3)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from mmdet.models.layers import DeformableDetrTransformerEncoder, DetrTransformerEncoder
from torch import Tensor, nn

from visionrel.detectors.batchformer.layer import BatchFormerLayer
from visionrel.errors import InputError


@dataclass(frozen=True)
class Insertion:
    """Where BatchFormer stands in an encoder, the `bf` block of a config.

    Args:
        insert_idx: Encoder layers, counted from 0, after which it stands; rising.
        share: Whether all of them use one set of weights.
        two_stream: Whether training keeps the original images beside the mixed ones. Without, only
            mixed features are trained, and prediction without BatchFormer does not fit them.
        mask_padding: Whether padded places of an image are hidden from the other images.
        eval_bf: Whether prediction goes through it too; results then depend on the batch.
        layer: Further arguments of `BatchFormerLayer`.
    """

    insert_idx: Sequence[int] = (0,)
    share: bool = False
    two_stream: bool = True
    mask_padding: bool = False
    eval_bf: bool = False
    layer: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, settings: Mapping[str, Any] | None, num_layers: int) -> "Insertion":
        """Reads the block of a config for an encoder of so many layers.

        Raises:
            InputError: If a key is unknown or a place is not in the encoder.
        """
        settings, known = dict(settings or {}), [entry.name for entry in fields(cls)]
        unknown = sorted(settings.keys() - set(known))
        if unknown:
            raise InputError(
                f"`bf` has no setting {', '.join(unknown)}; it has {', '.join(known)}."
            )
        insertion = cls(**settings)
        places = list(insertion.insert_idx)
        inside = all(isinstance(place, int) and 0 <= place < num_layers for place in places)
        if not places or not inside or places != sorted(set(places)):
            raise InputError(
                f"`bf.insert_idx` must be rising layer numbers from 0 to {num_layers - 1}, at "
                f"least one, got {places}."
            )
        return insertion


class BatchFormerEncoderMixin:
    """Adds `bf_layers` to an encoder of MMDetection.

    In training the batch is doubled at the first insertion, Z -> [Z ; BF(Z)]. Each later one mixes
    the second half only. The first B rows are therefore those of the plain encoder.

    Args:
        bf: See `Insertion`; any other argument goes to the encoder.
    """

    def __init__(self, *args: Any, bf: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.bf = Insertion.parse(bf, self.num_layers)
        keys = ["shared"] if self.bf.share else [str(place) for place in self.bf.insert_idx]
        self.bf_layers = nn.ModuleDict(
            {key: BatchFormerLayer(self.embed_dims, **self.bf.layer) for key in keys}
        )

    def _encode(
        self, query: Tensor, per_image: dict[str, Tensor | None], common: dict[str, Any]
    ) -> Tensor:
        """Runs the encoder; `per_image` is doubled together with `query` (B, S, C)."""
        batch, padding = len(query), per_image["key_padding_mask"]
        active = self.training or self.bf.eval_bf
        for index, layer in enumerate(self.layers):
            query = layer(query=query, **per_image, **common)
            if active and index in self.bf.insert_idx:
                query = self._mix(index, query, batch, padding)
                per_image = {key: repeat_rows(item, len(query)) for key, item in per_image.items()}
        return query

    def _mix(self, index: int, query: Tensor, batch: int, padding: Tensor | None) -> Tensor:
        layer = self.bf_layers["shared" if self.bf.share else str(index)]
        mixed = layer(query[-batch:], padding if self.bf.mask_padding else None)
        if not (self.training and self.bf.two_stream):
            return mixed
        return torch.cat([query[:batch], mixed])


class BFDetrTransformerEncoder(BatchFormerEncoderMixin, DetrTransformerEncoder):
    """Encoder of DETR and Conditional DETR with BatchFormer."""

    def forward(
        self, query: Tensor, query_pos: Tensor, key_padding_mask: Tensor | None, **kwargs: Any
    ) -> Tensor:
        """Encodes (B, S, C); returns (2B, S, C) in two-stream training."""
        per_image = {"query_pos": query_pos, "key_padding_mask": key_padding_mask}
        return self._encode(query, per_image, kwargs)


class BFDeformableDetrTransformerEncoder(BatchFormerEncoderMixin, DeformableDetrTransformerEncoder):
    """Encoder of Deformable DETR and DINO with BatchFormer."""

    def forward(
        self,
        query: Tensor,
        query_pos: Tensor,
        key_padding_mask: Tensor | None,
        spatial_shapes: Tensor,
        level_start_index: Tensor,
        valid_ratios: Tensor,
        **kwargs: Any,
    ) -> Tensor:
        """Encodes all levels, flattened to (B, S, C); returns (2B, S, C) in two-stream training."""
        per_image = {
            "query_pos": query_pos,
            "key_padding_mask": key_padding_mask,
            "valid_ratios": valid_ratios,
            "reference_points": self.get_encoder_reference_points(
                spatial_shapes, valid_ratios, device=query.device
            ),
        }
        common = {"spatial_shapes": spatial_shapes, "level_start_index": level_start_index}
        return self._encode(query, per_image, {**common, **kwargs})


def repeat_rows(rows: Tensor | None, count: int) -> Tensor | None:
    """Repeats a whole batch until it has `count` rows; nothing stays nothing.

    Masks are nothing where all images have the size of the canvas.
    """
    if rows is None or len(rows) == count:
        return rows
    return torch.cat([rows] * (count // len(rows)))
