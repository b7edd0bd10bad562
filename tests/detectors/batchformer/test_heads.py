"""BatchFormer over the regions of Faster and Cascade R-CNN."""

import copy

import pytest
import torch
from mmdet.models.roi_heads.bbox_heads import Shared2FCBBoxHead
from mmdet.registry import MODELS
from mmengine.registry import DefaultScope

from tests.detectors.toys import CLASSES, Step, build, total, toy_batch, toy_config
from visionrel.detectors.batchformer import BatchFormerShared2FCBBoxHead
from visionrel.errors import InputError


N, WIDTH = 10, 16
SIZES = {"in_channels": 2, "fc_out_channels": WIDTH, "roi_feat_size": 3, "num_classes": CLASSES}
HEAD = "BatchFormerShared2FCBBoxHead"


def heads(**settings):
    """A head with BatchFormer and the base head with its weights, training."""
    settings.setdefault("bf", {"dropout": 0.0})
    with DefaultScope.overwrite_default_scope("mmdet"):
        ours, base = BatchFormerShared2FCBBoxHead(**settings, **SIZES), Shared2FCBBoxHead(**SIZES)
    weights = ours.state_dict()
    base.load_state_dict({key: value for key, value in weights.items() if "bf_layer" not in key})
    return ours.train(), base.train()


def regions(count: int = N, objects: int = 4):
    """Features, boxes and targets; the first ones are objects."""
    labels = torch.full((count,), CLASSES)
    labels[:objects] = torch.arange(objects) % CLASSES
    rois = torch.tensor([[0.0, 1, 1, 9, 9]]).repeat(count, 1)
    targets = torch.randn(count, 4), (labels < CLASSES).float()[:, None].expand(-1, 4)
    return torch.randn(count, 2, 3, 3), (rois, labels, torch.ones(count), *targets)


def test_classification_is_the_mean_over_both_streams_and_the_rest_is_the_base_heads():
    ours, base = heads()
    x, targets = regions()
    (scores, boxes), (base_scores, base_boxes) = ours(x), base(x)
    assert torch.equal(scores, base_scores) and torch.equal(boxes, base_boxes)
    features = ours._features
    mine, theirs = ours.loss(scores, boxes, *targets), base.loss(scores, boxes, *targets)
    assert torch.equal(mine["loss_bbox"], theirs["loss_bbox"])
    assert torch.equal(mine["acc"], theirs["acc"])
    both = ours.fc_cls(torch.cat([features, ours.bf_layer(features)]))
    expected = torch.nn.functional.cross_entropy(both, targets[1].repeat(2))
    torch.testing.assert_close(mine["loss_cls"], expected)


def test_test_scores_are_the_base_heads():
    ours, base = heads()
    x, _ = regions()
    for mine, theirs in zip(ours.eval()(x), base.eval()(x), strict=True):
        assert torch.equal(mine, theirs)


def test_at_most_so_many_regions_take_part_objects_first():
    ours, base = heads(max_samples=6)
    x, targets = regions()
    seen = []
    ours.bf_layer.register_forward_hook(lambda module, args, out: seen.append((args[0], out)))
    scores, boxes = ours(x)
    features = ours._features
    losses = ours.loss(scores, boxes, *targets)
    rows, mixed = seen[0]
    chosen = [int((features == row).all(1).nonzero()) for row in rows]
    assert len(chosen) == 6 and chosen[:4] == [0, 1, 2, 3] and chosen == sorted(set(chosen))
    partial = torch.nn.functional.cross_entropy(ours.fc_cls(mixed), targets[1][chosen])
    whole = base.loss(scores, boxes, *targets)["loss_cls"]
    torch.testing.assert_close(losses["loss_cls"], (whole + partial) / 2)


def test_too_many_objects_are_drawn_at_random():
    ours, _ = heads(max_samples=3)
    labels = regions(objects=8)[1][1]
    draws = {tuple(ours._choose(labels).tolist()) for _ in range(20)}
    assert len(draws) > 1 and all(max(draw) < 8 and len(draw) == 3 for draw in draws)


def test_the_ride_variant_trains_the_classifier_on_mixed_features_alone():
    ours, _ = heads(share_classifier=False)
    x, targets = regions()
    scores, boxes = ours(x)
    features = ours._features
    losses = ours.loss(scores, boxes, *targets)
    mixed = ours.fc_cls(ours.bf_layer(features))
    expected = torch.nn.functional.cross_entropy(mixed, targets[1])
    torch.testing.assert_close(losses["loss_cls"], expected)


def test_no_region_gives_finite_losses_that_reach_every_parameter():
    ours, _ = heads()
    x, targets = regions(0, 0)
    losses = ours.loss(*ours(x), *targets)
    total(losses).backward()
    assert torch.isfinite(total(losses))
    assert all(parameter.grad is not None for parameter in ours.parameters())


def test_features_do_not_outlive_the_step():
    ours, _ = heads()
    x, targets = regions()
    ours.loss(*ours(x), *targets)
    copy.deepcopy(ours)  # as an averaged model does; a kept graph could not be copied
    assert ours._features is None


