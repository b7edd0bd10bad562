"""Behaviours 5-11 of LANGO's relation learning loss, a reconstruction from the abstract."""

from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck

from visionrel.losses import relation_learning_loss


VARIANTS = list(product(("proto", "inst"), ("kl", "l1", "mse")))
every_variant = pytest.mark.parametrize(("level", "distance"), VARIANTS)


def make_batch(num_samples=12, num_classes=5, dim=4, text_dim=6):
    features = torch.randn(num_samples, dim, dtype=torch.float64)
    labels = torch.arange(num_samples) % num_classes
    return features, labels, torch.randn(num_classes, text_dim, dtype=torch.float64)


def direct_form(features, labels, names, level, distance, tau_t=0.1, tau_v=0.1):
    """The formulas of the specification, entry by entry."""
    num_classes = len(names)
    units, names = F.normalize(features, dim=1), F.normalize(names, dim=1)
    rows = [i for i, label in enumerate(labels.tolist()) if 0 <= label < num_classes]
    kinds = [labels[i].item() for i in rows]
    vectors = [units[i] for i in rows]
    if level == "proto":
        kinds = sorted(set(kinds))
        vectors = [F.normalize(units[labels == kind].mean(0), dim=0) for kind in kinds]
    off = [names[a] @ names[b] for a in range(num_classes) for b in range(num_classes) if a != b]
    low, high = min(off), max(off)
    total, count = 0.0, len(kinds)
    for a in range(count):
        others = [b for b in range(count) if b != a]
        text = torch.stack(
            [
                names[kinds[a]] @ names[kinds[b]]
                if kinds[a] != kinds[b]
                else torch.tensor(1.0).double()
                for b in others
            ]
        )
        visual = torch.stack([vectors[a] @ vectors[b] for b in others])
        if distance == "kl":
            p, q = (text / tau_t).softmax(0), (visual / tau_v).softmax(0)
            total += (p * (p.log() - q.log())).sum() / count
            continue
        same = torch.tensor([kinds[a] == kinds[b] for b in others])
        text = torch.where(same, 1.0, (text - low) / (high - low))
        gap = (visual - text).abs() if distance == "l1" else (visual - text).square()
        total += gap.sum() / (count * (count - 1))
    return total


@every_variant
def test_equals_the_direct_form(level, distance):
    features, labels, names = make_batch()
    labels[3], labels[7] = 5, -1
    loss = relation_learning_loss(features, labels, names, level=level, distance=distance)
    expected = direct_form(features, labels, names, level, distance)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)


def test_temperatures_are_used():
    features, labels, names = make_batch()
    loss = relation_learning_loss(
        features, labels, names, temperature_text=0.3, temperature_visual=0.7
    )
    expected = direct_form(features, labels, names, "proto", "kl", 0.3, 0.7)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)


@every_variant
def test_gradient(level, distance):
    features, labels, names = make_batch(7, 3)
    labels[0] = 3
    names.requires_grad_()

    def loss_of(rows):
        return relation_learning_loss(rows, labels, names, level=level, distance=distance)

    assert gradcheck(loss_of, (features.requires_grad_(),))
    loss_of(features).backward()
    assert names.grad is None
    assert torch.equal(features.grad[0], torch.zeros(4).double())


@pytest.mark.parametrize("level", ["proto", "inst"])
def test_zero_where_relations_differ_by_a_constant(level):
    # All sums of a one-hot part and a shared part have cosines a + b [same]; mixing in more of the
    # shared part shifts every off-diagonal cosine by the same amount.
    corners = torch.eye(4, dtype=torch.float64)
    features = F.normalize(corners + 0.7, dim=1)
    loss = relation_learning_loss(features, torch.arange(4), corners, level=level)
    torch.testing.assert_close(loss.item(), 0.0, rtol=0, atol=1e-12)
    equal = relation_learning_loss(features, torch.arange(4), 3 * features, level=level)
    assert 0 <= equal.item() < 1e-12


@pytest.mark.parametrize("level", ["proto", "inst"])
def test_divergence_is_not_negative(level):
    for _ in range(20):
        features, labels, names = (
            part.float() if part.is_floating_point() else part for part in make_batch()
        )
        assert relation_learning_loss(features, labels, names, level=level) >= 0


@every_variant
def test_invariances(level, distance):
    features, labels, names = make_batch()

    def loss_of(rows, kinds, vectors=names):
        return relation_learning_loss(rows, kinds, vectors, level=level, distance=distance)

    loss = loss_of(features, labels)
    order = torch.randperm(len(labels))
    scales = torch.rand(len(labels), 1).double() + 0.5
    others = torch.cat([features, torch.randn(4, 4).double()])
    classes = torch.randperm(5)
    same = {
        "order": loss_of(features[order], labels[order]),
        "scale": loss_of(features * 7.5, labels),
        "scale of each": loss_of(features * scales, labels),
        "background": loss_of(others, torch.cat([labels, torch.tensor([5, -1, 5, 9])])),
        "scale of names": loss_of(features, labels, names * torch.rand(5, 1).double()),
        "class ids": loss_of(features, classes.argsort()[labels], names[classes]),
    }
    if level == "proto":
        same["twice"] = loss_of(features.repeat(2, 1), labels.repeat(2))
    for name, value in same.items():
        torch.testing.assert_close(value, loss, rtol=1e-9, atol=1e-12, msg=name)


