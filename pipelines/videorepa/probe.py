"""Asks what frozen features tell of contacts to come, as Physion's contact prediction does.

A clip of two falling, sliding or swinging bodies stops before their contact, if one comes, and
holds still. Whether they will touch is read from the features by kernel ridge regression. The
kernel is the cosine of centred features plus its square: pairs of places decide a contact, not
places. Clips are answered in turns, each part of them by what was fitted on the part before, so
that all of them count; with few clips to fit on, what the features themselves tell counts more.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from diffusers import CogVideoXPipeline
from torch import Tensor

from visionrel.evaluation import (
    Claim,
    Report,
    Table,
    bootstrap_difference,
    bootstrap_interval,
)
from visionrel.pipelines.videorepa.config import EvaluateConfig
from visionrel.pipelines.videorepa.dataset import encode_caption, encode_clip
from visionrel.pipelines.videorepa.pipeline import own_height
from visionrel.pipelines.videorepa.questions import draw_questions, render_questions
from visionrel.pipelines.videorepa.student import BlockTap, default_align_layer
from visionrel.pipelines.videorepa.teachers import Teacher


logger = logging.getLogger(__name__)

TIMESTEP = 100
"""Noise level at which the base sees the clips, of 1000."""
PENALTIES = (1e-3, 1e-2, 1e-1, 1.0)
PARTS = (8, 2)
"""Into how many parts the clips are split: one is fitted on, the next is answered."""
_BATCH = 16
_FEATURES = ("teacher", "base", "pixels")


def measure_probe(
    pipeline: CogVideoXPipeline, teacher: Teacher, count: int, seed: Sequence[int]
) -> dict[str, Any]:
    """Answers every question, once for each number of parts.

    Returns:
        For each kind of features, by the number of parts, 1 or 0 for each answer: right or wrong;
        and under `kinds` what motion each question is about.
    """
    frames = pipeline.transformer.config.sample_frames
    questions = draw_questions(count, seed, frames)
    clips = render_questions(questions, own_height(pipeline), frames)
    touches = torch.tensor([int(question.touches) for question in questions])
    readers: Mapping[str, Callable[[Tensor], Tensor]] = {
        "teacher": teacher,
        "base": base_features(pipeline),
        "pixels": lambda clips: clips[:, :, :, ::4, ::4],
    }
    found: dict[str, Any] = {}
    for name in _FEATURES:
        features = torch.cat(
            [
                readers[name](part.to(pipeline.device)).flatten(1).float().cpu()
                for part in clips.split(_BATCH)
            ]
        )
        found[name] = {str(parts): answer(features, touches, parts) for parts in PARTS}
        shares = (f"{np.mean(right):.3f}" for right in found[name].values())
        logger.info("%s: %s", name, " and ".join(shares))
    return {**found, "kinds": [question.scene.kind for question in questions]}


def base_features(pipeline: CogVideoXPipeline) -> Callable[[Tensor], Tensor]:
    """What the block that VideoREPA aligns gives for a clip with little noise and no words."""
    transformer, scheduler = pipeline.transformer, pipeline.scheduler
    layer = default_align_layer(transformer.config.num_layers)
    states = encode_caption(pipeline, "", transformer.config.max_text_seq_length)["states"]

    @torch.no_grad()
    def read(clips: Tensor) -> Tensor:
        parts = [encode_clip(pipeline, clip[None])["mean"] for clip in clips]
        latents = torch.stack(parts) * pipeline.vae.config.scaling_factor
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(latents.shape, generator=generator).to(latents)
        times = torch.full((len(clips),), TIMESTEP, device=latents.device)
        rotary = None
        if transformer.config.use_rotary_positional_embeddings:
            rotary = pipeline._prepare_rotary_positional_embeddings(
                *clips.shape[-2:], latents.shape[1], latents.device
            )
        tap = BlockTap(transformer, layer)
        try:
            transformer(
                scheduler.add_noise(latents, noise, times).to(transformer.dtype),
                states.to(transformer.dtype).expand(len(clips), -1, -1),
                times,
                image_rotary_emb=rotary,
                return_dict=False,
            )
            return tap.take()
        finally:
            tap.remove()

    return read


def answer(features: Tensor, labels: Tensor, parts: int) -> list[int]:
    """Answers each part by what is fitted on the part before; the first by the last.

    Args:
        features: `(N, values)`.
        labels: 0 or 1, `(N,)`.
        parts: How many; at least 2.

    Returns:
        1 for each right answer, else 0, `(N,)`.
    """
    chunks = torch.arange(len(labels)).tensor_split(parts)
    answers: list[int] = []
    for index, asked in enumerate(chunks):
        order = torch.cat([chunks[index - 1], asked])
        answers += _answer_from(features[order], labels[order], len(chunks[index - 1]))
    return answers


def _answer_from(features: Tensor, labels: Tensor, known: int) -> list[int]:
    """Fits on the first `known`, a third of which chooses the penalty; answers the others."""
    inner = max(1, 2 * known // 3)
    cosine = torch.nn.functional.normalize(features - features[:known].mean(0), dim=1)
    kernel = (cosine @ cosine.T).double()
    kernel = kernel + kernel.square()
    wanted = 2.0 * labels.double() - 1
    scores = {
        penalty: _share_right(kernel, wanted, inner, slice(inner, known), penalty)
        for penalty in PENALTIES
    }
    best = max(scores, key=lambda penalty: scores[penalty])
    said = _predict(kernel, wanted, known, slice(known, None), best)
    return ((said > 0) == (wanted[known:] > 0)).int().tolist()


def _share_right(kernel: Tensor, wanted: Tensor, known: int, asked: slice, penalty: float) -> float:
    said = _predict(kernel, wanted, known, asked, penalty)
    return float(((said > 0) == (wanted[asked] > 0)).double().mean()) if len(said) else 0.0


def _predict(kernel: Tensor, wanted: Tensor, known: int, asked: slice, penalty: float) -> Tensor:
    inner = kernel[:known, :known] + penalty * torch.eye(known, dtype=kernel.dtype)
    return kernel[asked, :known] @ torch.linalg.solve(inner, wanted[:known])


def probe_report(found: Mapping[str, Any], config: EvaluateConfig, command: str) -> Report:
    """Writes up what was found."""
    outcomes = {
        (name, parts): np.array([found[name][str(parts)]], dtype=float)
        for name in _FEATURES
        for parts in PARTS
    }
    count = len(found["kinds"])
    fitted = {parts: count // parts for parts in PARTS}
    return Report(
        method="videorepa-probe",
        title="VideoREPA: what features tell of coming contacts",
        summary=(
            f"{count} clips of two bodies, simulated with gravity and friction: one "
            "slides, rolls, falls, flies or swings towards the other. A clip stops before their "
            "first contact and holds still; for every such clip there is one without a contact, of "
            "the same motion, stopped at the same frame with the two about as far apart. Whether "
            "they will touch is read by kernel ridge regression: the clips are split into parts, "
            "and each part is answered by what was fitted on another; chance is 0.5. Brackets are "
            "95 % bootstrap intervals over the clips; scenes and split are one draw of a seed. "
            f"Made by `{command}`."
        ),
        claims=tuple(
            Claim.of_difference(
                "A video encoder knows more of coming contacts than the generator, read by "
                f"{fitted[parts]} clips.",
                bootstrap_difference(outcomes["teacher", parts], outcomes["base", parts]),
                f"{count} clips",
            )
            for parts in PARTS
        ),
        tables=(
            Table(
                "Answers that are right, by the number of clips fitted on",
                ("features", *(str(fitted[parts]) for parts in PARTS)),
                tuple(
                    (label, *(bootstrap_interval(outcomes[name, parts]) for parts in PARTS))
                    for name, label in _labels(config).items()
                ),
            ),
            _by_kind(found, config, fitted),
        ),
        settings=asdict(config),
    )


def _labels(config: EvaluateConfig) -> Mapping[str, str]:
    return {
        "teacher": f"teacher `{config.teacher}`",
        "base": f"base `{config.base}`, the aligned block",
        "pixels": "pixels, every fourth",
    }


def _by_kind(found: Mapping[str, Any], config: EvaluateConfig, fitted: Mapping[int, int]) -> Table:
    most = min(PARTS)
    rows = []
    for kind in dict.fromkeys(found["kinds"]):
        asked = [each == kind for each in found["kinds"]]
        scores = (float(np.array(found[name][str(most)])[asked].mean()) for name in _FEATURES)
        rows.append((kind, sum(asked), *scores))
    columns = ("motion", "clips", *_labels(config).values())
    title = f"Answers that are right, by motion; {fitted[most]} clips fitted on"
    return Table(title, columns, tuple(rows))
