"""The two scores of the paper's benchmark, open to whatever measures them.

No evaluation code was released; anything fits that looks at pictures.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Protocol

import torch.nn.functional as F
from PIL import Image

from visionrel.errors import InputError
from visionrel.pipelines.reversion.benchmark import benchmark_pairs
from visionrel.records import read_record
from visionrel.towers import load_towers


logger = logging.getLogger(__name__)


class RelationScore(Protocol):
    """Share of pictures that show a relation, such as a classifier on scene-graph features."""

    def __call__(self, pictures: Sequence[Image.Image], relation: str) -> float:
        """Looks at pictures of one prompt; returns a share in [0, 1]."""


class EntityScore(Protocol):
    """How well pictures show their two entities, whatever the relation."""

    def __call__(self, pictures: Sequence[Image.Image], text: str) -> float:
        """Returns the mean cosine similarity to a text such as "cat, stone"."""


@dataclass(frozen=True)
class BenchmarkScores:
    """Means over all pictures of a relation.

    Attributes:
        relation: Name in the benchmark.
        prompts: How many of the 100 prompts have pictures.
        pictures: How many pictures were scored.
        relation_score: Share that shows the relation; None if nothing measured it.
        entity_score: Mean similarity to the entities; None if nothing measured it.
    """

    relation: str
    prompts: int
    pictures: int
    relation_score: float | None
    entity_score: float | None


def score_benchmark(
    folder: Path | str,
    relation: str,
    *,
    relation_score: RelationScore | None = None,
    entity_score: EntityScore | None = None,
) -> BenchmarkScores:
    """Scores what `visionrel generate reversion --benchmark` left in a folder.

    Args:
        folder: The `output_dir` of that command; pictures tell their prompts themselves.
        relation: Name in the benchmark.
        relation_score: Measures the relation, if given.
        entity_score: Measures the entities, if given.

    Raises:
        InputError: If the folder holds no picture of this relation's prompts, or others.
    """
    files = _find_pictures(Path(folder), relation)
    if len(files) < len(benchmark_pairs(relation)):
        logger.warning("%s has pictures of only %d of the 100 prompts.", folder, len(files))
    related: list[float] = []
    alike: list[float] = []
    for text, paths in files.items():
        pictures = _open(paths)
        if relation_score is not None:
            related += [relation_score(pictures, relation)] * len(pictures)
        if entity_score is not None:
            alike += [entity_score(pictures, text)] * len(pictures)
    count = sum(map(len, files.values()))
    return BenchmarkScores(relation, len(files), count, _mean(related), _mean(alike))


class ClipEntityScore:
    """Entity score by a CLIP on this disk; nothing is downloaded.

    Which CLIP the paper took is not known to us: compare variants under one model, not with the
    paper's numbers.

    Args:
        encoder: A folder or model that Transformers opens, or `open_clip:ARCHITECTURE:FILE`; CLIP
            ViT-B/32 when not given.

    Raises:
        InputError: If there is no such model, or it reads no pictures.
    """

    def __init__(self, encoder: str | None = None) -> None:
        self._towers = load_towers(encoder)
        if self._towers.encode_pictures is None:
            raise InputError(
                f"`encoder` {self._towers.name} encodes text only; the entity score needs CLIP."
            )

    def __call__(self, pictures: Sequence[Image.Image], text: str) -> float:
        """Mean cosine similarity of the pictures to the text."""
        seen = self._towers.encode_pictures(pictures)
        return float(F.cosine_similarity(seen, self._towers.encode_text([text])).mean())


def _find_pictures(folder: Path, relation: str) -> dict[str, list[Path]]:
    """The pictures of each prompt that has some, by the prompt without its relation."""
    texts = {f"{a} {{}} {b}": f"{a}, {b}" for a, b in benchmark_pairs(relation)}
    files: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.glob("*.png")):
        prompt = read_record(path).prompt
        if prompt not in texts:
            raise InputError(
                f"{path} shows {prompt!r}, which is no prompt of {relation!r}; draw the benchmark "
                "into a folder of its own."
            )
        files[texts[prompt]].append(path)
    if not files:
        raise InputError(
            f"{folder} holds no pictures; draw them first: `visionrel generate reversion "
            f"--relations FILE --benchmark {relation} --output_dir {folder}`."
        )
    return files


def _open(paths: Sequence[Path]) -> list[Image.Image]:
    return [Image.open(path).convert("RGB") for path in paths]


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None
