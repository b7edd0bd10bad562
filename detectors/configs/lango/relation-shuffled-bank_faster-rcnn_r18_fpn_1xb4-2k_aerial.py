"""Control of LANGO's relation loss (reconstructed): names carry each other's vectors."""

_base_ = "./relation-faster-rcnn_r18_fpn_1xb4-2k_aerial.py"

model = dict(
    roi_head=dict(bbox_head=dict(relation=dict(type="ShuffledRelationLearningLoss"))),
)
