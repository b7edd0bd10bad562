"""BatchFormerV2 in whole detectors, against MMDetection's own with the same weights."""

import copy

import pytest
import torch

from tests.detectors.toys import (
    TRANSFORMERS,
    Step,
    alone_and_among_others,
    build,
    total,
    toy_batch,
    toy_config,
)


NAMES = {
    "detr": "BFDETR",
    "conditional-detr": "BFConditionalDETR",
    "deformable-detr": "BFDeformableDETR",
    "dino": "BFDINO",
}
SAME_SIZE, PADDED = [(64, 64)] * 2, [(64, 64), (64, 48)]
VARIANTS = [(name, {}) for name in TRANSFORMERS] + [
    ("deformable-detr", {"with_box_refine": True}),
    ("deformable-detr", {"with_box_refine": True, "as_two_stage": True}),
]
WITHOUT_NOISE = [variant for variant in VARIANTS if variant[0] != "dino"]


def pair(name: str, bf: dict | None = None, **changes):
    """A detector with BatchFormer and the base detector with its weights."""
    bf = {"insert_idx": [0], "layer": {"dropout": 0.0}, **(bf or {})}
    ours = build(toy_config(name, type=NAMES[name], encoder={"bf": bf}, **changes))
    base = build(toy_config(name, **changes))
    weights = ours.state_dict()
    base.load_state_dict({key: value for key, value in weights.items() if "bf_layers" not in key})
    return ours, base


def spy(model, name: str) -> list:
    """Records the keyword arguments and results of a method."""
    calls, method = [], getattr(model, name)

    def wrapper(*args, **kwargs):
        result = method(*args, **kwargs)
        calls.append((args, kwargs, result))
        return result

    setattr(model, name, wrapper)
    return calls


@pytest.mark.parametrize("name, changes", VARIANTS)
@pytest.mark.parametrize("sizes", [SAME_SIZE, PADDED])
def test_training_doubles_everything_behind_the_first_insertion(name, changes, sizes):
    model, _ = pair(name, **changes)
    images = spy(model, "extract_feat")
    decoded = spy(model.decoder, "forward")
    scored = spy(model.bbox_head, "loss")
    noised = spy(model.dn_query_generator, "generate_dn_bbox_query") if name == "dino" else []
    inputs, samples = toy_batch(model, sizes)
    losses = model.train()(inputs, samples, mode="loss")
    total(losses).backward()
    assert torch.isfinite(total(losses))
    assert len(images[0][0][0]) == 2  # backbone and neck
    assert all(len(level) == 2 for level in images[0][2])
    arguments = decoded[0][1]
    assert len(arguments["key" if "key" in arguments else "value"]) == len(arguments["query"]) == 4
    for key in ("key_padding_mask", "key_pos", "valid_ratios"):
        if arguments.get(key) is not None:
            assert len(arguments[key]) == 4
            assert torch.equal(arguments[key][:2], arguments[key][2:])
    assert (arguments["key_padding_mask"] is None) == (sizes is SAME_SIZE)
    assert scored[0][1]["hidden_states"][0].shape[0] == 4
    assert scored[0][1]["batch_data_samples"] == samples * 2
    if name == "dino":
        assert len(noised[0][0][0]) == 2 * sum(len(sample.gt_instances) for sample in samples)
    gradients = [parameter.grad for parameter in model.encoder.bf_layers.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_distributed_training_finds_no_unused_parameter(process_group, name):
    model = pair(name)[0].train()
    step = torch.nn.parallel.DistributedDataParallel(Step(model))
    # An unused parameter of the first step is found by the second.
    for boxes in ([3, 3], [0, 0], [3, 3]):
        step(*toy_batch(model, SAME_SIZE, boxes)).backward()


@pytest.mark.parametrize("name, changes", VARIANTS)
@pytest.mark.parametrize("count", [1, 3])
def test_prediction_is_that_of_the_base_detector(name, changes, count):
    ours, base = pair(name, **changes)
    inputs, samples = toy_batch(ours, [(64, 64), (64, 48), (48, 64)][:count])
    with torch.no_grad():
        for mine, theirs in zip(
            ours.eval()(inputs, copy.deepcopy(samples), mode="predict"),
            base.eval()(inputs, copy.deepcopy(samples), mode="predict"),
            strict=True,
        ):
            assert torch.equal(mine.pred_instances.bboxes, theirs.pred_instances.bboxes)
            assert torch.equal(mine.pred_instances.scores, theirs.pred_instances.scores)
            assert torch.equal(mine.pred_instances.labels, theirs.pred_instances.labels)


def test_a_picture_is_found_the_same_whatever_is_beside_it():
    alone, among = alone_and_among_others(pair("deformable-detr")[0])
    torch.testing.assert_close(alone.bboxes, among.bboxes)
    torch.testing.assert_close(alone.scores, among.scores)
    assert torch.equal(alone.labels, among.labels)


@pytest.mark.parametrize("name, changes", WITHOUT_NOISE)
@pytest.mark.parametrize("places, share", [([0], False), ([0, 1], True)])
def test_with_batchformer_as_the_identity_every_loss_is_the_base_loss(
    name, changes, places, share, monkeypatch
):
    ours, base = pair(name, {"insert_idx": places, "share": share}, **changes)
    for layer in ours.encoder.bf_layers.values():
        monkeypatch.setattr(layer, "forward", lambda samples, mask=None: samples)
    inputs, samples = toy_batch(ours, PADDED)
    mine = ours.train()(inputs, samples, mode="loss")
    theirs = base.train()(inputs, samples, mode="loss")
    assert mine.keys() == theirs.keys()
    for key, value in theirs.items():
        torch.testing.assert_close(mine[key], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name, changes", VARIANTS)
def test_no_object_in_any_image_gives_finite_losses_and_reaches_what_the_base_reaches(
    name, changes
):
    ours, base = pair(name, **changes)
    reached = []
    for model in (ours, base):
        inputs, samples = toy_batch(model, SAME_SIZE, boxes=[0, 0])
        losses = model.train()(inputs, samples, mode="loss")
        total(losses).backward()
        assert torch.isfinite(total(losses))
        parameters = model.named_parameters()
        reached.append({key for key, value in parameters if value.grad is not None})
    assert reached[1] <= reached[0]
    assert {key for key, _ in ours.named_parameters() if "bf_layers" in key} <= reached[0]


def test_the_matrices_start_like_those_of_the_detector():
    model, _ = pair("deformable-detr")
    weight = model.encoder.bf_layers["0"].linear1.weight
    limit = (6 / sum(weight.shape)) ** 0.5  # Xavier's, wider than PyTorch's for a linear layer
    assert 0.9 * limit < weight.abs().max() <= limit


def test_a_detector_without_a_bf_block_has_one_layer_after_the_first():
    model = build(toy_config("detr", type="BFDETR"))
    assert list(model.encoder.bf_layers) == ["0"]
    assert model.encoder.bf_layers["0"].self_attn.dropout == 0.5
