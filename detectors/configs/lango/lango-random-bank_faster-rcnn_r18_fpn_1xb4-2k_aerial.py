"""Control of LANGO (reconstructed from the abstract): random vectors instead of language."""

_base_ = "./lango-faster-rcnn_r18_fpn_1xb4-2k_aerial.py"

bank = dict(
    type="random",
    classes=(
        *("pedestrian", "people", "bicycle", "car", "van", "truck"),
        *("tricycle", "awning-tricycle", "bus", "motor"),
    ),
    # As wide as the shipped banks.
    dim=384,
)
model = dict(
    vsr=dict(text_bank=dict(_delete_=True, **bank)),
    roi_head=dict(bbox_head=dict(relation=dict(text_bank=dict(_delete_=True, **bank)))),
)
