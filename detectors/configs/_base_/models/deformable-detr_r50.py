"""Deformable DETR and its optimizer as in MMDetection, for hundreds of boxes."""

model = dict(
    as_two_stage=False,
    backbone=dict(
        depth=50,
        frozen_stages=1,
        init_cfg=dict(checkpoint="torchvision://resnet50", type="Pretrained"),
        norm_cfg=dict(requires_grad=False, type="BN"),
        norm_eval=True,
        num_stages=4,
        out_indices=(
            1,
            2,
            3,
        ),
        style="pytorch",
        type="ResNet",
    ),
    bbox_head=dict(
        loss_bbox=dict(loss_weight=5.0, type="L1Loss"),
        loss_cls=dict(alpha=0.25, gamma=2.0, loss_weight=2.0, type="FocalLoss", use_sigmoid=True),
        loss_iou=dict(loss_weight=2.0, type="GIoULoss"),
        num_classes=80,
        sync_cls_avg_factor=True,
        type="DeformableDETRHead",
    ),
    data_preprocessor=dict(
        bgr_to_rgb=True,
        mean=[
            123.675,
            116.28,
            103.53,
        ],
        pad_size_divisor=1,
        std=[
            58.395,
            57.12,
            57.375,
        ],
        type="DetDataPreprocessor",
    ),
    decoder=dict(
        layer_cfg=dict(
            cross_attn_cfg=dict(batch_first=True, embed_dims=256),
            ffn_cfg=dict(embed_dims=256, feedforward_channels=1024, ffn_drop=0.1),
            self_attn_cfg=dict(batch_first=True, dropout=0.1, embed_dims=256, num_heads=8),
        ),
        num_layers=6,
        post_norm_cfg=None,
        return_intermediate=True,
    ),
    encoder=dict(
        layer_cfg=dict(
            ffn_cfg=dict(embed_dims=256, feedforward_channels=1024, ffn_drop=0.1),
            self_attn_cfg=dict(batch_first=True, embed_dims=256),
        ),
        num_layers=6,
    ),
    neck=dict(
        act_cfg=None,
        in_channels=[
            512,
            1024,
            2048,
        ],
        kernel_size=1,
        norm_cfg=dict(num_groups=32, type="GN"),
        num_outs=4,
        out_channels=256,
        type="ChannelMapper",
    ),
    num_feature_levels=4,
    num_queries=300,
    positional_encoding=dict(normalize=True, num_feats=128, offset=-0.5),
    test_cfg=dict(max_per_img=500),
    train_cfg=dict(
        assigner=dict(
            match_costs=[
                dict(type="FocalLossCost", weight=2.0),
                dict(box_format="xywh", type="BBoxL1Cost", weight=5.0),
                dict(iou_mode="giou", type="IoUCost", weight=2.0),
            ],
            type="HungarianAssigner",
        )
    ),
    type="DeformableDETR",
    with_box_refine=False,
)
optim_wrapper = dict(
    clip_grad=dict(max_norm=0.1, norm_type=2),
    optimizer=dict(lr=0.0002, type="AdamW", weight_decay=0.0001),
    paramwise_cfg=dict(
        custom_keys=dict(
            backbone=dict(lr_mult=0.1),
            reference_points=dict(lr_mult=0.1),
            sampling_offsets=dict(lr_mult=0.1),
        )
    ),
    type="OptimWrapper",
)
