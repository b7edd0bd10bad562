"""Cascade R-CNN for VisDrone with LANGO, reconstructed from the abstract."""

_base_ = [
    "../_base_/models/cascade-rcnn_r50_fpn.py",
    "../_base_/datasets/visdrone_conditions.py",
    "../_base_/schedules/aerial_1x.py",
    "../_base_/default_runtime.py",
]

heads = [
    dict(
        type="RelationShared2FCBBoxHead",
        in_channels=256,
        fc_out_channels=1024,
        roi_feat_size=7,
        num_classes=10,
        relation=dict(text_bank="visdrone"),
        bbox_coder=dict(
            type="DeltaXYWHBBoxCoder",
            target_means=[0.0, 0.0, 0.0, 0.0],
            target_stds=[0.1 / stage, 0.1 / stage, 0.2 / stage, 0.2 / stage],
        ),
        reg_class_agnostic=True,
        loss_cls=dict(type="CrossEntropyLoss", use_sigmoid=False, loss_weight=1.0),
        loss_bbox=dict(type="SmoothL1Loss", beta=1.0, loss_weight=1.0),
    )
    for stage in (1, 2, 3)
]
model = dict(
    type="LangoCascadeRCNN",
    vsr=dict(text_bank="visdrone"),
    roi_head=dict(bbox_head=heads),
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
