"""Control of LANGO: nobody tells the reasoner the conditions of a scene."""

_base_ = "./lango-faster-rcnn_r18_fpn_1xb4-2k_aerial.py"

model = dict(vsr=dict(loss_weight=0.0))
