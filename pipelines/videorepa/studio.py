"""Trains, draws and judges in one process; the evaluation and the demo work with it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from visionrel.devices import choose_device
from visionrel.errors import InputError
from visionrel.pipelines.videorepa.comparison import Prompt
from visionrel.pipelines.videorepa.config import DrawingConfig, TrainConfig
from visionrel.pipelines.videorepa.generate import to_pixels
from visionrel.pipelines.videorepa.pipeline import (
    load_video_components,
    own_height,
    resolve_video_base,
)
from visionrel.pipelines.videorepa.trainer import train
from visionrel.training.loop import StepCallback
from visionrel.worlds.motion import CLIP_SIDE, Verdict
from visionrel.worlds.motion.judge import judge_clip


logger = logging.getLogger(__name__)

LARGEST_JUDGED = 2 * CLIP_SIDE
"""Side of the largest clips that can be of the world."""
_BATCH = 8


@dataclass(frozen=True)
class Scores:
    """Judged clips: one entry per clip.

    Attributes:
        entities: 1 if all named objects are there.
        motion: 1 if the stated motion is seen; "cannot tell" is 0.
        physics: Share of the applicable laws that the clip obeys.
        physical: 1 if it obeys all of them.
        both: 1 if the motion is seen and all laws are obeyed.
    """

    entities: list[int]
    motion: list[int]
    physics: list[float]
    physical: list[int]
    both: list[int]

    @staticmethod
    def of(verdicts: Sequence[Verdict]) -> Scores:
        """Counts verdicts."""
        return Scores(
            [int(verdict.entities_found) for verdict in verdicts],
            [int(verdict.holds) for verdict in verdicts],
            [round(verdict.physics_score, 4) for verdict in verdicts],
            [int(verdict.physical) for verdict in verdicts],
            [int(verdict.holds and verdict.physical) for verdict in verdicts],
        )


class Studio:
    """A base loaded once, whose transformer is exchanged, and the judge.

    Args:
        base: Embedded name, folder or Hub id.
        device: Device name, or `auto`.
        drawing: How clips are drawn; what it leaves open is chosen as `visionrel generate` does.
    """

    def __init__(
        self, base: str, device: str = "auto", drawing: DrawingConfig | None = None
    ) -> None:
        self.base = resolve_video_base(base)
        self.device = device
        self.pipeline = load_video_components(self.base, choose_device(device))
        self.own_transformer = self.pipeline.transformer
        self.side = own_height(self.pipeline)
        self.frames = self.own_transformer.config.sample_frames
        self.drawing = (drawing or DrawingConfig()).settle(self.side)

    @property
    def num_layers(self) -> int:
        """Blocks of the base's transformer."""
        return self.own_transformer.config.num_layers

    @property
    def judges(self) -> bool:
        """Whether the base's clips are square and small, as the world's are."""
        config = self.own_transformer.config
        return config.sample_height == config.sample_width and self.side <= LARGEST_JUDGED

    def check_size(self) -> None:
        """Refuses a base whose clips are none of the world's.

        Raises:
            InputError: Told before anything is rendered or trained.
        """
        if not self.judges:
            raise InputError(
                f"`base` is {self.base.name}, whose clips are {self.side} pixels high; the motion "
                f"world's clips are square, with at most {LARGEST_JUDGED}. Give a base such as "
                "`motion`."
            )

    def use(self, tuned: Path | None) -> None:
        """Draws with a tuned transformer or LoRA from now on, or with the base alone."""
        self.pipeline.unload_lora_weights()
        self.pipeline.register_modules(transformer=self.own_transformer)
        if tuned is not None:
            self.pipeline.load_tuned(tuned)

    def learn(
        self,
        clips: Path,
        output: Path,
        settings: Mapping[str, Any],
        on_step: StepCallback | None = None,
    ) -> None:
        """Trains a variant; an interrupted run goes on.

        Args:
            clips: Folder of clips and captions.
            output: Folder for the tuned transformer or LoRA.
            settings: Those of `train videorepa`.
            on_step: Called after each step; may raise `StopTraining`.
        """
        config = TrainConfig(
            train_data_dir=clips,
            output_dir=output,
            base=str(self.base.folder) if self.base.kind == "folder" else self.base.name,
            resume_from_checkpoint="latest",
            checkpoints_total_limit=1,
            report_to="none",
            device="cpu" if self.device == "cpu" else "auto",
            **settings,
        )
        train(config, on_step=on_step)

    def draw(self, prompts: Sequence[str], seed: int) -> list[np.ndarray]:
        """Draws one clip per prompt, uint8; clip i starts from noise of (seed, i)."""
        length = self.pipeline.transformer.config.max_text_seq_length
        clips: list[np.ndarray] = []
        for start in range(0, len(prompts), _BATCH):
            some = list(prompts[start : start + _BATCH])
            generators = [
                torch.Generator().manual_seed(seed * 100_003 + start + index)
                for index in range(len(some))
            ]
            drawn = self.pipeline(
                some,
                num_inference_steps=self.drawing.num_inference_steps,
                guidance_scale=self.drawing.guidance_scale,
                use_dynamic_cfg=self.drawing.use_dynamic_cfg,
                max_sequence_length=length,
                generator=generators,
                output_type="np",
            )
            clips.extend(to_pixels(frames) for frames in drawn.frames)
        return clips

    @staticmethod
    def judge(clips: Sequence[np.ndarray], prompts: Sequence[Prompt]) -> list[Verdict]:
        """Judges each clip for its prompt."""
        return [
            judge_clip(clip, prompt.kind, prompt.names)
            for clip, prompt in zip(clips, prompts, strict=True)
        ]
