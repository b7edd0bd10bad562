"""GFL for a CPU: a quarter of ResNet-18, from scratch; its first level sees 10-pixel vehicles."""

_base_ = "./gfl_r50_fpn.py"

model = dict(
    backbone=dict(
        depth=18,
        base_channels=16,
        stem_channels=16,
        frozen_stages=-1,
        norm_cfg=dict(requires_grad=True),
        norm_eval=False,
        init_cfg=None,
    ),
    neck=dict(in_channels=[16, 32, 64, 128], out_channels=32, start_level=0, add_extra_convs=False),
    bbox_head=dict(
        num_classes=10,
        in_channels=32,
        feat_channels=32,
        stacked_convs=2,
        anchor_generator=dict(octave_base_scale=4, strides=[4, 8, 16, 32, 64]),
    ),
    test_cfg=dict(max_per_img=100),
)
