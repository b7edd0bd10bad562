"""The fast U-Net gives the stock U-Net's numbers, and steps aside where it would not."""

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor

from visionrel.pipelines.reversion.fast.split import SplitUNet, make_fast
from visionrel.pipelines.reversion.fast.unet import FastUNet, can_be_fast


TIMESTEPS = torch.tensor([801, 401, 1])


def make_unet(**changes) -> UNet2DConditionModel:
    settings = {
        "sample_size": 8,
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": (16, 32),
        "layers_per_block": 1,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": 12,
        "attention_head_dim": 4,
        "norm_num_groups": 8,
    }
    return UNet2DConditionModel(**(settings | changes)).eval()


def compare(unet: UNet2DConditionModel, pictures: int, rows: int, size=(8, 8)) -> None:
    check(FastUNet(unet), pictures, rows, size)


@torch.no_grad()
def check(fast: FastUNet, pictures: int, rows: int, size: tuple[int, int]) -> None:
    unet = fast.unet
    latents, states = torch.randn(pictures, 4, *size), torch.randn(rows, 7, 12)
    assert can_be_fast(unet, latents)
    fast.set_text(states)
    fast.set_timesteps(TIMESTEPS)
    repeated = torch.cat([latents] * (rows // pictures))
    for step, timestep in enumerate(TIMESTEPS):
        stock = unet(repeated, timestep, states).sample
        torch.testing.assert_close(fast(latents, step), stock, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"layers_per_block": 2},
        {"use_linear_projection": True},  # Stable Diffusion 2
        {"transformer_layers_per_block": 2},
        {"attention_head_dim": (2, 4)},
        {"down_block_types": ("CrossAttnDownBlock2D",) * 2},
        {"down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D")},
        {"up_block_types": ("CrossAttnUpBlock2D",) * 2},
        {"flip_sin_to_cos": False, "freq_shift": 1},
    ],
)
@pytest.mark.parametrize(("pictures", "rows"), [(3, 6), (2, 2)])
def test_same_numbers(changes, pictures, rows):
    compare(make_unet(**changes), pictures, rows)


def test_without_any_transformer_on_the_way_down():
    unet = make_unet(
        down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D")
    )
    compare(unet, 2, 4)


def test_other_sizes_and_a_second_text():
    fast = FastUNet(make_unet())
    check(fast, 1, 2, (4, 10))
    check(fast, 1, 2, (8, 8))
    check(fast, 3, 6, (8, 8))


def test_with_winograds_convolutions():
    fast = FastUNet(make_unet(block_out_channels=(32, 64)))
    check(fast, 4, 8, (16, 16))
    check(fast, 1, 2, (16, 16))
    check(fast, 3, 6, (16, 20))


def test_the_unet_is_only_read():
    unet = make_unet()
    before = {name: value.clone() for name, value in unet.state_dict().items()}
    compare(unet, 1, 2)
    assert all(torch.equal(value, before[name]) for name, value in unet.state_dict().items())


@pytest.mark.parametrize(
    "changes",
    [
        {"class_embed_type": "timestep"},
        {"act_fn": "gelu"},
        {"resnet_time_scale_shift": "scale_shift"},
        {"center_input_sample": True},
        {"dual_cross_attention": True},
        {"only_cross_attention": True},
        {"down_block_types": ("SimpleCrossAttnDownBlock2D", "DownBlock2D")},
        {"time_cond_proj_dim": 8},
        {"mid_block_scale_factor": 2},
    ],
)
def test_other_architectures_are_left_to_themselves(changes):
    assert not can_be_fast(make_unet(**changes), torch.randn(1, 4, 8, 8))


def test_other_circumstances_are_left_to_the_unet():
    latents = torch.randn(1, 4, 8, 8)
    assert can_be_fast(make_unet(), latents)
    assert not can_be_fast(make_unet(), torch.randn(1, 4, 7, 8))
    assert not can_be_fast(make_unet().train(), latents)
    assert not can_be_fast(make_unet().to(torch.bfloat16), latents.bfloat16())
    assert not can_be_fast(make_unet(), latents.to("meta"))
    assert not can_be_fast(torch.nn.Identity(), latents)
    hooked = make_unet()
    hooked.mid_block.register_forward_hook(lambda *_: None)
    assert not can_be_fast(hooked, latents)
    other = make_unet()
    other.set_attn_processor(AttnProcessor())
    assert not can_be_fast(other, latents)
    freed = make_unet()
    freed.enable_freeu(s1=0.9, s2=0.2, b1=1.5, b2=1.6)
    assert not can_be_fast(freed, latents)
    fused = make_unet()
    fused.fuse_qkv_projections()
    assert not can_be_fast(fused, latents)


def test_adapters_are_left_to_the_unet():
    from peft import LoraConfig

    unet = make_unet()
    unet.add_adapter(LoraConfig(target_modules=["to_q"]))
    assert not can_be_fast(unet, torch.randn(1, 4, 8, 8))


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@torch.no_grad()
@pytest.mark.parametrize(("pictures", "texts"), [(5, 2), (4, 1), (1, 2)])
def test_pictures_split_among_cores_are_the_same(two_threads, pictures, texts):
    unet = make_unet()
    latents, states = torch.randn(pictures, 4, 8, 8), torch.randn(pictures * texts, 7, 12)
    whole, split = FastUNet(unet), SplitUNet(unet, 2, texts)
    for each in (whole, split):
        each.set_text(states)
        each.set_timesteps(TIMESTEPS)
    for step in range(len(TIMESTEPS)):
        torch.testing.assert_close(split(latents, step), whole(latents, step), rtol=1e-4, atol=1e-5)
    assert torch.get_num_threads() == 2


def test_only_several_small_pictures_are_split(two_threads):
    unet = make_unet()
    assert isinstance(make_fast(unet, torch.randn(2, 4, 8, 8), 2), SplitUNet)
    assert isinstance(make_fast(unet, torch.randn(1, 4, 8, 8), 2), FastUNet)
    assert isinstance(make_fast(unet, torch.randn(2, 4, 64, 64), 2), FastUNet)
    assert make_fast(unet.train(), torch.randn(2, 4, 8, 8), 2) is None
    torch.set_num_threads(1)
    assert isinstance(make_fast(unet.eval(), torch.randn(2, 4, 8, 8), 2), FastUNet)
