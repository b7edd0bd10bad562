"""What ReVersion is compared with: the same training with parts off, and words instead of a token.

The hardest comparison is the description in words that the base knows. A held-out relation is a
region of configurations, so every spoken relation can be asked how much of its own region lies
inside; turns and sizes that the relation demands are said as well ("a small cat upside down below
a big dog"). That uses the relation's definition, which a learner from pictures never sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product

import numpy as np

from visionrel.evaluation import Variant, choose
from visionrel.pipelines.reversion.config import AUTHORS_INITIALIZER
from visionrel.worlds.scenes import HELD_OUT, PLAIN, RELATIONS, Relation, SceneObject, sample_scene


REVERSION, TEXTUAL_INVERSION, LONG_INVERSION, NO_PRIOR, NO_STEERING, NO_FOCAL = (
    *("reversion", "textual_inversion", "long_textual_inversion"),
    *("no_prior", "no_steering", "no_focal"),
)
INITIALISER, WORDS = "initialiser", "nearest_words"
_FROM_AND = {"initializer_token": AUTHORS_INITIALIZER}
_INVERSION = {"steer_weight": 0.0, "importance_sampling": False, **_FROM_AND}
_LONG_INVERSION = {**_INVERSION, "max_train_steps": 200}
VARIANTS: dict[str, Variant] = {
    REVERSION: Variant("ReVersion"),
    TEXTUAL_INVERSION: Variant("textual inversion", _INVERSION),
    LONG_INVERSION: Variant("textual inversion after 200 steps", _LONG_INVERSION),
    NO_PRIOR: Variant("ReVersion from the word 'and'", _FROM_AND),
    NO_STEERING: Variant("ReVersion without steering", {"steer_weight": 0.0}),
    NO_FOCAL: Variant("ReVersion without focal sampling", {"importance_sampling": False}),
    INITIALISER: Variant("initialiser word", None),
    WORDS: Variant("nearest known words", None),
}

_POSES = {"upside_down": ("upside down",), "lying": ("lying",)}
_TILTS = {"tilted left": 1, "tilted right": -1}


@dataclass(frozen=True)
class Phrase:
    """A prompt with room for two nouns.

    Attributes:
        words: What stands between the nouns.
        subject, object: Words before and after each noun.

    Example:
        >>> Phrase("below", ("small", "upside down")).fill("owl", "cat")
        'a small owl upside down below a cat'
    """

    words: str
    subject: tuple[str, str] = ("", "")
    object: tuple[str, str] = ("", "")

    def fill(self, subject: str, object: str) -> str:
        """Puts two nouns in, with their articles."""
        return " ".join([_noun(subject, *self.subject), self.words, _noun(object, *self.object)])

    def __str__(self) -> str:
        return self.fill("A", "B")


@cache
def nearest_words(relation: Relation, count: int = 3, samples: int = 150) -> tuple[Phrase, ...]:
    """Finds the phrases of the base's vocabulary that come closest to a held-out relation.

    Args:
        relation: The held-out relation.
        count: How many phrases.
        samples: Layouts drawn per phrase.

    Returns:
        Phrases by falling share of their own layouts in which the relation holds.
    """
    rng = np.random.default_rng(0)
    sizes = _size_words(relation)
    shares: dict[Phrase, float] = {}
    for spoken in RELATIONS.values():
        scenes = [_sized(relation, spoken, rng) for _ in range(samples)]
        for poses in product(_poses(relation.subject_turn), _poses(relation.object_turn)):
            held = [relation.holds(*map(_turn, pair, poses, [rng, rng])) for pair in scenes]
            subject, object = zip(sizes, poses, strict=True)
            shares[Phrase(spoken.words[0], subject, object)] = float(np.mean(held))
    return tuple(sorted(shares, key=lambda phrase: -shares[phrase])[:count])


def choose_relations(names: Sequence[str]) -> dict[str, Relation]:
    """The held-out relations of these names; all of them for none."""
    return {name: HELD_OUT[name] for name in choose(names, HELD_OUT, "relations")}


def choose_variants(names: Sequence[str]) -> dict[str, Variant]:
    """The variants of these names; all of them for none."""
    return {name: VARIANTS[name] for name in choose(names, VARIANTS, "variants")}


def _noun(name: str, before: str, after: str) -> str:
    words = " ".join(word for word in (before, name, after) if word)
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _size_words(relation: Relation) -> tuple[str, str]:
    """What a caption calls the two sizes if the relation demands a clear difference."""
    if relation.ratio[1] < 0.8:
        return "small", "big"
    return ("big", "small") if relation.ratio[0] > 1.25 else ("", "")


def _poses(turn: str) -> tuple[str, ...]:
    """Words that may describe a turn; which tilt leans to the other side depends on the words."""
    return tuple(_TILTS) if turn in ("toward", "away") else _POSES.get(turn, ("",))


def _sized(
    relation: Relation, spoken: Relation, rng: np.random.Generator
) -> tuple[SceneObject, SceneObject]:
    """Draws a layout of a spoken relation, with the sizes that the phrase asks for."""
    ratio = relation.ratio if any(_size_words(relation)) else spoken.ratio
    scene, _ = sample_scene(rng, replace(spoken, ratio=ratio), style=PLAIN)
    return scene.objects[0], scene.objects[1]


def _turn(item: SceneObject, pose: str, rng: np.random.Generator) -> SceneObject:
    """Turns an upright object the way a caption says."""
    if pose in _TILTS:
        return replace(item, rotation=_TILTS[pose] * rng.uniform(20.0, 45.0))
    angle = {"upside down": 180.0, "lying": 90.0}.get(pose)
    return item if angle is None else replace(item, rotation=angle)
