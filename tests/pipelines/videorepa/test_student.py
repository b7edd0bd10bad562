"""Behaviours 8, 12 and 15 of VideoREPA: which tokens are taken and how they reach the grid."""

import pytest
import torch
import torch.nn.functional as F

from tests.pipelines.videorepa.toys import TEXT_LENGTH, make_toy_transformer
from visionrel.errors import InputError
from visionrel.losses import token_relation_distillation_loss
from visionrel.pipelines.videorepa.student import (
    BlockTap,
    RelationHead,
    TokenGrid,
    choose_shrink,
    default_align_layer,
    make_head,
    resample_time,
    student_grid,
)


GRID, TARGET = TokenGrid(5, 6, 9), TokenGrid(8, 2, 3)


def make_small_head(**changes) -> RelationHead:
    return RelationHead(**({"width": 10, "teacher_width": 7, "hidden_width": 16} | changes))


def run(transformer, **changes):
    generator = torch.Generator().manual_seed(0)
    inputs = {
        "hidden_states": torch.randn(2, 3, 4, 8, 8, generator=generator),
        "encoder_hidden_states": torch.randn(2, TEXT_LENGTH, 12, generator=generator),
        "timestep": torch.tensor([1, 900]),
    }
    return transformer(**(inputs | changes)).sample


# --- behaviour 12: the block ----------------------------------------------------------------------


@pytest.mark.parametrize("layer", [1, 3, 4])
def test_the_tap_takes_the_video_tokens_of_the_block_counted_from_one(layer):
    transformer = make_toy_transformer()
    tap = BlockTap(transformer, layer)
    seen = []
    for number, block in enumerate(transformer.transformer_blocks, start=1):
        block.register_forward_hook(lambda _m, _i, out, number=number: seen.append((number, out)))
    run(transformer)
    video, text = dict(seen)[layer]
    assert tap.take() is video
    assert tap.take().shape == (2, 3 * 4 * 4, 16) and text.shape[1] == TEXT_LENGTH


@pytest.mark.parametrize("layer", [0, 5, -1])
def test_other_blocks_are_refused(layer):
    with pytest.raises(InputError, match=rf"`align_layer` must lie in \[1, 4\].*got {layer}"):
        BlockTap(make_toy_transformer(), layer)


def test_checkpointing_gives_the_same_tokens_and_gradients():
    def gradients(checkpointing: bool):
        transformer = make_toy_transformer()
        if checkpointing:
            transformer.enable_gradient_checkpointing()
        tap, calls = BlockTap(transformer, 2), []
        transformer.transformer_blocks[1].register_forward_hook(lambda *_: calls.append(1))
        # Without early stopping the recomputation runs the block to its end, hooks included.
        with torch.utils.checkpoint.set_checkpoint_early_stop(False):
            loss = run(transformer).square().mean() + tap.take().square().mean()
        kept = tap.take()
        loss.backward()
        assert tap.take() is kept
        found = [p.grad for p in transformer.parameters() if p.grad is not None]
        return len(calls), kept.detach(), found

    plain, checkpointed = gradients(False), gradients(True)
    assert (plain[0], checkpointed[0]) == (1, 2)
    torch.testing.assert_close(checkpointed[1:], plain[1:], rtol=1e-5, atol=1e-6)


def test_a_tap_is_cleared_and_removed():
    transformer = make_toy_transformer()
    tap = BlockTap(transformer, 1)
    run(transformer)
    tap.clear()
    with pytest.raises(RuntimeError, match="has not run"):
        tap.take()
    tap.remove()
    run(transformer)
    with pytest.raises(RuntimeError, match="has not run"):
        tap.take()


def test_block_eighteen_of_the_published_depths():
    assert default_align_layer(30) == default_align_layer(42) == 18
    assert [default_align_layer(depth) for depth in (1, 2, 6)] == [1, 1, 4]


# --- behaviour 8: the way to the teacher's grid ---------------------------------------------------


def test_shapes():
    head = make_small_head()
    assert head(torch.randn(2, GRID.tokens, 10), GRID, TARGET).shape == (2, 8, 6, 7)


@pytest.mark.parametrize("terms", ["pooled", "paper"])
def test_latent_frame_zero_has_exactly_no_gradient(terms):
    head = make_small_head()
    tokens = torch.randn(1, GRID.tokens, 10, requires_grad=True)
    teacher = torch.randn(1, TARGET.frames, TARGET.positions, 7)
    token_relation_distillation_loss(head(tokens, GRID, TARGET), teacher, terms=terms).backward()
    by_frame = tokens.grad.view(GRID.frames, -1).abs().sum(1)
    assert by_frame[0] == 0 and (by_frame[1:] > 0).all()


