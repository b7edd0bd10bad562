"""Two streams in the encoders of DETR and Deformable DETR."""

import pytest
import torch
from mmdet.models.layers import DeformableDetrTransformerEncoder, DetrTransformerEncoder

from visionrel.detectors.batchformer.encoders import (
    BFDeformableDetrTransformerEncoder,
    BFDetrTransformerEncoder,
)
from visionrel.errors import InputError


B, S, C = 3, 6, 16
FFN = {"embed_dims": C, "feedforward_channels": C, "ffn_drop": 0.0}
PLAIN = {
    "num_layers": 3,
    "layer_cfg": {
        "self_attn_cfg": {"embed_dims": C, "num_heads": 4, "batch_first": True},
        "ffn_cfg": FFN,
    },
}
DEFORMABLE = {
    "num_layers": 3,
    "layer_cfg": {
        "self_attn_cfg": {
            "embed_dims": C,
            "num_heads": 4,
            "num_levels": 1,
            "dropout": 0.0,
            "batch_first": True,
        },
        "ffn_cfg": FFN,
    },
}
KINDS = {
    "plain": (BFDetrTransformerEncoder, DetrTransformerEncoder, PLAIN),
    "deformable": (
        BFDeformableDetrTransformerEncoder,
        DeformableDetrTransformerEncoder,
        DEFORMABLE,
    ),
}


def encoder(kind: str, **bf):
    bf.setdefault("layer", {"dropout": 0.0})
    torch.manual_seed(0)
    return KINDS[kind][0](**KINDS[kind][2], bf=bf)


def base_of(kind: str, encoder):
    """MMDetection's encoder with the same weights."""
    base = KINDS[kind][1](**KINDS[kind][2])
    weights = encoder.state_dict()
    base.load_state_dict({k: v for k, v in weights.items() if not k.startswith("bf_layers")})
    return base.train(encoder.training)


def inputs(kind: str, padded: bool = False):
    mask = None
    if padded:
        mask = torch.zeros(B, S, dtype=torch.bool)
        mask[1, 4:] = True
    values = {
        "query": torch.randn(B, S, C),
        "query_pos": torch.randn(B, S, C),
        "key_padding_mask": mask,
    }
    if kind == "deformable":
        values["spatial_shapes"] = torch.tensor([[2, 3]])
        values["level_start_index"] = torch.tensor([0])
        values["valid_ratios"] = torch.rand(B, 1, 2) * 0.5 + 0.5
    return values


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("places, share", [([0], False), ([0, 2], False), ([0, 1, 2], True)])
def test_the_first_half_is_the_encoder_without_batchformer(kind, padded, places, share):
    model, values = encoder(kind, insert_idx=places, share=share), inputs(kind, padded)
    memory = model(**values)
    assert memory.shape == (2 * B, S, C)
    torch.testing.assert_close(memory[:B], base_of(kind, model)(**values))
    assert not torch.allclose(memory[B:], memory[:B])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [False, True])
def test_each_insertion_mixes_the_second_half_only(kind, share):
    model, values = encoder(kind, insert_idx=[0, 2], share=share), inputs(kind, True)
    calls = []
    for layer in model.bf_layers.values():
        layer.register_forward_hook(lambda module, args, out: calls.append((args[0], out)))
    memory = model(**values)
    assert [len(rows) for rows, _ in calls] == [B, B]
    assert torch.equal(memory[B:], calls[1][1])
    # what the second insertion saw is the mixed half, one layer further
    assert not torch.allclose(calls[1][0], memory[:B])


def test_shared_weights_are_one_set_and_give_other_results_than_own_ones():
    own, shared = (encoder("plain", insert_idx=[0, 2], share=share) for share in (False, True))
    assert sorted(own.bf_layers) == ["0", "2"] and list(shared.bf_layers) == ["shared"]
    count = sum(parameter.numel() for parameter in shared.bf_layers.parameters())
    assert count == 6 * C**2 + 10 * C
    shared.load_state_dict(own.state_dict(), strict=False)
    shared.bf_layers["shared"].load_state_dict(own.bf_layers["0"].state_dict())
    values = inputs("plain")
    assert not torch.allclose(own(**values)[B:], shared(**values)[B:])


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_stream_is_the_second_half_of_two(kind):
    two, single = (encoder(kind, insert_idx=[1], two_stream=two) for two in (True, False))
    single.load_state_dict(two.state_dict())
    values = inputs(kind, padded=True)
    assert single(**values).shape == (B, S, C)
    torch.testing.assert_close(single(**values), two(**values)[B:])


@pytest.mark.parametrize("kind", KINDS)
def test_evaluation_is_the_base_encoder_and_does_not_look_at_other_images(kind):
    model, values = encoder(kind, insert_idx=[0, 2]).eval(), inputs(kind, padded=True)
    memory = model(**values)
    assert torch.equal(memory, base_of(kind, model)(**values))
    common = ("spatial_shapes", "level_start_index")
    first = {k: v if k in common else v[:1] for k, v in values.items()}
    torch.testing.assert_close(model(**first), memory[:1])


def test_evaluation_through_batchformer_is_a_choice_and_depends_on_the_batch():
    model, values = encoder("plain", eval_bf=True).eval(), inputs("plain")
    memory = model(**values)
    assert memory.shape == (B, S, C)
    first = {k: v if v is None else v[:1] for k, v in values.items()}
    assert not torch.allclose(model(**first), memory[:1])


def test_masked_padding_hides_padded_places_from_other_images():
    values = inputs("deformable", padded=True)
    padding = values["key_padding_mask"]
    changed = {**values, "query": values["query"].clone()}
    changed["query"][padding] += torch.randn(2, C)
    valid = torch.cat([~padding, ~padding])
    for hidden in (True, False):
        # after the last layer: nothing but BatchFormer has mixed images
        model = encoder("deformable", insert_idx=[2], mask_padding=hidden)
        same = torch.allclose(model(**values)[valid], model(**changed)[valid], atol=1e-5)
        assert same == hidden


@pytest.mark.parametrize(
    "bf, words",
    [
        ({"insert_idx": []}, "at least one, got"),
        ({"insert_idx": [3]}, r"from 0 to 2.*got \[3\]"),
        ({"insert_idx": [-1]}, r"got \[-1\]"),
        ({"insert_idx": [1, 0]}, r"rising"),
        ({"insert_idx": [1, 1]}, r"got \[1, 1\]"),
        ({"insert_index": [1]}, "no setting insert_index; it has insert_idx, share"),
    ],
)
def test_wrong_settings_are_refused_when_the_model_is_built(bf, words):
    with pytest.raises(InputError, match=words):
        encoder("plain", **bf)
