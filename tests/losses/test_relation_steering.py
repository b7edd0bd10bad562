"""Behaviours 1-8 of ReVersion's loss; those about captions are in tests/pipelines/reversion."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from visionrel.losses import relation_steering_loss


def rows(count: int, dim: int = 6, seed: int = 0, dtype: torch.dtype = torch.float64):
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def reference(relation, positives, negatives, temperature):
    """The formula, word by word, in Python floats."""

    def term(other):
        cosine = sum(a * b for a, b in zip(relation, other, strict=True))
        return math.exp(cosine / math.hypot(*relation) / math.hypot(*other) / temperature)

    above = sum(map(term, positives))
    return -math.log(above / (above + sum(map(term, negatives))))


@pytest.mark.parametrize(
    ("relation", "positives", "negatives", "temperature", "expected"),
    [
        ([1, 0], [[1, 0]], [[0, 1]], 1.0, 0.3132617),  # behaviour 1: log(1 + 1/e)
        ([2, 0], [[0.6, 0.8]], [[0.8, 0.6], [0, 1]], 0.07, 2.912997),  # behaviour 2
        ([1, 0], [[0, 1]] * 4, [[0, 3]] * 4, 0.07, math.log(2)),  # behaviour 3
        ([1, 0], [[0, 1]] * 4, [[0, 3]] * 4, 10.0, math.log(2)),  # behaviour 3, any temperature
        ([1, 0], [[0, 1]] * 2, [[0, -1]] * 6, 0.5, math.log(4)),  # log((P + M) / P)
    ],
)
def test_known_values(relation, positives, negatives, temperature, expected):
    inputs = [
        torch.tensor(value, dtype=torch.float32) for value in (relation, positives, negatives)
    ]
    loss = relation_steering_loss(*inputs, temperature=temperature)
    assert loss.shape == ()
    torch.testing.assert_close(loss.item(), expected, rtol=1e-5, atol=1e-6)


def test_default_temperature_is_the_authors():
    relation, positives, negatives = rows(1)[0], rows(8, seed=1), rows(5, seed=2)
    expected = relation_steering_loss(relation, positives, negatives, temperature=0.07)
    assert relation_steering_loss(relation, positives, negatives) == expected


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    positives=st.integers(1, 9),
    negatives=st.integers(1, 9),
    temperature=st.floats(0.05, 2),
    scale=st.floats(0.01, 100),
)
def test_agrees_with_the_formula_and_ignores_lengths(
    seed, positives, negatives, temperature, scale
):
    vectors = rows(1 + positives + negatives, seed=seed)
    relation, pulls, pushes = vectors[0], vectors[1 : 1 + positives], vectors[1 + positives :]
    loss = relation_steering_loss(relation, pulls, pushes, temperature)
    expected = reference(relation.tolist(), pulls.tolist(), pushes.tolist(), temperature)
    torch.testing.assert_close(loss.item(), expected, rtol=1e-8, atol=1e-9)
    scaled = relation_steering_loss(relation * scale, pulls / scale, pushes * scale, temperature)
    torch.testing.assert_close(scaled, loss, rtol=1e-9, atol=1e-9)


def test_no_negatives_gives_exactly_zero_and_no_gradient():
    relation = rows(1)[0].requires_grad_()
    loss = relation_steering_loss(relation, rows(3, seed=1), torch.empty(0, 6, dtype=torch.float64))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(relation.grad, torch.zeros(6, dtype=torch.float64))


def test_repeated_negative_adds_terms():
    relation, positives = rows(1)[0], rows(2, seed=1)
    negative = rows(1, seed=2)
    once = relation_steering_loss(relation, positives, negative).expm1()
    thrice = relation_steering_loss(relation, positives, negative.repeat(3, 1)).expm1()
    torch.testing.assert_close(thrice, 3 * once)  # e^L - 1 = sum_neg / sum_pos


def test_order_of_words_does_not_matter():
    relation, positives, negatives = rows(1)[0], rows(5, seed=1), rows(7, seed=2)
    loss = relation_steering_loss(relation, positives, negatives)
    shuffled = relation_steering_loss(relation, positives.flip(0), negatives.roll(3, 0))
    torch.testing.assert_close(shuffled, loss)


def test_only_the_relation_row_receives_gradient_and_it_is_orthogonal():
    table = rows(20, dtype=torch.float32).requires_grad_()
    relation_steering_loss(table[19], table[:8], table[8:15]).backward()
    gradient = table.grad
    assert torch.equal(gradient[:19], torch.zeros(19, 6))
    assert gradient[19].norm() > 0
    tolerance = 1e-5 * gradient[19].norm() * table[19].norm()
    assert abs(gradient[19] @ table.detach()[19]) <= tolerance


def test_gradient_agrees_with_finite_differences_and_the_closed_form():
    relation, positives, negatives = rows(1)[0].requires_grad_(), rows(4, seed=1), rows(5, seed=2)

    def loss(vector):
        return relation_steering_loss(vector, positives, negatives, temperature=0.3)

    assert torch.autograd.gradcheck(loss, relation)
    loss(relation).backward()
    with torch.no_grad():
        unit = relation / relation.norm()
        words = torch.cat([positives, negatives])
        words = words / words.norm(dim=1, keepdim=True)
        logits = words @ unit / 0.3
        pull = logits.softmax(0) @ words - logits[:4].softmax(0) @ words[:4]
        expected = (pull - unit * (unit @ pull)) / relation.norm() / 0.3
    torch.testing.assert_close(relation.grad, expected)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_finite_at_a_tiny_temperature(sign):
    relation = torch.tensor([1.0, 0.0], requires_grad=True)
    loss = relation_steering_loss(
        relation, torch.tensor([[sign, 0.1]]), torch.tensor([[-sign, 0.1]]), temperature=1e-4
    )
    loss.backward()
    assert loss.isfinite() and relation.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_float_type(dtype):
    inputs = [rows(1)[0], rows(4, seed=1), rows(5, seed=2)]
    loss = relation_steering_loss(*(value.to(dtype) for value in inputs))
    assert loss.dtype == dtype
    expected = relation_steering_loss(*(value.to(dtype).double() for value in inputs))
    epsilon = torch.finfo(dtype).eps
    torch.testing.assert_close(loss.double(), expected, rtol=max(4 * epsilon, 1e-6), atol=1e-6)


def test_autocast_changes_nothing():
    inputs = [rows(1)[0], rows(4, seed=1), rows(5, seed=2)]
    with torch.autocast("cpu", torch.bfloat16):
        loss = relation_steering_loss(*inputs)
    assert loss == relation_steering_loss(*inputs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"relation": torch.ones(2, 6)}, r"`relation`.*\(2, 6\)"),
        ({"relation": torch.ones(6, dtype=torch.int64)}, "`relation`.*int64"),
        ({"positives": torch.ones(4, 5)}, r"`positives`.*\(4, 5\)"),
        ({"positives": torch.ones(0, 6)}, "`positives`.*at least one.*num_positives"),
        ({"negatives": torch.ones(6)}, r"`negatives`.*\(6,\)"),
        ({"temperature": 0.0}, "`temperature`.*0.0"),
        ({"temperature": float("nan")}, "`temperature`.*nan"),
    ],
)
def test_bad_input_is_named(change, message):
    inputs = {
        "relation": torch.ones(6),
        "positives": torch.ones(2, 6),
        "negatives": torch.ones(2, 6),
    }
    with pytest.raises(ValueError, match=message):
        relation_steering_loss(**(inputs | change))
