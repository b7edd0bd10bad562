"""Deformable DETR for UAVDT with BatchFormerV2 after the first encoder layer."""

_base_ = "../deformable_detr/deformable-detr_r50_8xb3-50e_uavdt.py"

model = dict(type="BFDeformableDETR", encoder=dict(bf=dict(insert_idx=[0])))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(bf_layers=dict(lr_mult=1.0))))
