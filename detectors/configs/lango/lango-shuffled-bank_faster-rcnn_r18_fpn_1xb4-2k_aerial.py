"""Control of LANGO (reconstructed from the abstract): names carry each other's vectors."""

_base_ = "./lango-faster-rcnn_r18_fpn_1xb4-2k_aerial.py"

model = dict(
    roi_head=dict(bbox_head=dict(relation=dict(type="ShuffledRelationLearningLoss"))),
)
