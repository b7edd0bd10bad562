"""DINO for DOTA with BatchFormerV2 after the first encoder layer."""

_base_ = "../dino/dino-4scale_r50_8xb2-12e_dota.py"

model = dict(type="BFDINO", encoder=dict(bf=dict(insert_idx=[0])))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(bf_layers=dict(lr_mult=1.0))))
