"""The U-Net of Stable Diffusion on a CPU: the same numbers from less work.

Over the steps of one picture the texts do not change, and with guidance both halves of the batch
hold the same latents until the first text is read. So keys and values of the texts and the time
embeddings are computed once, the common stage once per pair; weights of linear layers are packed
once for oneDNN, whose products also take in the activation, gate or residual that follows; and
an upsampling with its convolution is one transposed convolution of half the work.
Results differ from the stock U-Net by rounding only, about 1e-6.
"""

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from diffusers.models.embeddings import Timesteps
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers import Transformer2DModel
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn


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
    """

    def __init__(self, unet: UNet2DConditionModel) -> None:
        self.unet = unet
        modules = list(unet.modules())
        self.transformers = {m: _Transformer(m) for m in modules if type(m) is Transformer2DModel}
        self.resnets = {m: _Resnet(m) for m in modules if type(m) is ResnetBlock2D}
        self.upsamplers = {m: _Upsampler(m) for m in modules if type(m) is Upsample2D}

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
        x = unet.conv_in(latents)
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
                x = downsampler(x)
                skips.append(x)
        x = self._spread(x)
        first, *others = unet.mid_block.resnets
        x = self.resnets[first](x, step)
        for resnet, transformer in zip(others, unet.mid_block.attentions, strict=True):
            x = self.resnets[resnet](self.transformers[transformer](x), step)
        for block in unet.up_blocks:
            for resnet, transformer in _layers(block):
                x = self.resnets[resnet](torch.cat([x, self._spread(skips.pop())], dim=1), step)
                x = x if transformer is None else self.transformers[transformer](x)
            for upsampler in block.upsamplers or ():
                x = self.upsamplers[upsampler](x)
        return unet.conv_out(F.silu(unet.conv_norm_out(x), inplace=True))

    def _spread(self, x: Tensor) -> Tensor:
        """One row per text, where no transformer came before."""
        return x if len(x) == self.rows else torch.cat([x, x])


def _layers(block: nn.Module) -> list[tuple[ResnetBlock2D, Transformer2DModel | None]]:
    transformers = getattr(block, "attentions", None) or [None] * len(block.resnets)
    return list(zip(block.resnets, transformers, strict=True))


class _Linear:
    """A linear layer with its weight packed for oneDNN."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous())
        self.bias = None if bias is None else bias.detach()

    def __call__(self, x: Tensor, activation: str = "none") -> Tensor:
        algorithm = "none" if activation == "gelu" else ""
        return torch.ops.mkldnn._linear_pointwise(
            x, self.weight, self.bias, activation, [], algorithm
        )

    def add_to(self, other: Tensor, x: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise.binary(x, other, self.weight, self.bias, "add")

    def times(self, other: Tensor, x: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise.binary(x, other, self.weight, self.bias, "mul")


class _Resnet:
    """`ResnetBlock2D`; the time embedding goes into the first convolution's bias."""

    def __init__(self, module: ResnetBlock2D) -> None:
        self.module = module

    def set_times(self, embedded: Tensor) -> None:
        self.biases = self.module.time_emb_proj(embedded) + self.module.conv1.bias

    def __call__(self, x: Tensor, step: int) -> Tensor:
        module, shortcut = self.module, self.module.conv_shortcut
        hidden = F.silu(module.norm1(x), inplace=True)
        hidden = F.conv2d(hidden, module.conv1.weight, self.biases[step], padding=1)
        hidden = module.conv2(F.silu(module.norm2(hidden), inplace=True))
        if shortcut is None:
            hidden += x
        else:
            hidden = _add_projection(hidden, shortcut, x.flatten(2))
        return hidden if module.output_scale_factor == 1 else hidden / module.output_scale_factor


class _Upsampler:
    """`Upsample2D`: doubling by copies and a 3 x 3 convolution are one transposed convolution.

    Its 4 x 4 kernel is the mirrored 3 x 3 kernel smeared over the 2 x 2 copies; with a stride of
    2 that is 4/9 of the products.
    """

    def __init__(self, module: Upsample2D) -> None:
        # out, in, 3, 3 -> in, out, 3, 3
        mirrored = module.conv.weight.detach().flip(2, 3).transpose(0, 1)
        kernel = F.conv2d(mirrored.flatten(0, 1)[:, None], torch.ones(1, 1, 2, 2), padding=1)
        self.kernel = kernel.unflatten(0, mirrored.shape[:2])[:, :, 0].contiguous()
        self.bias = module.conv.bias

    def __call__(self, x: Tensor) -> Tensor:
        return F.conv_transpose2d(x, self.kernel, self.bias, stride=2, padding=1)


def _add_projection(x: Tensor, layer: nn.Conv2d | nn.Linear, columns: Tensor) -> Tensor:
    """Adds a 1 x 1 convolution of `columns`, shape (rows, channels, positions), to pictures."""
    weight = layer.weight.flatten(1).expand(len(x), -1, -1)
    projected = torch.baddbmm(x.flatten(2), weight, columns).unflatten(2, x.shape[2:])
    return projected.add_(layer.bias[:, None, None])


class _Transformer:
    """`Transformer2DModel` with its blocks."""

    def __init__(self, module: Transformer2DModel) -> None:
        self.module = module
        self.blocks = [_Block(block) for block in module.transformer_blocks]

    def set_text(self, states: Tensor) -> None:
        for block in self.blocks:
            block.set_text(states)

    def __call__(self, x: Tensor) -> Tensor:
        module = self.module
        # rows, channels, positions -> rows, positions, channels
        columns = module.norm(x).flatten(2).transpose(1, 2)
        weight = module.proj_in.weight.flatten(1).t().expand(len(x), -1, -1)
        tokens = torch.bmm(columns, weight).add_(module.proj_in.bias)
        for block in self.blocks:
            tokens = block(tokens)
        x = x if len(x) == len(tokens) else torch.cat([x, x])
        return _add_projection(x, module.proj_out, tokens.transpose(1, 2))


class _Block:
    """`BasicTransformerBlock`; keys and values of the text are kept."""

    def __init__(self, module: BasicTransformerBlock) -> None:
        self.module = module
        own, text = module.attn1, module.attn2
        joined = torch.cat([own.to_q.weight, own.to_k.weight, own.to_v.weight])
        self.project_own = _Linear(joined, None)
        self.leave_own = _pack(own.to_out[0])
        self.query_text = _pack(text.to_q)
        self.leave_text = _pack(text.to_out[0])
        widen, narrow = module.ff.net[0].proj, module.ff.net[2]
        half = len(widen.weight) // 2
        self.widen = _Linear(widen.weight[:half], widen.bias[:half])
        self.gate = _Linear(widen.weight[half:], widen.bias[half:])
        self.narrow = _pack(narrow)

    def set_text(self, states: Tensor) -> None:
        text = self.module.attn2
        self.text = _heads(text.to_k(states), text), _heads(text.to_v(states), text)

    def __call__(self, x: Tensor) -> Tensor:
        module = self.module
        joined = self.project_own(module.norm1(x)).chunk(3, dim=-1)
        found = _attend(*(_heads(part, module.attn1) for part in joined))
        x = self.leave_own.add_to(x, found)
        if len(x) != len(self.text[0]):
            x = torch.cat([x, x])
        query = _heads(self.query_text(module.norm2(x)), module.attn2)
        x = self.leave_text.add_to(x, _attend(query, *self.text))
        normed = module.norm3(x)
        gated = self.widen.times(self.gate(normed, "gelu"), normed)
        return self.narrow.add_to(x, gated)


def _pack(layer: nn.Linear) -> _Linear:
    return _Linear(layer.weight, layer.bias)


def _heads(x: Tensor, attention: Attention) -> Tensor:
    """Rows, positions, channels -> rows, heads, positions, channels per head."""
    return x.unflatten(-1, (attention.heads, -1)).transpose(1, 2)


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention; rows, heads, positions, channels per head -> rows, positions, channels."""
    return F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
