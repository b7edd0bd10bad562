"""Faster R-CNN of MMDetection for aerial pictures: regions to ignore, hundreds of boxes."""

_base_ = "mmdet::_base_/models/faster-rcnn_r50_fpn.py"

# With more boxes than this in a picture, assigning moves to the CPU instead of filling the GPU.
assigner = dict(type="IgnoreAwareMaxIoUAssigner", ignore_iof_thr=0.5, gpu_assign_thr=100)
model = dict(
    train_cfg=dict(rpn=dict(assigner=assigner), rcnn=dict(assigner=assigner)),
    test_cfg=dict(rcnn=dict(max_per_img=500)),
)
