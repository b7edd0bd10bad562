"""Both methods in one head, and the control with shuffled language."""

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.registry import DefaultScope

from visionrel.detectors.lango.relation import RelationLearningLoss
from visionrel.detectors.variants import ShuffledRelationLearningLoss


SIZES = {"in_channels": 4, "fc_out_channels": 8, "roi_feat_size": 2, "num_classes": 10}
RELATION = {"relation": {"text_bank": "aerial"}}


def head(kind, **changes):
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope("mmdet"):
        return MODELS.build({"type": kind, **SIZES, **changes})


def losses(model, samples=12):
    torch.manual_seed(1)
    rois, labels = torch.rand(samples, 4, 2, 2), torch.arange(samples) % 11
    scores, boxes = model(rois)
    weights = torch.ones(samples)
    targets = torch.rand(samples, 4)
    places = torch.cat([torch.zeros(samples, 1), torch.rand(samples, 4)], 1)
    return model.loss(scores, boxes, places, labels, weights, targets, targets)


def test_both_methods_in_one_head_are_each_alone():
    bf = {"bf": {"dropout": 0.0}}
    both = head("RelationBatchFormerShared2FCBBoxHead", **RELATION, **bf)
    relation = head("RelationShared2FCBBoxHead", **RELATION)
    mixing = head("BatchFormerShared2FCBBoxHead", **bf)
    for part in (relation, mixing):
        part.load_state_dict(both.state_dict(), strict=False)
    found, one, two = losses(both), losses(relation), losses(mixing)
    # The relation loss sees the features of test time, not the mixed ones.
    torch.testing.assert_close(found["loss_rel"], one["loss_rel"])
    torch.testing.assert_close(found["loss_cls"], two["loss_cls"])
    torch.testing.assert_close(found["loss_bbox"], one["loss_bbox"])
    assert found["loss_rel"] > 0 and not torch.equal(one["loss_cls"], two["loss_cls"])


def test_both_methods_are_gone_at_test_time():
    both = head("RelationBatchFormerShared2FCBBoxHead", **RELATION).eval()
    base = head("Shared2FCBBoxHead").eval()
    base.load_state_dict(both.state_dict(), strict=False)
    rois = torch.rand(5, 4, 2, 2)
    assert all(torch.equal(*pair) for pair in zip(both(rois), base(rois), strict=True))


@pytest.mark.parametrize("seed", range(5))
def test_no_name_keeps_its_own_vector(seed):
    settings = {"text_bank": "aerial", "in_channels": 8, "num_classes": 10}
    plain = RelationLearningLoss(**settings).class_embeddings
    shuffled = ShuffledRelationLearningLoss(**settings, shuffle_seed=seed).class_embeddings
    again = ShuffledRelationLearningLoss(**settings, shuffle_seed=seed).class_embeddings
    assert torch.equal(shuffled, again)
    same = (shuffled[:, None] == plain[None]).all(2)
    assert (same.sum(0) == 1).all() and (same.sum(1) == 1).all() and not same.diagonal().any()
