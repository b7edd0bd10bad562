"""Faster R-CNN for the aerial world with BatchFormer over the sampled regions."""

_base_ = [
    "../_base_/models/faster-rcnn_r18_fpn_narrow.py",
    "../_base_/datasets/aerial_world.py",
    "../_base_/schedules/cpu_2k.py",
    "../_base_/iterations_runtime.py",
]

model = dict(
    roi_head=dict(bbox_head=dict(type="BatchFormerShared2FCBBoxHead")),
)
