"""Behaviours 13, 14 and 16: LANGO's parts inside MMDetection's detectors."""

import copy

import pytest
import torch

from tests.detectors.toys import (
    CLASSES,
    Step,
    alone_and_among_others,
    build,
    total,
    toy_batch,
    toy_config,
)
from visionrel.detectors.lango.text_bank import random_text_bank, save_text_bank


NAMES = [f"class {number}" for number in range(CLASSES)]
BANK = {"type": "random", "classes": NAMES, "dim": 12}
# Without dropout, which would move the random numbers that sample regions.
VSR = {
    "text_bank": BANK,
    "in_channels": 32,
    "num_heads": 4,
    "feedforward_channels": 24,
    "dropout": 0.0,
}
TYPES = {
    "faster-rcnn": ("LangoFasterRCNN", "RelationShared2FCBBoxHead"),
    "cascade-rcnn": ("LangoCascadeRCNN", "RelationShared2FCBBoxHead"),
    "gfl": ("LangoGFL", "RelationGFLHead"),
}
REL_KEYS = {
    "faster-rcnn": {"loss_rel"},
    "cascade-rcnn": {"s0.loss_rel", "s1.loss_rel", "s2.loss_rel"},
    "gfl": {"loss_rel"},
}
every_detector = pytest.mark.parametrize("name", TYPES)


def lango_config(name, vsr=None, relation=None):
    config = toy_config(name)
    detector, head_type = TYPES[name]
    heads = config.bbox_head if name == "gfl" else config.roi_head.bbox_head
    for head in heads if isinstance(heads, list) else [heads]:
        head.update(type=head_type, relation=relation)
    strides = (8, 16, 32, 64, 128) if name == "gfl" else (4, 8, 16, 32, 64)
    config.update(type=detector, vsr=vsr and {**vsr, "strides": strides})
    return config


def losses_of(model, sizes=((64, 64), (64, 48)), seed=0):
    torch.manual_seed(seed)
    inputs, samples = toy_batch(model, list(sizes), [6] * len(sizes))
    torch.manual_seed(seed)
    return model.loss(inputs, samples)


def predictions_of(model, picture=1):
    inputs, samples = toy_batch(model, [(64, 64)] * 2)
    with torch.no_grad():
        return model.eval().predict(inputs, samples)[picture].pred_instances


def copy_weights(source, target):
    return target.load_state_dict(source.state_dict(), strict=False)


@every_detector
def test_without_both_it_is_the_base(name):
    base, ours = build(toy_config(name)), build(lango_config(name))
    assert list(ours.state_dict()) == list(base.state_dict())
    ours.load_state_dict(base.state_dict())
    expected, found = losses_of(base), losses_of(ours)
    assert found.keys() == expected.keys()
    assert torch.equal(total(found), total(expected))
    torch.manual_seed(1)
    first = predictions_of(base)
    torch.manual_seed(1)
    second = predictions_of(ours)
    assert torch.equal(first.scores, second.scores) and torch.equal(first.bboxes, second.bboxes)


@every_detector
def test_a_base_checkpoint_lacks_the_new_parts_only(name):
    base = build(toy_config(name))
    ours = build(lango_config(name, VSR, {"text_bank": BANK}))
    missing, unexpected = copy_weights(base, ours)
    assert not unexpected
    assert all(key.startswith("vsr.") or ".relation." in key for key in missing)
    kinds = {"vsr" if key.startswith("vsr.") else "relation" for key in missing}
    assert kinds == {"vsr", "relation"}


@every_detector
def test_training(name):
    base = build(toy_config(name))
    ours = build(lango_config(name, VSR, {"text_bank": BANK, "loss_weight": 0.2}))
    copy_weights(base, ours)
    expected, found = losses_of(base), losses_of(ours)
    assert found.keys() - expected.keys() >= {"loss_scene", *REL_KEYS[name]}
    # Closed gates and a training-only loss: the other losses are those of the base.
    for key in expected.keys() & found.keys():
        if "loss" in key:
            torch.testing.assert_close(
                total({key: found[key]}), total({key: expected[key]}), rtol=1e-4, atol=1e-6
            )
    for key in REL_KEYS[name]:
        stage_weight = {"s1.loss_rel": 0.5, "s2.loss_rel": 0.25}.get(key, 1.0)
        plain = found[key.replace("loss_rel", "relation_unweighted")]
        torch.testing.assert_close(found[key].detach(), 0.2 * stage_weight * plain)
    total(found).backward()
    # What distributed training asks for: no parameter without a gradient.
    trained = [(name, part) for name, part in ours.named_parameters() if part.requires_grad]
    assert not [name for name, part in trained if part.grad is None]


def test_scene_conditions_reach_the_loss():
    model = build(lango_config("gfl", VSR))
    inputs, samples = toy_batch(model, [(64, 64)] * 2)
    samples[1].set_metainfo({"scene_cond": {"time": [0.0, 0.0, 1.0]}})
    losses = model.loss(inputs, samples)
    assert losses["loss_scene"] > 0
    torch.testing.assert_close(losses["loss_scene"].detach(), 0.1 * losses["scene_unweighted"])
    assert model._scene_logits is None


