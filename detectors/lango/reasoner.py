"""Visual semantic reasoner in the style of LANGO, reconstructed from the paper's abstract."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from visionrel.detectors.lango.injection import AttentionInjection, Inject, ModulationInjection
from visionrel.detectors.lango.text_bank import TextBank, build_text_bank
from visionrel.errors import InputError
from visionrel.losses import scene_condition_loss


@MODELS.register_module()
class VisualSemanticReasoner(BaseModule):
    r"""Reads the conditions of a picture and tells the feature maps.

    "Language-guided Learning for Object Detection Tackling Multiple Variations in Aerial Images"
    (LANGO, arXiv 2505.23193) describes a reasoner that interprets the conditions under which a
    picture was taken. The network is a *reconstruction from the abstract*: one query per axis
    of conditions attends to the pooled map of one level; the answer is compared with the vectors
    of the axis' phrases, :math:`p_a = \mathrm{softmax}(\langle z_a, T_{a,k} \rangle / \tau)`;
    the expected phrase vector and the answer form a scene token, and the tokens change every
    level of the neck. Gates start at 0, so a detector starts as its baseline.

    Args:
        text_bank: a shipped bank's name, a file or a dict; see
            :func:`~visionrel.detectors.lango.text_bank.build_text_bank`. Only its axes are used.
        in_channels: channels of every level, divisible by ``num_heads``.
        strides: stride of each level.
        context_stride: the level with this stride is read.
        inject: "gate" for cross-attention, "film" for a scale and an offset per channel.
        num_heads: heads of the attentions.
        feedforward_channels: hidden width of the feed-forward network.
        dropout: of attention and feed-forward network.
        temperature: tau, above 0.
        loss_weight: factor of ``loss_scene``.
    """

    def __init__(
        self,
        text_bank: TextBank | str | Mapping[str, Any],
        in_channels: int = 256,
        strides: Sequence[int] = (4, 8, 16, 32, 64),
        context_stride: int = 32,
        inject: Inject = "gate",
        num_heads: int = 8,
        feedforward_channels: int = 1024,
        dropout: float = 0.1,
        temperature: float = 0.07,
        loss_weight: float = 0.1,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        bank = build_text_bank(text_bank)
        _check_settings(bank, in_channels, strides, context_stride, inject, num_heads, temperature)
        self.context_level = tuple(strides).index(context_stride)
        self.temperature = temperature
        self.loss_weight = loss_weight
        self.axes = {name: axis.names for name, axis in bank.axes.items()}
        self._register_phrases(bank)
        self.context = nn.Linear(in_channels, in_channels)
        self.context_norm = nn.LayerNorm(in_channels)
        self.query = nn.Linear(bank.dim, in_channels, bias=False)
        self.query_offset = nn.Parameter(torch.zeros(len(self.axes), in_channels))
        self.attention = nn.MultiheadAttention(
            in_channels, num_heads, dropout=dropout, batch_first=True
        )
        self.attention_norm = nn.LayerNorm(in_channels)
        self.feedforward = nn.Sequential(
            nn.Linear(in_channels, feedforward_channels),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(feedforward_channels, in_channels),
        )
        self.feedforward_norm = nn.LayerNorm(in_channels)
        self.dropout = nn.Dropout(dropout)
        self.answer = nn.Linear(in_channels, bank.dim)
        self.scene = nn.Linear(bank.dim, in_channels)
        if inject == "gate":
            self.injection = AttentionInjection(in_channels, len(strides), num_heads, dropout)
        else:
            self.injection = ModulationInjection(in_channels, len(strides))

    def _register_phrases(self, bank: TextBank) -> None:
        """Buffers stay out of checkpoints: these do not depend on the text encoder."""
        phrases = [F.normalize(axis.embeddings, dim=1) for axis in bank.axes.values()]
        means = torch.stack([vectors.mean(0) for vectors in phrases])
        self.register_buffer("phrases", torch.cat(phrases), persistent=False)
        self.register_buffer("axis_means", means, persistent=False)

    def forward(self, features: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        """Changes the maps of the neck.

        Args:
            features: one map per level, shape (batch, in_channels, height, width).

        Returns:
            The maps in their shapes; and per axis the logits of its phrases, shape
            (batch, num_phrases), float32, at most 1 / temperature in absolute value.
        """
        summary = self._summarise(features[self.context_level])
        logits = self._compare(summary)
        expected = torch.stack(
            [
                axis_logits.softmax(1) @ vectors
                for axis_logits, vectors in zip(logits.values(), self._phrases(), strict=True)
            ],
            dim=1,
        )
        tokens = self.scene(expected) + summary
        return self.injection(tuple(features), tokens), logits

    def _summarise(self, context: Tensor) -> Tensor:
        """One token per axis from one level, shape (batch, num_axes, in_channels)."""
        pooled = F.adaptive_avg_pool2d(context, 7).flatten(2).transpose(1, 2)
        context = self.context_norm(self.context(pooled))
        query = self.query(self.axis_means) + self.query_offset
        query = query.expand(len(context), -1, -1)
        attended = self.attention(query, context, context, need_weights=False)[0]
        query = self.attention_norm(query + self.dropout(attended))
        return self.feedforward_norm(query + self.dropout(self.feedforward(query)))

    def _compare(self, summary: Tensor) -> dict[str, Tensor]:
        """Cosines of each axis' answer with its phrases over the temperature."""
        answers = F.normalize(self.answer(summary).float(), dim=-1).unbind(1)
        with torch.autocast(summary.device.type, enabled=False):
            return {
                name: answer @ vectors.float().T / self.temperature
                for name, answer, vectors in zip(self.axes, answers, self._phrases(), strict=True)
            }

    def _phrases(self) -> tuple[Tensor, ...]:
        return self.phrases.split([len(names) for names in self.axes.values()])

    def loss(self, logits: Mapping[str, Tensor], data_samples: Sequence[Any]) -> dict[str, Tensor]:
        """Compares the logits with the pictures' `scene_cond`.

        Args:
            logits: from `forward`.
            data_samples: `DetDataSample`s; `scene_cond` in their `metainfo` maps an axis to the
                probabilities of its phrases. What is absent is unknown.

        Returns:
            `loss_scene`, weighted, the mean over axes that any picture knows; and
            `scene_unweighted` for the log.
        """
        known = [sample.metainfo.get("scene_cond") or {} for sample in data_samples]
        losses = []
        for name, axis_logits in logits.items():
            target, valid = self._targets(name, axis_logits, known)
            if valid.any():
                losses.append(scene_condition_loss(axis_logits, target, valid))
        # Without a label the graph stays whole: no parameter is unused in distributed training.
        nothing = sum(axis_logits.sum() * 0 for axis_logits in logits.values())
        loss = torch.stack(losses).mean() if losses else nothing
        return {"loss_scene": self.loss_weight * loss, "scene_unweighted": loss.detach()}

    def _targets(
        self, name: str, logits: Tensor, known: Sequence[Mapping[str, Sequence[float]]]
    ) -> tuple[Tensor, Tensor]:
        unknown = [0.0] * logits.shape[1]
        rows = [conditions.get(name, unknown) for conditions in known]
        if wrong := [len(row) for row in rows if len(row) != len(unknown)]:
            raise InputError(
                f"`scene_cond` has {wrong[0]} probabilities for {name!r}, the text bank has "
                f"{len(unknown)} phrases: {', '.join(self.axes[name])}. Use a side file and a bank "
                "with the same axes."
            )
        valid = [name in conditions for conditions in known]
        return logits.new_tensor(rows), torch.tensor(valid, device=logits.device)


def _check_settings(
    bank: TextBank,
    in_channels: int,
    strides: Sequence[int],
    context_stride: int,
    inject: str,
    num_heads: int,
    temperature: float,
) -> None:
    problems = []
    if not bank.axes:
        problems.append("`text_bank` has no axes of conditions; build one with axes.")
    if in_channels % num_heads:
        problems.append(
            f"`in_channels` must be divisible by `num_heads`, got {in_channels} and {num_heads}."
        )
    if context_stride not in strides:
        problems.append(
            f"`context_stride` must be one of `strides` {tuple(strides)}, got {context_stride}."
        )
    if inject not in get_args(Inject):
        problems.append(f"`inject` must be one of {', '.join(get_args(Inject))}, got {inject!r}.")
    if not temperature > 0:
        problems.append(f"`temperature` must be above 0, got {temperature}; 0.07 is the default.")
    if problems:
        raise InputError(problems)