def test_convolution_and_doubling_commute():
    """The authors double first and convolve all 24 frames."""
    head = make_small_head().double()
    tokens = torch.randn(2, GRID.tokens, 10, dtype=torch.float64)
    maps = head.projector(tokens).unflatten(1, (5, 6, 9))[:, 1:].permute(0, 4, 1, 2, 3)
    doubled = F.interpolate(maps, scale_factor=(2, 1, 1), mode="trilinear", align_corners=False)
    flat = doubled.transpose(1, 2).flatten(0, 1)
    expected = head.downsampler(flat).unflatten(0, (2, 8)).flatten(3).mT
    torch.testing.assert_close(head(tokens, GRID, TARGET), expected, rtol=0, atol=1e-12)


def test_doubling_weighs_a_quarter_and_three_quarters():
    frames = torch.randn(2, 4, 3, 1, 2, dtype=torch.float64)
    found = resample_time(frames, 8)
    before = frames[:, [0, 0, 1, 2]]
    after = frames[:, [1, 2, 3, 3]]
    torch.testing.assert_close(found[:, 0::2], 0.25 * before + 0.75 * frames)
    torch.testing.assert_close(found[:, 1::2], 0.75 * frames + 0.25 * after)


def test_the_published_head_has_the_published_size():
    with torch.device("meta"):
        for width, projector in ((1920, 9_704_192), (3072, 12_063_488)):
            head = RelationHead(width, 768)
            assert sum(p.numel() for p in head.projector.parameters()) == projector
            assert sum(p.numel() for p in head.downsampler.parameters()) == 5_309_184
        tokens = torch.empty(1, 17_550, 3072)
        found = head(tokens, TokenGrid(13, 30, 45), TokenGrid(24, 10, 15))
    assert found.shape == (1, 24, 150, 768)


# --- behaviour 15: other grids --------------------------------------------------------------------


@pytest.mark.parametrize("frames", [2, 3, 5, 13])
@pytest.mark.parametrize(("height", "width"), [(3, 3), (6, 12), (8, 8), (7, 10)])
def test_any_frames_and_any_grid(frames, height, width):
    grid = TokenGrid(frames, height, width)
    target = TokenGrid(2 * (frames - 1), max(1, height // 3), max(1, width // 3))
    found = make_small_head()(torch.randn(1, grid.tokens, 10), grid, target)
    assert found.shape == (1, target.frames, target.positions, 7) and found.isfinite().all()


def test_only_grids_that_do_not_divide_are_interpolated(monkeypatch):
    modes = []
    resize = F.interpolate

    def watch(*args, **kwargs):
        modes.append(kwargs["mode"])
        return resize(*args, **kwargs)

    monkeypatch.setattr(F, "interpolate", watch)
    head = make_small_head()
    head(torch.randn(1, GRID.tokens, 10), GRID, TARGET)
    assert modes == ["linear"]
    odd = TokenGrid(5, 7, 10)
    head(torch.randn(1, odd.tokens, 10), odd, TARGET)
    assert modes == ["linear", "bilinear", "linear"]


def test_a_teacher_of_single_frames_meets_the_student_as_it_is():
    head = make_small_head(shrink=None)
    tokens = torch.randn(2, GRID.tokens, 10)
    assert not hasattr(head, "downsampler")
    torch.testing.assert_close(
        head(tokens, GRID, GRID), head.projector(tokens).unflatten(1, (GRID.frames, GRID.positions))
    )


@pytest.mark.parametrize(
    ("grid", "target", "expected"),
    [
        (TokenGrid(13, 30, 45), TokenGrid(24, 10, 15), 3),
        (TokenGrid(5, 8, 8), TokenGrid(8, 8, 8), 1),
        (TokenGrid(5, 8, 8), TokenGrid(8, 4, 4), 2),
        (TokenGrid(5, 4, 4), TokenGrid(8, 8, 8), 1),
    ],
)
def test_shrink_is_chosen_from_the_grids(grid, target, expected):
    assert choose_shrink(grid, target) == expected


def test_student_grid():
    assert student_grid(make_toy_transformer(), (3, 8, 8)) == TokenGrid(3, 4, 4)


def test_making_a_head_draws_from_its_own_seed():
    transformer, state = make_toy_transformer(), torch.random.get_rng_state()
    one, two = (make_head(transformer, 12, 3, seed=5, hidden_width=8) for _ in "ab")
    assert torch.equal(one.projector[0].weight, two.projector[0].weight)
    assert torch.equal(torch.random.get_rng_state(), state)
