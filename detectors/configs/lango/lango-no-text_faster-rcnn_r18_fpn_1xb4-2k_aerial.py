"""Control of LANGO (reconstructed from the abstract): the reasoner is told no conditions."""

_base_ = "./lango-faster-rcnn_r18_fpn_1xb4-2k_aerial.py"

model = dict(vsr=dict(loss_weight=0.0))
