"""Deformable DETR for UAVDT: the baseline."""

_base_ = [
    "../_base_/models/deformable-detr_r50.py",
    "../_base_/datasets/uavdt.py",
    "../_base_/schedules/detr_50e.py",
    "../_base_/default_runtime.py",
]

model = dict(bbox_head=dict(num_classes=3))
train_dataloader = dict(batch_size=3)
