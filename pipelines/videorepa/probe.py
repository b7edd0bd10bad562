"""Asks what frozen features tell of contacts to come, as Physion's contact prediction does.

A clip of two falling, sliding or swinging bodies stops before their contact, if one comes, and
holds still. Whether they will touch is read from the features by kernel ridge regression. The
kernel is the cosine of centred features plus its square: pairs of places decide a contact, not
places.
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
_BATCH = 16
_FEATURES = ("teacher", "base", "pixels")


def measure_probe(
    pipeline: CogVideoXPipeline, teacher: Teacher, count: int, seed: Sequence[int]
) -> dict[str, Any]:
    """Learns from half of the questions and answers the other half.

    Returns:
        For each kind of features, 1 or 0 for each answer: right or wrong; and under `kinds` what
        motion each answer is about.
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
        found[name] = answer(features, touches)
        logger.info("%s: %.3f", name, np.mean(found[name]))
    tested = questions[len(questions) // 2 :]
    return {**found, "kinds": [question.scene.kind for question in tested]}


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


def answer(features: Tensor, labels: Tensor) -> list[int]:
    """Fits a third, chooses the penalty on the next sixth, and answers the second half.

    Args:
        features: `(N, values)`.
        labels: 0 or 1, `(N,)`.

    Returns:
        1 for each right answer of the second half, else 0.
    """
    half = len(labels) // 2
    third = max(1, 2 * half // 3)
    features = features - features[:half].mean(0)
    cosine = torch.nn.functional.normalize(features, dim=1)
    kernel = (cosine @ cosine.T).double()
    kernel = kernel + kernel.square()
    wanted = 2.0 * labels.double() - 1
    scores = {
        penalty: _share_right(kernel, wanted, third, slice(third, half), penalty)
        for penalty in PENALTIES
    }
    best = max(scores, key=lambda penalty: scores[penalty])
    said = _predict(kernel, wanted, half, slice(half, None), best)
    return ((said > 0) == (wanted[half:] > 0)).int().tolist()


def _share_right(kernel: Tensor, wanted: Tensor, known: int, asked: slice, penalty: float) -> float:
    said = _predict(kernel, wanted, known, asked, penalty)
    return float(((said > 0) == (wanted[asked] > 0)).double().mean()) if len(said) else 0.0


def _predict(kernel: Tensor, wanted: Tensor, known: int, asked: slice, penalty: float) -> Tensor:
    inner = kernel[:known, :known] + penalty * torch.eye(known, dtype=kernel.dtype)
    return kernel[asked, :known] @ torch.linalg.solve(inner, wanted[:known])


def probe_report(found: Mapping[str, Any], config: EvaluateConfig, command: str) -> Report:
    """Writes up what was found."""
    outcomes = {name: np.array([found[name]], dtype=float) for name in _FEATURES}
    count = len(found["kinds"])
    labels = {
        "teacher": f"teacher `{config.teacher}`",
        "base": f"base `{config.base}`, the aligned block",
        "pixels": "pixels, every fourth",
    }
    return Report(
        method="videorepa-probe",
        title="VideoREPA: what features tell of coming contacts",
        summary=(
            f"{2 * count} clips of two bodies, simulated with gravity and friction: one "
            "slides, rolls, falls, flies or swings towards the other. A clip stops before their "
            "first contact and holds still; for every such clip there is one without a contact, of "
            "the same motion, stopped at the same frame with the two about as far apart. Whether "
            "they will touch is read by kernel ridge regression, fitted on one half of the clips "
            f"and tested on {count}; chance is 0.5. Brackets are 95 % bootstrap intervals over "
            f"the tested clips; scenes and split are one draw of a seed. Made by `{command}`."
        ),
        claims=(
            Claim.of_difference(
                "A video encoder knows more of coming contacts than the generator.",
                bootstrap_difference(outcomes["teacher"], outcomes["base"]),
                f"{count} clips",
            ),
        ),
        tables=(
            Table(
                "Answers that are right",
                ("features", "right"),
                tuple((labels[name], bootstrap_interval(outcomes[name])) for name in _FEATURES),
            ),
            _by_kind(found, labels),
        ),
        settings=asdict(config),
    )


def _by_kind(found: Mapping[str, Any], labels: Mapping[str, str]) -> Table:
    kinds = list(dict.fromkeys(found["kinds"]))
    rows = []
    for kind in kinds:
        asked = [each == kind for each in found["kinds"]]
        scores = (float(np.array(found[name])[asked].mean()) for name in _FEATURES)
        rows.append((kind, sum(asked), *scores))
    columns = ("motion", "clips", *(labels[name] for name in _FEATURES))
    return Table("Answers that are right, by motion", columns, tuple(rows))
