"""Measures VideoREPA, its controls and its ablations in the motion world with the judge.

Every (variant, seed) is one cell on disk. All variants of a seed draw the same prompts from the
same noise, so that differences are paired.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from visionrel.data.video_files import read_pixels, write_mp4
from visionrel.evaluation import Cells, Report, Variant, changed_flags
from visionrel.pipelines.videorepa.comparison import (
    RENDERED,
    STATIC,
    choose_variants,
    draw_prompts,
    needs_teacher,
)
from visionrel.pipelines.videorepa.config import EvaluateConfig
from visionrel.pipelines.videorepa.findings import Findings, Sample, make_report
from visionrel.pipelines.videorepa.judge_errors import measure_judge
from visionrel.pipelines.videorepa.learning import learn_variant
from visionrel.pipelines.videorepa.probe import Probe
from visionrel.pipelines.videorepa.studio import Scores, Studio
from visionrel.pipelines.videorepa.teacher_files import find_teacher, teacher_digest
from visionrel.worlds.motion import FRAMES_PER_SECOND, render_clip


logger = logging.getLogger(__name__)

# Clips of each first-seed cell that are kept for the report's sheet.
KEPT = 6
# Stream of `config.seed` that draws the prompts.
_PROMPTS = 21
# More variants and seeds may join; teacher and judge name the cells that they decide.
_FREE = (
    *("output_dir", "variants", "seeds", "docs_dir", "device", "probe", "probe_clips"),
    *("teacher", "judge_clips"),
)


def evaluate(config: EvaluateConfig) -> Report:
    """Measures what is not measured yet and writes the report.

    Args:
        config: Settings; a second run with the same `output_dir` continues there.

    Returns:
        The report, also written to `output_dir` and, if asked for, into the docs.
    """
    variants = choose_variants(config.variants)
    taught = config.probe or any(map(needs_teacher, variants.values()))
    teacher = find_teacher(config.teacher) if taught else None
    command = f"visionrel evaluate videorepa{changed_flags(config)}"
    studio = Studio(config.base, config.device, config)
    studio.check_size()
    config = config.settle(studio.side)
    if config.probe:
        report = Probe(config, studio, teacher).run(command)
        report.save(config.output_dir / "probe-report")
    else:
        report = _Evaluation(config, studio, variants, teacher).run(command)
        report.save(config.output_dir)
    if config.docs_dir is not None:
        report.publish(config.docs_dir)
    return report


class _Evaluation:
    """One run; `run` is its table of contents."""

    def __init__(
        self,
        config: EvaluateConfig,
        studio: Studio,
        variants: Mapping[str, Variant],
        teacher: Path | None,
    ) -> None:
        self.config, self.studio, self.variants = config, studio, variants
        self.seeds = range(config.seed, config.seed + config.seeds)
        self.prompts = draw_prompts(config.prompts, (config.seed, _PROMPTS))
        self.texts = [prompt.text for prompt in self.prompts]
        self.frames = studio.frames
        self.teacher = "" if teacher is None else f"-teacher-{teacher_digest(teacher)[:12]}"
        total = len(self.seeds) * len(variants) + bool(config.judge_clips)
        self.cells = Cells(config.output_dir / "cells", self._settings(), total)

    def run(self, command: str) -> Report:
        findings = Findings(
            variants=self.variants,
            cells={
                (name, seed): self.cells.get(
                    self._cell(name, seed), partial(self._measure, name, variant, seed)
                )
                for seed in self.seeds
                for name, variant in self.variants.items()
            },
            judge=self._measure_judge_once(),
            prompts=tuple(self.prompts),
            samples=tuple(self._samples()),
        )
        return make_report(findings, self.config, command)

    def _settings(self) -> dict[str, Any]:
        """What decides all cells."""
        fixed = {key: value for key, value in asdict(self.config).items() if key not in _FREE}
        return {**fixed, "base": self.studio.base.describe()}

    def _cell(self, name: str, seed: int) -> str:
        """Name of a cell and of its files; it changes with what decides this cell alone."""
        return f"{name}-seed{seed}{self.teacher if needs_teacher(self.variants[name]) else ''}"

    def _measure_judge_once(self) -> dict[str, Any] | None:
        count = self.config.judge_clips
        make = partial(measure_judge, count, self.config.seed, self.studio.side)
        return self.cells.get(f"judge-{count}-clips", make) if count else None

    def _measure(self, name: str, variant: Variant, seed: int) -> dict[str, Any]:
        """Scores of a variant and seed; what was trained is not kept."""
        learned = self.config.output_dir / "learned" / self._cell(name, seed)
        if variant.settings is not None:
            clips = self.config.output_dir / "clips"
            learn_variant(self.studio, self.config, variant, seed, clips, learned)
        clips = self._make_clips(name, seed, None if variant.settings is None else learned)
        scores = Scores.of(self.studio.judge(clips, self.prompts))
        logger.info("%s seed %d: physics %.2f", name, seed, np.mean(scores.physics))
        if seed == self.config.seed:
            for index, clip in enumerate(clips[:KEPT]):
                write_mp4(self._sample_file(name, index), clip, FRAMES_PER_SECOND)
        shutil.rmtree(learned, ignore_errors=True)
        return asdict(scores)

    def _make_clips(self, name: str, seed: int, tuned: Path | None) -> list[np.ndarray]:
        if name == RENDERED:
            return [
                render_clip(prompt.scene, self.studio.side, self.frames) for prompt in self.prompts
            ]
        self.studio.use(tuned)
        clips = self.studio.draw(self.texts, seed)
        if name == STATIC:
            clips = [np.repeat(clip[:1], len(clip), axis=0) for clip in clips]
        return clips

    def _sample_file(self, name: str, index: int) -> Path:
        return (
            self.config.output_dir / "samples" / f"{self._cell(name, self.config.seed)}-{index}.mp4"
        )

    def _samples(self) -> Iterator[Sample]:
        """Variant, prompt number and clip, where they are kept."""
        for name in self.variants:
            for index in range(min(KEPT, len(self.prompts))):
                file = self._sample_file(name, index)
                if file.is_file():
                    yield name, index, read_pixels(file)[0]
