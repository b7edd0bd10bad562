"""Deformable DETR for VisDrone: the baseline."""

_base_ = [
    "../_base_/models/deformable-detr_r50.py",
    "../_base_/datasets/visdrone.py",
    "../_base_/schedules/detr_50e.py",
    "../_base_/default_runtime.py",
]

model = dict(bbox_head=dict(num_classes=10))
train_dataloader = dict(batch_size=3)
