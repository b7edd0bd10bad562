"""Transformers of the U-Net on a CPU: weights packed once, keys and values of the texts kept.

oneDNN's products also take in the activation, gate or residual that follows.
"""

import torch
import torch.nn.functional as F
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import Attention
from diffusers.models.transformers import Transformer2DModel
from torch import Tensor

from visionrel.pipelines.reversion.fast.packed import Linear, pack
from visionrel.pipelines.reversion.fast.resnet import GroupNorm


class Transformer:
    """`Transformer2DModel` with its blocks."""

    def __init__(self, module: Transformer2DModel) -> None:
        self.norm = GroupNorm(module.norm)
        self.enter, self.leave = pack(module.proj_in), pack(module.proj_out)
        self.blocks = [_Block(block) for block in module.transformer_blocks]

    def set_text(self, states: Tensor) -> None:
        """Computes keys and values of the texts, shape (rows, length, dim)."""
        for block in self.blocks:
            block.set_text(states)

    def __call__(self, x: Tensor) -> Tensor:
        """Shape (rows, height, width, channels); one row per text comes out."""
        tokens = self.enter(self.norm(x).flatten(1, 2))
        for block in self.blocks:
            tokens = block(tokens)
        x = x if len(x) == len(tokens) else torch.cat([x, x])
        return self.leave.add_to(x.flatten(1, 2), tokens).view_as(x)


class _Block:
    """`BasicTransformerBlock`; keys and values of the text are kept."""

    def __init__(self, module: BasicTransformerBlock) -> None:
        self.module = module
        own, text = module.attn1, module.attn2
        joined = torch.cat([own.to_q.weight, own.to_k.weight, own.to_v.weight])
        self.project_own = Linear(joined, None)
        self.leave_own = pack(own.to_out[0])
        self.query_text = pack(text.to_q)
        self.leave_text = pack(text.to_out[0])
        widen, narrow = module.ff.net[0].proj, module.ff.net[2]
        half = len(widen.weight) // 2
        self.widen = Linear(widen.weight[:half], widen.bias[:half])
        self.gate = Linear(widen.weight[half:], widen.bias[half:])
        self.narrow = pack(narrow)

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


def _heads(x: Tensor, attention: Attention) -> Tensor:
    """Rows, positions, channels -> rows, heads, positions, channels per head."""
    return x.unflatten(-1, (attention.heads, -1)).transpose(1, 2)


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention; rows, heads, positions, channels per head -> rows, positions, channels."""
    return F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
