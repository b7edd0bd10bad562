"""Faster R-CNN for the aerial world with BatchFormer and LANGO, reconstructed from the abstract."""

_base_ = [
    "../_base_/models/faster-rcnn_r18_fpn_narrow.py",
    "../_base_/datasets/aerial_world_conditions.py",
    "../_base_/schedules/cpu_2k.py",
    "../_base_/iterations_runtime.py",
]

model = dict(
    type="LangoFasterRCNN",
    vsr=dict(text_bank="aerial", in_channels=32, num_heads=4, feedforward_channels=128),
    roi_head=dict(
        bbox_head=dict(
            type="RelationBatchFormerShared2FCBBoxHead",
            relation=dict(text_bank="aerial"),
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
