"""Learns, draws and judges in one process; quickstart and evaluation work with it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from visionrel.artifacts import atomic_write, load_learned_embeds
from visionrel.bases import load_components, resolve_base
from visionrel.devices import choose_device
from visionrel.pipelines.reversion.config import TrainConfig
from visionrel.pipelines.reversion.drawing import default_guidance, few_step_scheduler
from visionrel.pipelines.reversion.pipeline import EMBEDDINGS_NAME, ReVersionPipeline
from visionrel.pipelines.reversion.tokens import RELATION_TOKEN
from visionrel.pipelines.reversion.trainer import train
from visionrel.training import Interrupted
from visionrel.worlds.scenes import Judge, Relation, Verdict
from visionrel.worlds.scenes.judge import judge_objects


Pair = tuple[str, str]
_BATCH = 25


def picture_seed(seed: int, index: int) -> int:
    """The seed of one picture of a series; other series share none of the first 100,003."""
    return (seed * 100_003 + index) % 2**63


@dataclass(frozen=True)
class Scores:
    """Judged pictures: one entry per picture, 1 or 0.

    Attributes:
        entities: Both named objects are there.
        relation: Both are there and the relation holds; "cannot tell" is 0.
        unclear: The judge could not tell.
    """

    entities: list[int]
    relation: list[int]
    unclear: list[int]

    @staticmethod
    def of(verdicts: Sequence[Verdict]) -> Scores:
        """Counts verdicts."""
        return Scores(
            [int(verdict.entities_found) for verdict in verdicts],
            [
                int(verdict.entities_found and verdict.relation_holds and not verdict.cannot_tell)
                for verdict in verdicts
            ],
            [int(verdict.cannot_tell) for verdict in verdicts],
        )

    @property
    def accuracy(self) -> float:
        """Share of pictures in which the relation holds."""
        return sum(self.relation) / len(self.relation)


class Studio:
    """A base loaded once, with any number of learned tokens, and the judge.

    Args:
        base: Embedded name, folder or Hub id.
        device: Device name, or `auto`.
        steps: Denoising steps.
    """

    def __init__(self, base: str, device: str = "auto", steps: int = 20) -> None:
        self.base = resolve_base(base)
        self.device = device
        self.steps = steps
        components = load_components(self.base, choose_device(device))
        self.pipeline = ReVersionPipeline(**components.components, requires_safety_checker=False)
        self.pipeline.set_progress_bar_config(disable=True)
        self.own_scheduler = self.pipeline.scheduler
        self.scheduler = few_step_scheduler(self.own_scheduler)
        self.judge = Judge.load()
        self._numbers = count()

    def learn(
        self,
        exemplars: Path,
        output: Path,
        seed: int,
        max_train_steps: int | None,
        settings: Mapping[str, Any],
        on_step: Callable[[int, dict[str, float]], None] | None = None,
    ) -> None:
        """Learns a token from a folder of exemplars and writes it to a file.

        Args:
            exemplars: Folder of pictures and text.json.
            output: The safetensors file to write.
            seed: Decides the run.
            max_train_steps: Optimizer steps; None keeps the default.
            settings: What differs from the defaults of `train reversion`.
            on_step: Called after each optimizer step.
        """
        with tempfile.TemporaryDirectory(prefix="visionrel-") as folder:
            config = TrainConfig(
                train_data_dir=exemplars,
                output_dir=Path(folder),
                base=str(self.base.folder) if self.base.kind == "folder" else self.base.name,
                seed=seed,
                report_to="none",
                device="cpu" if self.device == "cpu" else "auto",
                **{"max_train_steps": max_train_steps, **settings},
            )
            try:
                train(config, on_step=on_step)
            except Interrupted as error:
                text = "Stopped while learning; this token is not kept. Run the command again."
                raise Interrupted(text, error.exit_code) from error
            with atomic_write(output) as temporary:
                shutil.copyfile(Path(folder) / EMBEDDINGS_NAME, temporary)

    def add_token(self, file: Path) -> str:
        """Loads a learned token under a name of its own, so that many can be there at once."""
        return self.pipeline.load_relation(file, f"<R{next(self._numbers)}>")[0]

    def put_token(self, file: Path) -> None:
        """Loads a learned token as `<R>`, in place of the one that was there before."""
        if RELATION_TOKEN not in self.pipeline.relation_tokens:
            self.pipeline.load_relation(file, RELATION_TOKEN)
            return
        table = self.pipeline.text_encoder.get_input_embeddings().weight.data
        (row,) = load_learned_embeds(file, table.shape[1]).values()
        table[self.pipeline.tokenizer.convert_tokens_to_ids(RELATION_TOKEN)] = row.to(table)

    def draw(
        self, prompts: Sequence[str], seed: int, reference_steps: int | None = None
    ) -> list[Image.Image]:
        """Draws one picture per prompt; picture i starts from noise of (seed, i).

        Args:
            prompts: The prompts.
            seed: Seed of the whole series; equal for variants that are compared.
            reference_steps: Draw with the base's own scheduler and this many steps instead.
        """
        self.pipeline.scheduler = self.own_scheduler if reference_steps else self.scheduler
        generators = [
            torch.Generator().manual_seed(picture_seed(seed, i)) for i in range(len(prompts))
        ]
        return self.pipeline(
            list(prompts),
            num_inference_steps=reference_steps or self.steps,
            guidance_scale=default_guidance(self.pipeline),
            generator=generators,
            batch_size=_BATCH,
        ).images

    def score(
        self,
        pictures: Sequence[Image.Image],
        pairs: Sequence[Pair],
        relations: Relation | Sequence[Relation],
    ) -> Scores:
        """Judges the (subject, object) pair of each picture for one relation, or one each."""
        if isinstance(relations, Relation):
            relations = [relations] * len(pairs)
        read = self.judge.read(pictures)
        return Scores.of(
            [
                judge_objects(objects, *pair, relation)
                for objects, pair, relation in zip(read, pairs, relations, strict=True)
            ]
        )
