"""GFL for DOTA with LANGO's relation loss, reconstructed from the abstract."""

_base_ = [
    "../_base_/models/gfl_r50_fpn.py",
    "../_base_/datasets/dota.py",
    "../_base_/schedules/aerial_1x.py",
    "../_base_/default_runtime.py",
]

model = dict(
    bbox_head=dict(type="RelationGFLHead", num_classes=15, relation=dict(text_bank="dota")),
)
custom_hooks = [dict(type="LangoCheckHook")]
