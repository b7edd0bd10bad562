"""The paper's benchmark: ten relations, each with a hundred prompts; imports no PyTorch."""

from __future__ import annotations

from itertools import product
from typing import Literal, get_args

from visionrel.errors import InputError


BenchmarkRelation = Literal[
    "painted_on",
    "carved_by",
    "shake_hands",
    "hug",
    "back2back",
    "inside",
    "on",
    "hanging_from",
    "wrapped_in",
    "ride_on",
]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split(", "))


_BEINGS = _words("man, woman, child, cat, rabbit, monkey, dog, hamster, kangaroo, panda")
ENTITIES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "painted_on": (
        _words(
            "guitar, cat, hamburger, flower, Michael Jackson, spiderman, rabbit, hamster, child, "
            "sea"
        ),
        _words("paper, canvas, wall, building, vase, guitar, stone, T-shirt, ceiling, schoolbag"),
    ),
    "carved_by": (
        _words("swan, horse, rose, dog, rabbit, bodhisattva, lion, cat, lotus, man"),
        _words("apple, carrot, clay, glass, jade, marble, metal, wood, plastic, paper"),
    ),
    "shake_hands": (_BEINGS, _BEINGS),
    "hug": (_BEINGS, _BEINGS),
    "back2back": (_BEINGS, _BEINGS),
    "inside": (
        _words("child, cat, rabbit, dog, hamster, spiderman, ocean, desert, swimming pool, garden"),
        _words("box, basket, paper bag, pot, cup, vase, basin, bowl, closet, barrels"),
    ),
    "on": (
        _words("book, toy truck, cat, dog, apple, orange, laptop, hamster, rabbit, seal"),
        _words("book, toy truck, plate, chair, box, rock, table, roof, shelf, blue cube"),
    ),
    "hanging_from": (
        _words(
            "schoolbag, bag, blue bag, yellow bag, toy truck, laptop, lamp, necklace, clothes, keys"
        ),
        _words("ceiling, chair, handrail, table, schoolbag, bridge, window, tree, hand, neck"),
    ),
    "wrapped_in": (
        _BEINGS,
        _words(
            "towel, blanket, coverlet, bed sheet, quilt, paper, napkin, plastic sheet, tin foil, "
            "tablecloth"
        ),
    ),
    "ride_on": (
        _BEINGS,
        _words(
            "bicycle, motorbike, horse, toy horse, tiger, panda, camel, father, toy truck, "
            "merry-go-round"
        ),
    ),
}
"""Entities before and after the relation."""


def benchmark_pairs(relation: str) -> list[tuple[str, str]]:
    """The 100 pairs of entities of a relation; the first entity changes slowest.

    Raises:
        InputError: If the benchmark has no such relation.
    """
    if relation not in ENTITIES:
        raise InputError(
            f"The benchmark has no relation {relation!r}; it has "
            f"{', '.join(get_args(BenchmarkRelation))}."
        )
    return list(product(*ENTITIES[relation]))


def benchmark_prompts(relation: str) -> list[str]:
    """The 100 prompts of a relation.

    Example:
        >>> benchmark_prompts("painted_on")[:2]
        ['guitar {} paper', 'guitar {} canvas']
    """
    return [f"{first} {{}} {second}" for first, second in benchmark_pairs(relation)]
