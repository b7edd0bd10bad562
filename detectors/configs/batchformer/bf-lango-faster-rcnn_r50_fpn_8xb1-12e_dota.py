"""Faster R-CNN for DOTA with BatchFormer and LANGO, reconstructed from the abstract."""

_base_ = [
    "../_base_/models/faster-rcnn_r50_fpn.py",
    "../_base_/datasets/dota_conditions.py",
    "../_base_/schedules/aerial_1x.py",
    "../_base_/default_runtime.py",
]

model = dict(
    type="LangoFasterRCNN",
    vsr=dict(text_bank="dota"),
    roi_head=dict(
        bbox_head=dict(
            type="RelationBatchFormerShared2FCBBoxHead",
            num_classes=15,
            relation=dict(text_bank="dota"),
        )
    ),
)
custom_hooks = [dict(type="LangoCheckHook")]
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={
            "vsr.injection.gates": dict(decay_mult=0.0),
            "vsr.query_offset": dict(decay_mult=0.0),
        }
    )
)
