"""Faster R-CNN for real tree crowns, on a CPU in minutes; the pictures come with the package."""

_base_ = [
    "../_base_/models/faster-rcnn_r18_fpn_narrow.py",
    "../_base_/datasets/trees.py",
    "../_base_/schedules/cpu_2k.py",
    "../_base_/iterations_runtime.py",
]

model = dict(roi_head=dict(bbox_head=dict(num_classes=1)))
train_cfg = dict(max_iters=600, val_interval=600)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=60),
    dict(type="CosineAnnealingLR", by_epoch=False, begin=60, end=600, eta_min_ratio=0.01),
]
