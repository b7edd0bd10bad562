"""Behaviour 13 of RelationBooth's predicate attention loss."""

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck

from visionrel.losses import predicate_attention_loss


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def make_batch(batch=2):
    maps = [torch.rand(batch, side, side, dtype=torch.float64) for side in (4, 8)]
    mask = torch.zeros(batch, 16, 16)
    mask[0, 2:9, 3:12] = 1
    mask[1:, 8:, :8] = 1
    return maps, mask


def test_formula():
    maps, mask = make_batch()
    terms = []
    for attention in maps:
        for b in range(2):
            step = 16 // attention.shape[1]
            subjects = mask[b, ::step, ::step].double()
            background = 1 - subjects
            terms.append(
                (attention[b] * background).sum() / (background.sum() + 1e-5)
                - (attention[b] * subjects).sum() / (subjects.sum() + 1e-5)
            )
    expected = torch.stack(terms).mean()
    torch.testing.assert_close(predicate_attention_loss(maps, mask), expected, rtol=1e-12, atol=0)


def test_uniform_maps_and_missing_predicates_give_zero():
    _, mask = make_batch()
    assert abs(predicate_attention_loss([torch.full((2, 8, 8), 0.3)], mask)) < 1e-5
    assert predicate_attention_loss([torch.zeros(2, 8, 8)], mask) == 0


def test_attention_on_the_subjects_is_good():
    _, mask = make_batch()
    inside = F.interpolate(mask[:, None], size=(8, 8))[:, 0]
    assert predicate_attention_loss([inside], mask) == pytest.approx(-1, abs=1e-4)
    assert predicate_attention_loss([1 - inside], mask) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_pictures_without_subjects_or_background_are_finite(value):
    maps, _ = make_batch()
    assert predicate_attention_loss(maps, torch.full((2, 16, 16), value)).isfinite()


def test_gradient_reaches_the_maps_only():
    maps, mask = make_batch()
    mask.requires_grad_()
    assert gradcheck(
        lambda *each: predicate_attention_loss(each, mask), [m.requires_grad_() for m in maps]
    )
    predicate_attention_loss(maps, mask).backward()
    assert mask.grad is None


def test_narrow_maps_are_summed_in_float32():
    maps, mask = make_batch()
    narrow = [each.half() for each in maps]
    loss = predicate_attention_loss(narrow, mask.half())
    assert loss.dtype == torch.float32
    exact = predicate_attention_loss([each.double() for each in narrow], mask)
    torch.testing.assert_close(loss.double(), exact, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("maps", "mask", "message"),
    [
        ([], torch.zeros(2, 4, 4), "`attention_maps` is empty"),
        ([torch.zeros(2, 16)], torch.zeros(2, 4, 4), r"`attention_maps\[0\]` must be floating"),
        ([torch.zeros(1, 4, 4)], torch.zeros(2, 4, 4), r"shape \(2, rows, columns\), got \(1, 4"),
        ([torch.zeros(2, 4, 4)], torch.zeros(2, 1, 4, 4), "`subject_mask` must have shape"),
        ([torch.zeros(2, 4, 4)], torch.full((2, 4, 4), 255.0), r"\[0, 1\].*divide 8-bit masks"),
    ],
)
def test_bad_tensors(maps, mask, message):
    with pytest.raises(ValueError, match=message):
        predicate_attention_loss(maps, mask)
