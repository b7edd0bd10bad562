"""Asks what frozen features tell of contacts to come, as Physion's contact prediction does.

A clip shows the first half of a motion and then holds still. Whether its objects will touch in the
second half is read from the features by kernel ridge regression. The kernel is the cosine of
centred features plus its square: pairs of places decide a contact, not places.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
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
from visionrel.pipelines.videorepa.student import BlockTap, default_align_layer
from visionrel.pipelines.videorepa.teachers import Teacher
from visionrel.worlds.motion import MotionScene, render_clip, sample_motion
from visionrel.worlds.motion.tracks import reach, true_tracks


logger = logging.getLogger(__name__)

TOUCH, APART = 1.1, 1.2
"""Distances, 1 is touching: at most the first in the second half, or never below the second."""
TIMESTEP = 100
"""Noise level at which the base sees the clips, of 1000."""
PENALTIES = (1e-3, 1e-2, 1e-1, 1.0)
_BATCH = 16
_FEATURES = ("teacher", "base", "pixels")


@dataclass(frozen=True, eq=False)
class Questions:
    """Clips that stop half-way, and what would have happened.

    Attributes:
        clips: In [-1, 1], `(N, frames, 3, side, side)`.
        touches: 1 if the objects will touch, else 0, `(N,)`; as many of both.
    """

    clips: Tensor
    touches: Tensor


def draw_questions(count: int, seed: Sequence[int], side: int, frames: int) -> Questions:
    """Draws clips of two objects that do not touch in the first half."""
    rng = np.random.default_rng(seed)
    wanted = {True: count // 2, False: count // 2}
    clips, touches = [], []
    while any(wanted.values()):
        scene, _ = sample_motion(rng)
        answer = will_touch(scene, frames)
        if answer is None or not wanted[answer]:
            continue
        wanted[answer] -= 1
        clip = render_clip(scene, side, frames)
        clip[frames // 2 + 1 :] = clip[frames // 2]
        clips.append(torch.from_numpy(clip).permute(0, 3, 1, 2).float() / 127.5 - 1)
        touches.append(int(answer))
    # The last clips drawn are all of the rarer answer; what is fitted and tested are halves.
    order = torch.from_numpy(rng.permutation(len(clips)))
    return Questions(torch.stack(clips)[order], torch.tensor(touches)[order])


def will_touch(scene: MotionScene, frames: int) -> bool | None:
    """Whether two objects touch in the second half; None if that is no question.

    Args:
        scene: Any; other numbers of objects, touches in the first half and near misses are no
            question.
        frames: Of a clip.
    """
    if len(scene.movers) != 2:
        return None
    between = reach(*true_tracks(scene, frames))
    first, later = between[: frames // 2 + 1].min(), between[frames // 2 + 1 :].min()
    if first < APART or TOUCH < later < APART:
        return None
    return bool(later <= TOUCH)


def measure_probe(
    pipeline: CogVideoXPipeline, teacher: Teacher, count: int, seed: Sequence[int]
) -> dict[str, Any]:
    """Learns from half of the questions and answers the other half.

    Returns:
        For each kind of features, 1 or 0 for each answer: right or wrong.
    """
    config = pipeline.transformer.config
    side = config.sample_height * pipeline.vae_scale_factor_spatial
    found = draw_questions(count, seed, side, config.sample_frames)
    readers: Mapping[str, Callable[[Tensor], Tensor]] = {
        "teacher": teacher,
        "base": base_features(pipeline),
        "pixels": lambda clips: clips[:, :, :, ::4, ::4],
    }
    right = {}
    for name in _FEATURES:
        features = torch.cat(
            [
                readers[name](part.to(pipeline.device)).flatten(1).float().cpu()
                for part in found.clips.split(_BATCH)
            ]
        )
        right[name] = answer(features, found.touches)
        logger.info("%s: %.3f", name, np.mean(right[name]))
    return right


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


def probe_report(right: Mapping[str, Any], config: EvaluateConfig) -> Report:
    """Writes up what was found."""
    outcomes = {name: np.array([values], dtype=float) for name, values in right.items()}
    count = outcomes["teacher"].size
    labels = {
        "teacher": f"teacher `{config.teacher}`",
        "base": f"base `{config.base}`, the aligned block",
        "pixels": "pixels, every fourth",
    }
    gain = bootstrap_difference(outcomes["teacher"], outcomes["base"])
    return Report(
        method="videorepa-probe",
        title="VideoREPA: what features tell of coming contacts",
        summary=(
            f"{2 * count} clips of two objects show the first half of a motion and hold still. "
            "Whether the objects touch in the second half is read by kernel ridge regression, "
            f"fitted on one half of the clips and tested on {count}; chance is 0.5. Brackets are "
            "95 % bootstrap intervals. Made by `visionrel evaluate videorepa --probe`."
        ),
        claims=(
            Claim.of_difference(
                "A video encoder knows more of coming contacts than the generator.",
                gain,
                f"{count} clips",
            ),
        ),
        tables=(
            Table(
                "Answers that are right",
                ("features", "right"),
                tuple((labels[name], bootstrap_interval(outcomes[name])) for name in _FEATURES),
            ),
        ),
        settings=asdict(config),
    )
