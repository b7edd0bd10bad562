"""The main job in one call: exemplars, a learned token, unseen pairs, the judge, a sheet."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from visionrel.artifacts import sha256_of
from visionrel.data.exemplars import fill_template, read_exemplars
from visionrel.errors import InputError
from visionrel.evaluation import Pictures, SheetRow
from visionrel.pipelines.reversion.comparison import Phrase, choose_relations
from visionrel.pipelines.reversion.config import (
    AUTHORS_INITIALIZER,
    GenerateConfig,
    QuickstartConfig,
)
from visionrel.pipelines.reversion.generate import COMMAND, draw
from visionrel.pipelines.reversion.pipeline import EMBEDDINGS_NAME
from visionrel.pipelines.reversion.studio import Pair, Scores, Studio, picture_seed
from visionrel.records import Record, save_picture
from visionrel.worlds.scenes import OBJECTS, Relation, unseen_pairs, write_exemplars


logger = logging.getLogger(__name__)

SHEET = "quickstart"
# The shipped exemplars are those of `visionrel data render scenes RELATION --seed 0`.
SHIPPED_SEED = 0
SHIPPED_COUNT = 10
SHOWN = 10
_TOKEN = "<R>"


@dataclass(frozen=True)
class Quickstart:
    """What came of it.

    Attributes:
        relation: Name of the relation.
        before: Share of right pictures with the initialiser word in place of the token.
        after: Share of right pictures with the learned token.
        pairs: Number of unseen pairs that were judged.
        sheet: Exemplars above, results below.
        folder: Everything that was written.
    """

    relation: str
    before: float
    after: float
    pairs: int
    sheet: Path
    folder: Path

    @property
    def sentence(self) -> str:
        """The result in one line."""
        return (
            f"{self.relation}: right on {self.before:.0%} of {self.pairs} unseen pairs before "
            f"learning, on {self.after:.0%} after; see {self.sheet}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {key: str(v) if isinstance(v, Path) else v for key, v in asdict(self).items()}


def quickstart(config: QuickstartConfig) -> Quickstart:
    """Learns a relation and measures it on unseen pairs, before and after.

    Raises:
        InputError: If the relation is unknown or a number is out of range.
    """
    relation, pairs = _choose(config)
    studio = Studio(config.base, steps=config.num_inference_steps)
    folder = _free_folder(config.output_dir)
    exemplars = prepare_exemplars(relation, config.exemplars, folder / "exemplars")

    word = Phrase(AUTHORS_INITIALIZER)
    before = _draw_with_records(studio, word, (), pairs, config, folder / "before")
    logger.info("learning %s from %d exemplars", relation.name, config.exemplars)
    learned = folder / EMBEDDINGS_NAME
    studio.learn(exemplars, learned, config.seed, config.max_train_steps, {})
    logger.info("drawing %d unseen pairs", len(pairs))
    studio.pipeline.load_relation(learned)
    token = Phrase("{}")
    after = _draw_with_records(studio, token, (learned,), pairs, config, folder / "pictures")

    scores = [studio.score(pictures, pairs, relation) for pictures in (before, after)]
    figure = Pictures(SHEET, SHEET, _rows(relation, exemplars, pairs, (before, after), scores))
    sheet = folder / f"{SHEET}.png"
    figure.save(sheet)
    logger.info(
        "more: visionrel generate reversion --relations %s --prompts 'an owl {} a cat'", learned
    )
    accuracies = [score.accuracy for score in scores]
    return Quickstart(relation.name, *accuracies, len(pairs), sheet, folder)


def prepare_exemplars(relation: Relation, count: int, folder: Path) -> Path:
    """Copies the shipped exemplars of a relation, or draws them if none are shipped."""
    shipped = files("visionrel.pipelines.reversion") / "exemplars" / relation.name
    if shipped.is_dir() and count == SHIPPED_COUNT:
        with as_file(shipped) as source:
            return Path(shutil.copytree(source, folder / relation.name))
    write_exemplars(folder / relation.name, relation, count, SHIPPED_SEED)
    return folder / relation.name


def _choose(config: QuickstartConfig) -> tuple[Relation, list[Pair]]:
    """Checks the settings; draws pairs that are not among the exemplars."""
    relation = choose_relations([config.relation])[config.relation]
    unseen = len(OBJECTS) * (len(OBJECTS) - 1) - config.exemplars
    limits = {"exemplars": len(OBJECTS) ** 2 // 2, "pairs": unseen, "num_inference_steps": 1000}
    problems = [
        f"`{name}` must lie in [1, {most}], got {getattr(config, name)}."
        for name, most in limits.items()
        if not 1 <= getattr(config, name) <= most
    ]
    if problems:
        raise InputError(problems)
    free = unseen_pairs(unseen, SHIPPED_SEED, config.exemplars)
    order = np.random.default_rng(config.seed).permutation(unseen)[: config.pairs]
    return relation, [free[i] for i in order]


def _free_folder(folder: Path) -> Path:
    """Makes the folder, or one with a counter if it is taken."""
    number, free = 1, folder
    while True:
        try:
            free.mkdir(parents=True)
        except FileExistsError:
            free = folder.with_name(f"{folder.name}-{number}")
            number += 1
        else:
            return free


def _draw_with_records(
    studio: Studio,
    phrase: Phrase,
    learned: Sequence[Path],
    pairs: Sequence[Pair],
    config: QuickstartConfig,
    folder: Path,
) -> list[Image.Image]:
    """Draws each pair as `visionrel generate reversion` would, so that each can be replayed."""
    studio.pipeline.scheduler = studio.scheduler
    adapter = {str(path): sha256_of(path) for path in learned}
    pictures = []
    for index, pair in enumerate(pairs):
        settings = GenerateConfig(
            prompts=(phrase.fill(*pair),),
            relations=tuple(adapter),
            output_dir=folder,
            base=config.base,
            num_images=1,
            seed=picture_seed(config.seed, index),
            num_inference_steps=config.num_inference_steps,
            grid=False,
        )
        (prompt,) = settings.prompts
        pictures += draw(studio.pipeline, prompt, settings)
        record = Record(
            COMMAND, vars(settings), prompt, settings.seed, studio.base.describe(), adapter
        )
        save_picture(pictures[-1], folder, index, record)
    return pictures


def _rows(
    relation: Relation,
    exemplars: Path,
    pairs: Sequence[Pair],
    drawn: tuple[list[Image.Image], list[Image.Image]],
    scores: Sequence[Scores],
) -> tuple[SheetRow, ...]:
    """Exemplars above, pictures before and after learning below."""
    shown = read_exemplars(exemplars)[:SHOWN]
    word = AUTHORS_INITIALIZER
    rows = [
        SheetRow(
            f"Exemplars: {relation.name} is what {_TOKEN} should mean",
            [Image.open(item.path) for item in shown],
            [fill_template(item.templates[0], _TOKEN) for item in shown],
        )
    ]
    headings = (f"Before learning, with '{word}'", f"After learning {_TOKEN}, unseen pairs")
    for heading, words, pictures, score in zip(
        headings, (word, _TOKEN), drawn, scores, strict=True
    ):
        rows.append(
            SheetRow(
                f"{heading}: judged right {sum(score.relation)} of {len(pairs)} (green)",
                pictures[:SHOWN],
                [Phrase(words).fill(*pair) for pair in pairs[:SHOWN]],
                [bool(value) for value in score.relation[:SHOWN]],
            )
        )
    return tuple(rows)
