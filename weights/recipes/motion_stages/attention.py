"""CogVideoX's attention for training on a CPU."""

from __future__ import annotations

import torch
from diffusers.models.attention_processor import Attention
from diffusers.models.embeddings import apply_rotary_emb
from torch import Tensor


class PlainAttention:
    """The products of the matrices themselves, in place of PyTorch's fused attention.

    For few tokens under bfloat16 autocast a CPU is faster this way: forward and backward of the
    transformer on 32 clips of 204 tokens took 1.32 instead of 1.66 s of one core.
    """

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: None = None,
        image_rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Attend within text and video tokens together, `(B, tokens, width)` each."""
        words = encoder_hidden_states.shape[1]
        states = torch.cat([encoder_hidden_states, hidden_states], dim=1)
        query, key, value = (
            # batch, tokens, heads x width -> batch, heads, tokens, width
            project(states).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for project in (attn.to_q, attn.to_k, attn.to_v)
        )
        query, key = attn.norm_q(query), attn.norm_k(key)
        if image_rotary_emb is not None:
            query, key = (_rotate(side, words, image_rotary_emb) for side in (query, key))
        weights = ((query * query.shape[-1] ** -0.5) @ key.mT).softmax(-1)
        mixed = attn.to_out[0]((weights.to(value.dtype) @ value).transpose(1, 2).flatten(2))
        return mixed[:, words:], mixed[:, :words]


def _rotate(tokens: Tensor, words: int, rotary: tuple[Tensor, Tensor]) -> Tensor:
    """Turn video tokens by their places; words have none."""
    turned = apply_rotary_emb(tokens[:, :, words:], rotary)
    return torch.cat([tokens[:, :, :words], turned], dim=2)
