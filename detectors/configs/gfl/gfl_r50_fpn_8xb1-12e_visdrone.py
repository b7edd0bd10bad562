"""GFL for VisDrone: the baseline."""

_base_ = [
    "../_base_/models/gfl_r50_fpn.py",
    "../_base_/datasets/visdrone.py",
    "../_base_/schedules/aerial_1x.py",
    "../_base_/default_runtime.py",
]

model = dict(bbox_head=dict(num_classes=10))