@pytest.mark.parametrize("boxes", [[0, 0], [1, 0]])
@every_detector
def test_pictures_without_boxes(name, boxes):
    model = build(lango_config(name, VSR, {"text_bank": BANK}))
    inputs, samples = toy_batch(model, [(64, 64)] * 2, boxes)
    losses = model.loss(inputs, samples)
    assert total(losses).isfinite()
    total(losses).backward()
    for key in REL_KEYS[name]:
        assert losses[key].item() == 0
    missing = [
        key for key, part in model.named_parameters() if "relation" in key and part.grad is None
    ]
    assert not missing


@every_detector
def test_relation_is_unused_at_inference(name):
    plain = build(lango_config(name, VSR))
    taught = build(lango_config(name, VSR, {"text_bank": BANK}))
    copy_weights(plain, taught)
    torch.manual_seed(1)
    first = predictions_of(plain)
    torch.manual_seed(1)
    second = predictions_of(taught)
    assert torch.equal(first.scores, second.scores) and torch.equal(first.bboxes, second.bboxes)
    assert all(not part.seen for part in memories(taught))


@pytest.mark.parametrize("name", ["faster-rcnn", "gfl"])
def test_a_picture_is_found_the_same_whatever_is_beside_it(name):
    """Behaviour 15; with open gates, for closed ones hide what the reasoner does."""
    config = lango_config(name, VSR, {"text_bank": BANK})
    config.test_cfg.get("rcnn", config.test_cfg).score_thr = 0
    model = build(config)
    torch.nn.init.ones_(model.vsr.injection.gates)
    alone, among = alone_and_among_others(model)
    torch.testing.assert_close(alone.bboxes, among.bboxes)
    torch.testing.assert_close(alone.scores, among.scores)
    assert torch.equal(alone.labels, among.labels)


def memories(model):
    return [part._memory for part in model.modules() if hasattr(part, "_memory")]


@pytest.mark.parametrize("name", ["gfl", "faster-rcnn"])
def test_nothing_is_kept_after_a_step_and_copies_are_apart(name):
    model = build(lango_config(name, VSR, {"text_bank": BANK}))
    losses_of(model)
    assert memories(model) and all(not part.seen for part in memories(model))
    twin = copy.deepcopy(model)
    assert torch.equal(total(losses_of(twin)), total(losses_of(model)))


def test_the_bank_is_read_when_the_model_is_built(tmp_path):
    path = tmp_path / "bank.safetensors"
    save_text_bank(random_text_bank(NAMES, dim=12), path)
    vsr = {**VSR, "text_bank": str(path)}
    model = build(lango_config("gfl", vsr, {"text_bank": str(path)}))
    path.unlink()
    losses_of(model)
    predictions_of(model)


@every_detector
def test_mixed_precision(name):
    model = build(lango_config(name, VSR, {"text_bank": BANK, "level": "inst"}))
    with torch.autocast("cpu", torch.bfloat16):
        losses = losses_of(model)
    assert total(losses).isfinite()
    assert all(losses[key].dtype == torch.float32 for key in REL_KEYS[name])


def test_losses_in_evaluation_mode():
    model = build(lango_config("faster-rcnn", VSR, {"text_bank": BANK})).eval()
    with torch.no_grad():
        losses = losses_of(model)
    assert "loss_rel" not in losses and "loss_scene" in losses


@every_detector
def test_distributed_training_finds_no_unused_parameter(process_group, name):
    model = build(lango_config(name, VSR, {"text_bank": BANK}))
    step = torch.nn.parallel.DistributedDataParallel(Step(model))
    # Scene known or not, boxes or none: the second step fails if the first left a gradient out.
    for known, boxes in ((True, [3, 3]), (False, [0, 0]), (True, [3, 3])):
        inputs, samples = toy_batch(model, [(64, 64)] * 2, boxes)
        if known:
            samples[0].set_metainfo({"scene_cond": {"time": [1.0, 0.0, 0.0]}})
        step(inputs, samples).backward()


class Numbered(torch.nn.Module):
    """A tower whose maps hold the number of each point: 1000 per picture, then row by row."""

    def forward(self, level):
        batch, channels, height, width = level.shape
        numbers = torch.arange(height * width) + 1000.0 * torch.arange(batch)[:, None]
        return numbers.view(batch, 1, height, width).expand(-1, channels, -1, -1)


def test_gfl_features_stand_in_the_order_of_the_labels():
    model = build(lango_config("gfl", None, {"text_bank": BANK}))
    head, seen = model.bbox_head, {}
    head.cls_convs = torch.nn.ModuleList([Numbered()])
    head.relation.loss = lambda features, labels: (
        seen.update(features=features, labels=labels) or {}
    )
    losses_of(model, sizes=((64, 64), (64, 64)))
    sides = [8, 4, 2, 1, 1]  # strides 8 to 128
    expected = [
        1000.0 * picture + i for side in sides for picture in (0, 1) for i in range(side**2)
    ]
    assert seen["features"][:, 0].tolist() == expected
    places = iter(seen["labels"].split([2 * side**2 for side in sides]))
    for level, labels in zip(head._labels, places, strict=True):
        assert torch.equal(level, labels.view(2, -1))