@pytest.mark.parametrize(
    "settings, words", [({"max_samples": 0}, "`max_samples`"), ({"with_cls": False}, "classifier")]
)
def test_impossible_heads_are_refused(settings, words):
    with pytest.raises(InputError, match=words), DefaultScope.overwrite_default_scope("mmdet"):
        BatchFormerShared2FCBBoxHead(**settings, **SIZES)


def with_batchformer(name: str, **roi_head):
    config = toy_config(name)
    stages = config.roi_head.bbox_head
    for head in stages if isinstance(stages, list) else [stages]:
        head.update(type=HEAD, bf={"dropout": 0.0})
    config.roi_head.update(roi_head)
    return config


@pytest.mark.parametrize("name", ["faster-rcnn", "cascade-rcnn"])
def test_whole_detectors_train_and_predict_like_the_base(name):
    ours, base = build(with_batchformer(name)), build(toy_config(name))
    weights = ours.state_dict()
    base.load_state_dict({key: value for key, value in weights.items() if "bf_layer" not in key})
    inputs, samples = toy_batch(ours, [(64, 64), (64, 48)])
    losses = []
    for model in (ours, base):
        torch.manual_seed(1)  # of the region sampler
        losses.append(model.train()(inputs, copy.deepcopy(samples), mode="loss"))
    assert losses[0].keys() == losses[1].keys()
    total(losses[0]).backward()
    gradients = [value.grad for key, value in ours.named_parameters() if "bf_layer" in key]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
    # the first stage sees the same regions; later ones see boxes refined by the base head
    for key, value in losses[1].items():
        if "loss_bbox" in key or "acc" in key:
            torch.testing.assert_close(losses[0][key], value)
    with torch.no_grad():
        found = [
            model.eval()(inputs, copy.deepcopy(samples), mode="predict") for model in (ours, base)
        ]
    for mine, theirs in zip(*found, strict=True):
        assert torch.equal(mine.pred_instances.scores, theirs.pred_instances.scores)
        assert torch.equal(mine.pred_instances.bboxes, theirs.pred_instances.bboxes)


def test_masks_and_all_targets_are_those_of_the_base():
    ours, base = build(with_batchformer("mask-rcnn")), build(toy_config("mask-rcnn"))
    weights = ours.state_dict()
    base.load_state_dict({key: value for key, value in weights.items() if "bf_layer" not in key})
    inputs, samples = toy_batch(ours, [(64, 64), (64, 48)], with_mask=True)
    losses, boxes, masks = [], [], []
    for model in (ours, base):
        boxes.append(spy(model.roi_head.bbox_head, "loss_and_target"))
        masks.append(spy(model.roi_head.mask_head, "get_targets"))
        torch.manual_seed(1)  # of the region sampler
        losses.append(model.train()(inputs, copy.deepcopy(samples), mode="loss"))
    (mine,), (theirs,) = boxes
    pairs = zip(mine["bbox_targets"], theirs["bbox_targets"], strict=True)
    assert all(torch.equal(*pair) for pair in pairs)
    assert masks[0][0].any() and torch.equal(masks[0][0], masks[1][0])
    assert losses[0].keys() == losses[1].keys() >= {"loss_mask"}
    for key, value in losses[1].items():
        if key != "loss_cls":
            torch.testing.assert_close(losses[0][key], value, rtol=0, atol=0)


def spy(part, name: str) -> list:
    """Records the results of a method."""
    results, method = [], getattr(part, name)

    def wrapper(*args, **kwargs):
        results.append(method(*args, **kwargs))
        return results[-1]

    setattr(part, name, wrapper)
    return results


BANK = {"type": "random", "classes": [f"class {i}" for i in range(CLASSES)], "dim": 12}
RELATION = {
    "type": "RelationBatchFormerShared2FCBBoxHead",
    "relation": {"text_bank": BANK},
}


@pytest.mark.parametrize(
    ("name", "changes"), [("faster-rcnn", {}), ("cascade-rcnn", {}), ("faster-rcnn", RELATION)]
)
def test_distributed_training_finds_no_unused_parameter(process_group, name, changes):
    config = with_batchformer(name)
    if changes:
        config.roi_head.bbox_head.update(changes)
    model = build(config).train()
    step = torch.nn.parallel.DistributedDataParallel(Step(model))
    for boxes in ([3, 3], [0, 0], [3, 3]):
        step(*toy_batch(model, [(64, 64)] * 2, boxes)).backward()


def test_stages_of_a_cascade_have_a_layer_each_or_share_one():
    apart = build(with_batchformer("cascade-rcnn")).roi_head.bbox_head
    assert len({id(head.bf_layer) for head in apart}) == 3
    shared = with_batchformer("cascade-rcnn", type="BatchFormerCascadeRoIHead", share_stages=True)
    heads = build(shared).roi_head.bbox_head
    assert len({id(head.bf_layer) for head in heads}) == 1


def test_sharing_needs_a_layer_in_every_stage():
    config = toy_config("cascade-rcnn")
    config.roi_head.update(type="BatchFormerCascadeRoIHead", share_stages=True)
    with pytest.raises(InputError, match=r"`share_stages` needs.*got Shared2FCBBoxHead"):
        build(config)


def test_names_are_registered():
    for name in (HEAD, "BatchFormerCascadeRoIHead", "BFDETR", "BFDINO"):
        assert name in MODELS
