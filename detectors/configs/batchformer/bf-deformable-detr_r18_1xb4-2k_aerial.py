"""Deformable DETR for the aerial world with BatchFormerV2 after the first encoder layer."""

_base_ = "../deformable_detr/deformable-detr_r18_1xb4-2k_aerial.py"

model = dict(type="BFDeformableDETR", encoder=dict(bf=dict(insert_idx=[0])))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(bf_layers=dict(lr_mult=1.0))))