@every_variant
def test_absent_classes(level, distance):
    features, labels, names = make_batch(num_classes=3)
    extreme = torch.cat([names, -names[:1], names[:1]])  # cosines of -1 and 1 with the first
    losses = [
        relation_learning_loss(features, labels, vectors, level=level, distance=distance)
        for vectors in (names, extreme)
    ]
    assert torch.allclose(*losses, rtol=1e-12) == (distance == "kl")


@every_variant
@pytest.mark.parametrize("labels", [[2, 2, 2], [5, 5, -1], [5, 2, 5]])
def test_fewer_than_two_classes(level, distance, labels):
    features, _, names = make_batch(3)
    features.requires_grad_()
    loss = relation_learning_loss(
        features, torch.tensor(labels), names, level=level, distance=distance
    )
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(features.grad, torch.zeros_like(features))


@every_variant
def test_no_samples(level, distance):
    features = torch.zeros(0, 4, requires_grad=True)
    loss = relation_learning_loss(
        features, torch.zeros(0, dtype=torch.long), torch.eye(3), level=level, distance=distance
    )
    loss.backward()
    assert loss.item() == 0


def test_two_classes_are_exactly_zero():
    features, _, names = make_batch()
    assert relation_learning_loss(features, torch.arange(12) % 2, names).item() == 0


def test_samples_of_one_class_have_relation_one():
    # Four equal features, two classes: only the pairs of different classes are off.
    features = torch.ones(4, 2, dtype=torch.float64)
    names = torch.eye(3, dtype=torch.float64)
    names[2] = names[0] + 0.5 * names[1]
    loss = relation_learning_loss(
        features, torch.tensor([0, 0, 1, 1]), names, level="inst", distance="mse"
    )
    # The cosine of the first two names is the least: 0 after scaling. 8 of 12 ordered pairs.
    torch.testing.assert_close(loss.item(), 8 / 12, rtol=1e-12, atol=0)


@pytest.mark.parametrize("level", ["proto", "inst"])
def test_names_equally_far_apart(level):
    features, labels, _ = make_batch(6, 3)
    loss = relation_learning_loss(features, labels, torch.eye(3), level=level, distance="l1")
    assert loss.isfinite()


def test_num_classes_names_the_background():
    features, labels, names = make_batch()
    fewer = relation_learning_loss(features, labels, names, num_classes=3)
    kept = labels < 3
    assert torch.equal(fewer, relation_learning_loss(features[kept], labels[kept], names[:3]))


@every_variant
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_and_autocast(level, distance, dtype):
    features, labels, names = make_batch()
    features = features.to(dtype)
    exact = relation_learning_loss(features.float(), labels, names, level=level, distance=distance)
    with torch.autocast("cpu", torch.bfloat16):
        loss = relation_learning_loss(features, labels, names, level=level, distance=distance)
        again = relation_learning_loss(
            features.float(), labels, names, level=level, distance=distance
        )
    assert loss.dtype == dtype and again.dtype == torch.float32
    assert torch.equal(again, exact) and torch.equal(loss, exact.to(dtype))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": torch.ones(3)}, r"`features`.*\(num_samples, dim\).*\(3,\)"),
        ({"features": torch.ones(3, 0)}, "`features`"),
        ({"features": torch.ones(3, 2, dtype=torch.long)}, "`features`.*int64"),
        ({"labels": torch.zeros(2, dtype=torch.long)}, r"`labels`.*\(3,\).*\(2,\)"),
        ({"labels": torch.zeros(3)}, "`labels`.*float32"),
        ({"labels": torch.zeros(3, dtype=torch.bool)}, "`labels`.*bool"),
        ({"class_embeddings": torch.ones(4)}, "`class_embeddings`"),
        ({"class_embeddings": torch.ones(0, 4)}, "`class_embeddings`"),
        ({"class_embeddings": torch.ones(4, 4, dtype=torch.long)}, "`class_embeddings`.*int64"),
        ({"num_classes": 5}, r"`num_classes` must lie in \[1, 4\].*got 5"),
        ({"num_classes": 0}, "`num_classes`"),
        ({"level": "class"}, "`level` must be one of proto, inst, got 'class'"),
        ({"distance": "l2"}, "`distance` must be one of kl, l1, mse, got 'l2'"),
        ({"temperature_text": 0.0}, "`temperature_text` must be above 0"),
        ({"temperature_visual": float("nan")}, "`temperature_visual` must be above 0"),
    ],
)
def test_errors(change, message):
    good = {
        "features": torch.ones(3, 2),
        "labels": torch.zeros(3, dtype=torch.long),
        "class_embeddings": torch.eye(4),
    }
    with pytest.raises(ValueError, match=message):
        relation_learning_loss(**{**good, **change})
