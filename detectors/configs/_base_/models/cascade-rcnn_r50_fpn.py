"""Cascade R-CNN of MMDetection for aerial pictures: regions to ignore, hundreds of boxes."""

_base_ = "mmdet::_base_/models/cascade-rcnn_r50_fpn.py"

stages = [
    dict(
        assigner=dict(
            type="IgnoreAwareMaxIoUAssigner",
            pos_iou_thr=threshold,
            neg_iou_thr=threshold,
            min_pos_iou=threshold,
            match_low_quality=False,
            ignore_iof_thr=0.5,
            # With more boxes in a picture, assigning moves to the CPU instead of filling the GPU.
            gpu_assign_thr=100,
        ),
        sampler=dict(
            type="RandomSampler",
            num=512,
            pos_fraction=0.25,
            neg_pos_ub=-1,
            add_gt_as_proposals=True,
        ),
        pos_weight=-1,
        debug=False,
    )
    for threshold in (0.5, 0.6, 0.7)
]
model = dict(
    train_cfg=dict(
        rpn=dict(
            assigner=dict(type="IgnoreAwareMaxIoUAssigner", ignore_iof_thr=0.5, gpu_assign_thr=100)
        ),
        rcnn=stages,
    ),
    test_cfg=dict(rcnn=dict(max_per_img=500)),
)
