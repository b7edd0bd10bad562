"""Writes exemplar pictures of a relation, and lists the pairs of nouns that they leave unseen."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from visionrel.artifacts import save_json
from visionrel.errors import InputError
from visionrel.worlds.scenes.relations import Relation
from visionrel.worlds.scenes.rendering import render
from visionrel.worlds.scenes.sampling import PLAIN, sample_scene
from visionrel.worlds.scenes.scene import OBJECTS, Scene


Pair = tuple[str, str]


def exemplar_pairs(count: int, seed: int) -> list[Pair]:
    """Draw distinct (subject, object) pairs; every noun appears before one appears twice."""
    if count > (most := len(OBJECTS) * (len(OBJECTS) - 1)):
        raise InputError(f"{count} exemplars were asked for; {most} pairs exist: ask for fewer.")
    pairs: list[Pair] = []
    rng = np.random.default_rng([seed, 0])
    while len(pairs) < count:
        order = rng.permutation(len(OBJECTS))
        for first, second in zip(order[::2], order[1::2], strict=True):
            pair = (OBJECTS[first], OBJECTS[second])
            if pair not in pairs:
                pairs.append(pair)
    return pairs[:count]


def unseen_pairs(count: int, seed: int, exemplars: int = 10) -> list[Pair]:
    """Draw (subject, object) pairs that `exemplar_pairs(exemplars, seed)` does not contain."""
    seen = exemplar_pairs(exemplars, seed)
    free = [(a, b) for a in OBJECTS for b in OBJECTS if a != b and (a, b) not in seen]
    if count > len(free):
        raise InputError(f"{count} unseen pairs were asked for; {len(free)} exist: ask for fewer.")
    order = np.random.default_rng([seed, 1]).permutation(len(free))
    return [free[i] for i in order[:count]]


def sample_exemplar(
    relation: Relation, pair: Pair, rng: np.random.Generator
) -> tuple[Scene, list[str]]:
    """Draw one exemplar scene with caption templates of two degrees of detail."""
    scene, caption = sample_scene(rng, relation, pair, PLAIN)
    if "{}" not in caption:
        raise InputError(
            f"`relation` is {relation.name!r}, which captions already name; use a held-out relation"
        )
    plain = " {} ".join(f"{'an' if name[0] in 'aeiou' else 'a'} {name}" for name in pair)
    return scene, list(dict.fromkeys([plain, caption]))


def write_exemplars(folder: Path, relation: Relation, count: int = 10, seed: int = 0) -> list[Pair]:
    """Write `count` pictures and `text.json` in ReVersion's layout into a new or empty folder.

    Returns:
        The (subject, object) pair of each picture.

    Errors:
        InputError: `folder` holds files already; nothing is overwritten.
    """
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"`folder` is {folder}, which is not empty; choose a new one")
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, 2])
    pairs = exemplar_pairs(count, seed)
    captions = {}
    for index, pair in enumerate(pairs):
        scene, captions[f"{index:02d}.png"] = sample_exemplar(relation, pair, rng)
        render(scene).save(folder / f"{index:02d}.png")
    save_json(folder / "text.json", captions)
    return pairs
