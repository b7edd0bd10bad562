"""The layer alone: values, axes, gradients, padding, precision."""

import warnings

import pytest
import torch
from torch import nn

from visionrel.detectors import BatchFormerLayer
from visionrel.detectors.batchformer import two_streams


C = 8


def layer(**settings) -> BatchFormerLayer:
    return BatchFormerLayer(C, **{"dropout": 0.0, **settings}).double()


def torch_layer(reference: BatchFormerLayer) -> nn.TransformerEncoderLayer:
    """PyTorch's own layer with the same weights, loaded strictly."""
    other = nn.TransformerEncoderLayer(C, 4, C, 0.0).double()
    other.load_state_dict(reference.state_dict())
    return other


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def test_training_keeps_the_samples_and_appends_what_torch_computes():
    bf, x, y = layer(), random(5, C), torch.arange(5)
    features, labels = two_streams(bf, x, y)
    assert torch.equal(features[:5], x)
    torch.testing.assert_close(features[5:], torch_layer(bf)(x[:, None])[:, 0])
    assert labels.tolist() == [*range(5), *range(5)]


def test_in_evaluation_nothing_is_doubled_or_changed():
    bf, x, y = layer().eval(), random(5, C), torch.arange(5)
    features, labels = two_streams(bf, x, y)
    assert features is x and labels is y
    assert two_streams(bf, x) is x


@pytest.mark.parametrize("training", [True, False])
def test_values_and_gradients_are_those_of_torch(training):
    bf, x = layer().train(training), random(3, 4, C)
    ours, theirs = bf(x), torch_layer(bf).train(training)(x)
    torch.testing.assert_close(ours, theirs)
    weights = torch.randn_like(ours)
    gradients = [torch.autograd.grad((out * weights).sum(), x)[0] for out in (ours, theirs)]
    torch.testing.assert_close(*gradients)


def test_several_layers_are_torchs_encoder_of_equal_clones():
    bf, x = layer(num_layers=3), random(4, C)
    encoder = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(C, 4, C, 0.0), 3, enable_nested_tensor=False
    ).double()
    encoder.load_state_dict(bf.state_dict())
    torch.testing.assert_close(bf(x), encoder(x[:, None])[:, 0])
    assert torch.equal(bf.layers[0].linear1.weight, bf.layers[2].linear1.weight)


def test_permuting_the_batch_permutes_the_result():
    bf, x, order = layer(), random(6, 3, C), torch.randperm(6)
    torch.testing.assert_close(bf(x[order]), bf(x)[order])


def test_a_single_sample_is_doubled_and_attends_to_itself_alone():
    bf, x = layer(), random(1, C)
    with pytest.warns(UserWarning, match="batch of 1"):
        features = two_streams(bf, x)
    assert features.shape == (2, C)
    # weight 1: the attention output is the projected value of the sample itself
    value = x @ bf.self_attn.in_proj_weight[2 * C :].T + bf.self_attn.in_proj_bias[2 * C :]
    y = bf.norm1(x + bf.self_attn.out_proj(value))
    torch.testing.assert_close(features[1:], bf.norm2(y + bf.linear2(bf.linear1(y).relu())))


def test_the_warning_about_one_sample_comes_once_and_only_in_training():
    bf = layer()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bf.eval()(random(1, C))
        bf.train()(random(2, C))
    with pytest.warns(UserWarning, match=r"train_dataloader\.batch_size"):
        bf(random(1, C))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bf(random(1, C))


def test_only_the_mixed_rows_carry_gradients_between_samples():
    bf, x = layer(), random(4, C)
    features = two_streams(bf, x)
    (through_mixed,) = torch.autograd.grad(features[4 + 2].pow(2).sum(), x, retain_graph=True)
    assert (through_mixed.abs().sum(1) > 0).all()
    (through_original,) = torch.autograd.grad(features[2].pow(2).sum(), x)
    assert through_original.abs().sum(1).nonzero().flatten().tolist() == [2]


def test_every_position_is_a_batch_of_its_own():
    bf, x = layer(), random(3, 5, C)
    alone = torch.stack([bf(x[:, position]) for position in range(5)], 1)
    torch.testing.assert_close(bf(x), alone)


def test_maps_are_read_like_sequences_of_positions():
    bf, x = layer(), random(3, C, 2, 4)
    sequence = bf(x.flatten(2).transpose(1, 2))
    torch.testing.assert_close(bf(x).flatten(2).transpose(1, 2), sequence)


