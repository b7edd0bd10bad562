"""Faster R-CNN for UAVDT with LANGO's relation loss, reconstructed from the abstract."""

_base_ = [
    "../_base_/models/faster-rcnn_r50_fpn.py",
    "../_base_/datasets/uavdt.py",
    "../_base_/schedules/aerial_1x.py",
    "../_base_/default_runtime.py",
]

model = dict(
    roi_head=dict(
        bbox_head=dict(
            type="RelationShared2FCBBoxHead",
            num_classes=3,
            relation=dict(text_bank="uavdt"),
        )
    ),
)
custom_hooks = [dict(type="LangoCheckHook")]
