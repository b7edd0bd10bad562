"""Deformable DETR for a CPU: half of ResNet-18, from scratch, two layers of width 128."""

_base_ = "./deformable-detr_r50.py"

model = dict(
    num_queries=100,
    backbone=dict(
        depth=18,
        base_channels=32,
        stem_channels=32,
        frozen_stages=-1,
        norm_cfg=dict(requires_grad=True),
        norm_eval=False,
        init_cfg=None,
    ),
    neck=dict(in_channels=[64, 128, 256], out_channels=128, norm_cfg=dict(num_groups=8)),
    encoder=dict(
        num_layers=2,
        layer_cfg=dict(
            self_attn_cfg=dict(embed_dims=128),
            ffn_cfg=dict(embed_dims=128, feedforward_channels=256),
        ),
    ),
    decoder=dict(
        num_layers=2,
        layer_cfg=dict(
            self_attn_cfg=dict(embed_dims=128),
            cross_attn_cfg=dict(embed_dims=128),
            ffn_cfg=dict(embed_dims=128, feedforward_channels=256),
        ),
    ),
    positional_encoding=dict(num_feats=64),
    bbox_head=dict(num_classes=10, embed_dims=128),
    test_cfg=dict(max_per_img=100),
)
# From scratch the backbone learns as fast as the rest.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={"backbone": dict(lr_mult=1.0)}))
