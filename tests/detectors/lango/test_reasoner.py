"""Behaviours 1-4 and 15 of the visual semantic reasoner, a reconstruction from the abstract."""

import pytest
import torch
import torch.nn.functional as F
from mmdet.structures import DetDataSample

from visionrel.detectors.lango import VisualSemanticReasoner
from visionrel.errors import InputError


BANK = {"type": "random", "classes": ["car"], "dim": 12}
SIZES = {"time": 3, "weather": 5, "view": 3, "altitude": 3}
both = pytest.mark.parametrize("inject", ["gate", "film"])


def make_reasoner(**changes):
    settings = {"in_channels": 16, "num_heads": 4, "feedforward_channels": 24, "dropout": 0.0}
    return VisualSemanticReasoner(BANK, **{**settings, **changes})


def make_maps(batch=2, sides=((9, 12), (5, 6), (3, 3), (2, 2), (1, 1)), channels=16):
    return [torch.randn(batch, channels, *side) for side in sides]


def make_samples(*conditions):
    return [DetDataSample(metainfo={"scene_cond": entry}) for entry in conditions]


@both
def test_starts_as_the_identity_and_can_leave_it(inject):
    reasoner, maps = make_reasoner(inject=inject), make_maps()
    changed, _ = reasoner(maps)
    assert all(torch.equal(new, old) for new, old in zip(changed, maps, strict=True))
    sum((new * torch.randn_like(new)).sum() for new in changed).backward()
    injection = reasoner.injection
    assert (injection.gates.grad != 0).all()
    for name, parameter in injection.named_parameters():
        if name != "gates":
            assert torch.equal(parameter.grad, torch.zeros_like(parameter))
    with torch.no_grad():
        injection.gates.fill_(0.5)
    changed, _ = reasoner(maps)
    assert not any(torch.allclose(new, old) for new, old in zip(changed, maps, strict=True))


@both
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("sides", [[(1, 1)], [(40, 7), (13, 3)], [(8, 8)] * 6])
def test_shapes(inject, batch, sides):
    strides = tuple(2 ** (5 + place) for place in range(len(sides)))
    reasoner = make_reasoner(inject=inject, strides=strides)
    maps = make_maps(batch, sides)
    changed, logits = reasoner(maps)
    assert [new.shape for new in changed] == [old.shape for old in maps]
    assert {axis: tuple(part.shape) for axis, part in logits.items()} == {
        axis: (batch, size) for axis, size in SIZES.items()
    }


def test_logits_are_bounded_cosines():
    reasoner = make_reasoner(temperature=0.07)
    _, logits = reasoner([1e3 * level for level in make_maps()])
    for part in logits.values():
        assert part.abs().max() <= 1 / 0.07 + 1e-4
        torch.testing.assert_close(part.softmax(1).sum(1), torch.ones(2))


def test_context_is_read_at_its_stride():
    reasoner, maps = make_reasoner().eval(), make_maps()
    _, before = reasoner(maps)
    maps[0].add_(1)
    _, same = reasoner(maps)
    maps[3].add_(torch.randn(16, 1, 1))
    _, other = reasoner(maps)
    assert torch.equal(before["time"], same["time"])
    assert not torch.equal(before["time"], other["time"])


@both
def test_pictures_do_not_see_each_other(inject):
    reasoner = make_reasoner(inject=inject).eval()
    torch.nn.init.ones_(reasoner.injection.gates)
    maps = make_maps(3)
    together, logits = reasoner(maps)
    alone, logits_alone = reasoner([level[1:2] for level in maps])
    torch.testing.assert_close(logits["view"][1:2], logits_alone["view"])
    for one, all_of_them in zip(alone, together, strict=True):
        torch.testing.assert_close(all_of_them[1:2], one)


def test_loss_is_the_mean_over_known_axes():
    reasoner = make_reasoner(loss_weight=0.5)
    logits = {axis: torch.randn(2, size, requires_grad=True) for axis, size in SIZES.items()}
    soft = [0.2, 0.3, 0.0, 0.5, 0.0]
    losses = reasoner.loss(logits, make_samples({"time": [0, 0, 1], "weather": soft}, {}))
    time = F.cross_entropy(logits["time"][:1], torch.tensor([2]))
    weather = -(torch.tensor(soft) * logits["weather"][0].log_softmax(0)).sum()
    expected = (time + weather) / 2
    torch.testing.assert_close(losses["scene_unweighted"], expected)
    torch.testing.assert_close(losses["loss_scene"], 0.5 * expected)
    assert not losses["scene_unweighted"].requires_grad


def test_without_labels_every_parameter_still_has_a_gradient():
    reasoner = make_reasoner()
    changed, logits = reasoner(make_maps())
    losses = reasoner.loss(logits, [DetDataSample(), *make_samples({})])
    assert losses["loss_scene"].item() == 0
    (losses["loss_scene"] + sum(level.sum() for level in changed)).backward()
    assert all(parameter.grad is not None for parameter in reasoner.parameters())


def test_mixed_precision():
    reasoner = make_reasoner()
    with torch.autocast("cpu", torch.bfloat16):
        changed, logits = reasoner(make_maps())
        losses = reasoner.loss(logits, make_samples({"time": [1, 0, 0]}, {}))
    assert losses["loss_scene"].dtype == torch.float32 and losses["loss_scene"].isfinite()
    assert all(level.isfinite().all() for level in changed)


def test_the_bank_is_not_in_checkpoints():
    reasoner = make_reasoner()
    assert not {"phrases", "axis_means"} & reasoner.state_dict().keys()
    assert not reasoner.phrases.requires_grad


def test_size_at_the_published_widths():
    reasoner = VisualSemanticReasoner({**BANK, "dim": 512})
    count = sum(parameter.numel() for parameter in reasoner.parameters())
    assert 1.4e6 < count < 1.7e6


def test_a_label_of_another_length():
    reasoner = make_reasoner()
    _, logits = reasoner(make_maps(1))
    with pytest.raises(InputError, match=r"has 2 probabilities for 'time'.*3 phrases: daytime"):
        reasoner.loss(logits, make_samples({"time": [0.5, 0.5]}))


def test_all_bad_settings_at_once():
    with pytest.raises(InputError) as caught:
        make_reasoner(num_heads=5, context_stride=3, inject="add", temperature=0)
    text = str(caught.value)
    names = ("`num_heads`", "`context_stride`", "`inject`", "`temperature`")
    assert all(name in text for name in names)
