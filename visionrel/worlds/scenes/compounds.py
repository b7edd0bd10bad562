"""Relations that several words name together: a size, a turn, an order and a place.

They fill the space between the relations of single words, so that a base which has seen them can
draw what one learned token asks for at once. Whatever comes close to a held-out relation is left
out.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import product
from typing import Any

import numpy as np

from visionrel.worlds.scenes.relations import HELD_OUT, RELATIONS, Relation
from visionrel.worlds.scenes.scene import SceneObject


_SIZES: dict[str, dict[str, Any]] = {
    "": {},
    "small": {"ratio": (0.47, 0.67)},
    "big": {"ratio": (1.5, 2.1)},
}
_TURNS: dict[str, dict[str, Any]] = {
    "": {},
    "toward": {"subject_turn": "toward"},
    "away": {"subject_turn": "away"},
    "upside down": {"subject_turn": "upside_down"},
    "lying": {"subject_turn": "lying"},
}
_ORDERS: dict[str, dict[str, Any]] = {
    "": {},
    "before": {"front": "subject", "reach": (0.5, 0.75)},
    "behind": {"front": "object", "reach": (0.5, 0.75)},
}
_OVERLAPPING_PLACES = ("above", "below", "left", "right", "beside")
_UNPLACED = ("inside", "around", "before", "behind", "toward", "off")
_SAME = 0.5
"""Share of pairs that two boxes have in common, seen from either, at which they count as one."""


@cache
def compounds() -> dict[str, Relation]:
    """Return the compound relations by the phrase that names each."""
    drawn = {name: _draw(relation) for name, relation in HELD_OUT.items()}
    return {
        phrase: relation
        for phrase, relation in _combine()
        if not any(_are_same(relation, HELD_OUT[name], pairs) for name, pairs in drawn.items())
    }


def _combine() -> list[tuple[str, Relation]]:
    found = []
    places = [relation for name, relation in RELATIONS.items() if name not in _UNPLACED]
    for size, turn, order, place in product(_SIZES, _TURNS, _ORDERS, places):
        words = [word for word in (size, turn, order) if word]
        if not words or (order and place.name not in _OVERLAPPING_PLACES):
            continue
        if turn in ("toward", "away") and not _is_sideways(place):
            continue
        phrase = " ".join([*words, place.words[0]])
        changes = _SIZES[size] | _TURNS[turn] | _ORDERS[order]
        found.append((phrase, replace(place, name=phrase, words=(), **changes)))
    return found


def _is_sideways(place: Relation) -> bool:
    """Whether the two never stand one above the other, where leaning to a side says nothing."""
    return bool(place.directions) and all(abs(abs(d) - 90.0) > 30.0 for d in place.directions)


def _are_same(
    compound: Relation, held_out: Relation, pairs: list[tuple[SceneObject, SceneObject]]
) -> bool:
    if np.mean([compound.holds(*pair) for pair in pairs]) < _SAME:
        return False
    return np.mean([held_out.holds(*pair) for pair in _draw(compound)]) >= _SAME


def _draw(relation: Relation, count: int = 100) -> list[tuple[SceneObject, SceneObject]]:
    rng = np.random.default_rng(0)
    pairs = []
    for _ in range(count):
        subject, object = (
            SceneObject("", **side | {"rotation": side["rotation"] or 0.0})
            for side in relation.sample(rng)
        )
        pairs.append((subject, object))
    return pairs
