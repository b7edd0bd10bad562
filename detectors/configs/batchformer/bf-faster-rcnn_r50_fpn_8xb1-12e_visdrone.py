"""Faster R-CNN for VisDrone with BatchFormer over the sampled regions."""

_base_ = [
    "../_base_/models/faster-rcnn_r50_fpn.py",
    "../_base_/datasets/visdrone.py",
    "../_base_/schedules/aerial_1x.py",
    "../_base_/default_runtime.py",
]

model = dict(
    roi_head=dict(bbox_head=dict(type="BatchFormerShared2FCBBoxHead", num_classes=10)),
)
