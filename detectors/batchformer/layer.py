"""The BatchFormer layer: a transformer encoder layer whose sequence is the mini-batch.

Hou, Yu and Tao, "BatchFormer: Learning to Explore Sample Relationships for Robust Representation
Learning", arXiv 2203.01522; dense features: Hou et al., "BatchFormerV2", arXiv 2204.01254.
"""

import warnings
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from visionrel.attention import AttentionBackend, attend
from visionrel.detectors.batchformer.gathering import gather_mask, gather_rows


class _EncoderBlock(nn.Module):
    """Post-norm encoder layer over axis 0, with the parameters of `nn.TransformerEncoderLayer`."""

    def __init__(self, embed_dims: int, num_heads: int, width: int, dropout: float) -> None:
        super().__init__()
        # Holds names, shapes and initial values of the four projections; its forward is not used.
        self.self_attn = nn.MultiheadAttention(embed_dims, num_heads, dropout)
        self.linear1 = nn.Linear(embed_dims, width)
        self.linear2 = nn.Linear(width, embed_dims)
        self.norm1 = nn.LayerNorm(embed_dims)
        self.norm2 = nn.LayerNorm(embed_dims)
        self.dropout = nn.Dropout(dropout)

    def encode(
        self, samples: Tensor, context: Tensor, mask: Tensor | None, backend: AttentionBackend
    ) -> Tensor:
        """Applies the layer to samples (N, S, C) that attend to a context (M, S, C)."""
        attended = self.dropout(self._attend(samples, context, mask, backend))
        samples = self.norm1(samples + attended)
        hidden = self.dropout(F.relu(self.linear1(samples)))
        return self.norm2(samples + self.dropout(self.linear2(hidden)))

    def _attend(
        self, samples: Tensor, context: Tensor, mask: Tensor | None, backend: AttentionBackend
    ) -> Tensor:
        attention = self.self_attn
        weights, biases = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
        # [N, S, C] -> [S, heads, N, C / heads]: a position is a batch entry, an image is a token
        query, key, value = (
            F.linear(rows, weight, bias)
            .unflatten(2, (attention.num_heads, attention.head_dim))
            .permute(1, 2, 0, 3)
            for rows, weight, bias in zip((samples, context, context), weights, biases, strict=True)
        )
        dropout = attention.dropout if self.training else 0.0
        output = attend(query, key, value, mask, dropout, backend)
        # [S, heads, N, C / heads] -> [N, S, C]
        return attention.out_proj(output.permute(2, 0, 1, 3).flatten(2))


