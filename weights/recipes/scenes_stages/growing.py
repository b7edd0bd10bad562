"""Deepens a trained U-Net without changing what it computes; training goes on from there."""

import re

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.resnet import ResnetBlock2D
from torch import nn


def deepen(unet: UNet2DConditionModel, layers: tuple[int, ...]) -> UNet2DConditionModel:
    """Return a U-Net with more residual layers that predicts the same.

    An added layer of the encoder hands its input on, so the decoder finds the old output on every
    skip that comes with it, and an added layer of the decoder leaves its skip aside.

    Args:
        unet: The trained one; returned as it is if it has these layers already.
        layers: Residual layers of each level of the encoder, at the finest resolution first, none
            fewer than before.

    Raises:
        ValueError: If a level loses layers, or one with attention gains any.
    """
    old = unet.config.layers_per_block
    old = (old,) * len(layers) if isinstance(old, int) else tuple(old)
    if old == layers:
        return unet
    added = [new - before for new, before in zip(layers, old, strict=True)]
    blocks = unet.config.down_block_types
    if any(gain < 0 or (gain and "Attn" in kind) for gain, kind in zip(added, blocks, strict=True)):
        raise ValueError(
            f"`layers` is {layers}, but the U-Net has {old} in {', '.join(blocks)}; layers can be "
            "added only, and only to levels without attention."
        )
    grown = UNet2DConditionModel.from_config({**unet.config, "layers_per_block": list(layers)})
    kept = {_rename(name, added[::-1]): value for name, value in unet.state_dict().items()}
    grown.load_state_dict(kept, strict=False)
    for name, module in grown.named_modules():
        if isinstance(module, ResnetBlock2D) and f"{name}.conv1.weight" not in kept:
            _pass_on(module)
    return grown


def _rename(name: str, added: list[int]) -> str:
    """The first layer of a decoder's level stays first: the added ones follow it."""
    found = re.match(r"up_blocks\.(\d+)\.resnets\.(\d+)\.", name)
    if found is None or found[2] == "0":
        return name
    level, layer = int(found[1]), int(found[2])
    return f"up_blocks.{level}.resnets.{layer + added[level]}.{name[found.end() :]}"


@torch.no_grad()
def _pass_on(layer: ResnetBlock2D) -> None:
    """Let a layer return the first channels of its input."""
    nn.init.zeros_(layer.conv2.weight)
    nn.init.zeros_(layer.conv2.bias)
    if layer.conv_shortcut is not None:
        nn.init.dirac_(layer.conv_shortcut.weight)
        nn.init.zeros_(layer.conv_shortcut.bias)
