"""Trains and scores the variants of the comparison in the aerial world.

Every (variant, seed) is one cell on disk, and every training resumes: an interrupted evaluation
goes on where it was.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from mmdet.apis import inference_detector
from mmengine.registry import DefaultScope
from PIL import Image

from visionrel.artifacts import sha256_of
from visionrel.detectors.checkpoints import load_weights, put_weights
from visionrel.detectors.comparison import BASE, SPLITS, Variant, choose_variants
from visionrel.detectors.configuration import load_config
from visionrel.detectors.evaluation import evaluate_detector
from visionrel.detectors.findings import Findings, make_report
from visionrel.detectors.inference import Detector, build_model, class_names
from visionrel.detectors.training import LATEST, latest_checkpoint, prepare_run, train_detector
from visionrel.errors import InputError
from visionrel.evaluation import Cells, Report
from visionrel.evaluation.timing import time_in_turns
from visionrel.worlds.aerial import GROUPS, write_aerial


if TYPE_CHECKING:
    from visionrel.cli.detect import EvaluateAerialSettings


logger = logging.getLogger(__name__)
SIZES = {"train": 2000, **{name: 500 if name == "val" else 300 for name in SPLITS}}
_TIMED = 20


def evaluate(settings: EvaluateAerialSettings) -> Report:
    """Measures what is not measured yet and writes the report.

    Args:
        settings: A second run with the same `output_dir` continues there.

    Returns:
        The report, also written to `output_dir` and, if asked for, into the docs.

    Raises:
        InputError: If a setting is wrong or nothing is measured.
        Interrupted: After SIGINT or SIGTERM; the same command goes on.
    """
    if settings.seeds < 1:
        raise InputError(f"`seeds` must be at least 1, got {settings.seeds}.")
    return _Evaluation(settings).run()


def prepare_data(folder: Path) -> None:
    """Draws the pictures of the aerial world if the folder is missing."""
    if not folder.exists():
        write_aerial(folder, SIZES)


class _Evaluation:
    """One run; `run` is its table of contents."""

    def __init__(self, settings: EvaluateAerialSettings) -> None:
        self.settings = settings
        self.variants = choose_variants(settings.variants)
        prepare_data(settings.data_root)
        fixed = {
            "iterations": settings.iterations,
            "labels": {name: self._hash(name) for name in ("train", *SPLITS)},
        }
        total = len(self.variants) * settings.seeds
        self.cells = Cells(settings.output_dir / "cells", fixed, total)

    def _hash(self, split: str) -> str:
        return sha256_of(self.settings.data_root / f"{split}.json")

    def run(self) -> Report:
        cells = {}
        # Seed by seed, so that what exists can always be compared.
        for seed in range(self.settings.seeds):
            for name, variant in self.variants.items():
                key = f"{name}-seed{seed}"
                if self.settings.train or (self.cells.folder / f"{key}.json").exists():
                    cells[name, seed] = self.cells.get(
                        key, partial(self._measure, key, variant, seed)
                    )
        if not cells:
            raise InputError(
                f"{self.settings.output_dir} holds no measurements; run without --no-train first."
            )
        measured = {name: self.variants[name] for name, _ in cells}
        speed = self._measure_speed(measured)
        drawn = self._draw(measured)
        findings = Findings(measured, cells, speed, drawn, torch.get_num_threads())
        report = make_report(findings, self.settings)
        report.save(self.settings.output_dir)
        if self.settings.docs_dir is not None:
            report.publish(self.settings.docs_dir)
        return report

    def _folder(self, key: str) -> Path:
        return self.settings.output_dir / "runs" / key

    def _measure(self, key: str, variant: Variant, seed: int) -> dict[str, Any]:
        """Scores of one training, by split."""
        root = self.settings.data_root
        config = prepare_run(variant.config, (), root, self.settings.iterations)
        done = train_detector(config, self._folder(key), seed=seed, resume=LATEST, validate=False)
        found = evaluate_detector(variant.config, done.checkpoint, root, SPLITS, GROUPS)
        logger.info("%s: AP %.3f", key, found["splits"]["val"]["AP"])
        return {**found, "iterations": done.iterations}

    def _measure_speed(self, variants: dict[str, Variant]) -> dict[str, float]:
        """Median seconds per picture, the variants in turns on the same pictures."""
        paths = sorted((self.settings.data_root / "val").glob("*.jpg"))
        pixels = [np.asarray(Image.open(path).convert("RGB"))[:, :, ::-1] for path in paths[:2]]
        calls = {}
        for name, variant in variants.items():
            config = load_config(variant.config)
            model = build_model(config)
            if self._put_weights(model, class_names(config)[0], name):
                calls[name] = partial(_look, model.eval(), pixels)
        found = time_in_turns(calls, _TIMED)
        return {name: seconds / len(pixels) for name, seconds in found.items()}

    def _put_weights(self, model: torch.nn.Module, classes: Sequence[str], name: str) -> bool:
        """Puts the base's weights where they fit, for other weights find other boxes to sort out.

        Returns:
            Whether there was a checkpoint.
        """
        for trained in (BASE, name):
            checkpoint = latest_checkpoint(self._folder(f"{trained}-seed0"))
            if checkpoint is None:
                continue
            try:
                put_weights(model, load_weights(checkpoint), classes, checkpoint)
            except InputError:
                if trained == name:
                    raise
                continue
            return True
        return False

    def _draw(self, variants: dict[str, Variant]) -> dict[str, list[Image.Image]]:
        """The second picture of each split with the boxes of each variant's first training."""
        drawn = {}
        for name in variants:
            checkpoint = latest_checkpoint(self._folder(f"{name}-seed0"))
            if checkpoint is None:
                continue
            detector = Detector(variants[name].config, checkpoint)
            paths = [self.settings.data_root / split / "000001.jpg" for split in SPLITS]
            pictures = [Image.open(path).convert("RGB") for path in paths]
            drawn[name] = [detector.detect(picture).draw(picture) for picture in pictures]
        return drawn


def _look(model: torch.nn.Module, pixels: list[np.ndarray]) -> None:
    # A run that only reports has built no `Runner`, which would set the scope.
    with DefaultScope.overwrite_default_scope("mmdet"):
        inference_detector(model, [np.ascontiguousarray(each) for each in pixels])