class BatchFormerLayer(_EncoderBlock):
    """Samples of a batch attend to each other: BF(X) = LN(Y + FFN(Y)), Y = LN(X + MHA(X, X, X)).

    No positional encoding: permuting the batch permutes the output. A dense map is read one
    position at a time: position s of an image attends to position s of the other images, with the
    same weights everywhere. The layer only computes BF(X); see `two_streams` for how it is used in
    training.

    Parameter names and initial values are those of `torch.nn.TransformerEncoderLayer`, and of
    `torch.nn.TransformerEncoder` for several layers, so the authors' weights load. One layer has
    6 C^2 + 10 C parameters at the default width.

    Args:
        embed_dims: Channels C.
        num_heads: Attention heads; divides C. 4 in all of the authors' detectors.
        ffn_ratio: Width of the FFN over C. 1, not the usual 4.
        dropout: On attention weights, attention output, FFN hidden and FFN output.
        num_layers: Layers one after the other; they start with equal weights.
        fp32: Whether autocast is off inside; half precision gave the authors NaN.
        gather: Whether samples also attend to those of the other processes. The authors' layer
            sees one process's batch. Dense maps then need one size on all processes.
        attention: Kernel, see `visionrel.attention`.

    Raises:
        ValueError: If a setting is out of its range, or a forward input has another shape.

    Example:
        >>> layer = BatchFormerLayer(8)
        >>> layer(torch.randn(3, 8)).shape
        torch.Size([3, 8])
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int = 4,
        ffn_ratio: float = 1.0,
        dropout: float = 0.5,
        num_layers: int = 1,
        *,
        fp32: bool = True,
        gather: bool = False,
        attention: AttentionBackend = "auto",
    ) -> None:
        width = int(embed_dims * ffn_ratio)
        _check_settings(embed_dims, num_heads, width, dropout, num_layers)
        if num_layers == 1:
            super().__init__(embed_dims, num_heads, width, dropout)
        else:
            nn.Module.__init__(self)
            first = _EncoderBlock(embed_dims, num_heads, width, dropout)
            self.layers = nn.ModuleList(
                _EncoderBlock(embed_dims, num_heads, width, dropout) for _ in range(num_layers)
            )
            for layer in self.layers:
                layer.load_state_dict(first.state_dict())
        self.embed_dims = embed_dims
        self.fp32, self.gather, self.attention = fp32, gather, attention
        self._warned = False

    def forward(self, samples: Tensor, key_padding_mask: Tensor | None = None) -> Tensor:
        """Computes BF(X) along axis 0.

        Args:
            samples: Shape (N, C), (B, S, C) or (B, C, H, W).
            key_padding_mask: Shape (N,), (B, S) or (B, H, W), boolean, True where an image is
                padded: it is not seen there by the others. A position that is padded in all images
                stays seen.

        Returns:
            Shape and dtype of `samples`.
        """
        rows = self._to_rows(samples)
        mask = self._to_mask(samples, key_padding_mask)
        with self._precision(samples):
            if self.fp32:
                rows = rows.to(next(self.parameters()).dtype)
            rows = self._encode(rows, mask).to(samples.dtype)
        if samples.ndim == 4:
            return rows.transpose(1, 2).reshape(samples.shape)
        return rows.reshape(samples.shape)

    def _to_rows(self, samples: Tensor) -> Tensor:
        """Brings the three shapes to [B, S, C]."""
        channels = 1 if samples.ndim == 4 else -1
        if samples.ndim not in (2, 3, 4) or samples.shape[channels] != self.embed_dims:
            raise ValueError(
                f"`samples` must be (N, C), (B, S, C) or (B, C, H, W) with C = {self.embed_dims}, "
                f"got {tuple(samples.shape)}."
            )
        if samples.ndim == 2:
            return samples[:, None]
        return samples.flatten(2).transpose(1, 2) if samples.ndim == 4 else samples

    def _to_mask(self, samples: Tensor, padding: Tensor | None) -> Tensor | None:
        """Brings a mask to [B, S]."""
        if padding is None:
            return None
        shape = samples.shape[:1] + samples.shape[2:] if samples.ndim == 4 else samples.shape[:-1]
        if padding.shape != shape or padding.dtype != torch.bool:
            raise ValueError(
                f"`key_padding_mask` must be boolean of shape {tuple(shape)}, one value for each "
                f"position of `samples`, got {padding.dtype} of shape {tuple(padding.shape)}. "
                "Compare a mask of numbers with 0 first: `mask != 0`."
            )
        return padding[:, None] if padding.ndim == 1 else padding.flatten(1)

    def _encode(self, rows: Tensor, mask: Tensor | None) -> Tensor:
        gather = gather_rows if self.gather else lambda tensor: tensor
        if self.gather:
            mask = gather_mask(mask, rows)
        if mask is not None:
            visible = ~mask | mask.all(0)
            # [M, S] -> [S, heads, N, M]
            mask = visible.t()[:, None, None]
        for block in getattr(self, "layers", [self]):
            context = gather(rows)
            self._check_batch(len(context))
            rows = block.encode(rows, context, mask, self.attention)
        return rows

    def _check_batch(self, size: int) -> None:
        if size == 1 and self.training and not self._warned:
            self._warned = True
            warnings.warn(
                "BatchFormer got a batch of 1: there is no other sample to relate to. Use at least "
                "2 images per process (`train_dataloader.batch_size`); accumulating gradients does "
                "not help.",
                stacklevel=2,
            )

    def _precision(self, samples: Tensor) -> AbstractContextManager:
        return torch.autocast(samples.device.type, enabled=False) if self.fp32 else nullcontext()


def two_streams(
    layer: BatchFormerLayer, features: Tensor, *others: Tensor
) -> tuple[Tensor, ...] | Tensor:
    """Lets a shared classifier see features with and without BatchFormer (2203.01522, section 3).

    In training the batch is doubled, originals first, and whatever belongs to the samples is
    doubled alike; otherwise everything is returned as it is, and the layer is not called.

    Args:
        layer: The layer; its mode decides.
        features: Shape (N, C) or a dense map, axis 0 is the batch.
        others: Tensors with the same axis 0, such as labels.

    Returns:
        [x ; BF(x)] and [y ; y] for each other tensor; a tensor if nothing but features was given.
    """
    if layer.training:
        features = torch.cat([features, layer(features)])
        others = tuple(torch.cat([other, other]) for other in others)
    return (features, *others) if others else features


def _check_settings(
    embed_dims: int, num_heads: int, width: int, dropout: float, num_layers: int
) -> None:
    if num_heads < 1 or embed_dims % num_heads:
        raise ValueError(f"`num_heads` must divide `embed_dims` {embed_dims}, got {num_heads}.")
    if width < 1:
        raise ValueError(f"`ffn_ratio` times `embed_dims` {embed_dims} must be at least 1.")
    if not 0 <= dropout <= 1:
        raise ValueError(f"`dropout` must be in [0, 1], got {dropout}.")
    if num_layers < 1:
        raise ValueError(f"`num_layers` must be at least 1, got {num_layers}.")
