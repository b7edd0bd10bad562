"""Asks what frozen features tell of contacts to come, as Physion's contact prediction does.

A clip of two falling, sliding or swinging bodies stops before their contact, if one comes, and
holds still. Whether they will touch is read from the features: those of the teacher, of the base
as it is, and of the base after training with and without the teacher.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import CogVideoXPipeline
from torch import Tensor

from visionrel.evaluation import Cells, Report, Variant, choose
from visionrel.pipelines.videorepa.comparison import FINETUNE, VARIANTS, VIDEOREPA
from visionrel.pipelines.videorepa.config import EvaluateConfig
from visionrel.pipelines.videorepa.dataset import encode_caption, encode_clip
from visionrel.pipelines.videorepa.learning import learn_variant, learning_settings
from visionrel.pipelines.videorepa.pipeline import rotary_embeddings, training_scheduler
from visionrel.pipelines.videorepa.probe_findings import (
    BASE,
    PARTS,
    PIXELS,
    TEACHER,
    Answers,
    probe_report,
)
from visionrel.pipelines.videorepa.questions import Question, draw_questions, render_questions
from visionrel.pipelines.videorepa.ridge import answer
from visionrel.pipelines.videorepa.student import BlockTap, default_align_layer
from visionrel.pipelines.videorepa.studio import Studio
from visionrel.pipelines.videorepa.teacher_files import load_teacher, teacher_digest
from visionrel.worlds.motion.encounters import ENCOUNTERS


logger = logging.getLogger(__name__)

TIMESTEP = 100
"""Noise level at which the base sees the clips, of 1000."""
_BATCH = 16
# Stream of `config.seed` that draws the questions.
_QUESTIONS = 22


def choose_probed(names: Sequence[str]) -> dict[str, Variant]:
    """The trained ones among these variants; plain fine-tuning and VideoREPA for none."""
    chosen = choose(names or (FINETUNE, VIDEOREPA), VARIANTS, "variants")
    return {name: VARIANTS[name] for name in chosen if VARIANTS[name].settings is not None}


@dataclass
class Probe:
    """One run; the answers from each kind of features are a cell on disk.

    Attributes:
        config: Settings.
        studio: With the base.
        teacher: Folder of the video encoder.
    """

    config: EvaluateConfig
    studio: Studio
    teacher: Path

    def run(self, command: str) -> Report:
        """Measures what is not measured yet and writes it up."""
        config = self.config
        variants = choose_probed(config.variants)
        seeds = range(config.seed, config.seed + config.seeds)
        total = 4 + len(variants) * len(seeds)
        cells = Cells(self.folder, self._settings(), total)
        kinds = cells.get("kinds", lambda: {"kinds": [each.scene.kind for each in self.questions]})
        fixed = {TEACHER: self._ask_teacher, BASE: self._ask_base, PIXELS: self._ask_pixels}
        found = {name: [cells.get(name, ask)] for name, ask in fixed.items()}
        for name, variant in variants.items():
            found[name] = [
                cells.get(f"{name}-seed{seed}", partial(self._ask_tuned, name, variant, seed))
                for seed in seeds
            ]
        labels = {name: variant.label for name, variant in variants.items()}
        return probe_report(found, kinds["kinds"], labels, config, command)

    @property
    def folder(self) -> Path:
        """Of the cells."""
        return self.config.output_dir / "probe"

    @cached_property
    def questions(self) -> list[Question]:
        """All questions."""
        stream = (self.config.seed, _QUESTIONS)
        return draw_questions(self.config.probe_clips, stream, self.studio.frames)

    @cached_property
    def clips(self) -> Tensor:
        """What is shown, in [-1, 1], `(N, frames, 3, side, side)`."""
        return render_questions(self.questions, self.studio.side, self.studio.frames)

    @cached_property
    def latents(self) -> Tensor:
        """The base's, scaled, `(N, latent frames, channels, height, width)`."""
        pipeline = self.studio.pipeline
        device = pipeline.device
        means = [encode_clip(pipeline, clip[None].to(device))["mean"] for clip in self.clips]
        return torch.stack(means).cpu() * pipeline.vae.config.scaling_factor

    def _settings(self) -> dict[str, Any]:
        return {
            "seed": self.config.seed,
            "probe_clips": self.config.probe_clips,
            "parts": list(PARTS),
            "motions": list(ENCOUNTERS),
            "base": self.studio.base.describe(),
            "teacher": teacher_digest(self.teacher),
            "clips": self.config.clips,
            **learning_settings(self.config),
        }

    def _ask_teacher(self) -> Answers:
        teacher = load_teacher(self.teacher).to(self.studio.pipeline.device)
        return self._ask(TEACHER, self.clips, teacher)

    def _ask_base(self) -> Answers:
        self.studio.use(None)
        return self._ask(BASE, self.latents, block_features(self.studio.pipeline))

    def _ask_pixels(self) -> Answers:
        return self._ask(PIXELS, self.clips, lambda clips: clips[:, :, :, ::4, ::4])

    def _ask_tuned(self, name: str, variant: Variant, seed: int) -> Answers:
        """Trains a variant and asks its transformer; what was trained is not kept."""
        learned = self.folder / "learned" / f"{name}-seed{seed}"
        clips = self.folder / "clips"
        learn_variant(self.studio, self.config, variant, seed, clips, learned)
        self.studio.use(learned)
        answers = self._ask(name, self.latents, block_features(self.studio.pipeline))
        shutil.rmtree(learned, ignore_errors=True)
        return answers

    def _ask(self, name: str, inputs: Tensor, read: Callable[[Tensor], Tensor]) -> Answers:
        """Answers every question, once for each number of parts."""
        device = self.studio.pipeline.device
        features = torch.cat(
            [read(part.to(device)).flatten(1).float().cpu() for part in inputs.split(_BATCH)]
        )
        touches = torch.tensor([int(question.touches) for question in self.questions])
        answers = {str(parts): answer(features, touches, parts) for parts in PARTS}
        shares = (f"{np.mean(right):.3f}" for right in answers.values())
        logger.info("%s: %s", name, " and ".join(shares))
        return answers


def block_features(pipeline: CogVideoXPipeline) -> Callable[[Tensor], Tensor]:
    """What the block that VideoREPA aligns gives for latents with little noise and no words."""
    transformer, scheduler = pipeline.transformer, training_scheduler(pipeline)
    layer = default_align_layer(transformer.config.num_layers)
    states = encode_caption(pipeline, "", transformer.config.max_text_seq_length)["states"]
    factor = pipeline.vae_scale_factor_spatial

    @torch.no_grad()
    def read(latents: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(latents.shape, generator=generator).to(latents)
        times = torch.full((len(latents),), TIMESTEP, device=latents.device)
        height, width = (side * factor for side in latents.shape[-2:])
        rotary = rotary_embeddings(pipeline, latents.shape[1], height, width)
        tap = BlockTap(transformer, layer)
        try:
            transformer(
                scheduler.add_noise(latents, noise, times).to(transformer.dtype),
                states.to(transformer.dtype).expand(len(latents), -1, -1),
                times,
                image_rotary_emb=rotary and tuple(part.to(latents.device) for part in rotary),
                return_dict=False,
            )
            return tap.take()
        finally:
            tap.remove()

    return read
