"""The U-Net of Stable Diffusion on a CPU: the same numbers from less work.

Over the steps of one picture the texts do not change, and with guidance both halves of the batch
hold the same latents until the first text is read. So keys and values of the texts and the time
embeddings are computed once, the common stage once per pair. Channels come last, pictures have
shape (rows, height, width, channels): what attention reads as tokens is then the same memory.
Weights of linear layers are packed once for oneDNN (`transformer.py`), and convolutions take a
quarter of the products (`resnet.py`, `winograd.py`).
Results differ from the stock U-Net by rounding only, some 1e-5.
"""

from collections.abc import Callable
from typing import TypeVar

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor2_0
from diffusers.models.downsampling import Downsample2D
from diffusers.models.embeddings import Timesteps
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers import Transformer2DModel
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn

from visionrel.pipelines.reversion.fast.packed import PackedConvolution
from visionrel.pipelines.reversion.fast.resnet import (
    Convolution,
    GroupNorm,
    Kernels,
    Resnet,
)
from visionrel.pipelines.reversion.fast.transformer import Transformer
from visionrel.pipelines.reversion.fast.winograd import Workspace


Stock = TypeVar("Stock", bound=nn.Module)
Packed = TypeVar("Packed")

_LEAVES = (
    nn.Conv2d,
    nn.Linear,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.SiLU,
    nn.Dropout,
    Timesteps,
)
_BLOCKS = {
    "CrossAttnDownBlock2D",
    "DownBlock2D",
    "UNetMidBlock2DCrossAttn",
    "CrossAttnUpBlock2D",
    "UpBlock2D",
}
# Settings under which the stock U-Net computes something else than this file.
_STANDARD = {
    "act_fn": "silu",
    "addition_embed_type": None,
    "attention_type": "default",
    "center_input_sample": False,
    "class_embed_type": None,
    "cross_attention_norm": None,
    "dual_cross_attention": False,
    "encoder_hid_dim": None,
    "mid_block_scale_factor": 1,
    "num_class_embeds": None,
    "only_cross_attention": False,
    "resnet_time_scale_shift": "default",
    "time_cond_proj_dim": None,
    "time_embedding_act_fn": None,
}


def can_be_fast(unet: nn.Module, latents: Tensor) -> bool:
    """Whether :class:`FastUNet` computes what this U-Net would: if not, use the U-Net itself.

    It must be a plain Stable Diffusion 1 or 2 in float32 on a CPU with oneDNN, without adapters,
    hooks or other attention processors, for latents that every level halves evenly.
    """
    if type(unet) is not UNet2DConditionModel or hasattr(unet, "_hf_hook"):
        return False
    factor = 2**unet.num_upsamplers
    blocks = [*unet.down_blocks, unet.mid_block, *unet.up_blocks]
    return (
        latents.device.type == "cpu"
        and latents.dtype == unet.dtype == torch.float32
        and not unet.training
        and not (latents.shape[-1] % factor or latents.shape[-2] % factor)
        and torch.backends.mkldnn.is_available()
        and torch.backends.mkldnn.enabled
        and {type(block).__name__ for block in blocks} <= _BLOCKS
        and all(unet.config.get(name, value) == value for name, value in _STANDARD.items())
        and all(type(m) in _LEAVES for m in unet.modules() if not list(m.children()))
        and all(type(p) is AttnProcessor2_0 for p in unet.attn_processors.values())
        and not any(getattr(block, "s1", None) for block in unet.up_blocks)  # FreeU
        and not any(m._forward_hooks or m._forward_pre_hooks for m in unet.modules())
    )


