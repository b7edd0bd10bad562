"""Behaviours 1-7, 14 and 16 of VideoREPA's loss, against the dense form that is written here."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from visionrel.losses import token_relation_distillation_loss
from visionrel.pipelines.videorepa.bench import measure_peak


TERMS = ("pooled", "spatial", "temporal", "paper")
# batch, frames, positions: 42 tokens a clip.
SHAPE = (2, 6, 7)


def dense_loss(student: Tensor, teacher: Tensor, margin: float = 0.1, terms: str = "pooled"):
    """The definition, with the whole matrix; gradients by autograd."""
    frames, positions = student.shape[1:3]
    mine, theirs = (
        (tokens @ tokens.mT)
        for tokens in (F.normalize(side.flatten(1, 2), dim=-1) for side in (student, teacher))
    )
    hinge = F.relu((mine - theirs.detach()).abs() - margin)
    frame = torch.arange(frames).repeat_interleave(positions)
    same = frame[:, None] == frame
    spatial = hinge[:, same].mean()
    temporal = hinge[:, ~same].mean() if frames > 1 else hinge.new_zeros(())
    return {
        "pooled": hinge.mean(),
        "spatial": spatial,
        "temporal": temporal,
        "paper": spatial + temporal,
    }[terms]


def make_tokens(seed: int = 0, width: int = 5, shape=SHAPE, dtype=torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, width, generator=generator, dtype=dtype)


def value_and_gradient(loss, student: Tensor, *rest, **settings) -> tuple[Tensor, Tensor]:
    student = student.detach().requires_grad_()
    value = loss(student, *rest, **settings)
    (gradient,) = torch.autograd.grad(value, student)
    return value.detach(), gradient


def assert_equal(found, expected, tolerance: float = 1e-12) -> None:
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=tolerance)


# --- behaviours 1 and 16: blockwise = dense -


@pytest.mark.parametrize("terms", TERMS)
@pytest.mark.parametrize("block_size", [1, 2, 5, 6, 7, 13, 41, 42, 43, 1000, None])
def test_every_block_size_gives_the_dense_value_and_gradient(terms, block_size):
    student, teacher = make_tokens(0, 5), make_tokens(1, 4)
    expected = value_and_gradient(dense_loss, student, teacher, terms=terms)
    found = value_and_gradient(
        token_relation_distillation_loss, student, teacher, terms=terms, block_size=block_size
    )
    assert expected[1].abs().max() > 1e-4
    assert_equal(found, expected)


@pytest.mark.parametrize("block_size", [7, 64, 100])
def test_float32(block_size):
    student, teacher = (make_tokens(seed, 32, (1, 4, 60), torch.float32) for seed in (0, 1))
    value, gradient = value_and_gradient(dense_loss, student, teacher)
    found = value_and_gradient(
        token_relation_distillation_loss, student, teacher, block_size=block_size
    )
    torch.testing.assert_close(found[0], value, rtol=1e-6, atol=0)
    assert (found[1] - gradient).norm() < 1e-4 * gradient.norm()


def test_published_size():
    """Behaviours 14 and 16 at 3600 tokens of 768 channels, tiles chosen by the loss itself."""
    # Fewer directions leave so little gradient that rounding the tokens moves it by more than 2 %.
    student, teacher = (make_relations(seed, 768, (1, 24, 150), 24) for seed in (0, 20))
    # In float64: on some processors the dense form's gradient in float32 is off by 3e-4.
    value, gradient = value_and_gradient(dense_loss, student.double(), teacher.double())
    for dtype, loss_error, gradient_error in (
        (torch.float32, 1e-6, 1e-5),
        (torch.bfloat16, 1e-3, 2e-2),
    ):
        found = value_and_gradient(token_relation_distillation_loss, student.to(dtype), teacher)
        torch.testing.assert_close(found[0].double(), value, rtol=loss_error, atol=0)
        assert (found[1].double() - gradient).norm() < gradient_error * gradient.norm()


def test_gradient_is_that_of_finite_differences():
    student, teacher = make_tokens(0, 3, (1, 2, 3)).requires_grad_(), make_tokens(1, 3, (1, 2, 3))
    assert torch.autograd.gradcheck(
        lambda tokens: token_relation_distillation_loss(tokens, teacher, 0.05), (student,)
    )


def test_gradient_is_scaled_by_what_follows():
    student, teacher = make_tokens(0), make_tokens(1)
    _, gradient = value_and_gradient(token_relation_distillation_loss, student, teacher)
    student.requires_grad_()
    (0.5 * token_relation_distillation_loss(student, teacher)).backward()
    assert_equal([student.grad], [0.5 * gradient])


def test_strided_tokens():
    student = make_tokens(0).permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    teacher = make_tokens(1).permute(0, 3, 2, 1).contiguous().permute(0, 3, 2, 1)
    assert not student.is_contiguous() and not teacher.is_contiguous()
    found = value_and_gradient(token_relation_distillation_loss, student, teacher)
    assert_equal(found, value_and_gradient(dense_loss, student, teacher))


# --- behaviour 2: terms -


@pytest.mark.parametrize(
    ("terms", "expected"), [("pooled", 0.45), ("spatial", 0.0), ("temporal", 0.9), ("paper", 0.9)]
)
def test_worked_example(terms, expected):
    student = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]], dtype=torch.float64)
    teacher = torch.tensor([[[[1.0, 0.0]], [[1.0, 0.0]]]], dtype=torch.float64)
    loss = token_relation_distillation_loss(student, teacher, terms=terms)
    assert loss.item() == pytest.approx(expected, abs=1e-15)


def test_pooled_is_a_weighted_sum_of_spatial_and_temporal():
    student, teacher = make_tokens(0), make_tokens(1)
    found = {
        terms: value_and_gradient(token_relation_distillation_loss, student, teacher, terms=terms)
        for terms in TERMS
    }
    frames = SHAPE[1]
    for part in (0, 1):
        spatial, temporal = found["spatial"][part], found["temporal"][part]
        pooled = spatial / frames + temporal * (frames - 1) / frames
        assert_equal([found["pooled"][part]], [pooled])
        assert_equal([found["paper"][part]], [spatial + temporal])


@pytest.mark.parametrize("terms", TERMS)
def test_clip_of_one_frame(terms):
    student, teacher = (make_tokens(seed, shape=(2, 1, 7)) for seed in (0, 1))
    expected = value_and_gradient(dense_loss, student, teacher, terms="spatial")
    if terms == "temporal":
        expected = tuple(torch.zeros_like(part) for part in expected)
    found = value_and_gradient(token_relation_distillation_loss, student, teacher, terms=terms)
    assert_equal(found, expected)


# --- behaviour 3: identities -


@pytest.mark.parametrize("terms", TERMS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_equal_tokens_give_exactly_zero(terms, dtype):
    tokens = make_tokens(dtype=dtype)
    value, gradient = value_and_gradient(
        token_relation_distillation_loss, tokens, tokens, terms=terms
    )
    assert value == 0 and not gradient.any()


def test_length_rotation_and_order_do_not_matter():
    student, teacher = make_tokens(0), make_tokens(1)
    expected = token_relation_distillation_loss(student, teacher)
    lengths = make_tokens(2, 1).exp()
    rotation, _ = torch.linalg.qr(make_tokens(3, 5, (1, 1, 5))[0, 0])
    order = torch.randperm(SHAPE[1] * SHAPE[2])
    shuffled = (side.flatten(1, 2)[:, order].view_as(side) for side in (student, teacher))
    for changed in (
        (lengths * student, teacher),
        (student, lengths * teacher),
        (student @ rotation, teacher),
        (student, teacher @ rotation),
        tuple(shuffled),
        (teacher, student),
    ):
        assert_equal([token_relation_distillation_loss(*changed)], [expected])


# --- behaviour 4: margin -


def test_margin_only_lowers_the_loss():
    student, teacher = make_tokens(0), make_tokens(1)
    margins = [0.0, 0.05, 0.1, 0.5, 1.0, 1.5, 2.0, 3.0]
    values = [token_relation_distillation_loss(student, teacher, m).item() for m in margins]
    assert values == sorted(values, reverse=True)
    assert all(value <= max(0, 2 - m) for value, m in zip(values, margins, strict=True))
    assert values[-2:] == [0, 0]


def test_bound_is_reached():
    student = torch.tensor([1.0, -1.0]).view(1, 2, 1, 1)
    loss = token_relation_distillation_loss(student, student.abs(), 0.25, "temporal")
    assert loss == 1.75


# --- behaviour 5: tokens of length zero -


@pytest.mark.parametrize("terms", TERMS)
def test_zero_tokens_have_no_relations_and_no_gradient(terms):
    student, teacher = make_tokens(0), make_tokens(1)
    student[0, 1, 2] = teacher[1, 3, 4] = 0
    expected = value_and_gradient(dense_loss, student, teacher, terms=terms)
    value, gradient = value_and_gradient(
        token_relation_distillation_loss, student, teacher, terms=terms
    )
    assert_equal([value], expected[:1])
    assert gradient.isfinite().all() and not gradient[0, 1, 2].any()
    expected[1][0, 1, 2] = 0
    assert_equal([gradient], expected[1:])


# --- behaviours 6 and 7: where gradient goes, clips do not mix -


def test_no_gradient_reaches_the_teacher():
    student, teacher = make_tokens(0).requires_grad_(), make_tokens(1).requires_grad_()
    token_relation_distillation_loss(student, teacher).backward()
    assert student.grad.any() and teacher.grad is None
    assert not token_relation_distillation_loss(student.detach(), teacher).requires_grad


@pytest.mark.parametrize("terms", TERMS)
def test_gradient_is_orthogonal_to_each_token(terms):
    student = make_tokens(0)
    _, gradient = value_and_gradient(
        token_relation_distillation_loss, student, make_tokens(1), terms=terms
    )
    assert (gradient * student).sum(-1).abs().max() < 1e-14


def test_gradient_formula():
    """Spec: c G a through the norm, with c = 2 / (B N^2)."""
    student, teacher = make_tokens(0)[:1], make_tokens(1)[:1]
    units, targets = (F.normalize(side[0].flatten(0, 1), dim=-1) for side in (student, teacher))
    excess = units @ units.T - targets @ targets.T
    signs = excess.sign() * (excess.abs() > 0.1)
    pull = 2 / len(units) ** 2 * signs @ units
    pull -= (pull * units).sum(-1, keepdim=True) * units
    expected = pull / student[0].flatten(0, 1).norm(dim=-1, keepdim=True)
    _, gradient = value_and_gradient(token_relation_distillation_loss, student, teacher)
    assert_equal([gradient[0].flatten(0, 1)], [expected])


def test_batch_is_the_mean_of_its_clips():
    student, teacher = make_tokens(0), make_tokens(1)
    value, gradient = value_and_gradient(token_relation_distillation_loss, student, teacher)
    singles = [
        value_and_gradient(token_relation_distillation_loss, student[i : i + 1], teacher[i : i + 1])
        for i in range(len(student))
    ]
    assert_equal([value], [torch.stack([single[0] for single in singles]).mean()])
    assert_equal([gradient], [torch.cat([single[1] for single in singles]) / len(student)])


# --- behaviour 14: narrow types -


def make_relations(seed: int, width: int, shape=(1, 8, 40), directions: int = 6) -> Tensor:
    """Tokens with a few shared directions, so that cosines are not all near 0."""
    shared = make_tokens(seed, width, (directions,), torch.float32)
    return make_tokens(seed + 1, directions, shape, torch.float32) @ shared


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_tokens_are_multiplied_in_float32(dtype):
    student, teacher = make_relations(0, 96), make_relations(2, 64)
    value, gradient = value_and_gradient(token_relation_distillation_loss, student, teacher)
    narrow = value_and_gradient(token_relation_distillation_loss, student.to(dtype), teacher)
    exact = token_relation_distillation_loss(student.to(dtype).float(), teacher)
    assert narrow[0].dtype == torch.float32 and narrow[1].dtype == dtype
    assert narrow[0] == exact
    torch.testing.assert_close(narrow[0], value, rtol=1e-3, atol=0)
    if dtype == torch.bfloat16:
        assert (narrow[1].float() - gradient).norm() < 2e-2 * gradient.norm()


def test_float16_gradients_survive_with_a_gradient_scale():
    student, teacher = make_relations(0, 96), make_relations(2, 64)
    _, gradient = value_and_gradient(token_relation_distillation_loss, student, teacher)
    narrow = student.half().requires_grad_()
    (65536 * token_relation_distillation_loss(narrow, teacher)).backward()
    assert (narrow.grad.float() / 65536 - gradient).norm() < 2e-2 * gradient.norm()


def test_autocast_changes_nothing():
    student, teacher = make_tokens(0, dtype=torch.float32), make_tokens(1, dtype=torch.float32)
    expected = value_and_gradient(token_relation_distillation_loss, student, teacher)
    with torch.autocast("cpu", torch.bfloat16):
        found = value_and_gradient(token_relation_distillation_loss, student, teacher)
    assert_equal(found, expected, 0)


# --- memory -


def test_no_tensor_is_as_large_as_the_matrix():
    student = make_tokens(0, 4, (1, 20, 40), torch.float32).requires_grad_()
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            found = func(*args, **(kwargs or {}))
            if isinstance(found, Tensor):
                largest = max(largest, found.untyped_storage().nbytes() // 4)
            return found

    with Watch():
        token_relation_distillation_loss(student, student.detach(), block_size=16).backward()
    assert largest == 20 * 40 * 4 < 800**2


def test_memory_does_not_grow_with_the_number_of_tiles():
    """Smaller tiles need no more, though there are 1830 of them: no tensor is kept of any."""
    student, teacher = (make_tokens(seed, 4, (1, 6, 10), torch.float32) for seed in (0, 1))

    def peak(block_size: int) -> int:
        leaf = student.clone().requires_grad_()
        return measure_peak(
            lambda: token_relation_distillation_loss(leaf, teacher, block_size=block_size)
        )

    assert peak(1) <= peak(16)


# --- refusals -


def test_second_derivatives_are_refused():
    student, teacher = make_tokens(0).requires_grad_(), make_tokens(1)
    loss = token_relation_distillation_loss(student, teacher)
    with pytest.raises(RuntimeError, match=r"no second derivatives.*without `create_graph`"):
        torch.autograd.grad(loss, student, create_graph=True)


def test_a_kept_graph_gives_the_gradient_again():
    student, teacher = make_tokens(0).requires_grad_(), make_tokens(1)
    loss = token_relation_distillation_loss(student, teacher)
    first, second = (torch.autograd.grad(3 * loss, student, retain_graph=True)[0] for _ in "ab")
    assert_equal([first], [second], 0)
    (last,) = torch.autograd.grad(3 * loss, student)
    assert_equal([first], [last], 0)
    with pytest.raises(RuntimeError, match="`retain_graph=True`"):
        torch.autograd.grad(loss, student)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"student": torch.zeros(2, 3, 4)}, r"`student` must be floating point of shape .*\(2, 3"),
        ({"teacher": torch.zeros(2, 3, 4, 5).long()}, "`teacher` must be floating.*int64"),
        ({"student": torch.zeros(2, 3, 0, 5)}, "none of them 0"),
        ({"teacher": torch.zeros(2, 3, 5, 5)}, "must agree in batch, frames and positions"),
        ({"margin": -0.1}, "`margin` must be at least 0, got -0.1"),
        ({"margin": float("nan")}, "`margin` must be at least 0, got nan"),
        ({"terms": "both"}, "`terms` must be one of pooled, spatial, temporal, paper, got 'both'"),
        ({"block_size": 0}, "`block_size` must be at least 1, got 0"),
    ],
)
def test_bad_arguments(changes, message):
    arguments = {"student": torch.randn(2, 3, 4, 5), "teacher": torch.randn(2, 3, 4, 6)}
    with pytest.raises(ValueError, match=message):
        token_relation_distillation_loss(**(arguments | changes))
