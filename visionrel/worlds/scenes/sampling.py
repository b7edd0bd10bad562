"""Draws random scenes and says them in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from visionrel.worlds.scenes.depth import order_shows
from visionrel.worlds.scenes.relations import (
    BETWEEN,
    NEUTRAL,
    RELATIONS,
    SIZES,
    TURNS,
    Relation,
    sample_fall,
)
from visionrel.worlds.scenes.scene import GROUNDS, OBJECTS, TINTS, Scene, SceneObject


VOWELS = "aeiou"


@dataclass(frozen=True)
class SceneStyle:
    """How varied scenes are and how much of that their captions tell; all are probabilities.

    Attributes:
        turned: a sprite whose turn is free is tilted, upside down or lying.
        tinted: a sprite is dyed.
        flipped: a sprite is mirrored left to right.
        told_pose, told_tint, told_flip: the caption says so.
        told_size: the caption calls a small sprite small, a big one big.
        told_ground: the caption names the background.
    """

    turned: float = 0.35
    tinted: float = 0.15
    flipped: float = 0.25
    told_pose: float = 0.9
    told_tint: float = 0.95
    told_flip: float = 0.6
    told_size: float = 0.4
    told_ground: float = 0.6


PLAIN = SceneStyle(
    turned=0.0, tinted=0.0, flipped=0.25, told_flip=0.0, told_size=0.15, told_ground=0.3
)
"""Upright sprites in their own colours: how exemplars and evaluation prompts look."""

DENSE = SceneStyle()
"""Everything varies and most of it is told: what the base learns from."""


@dataclass
class _Side:
    """One object on its way into a scene, with the words that describe it."""

    item: SceneObject
    before: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)

    def phrase(self, rng: np.random.Generator) -> str:
        words = [*self.before, self.item.name, *self.after]
        article = "an" if words[0][0] in VOWELS else "a"
        return " ".join(["the" if rng.random() < 0.12 else article, *words])


def sample_scene(
    rng: np.random.Generator,
    relation: Relation | None = None,
    names: Sequence[str] | None = None,
    style: SceneStyle = DENSE,
) -> tuple[Scene, str]:
    """Draw one scene and one caption for it.

    Args:
        rng: source of randomness; equal states give equal scenes.
        relation: the relation of the first to the second object; None draws one that captions can
            name, the neutral one, a single object or three objects.
        names: nouns of the objects; None draws distinct ones.
        style: how varied the scene and how telling the caption is.

    Returns:
        The scene, subject first, and a caption; where `relation` has no words the caption holds
        `{}` in its place.
    """
    if relation is None:
        kind = rng.random()
        if kind < 0.06:
            return _finish(rng, [_single(rng, names, style)], "", style)
        if kind < 0.12:
            return _between(rng, names, style)
        if kind < 0.32:
            relation = NEUTRAL
        else:
            relation = list(RELATIONS.values())[rng.integers(len(RELATIONS))]
    sides = _pair(rng, relation, names, style)
    words = relation.words[rng.integers(len(relation.words))] if relation.words else "{}"
    return _finish(rng, sides, words, style)


def _pair(
    rng: np.random.Generator, relation: Relation, names: Sequence[str] | None, style: SceneStyle
) -> list[_Side]:
    """Draw two sides; again where the relation needs one in front and neither covers the other."""
    while True:
        sides = [
            _side(rng, name, values, style)
            for name, values in zip(_names(rng, names, 2), relation.sample(rng), strict=True)
        ]
        if relation.front is None or order_shows(*(side.item for side in sides)):
            return sides


def _names(rng: np.random.Generator, names: Sequence[str] | None, count: int) -> list[str]:
    if names is not None:
        return list(names)
    return [OBJECTS[i] for i in rng.choice(len(OBJECTS), count, replace=False)]


def _single(rng: np.random.Generator, names: Sequence[str] | None, style: SceneStyle) -> _Side:
    size = rng.uniform(*SIZES)
    x, y = rng.uniform(size / 2, 1 - size / 2, 2)
    values = {"x": x, "y": y, "size": size, "rotation": None, "depth": 0.0}
    return _side(rng, _names(rng, names, 1)[0], values, style)


def _between(
    rng: np.random.Generator, names: Sequence[str] | None, style: SceneStyle
) -> tuple[Scene, str]:
    """Three on a level line, the subject in the middle."""
    sizes = rng.uniform(0.24, 0.32, 3)
    middle = rng.uniform(0.42, 0.58)
    gaps = rng.uniform(0.27, 0.31, 2)
    level = rng.uniform(0.2, 0.8)
    places = [middle, middle - gaps[0], middle + gaps[1]]
    if rng.random() < 0.5:
        places[1:] = places[:0:-1]
    sides = [
        _side(
            rng,
            name,
            {
                "x": x,
                "y": level + rng.uniform(-0.05, 0.05),
                "size": size,
                "rotation": None,
                "depth": float(order),
            },
            style,
        )
        for order, (name, x, size) in enumerate(
            zip(_names(rng, names, 3), places, sizes, strict=True)
        )
    ]
    return _finish(rng, sides, BETWEEN, style)


def _side(
    rng: np.random.Generator, name: str, values: dict[str, float | None], style: SceneStyle
) -> _Side:
    """Fill in what the relation leaves free, and collect the words for it."""
    before, after = [], []
    rotation = values["rotation"]
    if rotation is None:
        rotation, told = _free_rotation(rng, style)
        if told and rng.random() < style.told_pose:
            after.append(told)
    tint = list(TINTS)[rng.integers(len(TINTS))] if rng.random() < style.tinted else None
    flip = bool(rng.random() < style.flipped)
    size_word = "small" if values["size"] < 0.3 else "big" if values["size"] > 0.42 else None
    if size_word and rng.random() < style.told_size:
        before.append(size_word)
    if flip and rng.random() < style.told_flip:
        before.append("flipped")
    if tint and rng.random() < style.told_tint:
        before.append(tint)
    item = SceneObject(
        name,
        float(values["x"]),
        float(values["y"]),
        float(values["size"]),
        float(rotation),
        flip,
        tint,
        float(values["depth"]),
    )
    return _Side(item, before, after)


def _free_rotation(rng: np.random.Generator, style: SceneStyle) -> tuple[float, str | None]:
    """Draw a rotation in degrees and the words that tell it, None when upright."""
    if rng.random() >= style.turned:
        return rng.uniform(-8, 8), None
    kind = ("toward", "toward", "upside_down", "lying")[rng.integers(4)]
    if kind == "toward":
        angle = rng.uniform(*TURNS[kind]) * (1 if rng.random() < 0.5 else -1)
        return angle, "tilted left" if angle > 0 else "tilted right"
    return sample_fall(rng, kind), kind.replace("_", " ")


def _finish(
    rng: np.random.Generator, sides: list[_Side], words: str, style: SceneStyle
) -> tuple[Scene, str]:
    """Choose the ground and join the words."""
    ground_name = list(GROUNDS)[rng.integers(len(GROUNDS))]
    ground = tuple(int(np.clip(c + rng.integers(-8, 9), 0, 255)) for c in GROUNDS[ground_name])
    phrases = [side.phrase(rng) for side in sides]
    if len(phrases) > 1:
        verb = "is " if words not in NEUTRAL.words and rng.random() < 0.12 else ""
        text = f"{phrases[0]} {verb}{words} {' and '.join(phrases[1:])}"
    else:
        text = phrases[0]
    if rng.random() < 0.12:
        text = f"a {('photo', 'picture')[rng.integers(2)]} of {text}"
    if rng.random() < style.told_ground:
        text = f"{text}, {ground_name} background"
    return Scene(tuple(side.item for side in sides), ground, ground_name), text


def vocabulary() -> tuple[str, ...]:
    """Return every word that captions use, sorted."""
    phrases: Iterable[str] = (
        *OBJECTS,
        *GROUNDS,
        *TINTS,
        *(w for relation in RELATIONS.values() for w in relation.words),
        *NEUTRAL.words,
        BETWEEN,
        "a an the is photo picture of background , small big flipped tilted upside down lying",
    )
    return tuple(sorted({word for phrase in phrases for word in phrase.split()}))
