"""Behaviour 4 of LANGO's scene condition loss, a reconstruction from the abstract."""

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck

from visionrel.losses import scene_condition_loss


def make_batch(batch=6, num_conditions=4):
    logits = torch.randn(batch, num_conditions, dtype=torch.float64)
    target = torch.randn(batch, num_conditions, dtype=torch.float64).softmax(1)
    return logits, target, torch.tensor([True, False, True, True, False, True][:batch])


def test_formula():
    logits, target, valid = make_batch()
    terms = [-(target[i] * logits[i].log_softmax(0)).sum() for i in range(6) if valid[i]]
    expected = sum(terms) / len(terms)
    loss = scene_condition_loss(logits, target, valid)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    assert torch.equal(scene_condition_loss(logits, target, valid.long()), loss)


def test_hard_labels_equal_cross_entropy():
    logits, _, valid = make_batch()
    labels = torch.randint(4, (6,))
    loss = scene_condition_loss(logits, F.one_hot(labels, 4).double(), valid)
    expected = F.cross_entropy(logits[valid], labels[valid])
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)


def test_gradient_reaches_valid_logits_only():
    logits, target, valid = make_batch()
    logits.requires_grad_()
    target.requires_grad_()
    assert gradcheck(lambda rows: scene_condition_loss(rows, target, valid), (logits,))
    scene_condition_loss(logits, target, valid).backward()
    assert target.grad is None
    assert torch.equal(logits.grad[~valid], torch.zeros(2, 4).double())


def test_invalid_pictures_may_hold_anything():
    logits, target, valid = make_batch()
    loss = scene_condition_loss(logits, target, valid)
    target[~valid] = float("nan")
    assert torch.equal(scene_condition_loss(logits, target, valid), loss)


@pytest.mark.parametrize("batch", [0, 3])
def test_nothing_valid(batch):
    logits = torch.randn(batch, 4, requires_grad=True)
    loss = scene_condition_loss(logits, torch.zeros(batch, 4), torch.zeros(batch).bool())
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros(batch, 4))


def test_half_precision():
    logits, target, valid = (part.half() for part in make_batch())
    loss = scene_condition_loss(logits, target, valid)
    exact = scene_condition_loss(logits.float(), target.float(), valid)
    assert loss.dtype == torch.float16 and torch.equal(loss, exact.half())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logits": torch.zeros(2)}, r"`logits`.*\(batch, num_conditions\)"),
        ({"logits": torch.zeros(2, 0), "target": torch.zeros(2, 0)}, "`logits`"),
        ({"logits": torch.zeros(2, 3, dtype=torch.long)}, "`logits`.*int64"),
        ({"target": torch.zeros(2, 4)}, r"`target`.*\(2, 3\).*\(2, 4\)"),
        ({"target": torch.zeros(2, dtype=torch.long)}, "`target`.*one_hot"),
        ({"target": torch.zeros(2, 3)}, "`target` must be probabilities.*sums from 0 to 0"),
        ({"target": torch.tensor([[2.0, -1.0, 0.0]] * 2)}, "`target`.*least value of -1"),
        ({"target": torch.full((2, 3), float("nan"))}, "`target` must be probabilities"),
        ({"valid": torch.ones(3).bool()}, r"`valid` must have shape \(2,\), got \(3,\)"),
    ],
)
def test_errors(change, message):
    good = {
        "logits": torch.zeros(2, 3),
        "target": torch.full((2, 3), 1 / 3),
        "valid": torch.ones(2).bool(),
    }
    with pytest.raises(ValueError, match=message):
        scene_condition_loss(**{**good, **change})
