"""Detectors from MMDetection's own configs, shrunk to toy size, and pictures for them."""

import copy
from pathlib import Path
from typing import Any

import mmdet
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from torch import Tensor, nn


CONFIGS = Path(mmdet.__file__).parent / ".mim" / "configs"
DETECTORS = {
    "gfl": "gfl/gfl_r50_fpn_1x_coco.py",
    "retinanet": "retinanet/retinanet_r50_fpn_1x_coco.py",
    "fcos": "fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py",
    "faster-rcnn": "faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py",
    "mask-rcnn": "mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py",
    "cascade-rcnn": "cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py",
    "detr": "detr/detr_r50_8xb2-150e_coco.py",
    "conditional-detr": "conditional_detr/conditional-detr_r50_8xb2-50e_coco.py",
    "deformable-detr": "deformable_detr/deformable-detr_r50_16xb2-50e_coco.py",
    "dino": "dino/dino-4scale_r50_8xb2-12e_coco.py",
}
TRANSFORMERS = ("detr", "conditional-detr", "deformable-detr", "dino")
CLASSES, WIDTH = 5, 32
# Sizes by the name of their setting, wherever it stands.
SMALL = {
    "depth": 18,
    "num_layers": 2,
    "num_queries": 12,
    "num_dn_queries": 4,
    "num_classes": CLASSES,
    "feedforward_channels": WIDTH,
    "num_groups": 4,
    "feat_channels": WIDTH,
    "fc_out_channels": 32,
    "conv_out_channels": WIDTH,
    "stacked_convs": 1,
    "nms_pre": 40,
    "max_per_img": 10,
    "num": 24,
    "dropout": 0.0,
    "attn_drop": 0.0,
    "ffn_drop": 0.0,
}


def toy_config(name: str, **changes: Any) -> ConfigDict:
    """The model part of a shipped config, shrunk; `changes` are merged into it."""
    model = Config.fromfile(CONFIGS / DETECTORS[name]).model
    # Both encode places in 256 channels, whatever the config says.
    fixed = name == "conditional-detr" or "as_two_stage" in changes
    width = 256 if fixed else WIDTH
    _shrink(model, SMALL | {"embed_dims": width, "num_feats": width // 2, "out_channels": width})
    # ResNet-18 with an eighth of the channels: 8, 16, 32, 64.
    model.backbone.update(base_channels=8, stem_channels=8, init_cfg=None)
    if name in TRANSFORMERS:
        model.bbox_head.embed_dims = width
    if name == "deformable-detr":
        # Not in the config, and 0.1 if left out.
        model.encoder.layer_cfg.self_attn_cfg.dropout = 0.0
        model.decoder.layer_cfg.cross_attn_cfg.dropout = 0.0
    return ConfigDict(Config._merge_a_into_b(changes, model))


def build(config: ConfigDict | dict[str, Any]) -> nn.Module:
    """Builds a detector with its initial weights, the same at every call."""
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope("mmdet"):
        model = MODELS.build(config)
        model.init_weights()
    return model


def toy_batch(
    model: nn.Module,
    sizes: list[tuple[int, int]],
    boxes: list[int] | None = None,
    with_mask: bool = False,
) -> tuple[Tensor, list[DetDataSample]]:
    """Pictures of the sizes (height, width) with random boxes, prepared by the model."""
    shapes = [(3, *size) for size in sizes]
    items = [3] * len(sizes) if boxes is None else boxes
    settings = {"num_items": items, "num_classes": CLASSES, "with_mask": with_mask}
    data = demo_mm_inputs(len(sizes), shapes, **settings)
    data = model.data_preprocessor(data, training=True)
    return data["inputs"], data["data_samples"]


def alone_and_among_others(model: nn.Module) -> list[InstanceData]:
    """What a detector finds in one picture by itself, and in the middle of three of its size."""
    # Smaller, and GFL's groups of one channel have one value to normalise on the coarsest level.
    inputs, samples = toy_batch(model, [(256, 256)] * 3)
    model.eval()
    with torch.no_grad():
        (alone,) = model.predict(inputs[1:2], copy.deepcopy(samples[1:2]))
        _, among, _ = model.predict(inputs, copy.deepcopy(samples))
    assert len(alone.pred_instances)
    return [alone.pred_instances, among.pred_instances]


def total(losses: dict[str, Tensor | list[Tensor]]) -> Tensor:
    """What MMEngine minimises: the sum of every entry with `loss` in its name."""
    parts = [value for name, value in losses.items() if "loss" in name]
    return sum(part if isinstance(part, Tensor) else sum(part) for part in parts).mean()


def _shrink(node: Any, sizes: dict[str, float]) -> None:
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        if key == "in_channels":
            # 256, 512, 1024, 2048 of ResNet-50
            node[key] = [c // 32 for c in value] if isinstance(value, list) else WIDTH
        elif key in sizes and isinstance(value, int | float):
            node[key] = sizes[key]
        elif isinstance(value, dict | list | tuple):
            _shrink(value, sizes)


class Step(nn.Module):
    """One training step's loss as the output, which is what distributed training wraps."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor, samples: list[DetDataSample]) -> Tensor:
        return total(self.model.loss(inputs, samples))