class FastUNet:
    """Packed weights of a U-Net, and the constants of the pictures being drawn.

    Args:
        unet: One that `can_be_fast`; it is read, not changed.
        kernels: Shared by those of the same U-Net.
    """

    def __init__(self, unet: UNet2DConditionModel, kernels: Kernels | None = None) -> None:
        self.unet, self.space = unet, Workspace()
        kernels = {} if kernels is None else kernels
        self.enter, self.leave = PackedConvolution(unet.conv_in), PackedConvolution(unet.conv_out)
        self.last_norm = GroupNorm(unet.conv_norm_out)
        self.resnets = self._pack(ResnetBlock2D, lambda m: Resnet(m, self.space, kernels))
        self.transformers = self._pack(Transformer2DModel, Transformer)
        self.downsamplers = self._pack(Downsample2D, lambda m: PackedConvolution(m.conv))
        self.upsamplers = self._pack(Upsample2D, lambda m: Convolution(m.conv, self.space, kernels))

    def _pack(self, kind: type[Stock], make: Callable[[Stock], Packed]) -> dict[Stock, Packed]:
        return {module: make(module) for module in self.unet.modules() if type(module) is kind}

    def set_text(self, states: Tensor) -> None:
        """Computes keys and values of the texts, shape (rows, length, dim)."""
        self.rows = len(states)
        for transformer in self.transformers.values():
            transformer.set_text(states)

    def set_timesteps(self, timesteps: Tensor) -> None:
        """Computes what the U-Net adds at each of the timesteps, shape (steps,)."""
        embedded = self.unet.get_time_embed(torch.empty(len(timesteps)), timesteps)
        embedded = F.silu(self.unet.time_embedding(embedded))
        for resnet in self.resnets.values():
            resnet.set_times(embedded)

    @torch.inference_mode()
    def __call__(self, latents: Tensor, step: int) -> Tensor:
        """Predicts for every text.

        Args:
            latents: Shape (pictures, channels, height, width), one per text, or one per pair of
                texts if there are twice as many.
            step: Index into the timesteps.
        """
        unet = self.unet
        x = self.enter(latents.permute(0, 2, 3, 1))
        skips = [x]
        for block in unet.down_blocks:
            for resnet, transformer in _layers(block):
                x = self.resnets[resnet](x, step)
                if transformer is not None:
                    x = self.transformers[transformer](x)
                    if len(skips[0]) != len(x):
                        skips = [torch.cat([skip, skip]) for skip in skips]
                skips.append(x)
            for downsampler in block.downsamplers or ():
                x = self.downsamplers[downsampler](x)
                skips.append(x)
        x = self._spread(x)
        first, *others = unet.mid_block.resnets
        x = self.resnets[first](x, step)
        for resnet, transformer in zip(others, unet.mid_block.attentions, strict=True):
            x = self.resnets[resnet](self.transformers[transformer](x), step)
        for block in unet.up_blocks:
            for resnet, transformer in _layers(block):
                x = self.resnets[resnet](self._join(x, self._spread(skips.pop())), step)
                x = x if transformer is None else self.transformers[transformer](x)
            for upsampler in block.upsamplers or ():
                x = _double(x, self.upsamplers[upsampler])
        x = F.silu(self.last_norm(x), inplace=True)
        return self.leave(x).permute(0, 3, 1, 2)

    def _spread(self, x: Tensor) -> Tensor:
        """One row per text, where no transformer came before."""
        return x if len(x) == self.rows else torch.cat([x, x])

    def _join(self, x: Tensor, skip: Tensor) -> Tensor:
        shape = (*x.shape[:3], x.shape[3] + skip.shape[3])
        return torch.cat([x, skip], dim=3, out=self.space.get("joined", *shape))


def _double(x: Tensor, convolution: Convolution) -> Tensor:
    """Makes 2 x 2 pixels of each, then convolves."""
    rows, height, width, _ = x.shape
    large = convolution.place(rows, 2 * height, 2 * width)
    large.unflatten(2, (width, 2)).unflatten(1, (height, 2)).copy_(x[:, :, None, :, None])
    return convolution(large)


def _layers(block: nn.Module) -> list[tuple[ResnetBlock2D, Transformer2DModel | None]]:
    transformers = getattr(block, "attentions", None) or [None] * len(block.resnets)
    return list(zip(block.resnets, transformers, strict=True))
