"""GFL as in MMDetection, for aerial pictures: regions to ignore, hundreds of boxes."""

model = dict(
    backbone=dict(
        depth=50,
        frozen_stages=1,
        init_cfg=dict(checkpoint="torchvision://resnet50", type="Pretrained"),
        norm_cfg=dict(requires_grad=True, type="BN"),
        norm_eval=True,
        num_stages=4,
        out_indices=(
            0,
            1,
            2,
            3,
        ),
        style="pytorch",
        type="ResNet",
    ),
    bbox_head=dict(
        anchor_generator=dict(
            octave_base_scale=8,
            ratios=[
                1.0,
            ],
            scales_per_octave=1,
            strides=[
                8,
                16,
                32,
                64,
                128,
            ],
            type="AnchorGenerator",
        ),
        feat_channels=256,
        in_channels=256,
        loss_bbox=dict(loss_weight=2.0, type="GIoULoss"),
        loss_cls=dict(beta=2.0, loss_weight=1.0, type="QualityFocalLoss", use_sigmoid=True),
        loss_dfl=dict(loss_weight=0.25, type="DistributionFocalLoss"),
        num_classes=80,
        reg_max=16,
        stacked_convs=4,
        type="GFLHead",
    ),
    data_preprocessor=dict(
        bgr_to_rgb=True,
        mean=[
            123.675,
            116.28,
            103.53,
        ],
        pad_size_divisor=32,
        std=[
            58.395,
            57.12,
            57.375,
        ],
        type="DetDataPreprocessor",
    ),
    neck=dict(
        add_extra_convs="on_output",
        in_channels=[
            256,
            512,
            1024,
            2048,
        ],
        num_outs=5,
        out_channels=256,
        start_level=1,
        type="FPN",
    ),
    test_cfg=dict(
        max_per_img=500,
        min_bbox_size=0,
        nms=dict(iou_threshold=0.6, type="nms"),
        nms_pre=1000,
        score_thr=0.05,
    ),
    train_cfg=dict(
        allowed_border=-1,
        assigner=dict(ignore_iof_thr=0.5, topk=9, type="IgnoreAwareATSSAssigner"),
        debug=False,
        pos_weight=-1,
    ),
    type="GFL",
)