def test_defaults_are_those_of_the_paper():
    for width, count in ((256, 395_776), (1024, 6_301_696)):
        bf = BatchFormerLayer(width)
        assert sum(parameter.numel() for parameter in bf.parameters()) == count
        assert count == 6 * width**2 + 10 * width
    assert bf.self_attn.num_heads == 4 and bf.linear1.out_features == 1024
    assert bf.self_attn.dropout == bf.dropout.p == 0.5


def test_dropout_acts_in_training_only():
    bf, x = layer(dropout=0.5), random(4, C)
    assert not torch.equal(bf(x), bf(x))
    assert torch.equal(bf.eval()(x), bf(x))


def test_padded_features_reach_no_valid_position_of_other_images():
    bf, x = layer(), random(3, 4, C).detach()
    padding = torch.zeros(3, 4, dtype=torch.bool)
    padding[1, 2:] = True
    padding[:, 3] = True  # padded in all images
    changed = x.clone()
    changed[padding] += torch.randn(int(padding.sum()), C)
    before, after = bf(x, padding), bf(changed, padding)
    assert torch.equal(before[~padding], after[~padding])
    assert after.isfinite().all()
    assert not torch.allclose(bf(x)[~padding], bf(changed)[~padding])


def test_a_mask_fits_every_shape():
    bf, maps = layer(), random(3, C, 2, 2)
    padding = torch.zeros(3, 2, 2, dtype=torch.bool)
    padding[2, 1] = True
    flat = bf(maps.flatten(2).transpose(1, 2), padding.flatten(1))
    torch.testing.assert_close(bf(maps, padding).flatten(2).transpose(1, 2), flat)
    torch.testing.assert_close(bf(maps[:, :, 1, 1], padding[:, 1, 1]), flat[:, 3])


@pytest.mark.parametrize(
    ("samples", "mask", "allowed"),
    [
        ((3, C), torch.zeros(3, 1, dtype=torch.bool), "(3,)"),
        ((3, 4, C), torch.zeros(4, 3, dtype=torch.bool), "(3, 4)"),  # would fit as 12 values
        ((3, 4, C), torch.zeros(3, 2, 2, dtype=torch.bool), "(3, 4)"),
        ((3, C, 2, 4), torch.zeros(3, 4, 2, dtype=torch.bool), "(3, 2, 4)"),
        ((3, C, 2, 4), torch.zeros(3, 8, dtype=torch.bool), "(3, 2, 4)"),
        ((3, 4, C), torch.zeros(3, 4), "(3, 4)"),  # `~` of a float fails, of an integer lies
        ((3, 4, C), torch.zeros(3, 4, dtype=torch.uint8), "(3, 4)"),
    ],
)
def test_masks_of_another_shape_or_type_are_refused(samples, mask, allowed):
    got = f"got {mask.dtype} of shape {tuple(mask.shape)}"
    words = f"`key_padding_mask` must be boolean of shape {allowed}, .*{got}"
    with pytest.raises(ValueError, match=words.replace("(", r"\(").replace(")", r"\)")):
        layer()(random(*samples), mask)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_mixed_precision_is_computed_in_float32_and_returned_as_it_came(dtype, device):
    bf = BatchFormerLayer(C, dropout=0.0).to(device)
    x = torch.randn(4, C, device=device).to(dtype)
    seen = []
    bf.linear1.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    with torch.autocast(device.type, dtype=dtype):
        result = bf(x)
    assert result.dtype == dtype and seen == [torch.float32]
    assert torch.equal(result, bf(x.float()).to(dtype))


def test_float32_inside_can_be_switched_off():
    bf, seen = BatchFormerLayer(C, dropout=0.0, fp32=False), []
    bf.linear1.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert bf(torch.randn(4, C)).dtype == torch.float32
    assert seen == [torch.bfloat16]


def test_an_empty_batch_keeps_its_graph():
    bf = layer()
    bf(random(0, C)).sum().backward()
    assert all(not parameter.grad.any() for parameter in bf.parameters())


@pytest.mark.parametrize("shape", [(3, C + 1), (C,), (2, 3, 4, C), (1, 2, 3, 4, C)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=rf"C = {C}, got \({shape[0]}"):
        layer()(torch.zeros(shape, dtype=torch.float64))


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"num_heads": 3}, "`num_heads` must divide `embed_dims` 8, got 3"),
        ({"num_heads": 0}, "`num_heads`"),
        ({"ffn_ratio": 0.01}, "`ffn_ratio`"),
        ({"dropout": 1.5}, r"`dropout` must be in \[0, 1\], got 1.5"),
        ({"num_layers": 0}, "`num_layers` must be at least 1"),
    ],
)
def test_impossible_settings_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        BatchFormerLayer(C, **settings)


def test_gradients_are_the_numerical_ones():
    bf = layer()
    assert torch.autograd.gradcheck(bf, random(3, 2, C))
