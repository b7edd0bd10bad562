"""Two ways in which scene tokens change feature maps; both start as the identity."""

from typing import Literal

import torch
from torch import Tensor, nn


Inject = Literal["gate", "film"]


class AttentionInjection(nn.Module):
    r"""Every position asks the scene: :math:`P_l + \gamma_l \, MHA(LN(P_l), g, g)`.

    Args:
        channels: channels of every level and of the tokens.
        num_levels: one gate :math:`\gamma_l` each, 0 at first; the attention is shared.
        num_heads: heads of the attention.
        dropout: of the attention.
    """

    def __init__(self, channels: int, num_levels: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.attention = nn.MultiheadAttention(
            channels, num_heads, dropout=dropout, batch_first=True
        )
        self.gates = nn.Parameter(torch.zeros(num_levels))

    def forward(self, features: tuple[Tensor, ...], tokens: Tensor) -> tuple[Tensor, ...]:
        """Changes maps (batch, channels, height, width) by tokens (batch, num_tokens, channels)."""
        return tuple(
            level + gate * self._ask(level, tokens)
            for level, gate in zip(features, self.gates, strict=True)
        )

    def _ask(self, level: Tensor, tokens: Tensor) -> Tensor:
        queries = self.norm(level.flatten(2).transpose(1, 2))
        answers = self.attention(queries, tokens, tokens, need_weights=False)[0]
        return answers.transpose(1, 2).reshape(level.shape)


class ModulationInjection(nn.Module):
    r"""The scene scales and shifts channels: :math:`P_l (1 + \gamma_l a) + \gamma_l b`.

    Args:
        channels: channels of every level and of the tokens.
        num_levels: one gate :math:`\gamma_l` each, 0 at first.
    """

    def __init__(self, channels: int, num_levels: int) -> None:
        super().__init__()
        self.modulation = nn.Linear(channels, 2 * channels)
        self.gates = nn.Parameter(torch.zeros(num_levels))

    def forward(self, features: tuple[Tensor, ...], tokens: Tensor) -> tuple[Tensor, ...]:
        """Changes maps (batch, channels, height, width) by tokens (batch, num_tokens, channels)."""
        scale, offset = self.modulation(tokens.mean(1))[..., None, None].chunk(2, dim=1)
        return tuple(
            level * (1 + gate * scale) + gate * offset
            for level, gate in zip(features, self.gates, strict=True)
        )
