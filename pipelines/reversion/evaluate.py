"""Measures ReVersion, its baselines and its ablations on held-out relations with the judge.

Every (relation, seed, variant) is one cell on disk. All variants of a relation and seed draw the
same pairs from the same noise, so that differences are paired.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from visionrel.errors import InputError
from visionrel.evaluation import Cells, Report
from visionrel.pipelines.reversion.comparison import (
    WORDS,
    Phrase,
    Variant,
    choose_relations,
    choose_variants,
    nearest_words,
)
from visionrel.pipelines.reversion.config import AUTHORS_INITIALIZER, EvaluateConfig, TrainConfig
from visionrel.pipelines.reversion.findings import Findings, make_report
from visionrel.pipelines.reversion.studio import Pair, Studio
from visionrel.weights_manifest import digest_of, load_manifest
from visionrel.worlds.scenes import (
    HELD_OUT,
    OBJECTS,
    RELATIONS,
    Judge,
    Relation,
    render,
    sample_scene,
    unseen_pairs,
    write_exemplars,
)
from visionrel.worlds.scenes.judge import judge_objects


logger = logging.getLogger(__name__)

# Pictures of each first-seed cell that are kept for the report's sheet.
KEPT = 6
# Streams of `config.seed` that are used here; the scenes world uses 0 to 2.
_VOCABULARY, _JUDGE = 10, 11
# Settings of a training that each cell chooses, or that the cells know otherwise.
_OF_A_CELL = {"train_data_dir", "base", "revision", "seed"}


def evaluate(config: EvaluateConfig) -> Report:
    """Measures what is not measured yet and writes the report.

    Args:
        config: Settings; a second run with the same `output_dir` continues there.

    Returns:
        The report, also written to `output_dir` and, if asked for, into the docs.
    """
    _check_settings(config)
    return _Evaluation(config).run()


def measure_judge(judge: Judge, scenes: int, seed: int) -> dict[str, list]:
    """Asks the judge about the true relation of fresh scenes, and about one that does not hold.

    Args:
        judge: Who is measured.
        scenes: How many; the relations take turns.
        seed: Decides them.

    Returns:
        One entry per scene: the relation that holds and whether it was `missed`, the `others` that
        does not hold and whether it was `accepted`.
    """
    rng = np.random.default_rng([seed, _JUDGE])
    known = [*RELATIONS.values(), *HELD_OUT.values()]
    true = [known[i % len(known)] for i in range(scenes)]
    drawn = [sample_scene(rng, relation)[0] for relation in true]
    read = judge.read([render(scene) for scene in drawn])
    found: dict[str, list] = {"relations": [], "missed": [], "others": [], "accepted": []}
    for relation, scene, objects in zip(true, drawn, read, strict=True):
        pair = scene.objects[0], scene.objects[1]
        names = pair[0].name, pair[1].name
        verdict = judge_objects(objects, *names, relation)
        false = [other for other in known if not other.holds(*pair)]
        other = false[rng.integers(len(false))]
        found["relations"].append(relation.name)
        found["missed"].append(int(verdict.cannot_tell or not verdict.relation_holds))
        found["others"].append(other.name)
        found["accepted"].append(int(judge_objects(objects, *names, other).relation_holds))
    return found


def _check_settings(config: EvaluateConfig) -> None:
    least = {
        **{"seeds": 1, "exemplars": 1, "pairs": 1, "vocabulary_prompts": 0, "judge_scenes": 0},
        **{"num_inference_steps": 1, "reference_inference_steps": 1},
    }
    problems = [
        f"`{name}` must be at least {bound}, got {getattr(config, name)}."
        for name, bound in least.items()
        if getattr(config, name) < bound
    ]
    if config.num_inference_steps == config.reference_inference_steps:
        problems.append(
            f"`reference_inference_steps` is {config.reference_inference_steps} as "
            "`num_inference_steps` is; the two are compared, so choose another."
        )
    if problems:
        raise InputError(problems)


class _Evaluation:
    """One run; `run` is its table of contents."""

    def __init__(self, config: EvaluateConfig) -> None:
        self.config = config
        self.relations = choose_relations(config.relations)
        self.variants = choose_variants(config.variants)
        self.seeds = range(config.seed, config.seed + config.seeds)
        self.pairs = unseen_pairs(config.pairs, config.seed, config.exemplars)
        self.studio = Studio(config.base, config.device, config.num_inference_steps)
        total = len(self.relations) * len(self.seeds) * len(self.variants) + 3
        self.cells = Cells(config.output_dir / "cells", self._settings(), total)

    def run(self) -> Report:
        findings = Findings(
            relations=tuple(self.relations),
            variants=self.variants,
            cells={key: self.cells.get(name, make) for key, name, make in self._comparison()},
            vocabulary={
                steps: self.cells.get(f"vocabulary-{steps}-steps", make)
                for steps, make in self._vocabulary()
            },
            judge=self._measure_judge_once(),
            pairs=tuple(self.pairs),
            samples=tuple(self._samples()),
        )
        report = make_report(findings, self.config)
        report.save(self.config.output_dir)
        if self.config.docs_dir is not None:
            report.publish(self.config.docs_dir)
        return report

    def _settings(self) -> dict[str, Any]:
        """What decides a cell; more relations, seeds and variants may join an earlier run."""
        free = ("output_dir", "relations", "variants", "seeds", "docs_dir", "device")
        fixed = {key: value for key, value in asdict(self.config).items() if key not in free}
        judge = digest_of(load_manifest()["scenes-judge"].files)
        return {
            **fixed,
            **self._training_settings(),
            "base": self.studio.base.describe(),
            "judge": judge,
        }

    def _training_settings(self) -> dict[str, Any]:
        """What `train reversion` does by default on this base, so that cells know its defaults."""
        pipeline, steps = self.studio.pipeline, self.config.max_train_steps
        side = pipeline.unet.config.sample_size * pipeline.vae_scale_factor
        config = TrainConfig(train_data_dir=Path(), max_train_steps=steps).settle(side)
        free = config.free_on_resume | _OF_A_CELL
        return {f"train {key}": v for key, v in config.to_json().items() if key not in free}

    def _comparison(self) -> Iterator[tuple[tuple[str, int, str], str, Any]]:
        for relation in self.relations.values():
            for seed in self.seeds:
                for name, variant in self.variants.items():
                    yield (
                        (relation.name, seed, name),
                        f"{relation.name}-{name}-seed{seed}",
                        lambda a=relation, b=seed, c=name, d=variant: self._measure(a, b, c, d),
                    )

    def _measure(self, relation: Relation, seed: int, name: str, variant: Variant) -> dict:
        """Scores of every phrase of a variant, by phrase."""
        if name == WORDS:
            phrases = nearest_words(relation)
        elif variant.settings is None:
            phrases = [Phrase(AUTHORS_INITIALIZER)]
        else:
            phrases = [Phrase(self._learn(relation, seed, name, variant))]
        found = {}
        for phrase in phrases:
            pictures = self.studio.draw([phrase.fill(*pair) for pair in self.pairs], seed)
            scores = self.studio.score(pictures, self.pairs, relation)
            label = "learned" if variant.settings is not None else str(phrase)
            found[label] = asdict(scores)
            logger.info("%s %s seed %d: %.2f", relation.name, name, seed, scores.accuracy)
        if seed == self.config.seed and len(found) == 1:
            _save_strip(self._strip(relation, name), pictures[:KEPT])
        return found

    def _learn(self, relation: Relation, seed: int, name: str, variant: Variant) -> str:
        """The token of a variant; a file that an interrupted run left is used."""
        file = self.config.output_dir / "learned" / f"{relation.name}-{name}-seed{seed}.safetensors"
        if not file.exists():
            steps = self.config.max_train_steps
            self.studio.learn(self._exemplars(relation), file, seed, steps, variant.settings)
        return self.studio.add_token(file)

    def _exemplars(self, relation: Relation) -> Path:
        folder = self.config.output_dir / "exemplars" / relation.name
        if not (folder / "text.json").exists():
            write_exemplars(folder, relation, self.config.exemplars, self.config.seed)
        return folder

    def _vocabulary(self) -> Iterator[tuple[int, Any]]:
        """The base itself, with few steps and as stock Diffusers would draw."""
        if not self.config.vocabulary_prompts:
            return
        reference = self.config.reference_inference_steps
        yield self.config.num_inference_steps, lambda: self._measure_vocabulary(None)
        yield reference, lambda: self._measure_vocabulary(reference)

    def _measure_vocabulary(self, reference_steps: int | None) -> dict[str, Any]:
        rng = np.random.default_rng([self.config.seed, _VOCABULARY])
        spoken = list(RELATIONS.values())
        relations = [spoken[i % len(spoken)] for i in range(self.config.vocabulary_prompts)]
        pairs: list[Pair] = []
        prompts = []
        for relation in relations:
            first, second = rng.choice(len(OBJECTS), 2, replace=False)
            pairs.append((OBJECTS[first], OBJECTS[second]))
            prompts.append(Phrase(str(rng.choice(relation.words))).fill(*pairs[-1]))
        pictures = self.studio.draw(prompts, self.config.seed, reference_steps)
        scores = self.studio.score(pictures, pairs, relations)
        return {"relations": [relation.name for relation in relations], **asdict(scores)}

    def _measure_judge_once(self) -> dict[str, Any] | None:
        config = self.config
        if not config.judge_scenes:
            return None
        make = partial(measure_judge, self.studio.judge, config.judge_scenes, config.seed)
        return self.cells.get("judge", make)

    def _strip(self, relation: Relation, name: str) -> Path:
        return self.config.output_dir / "samples" / f"{relation.name}-{name}.png"

    def _samples(self) -> Iterator[tuple[str, str, list[Image.Image], list[Image.Image]]]:
        """Relation, variant, some exemplars and the first pictures drawn, where they are kept."""
        for relation in self.relations.values():
            files = sorted(self._exemplars(relation).glob("*.png"))[:4]
            exemplars = [Image.open(file).convert("RGB") for file in files]
            for name in self.variants:
                strip = self._strip(relation, name)
                if strip.exists():
                    yield relation.name, name, exemplars, _load_strip(strip)


def _save_strip(path: Path, pictures: list[Image.Image]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = pictures[0].size
    strip = Image.new("RGB", (width * len(pictures), height))
    for index, picture in enumerate(pictures):
        strip.paste(picture, (index * width, 0))
    strip.save(path)


def _load_strip(path: Path) -> list[Image.Image]:
    strip = Image.open(path).convert("RGB")
    side = strip.height
    return [strip.crop((x, 0, x + side, side)) for x in range(0, strip.width, side)]
