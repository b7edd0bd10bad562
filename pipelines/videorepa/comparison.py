"""What VideoREPA is compared with, and the prompts that all variants draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from visionrel.errors import InputError
from visionrel.worlds.motion import PHYSICS, PLAIN, RELATIONS, MotionScene, sample_motion


@dataclass(frozen=True)
class Variant:
    """One way to get clips.

    Attributes:
        label: Name in tables and plots.
        settings: What differs from VideoREPA's own training; None trains nothing.
    """

    label: str
    settings: Mapping[str, Any] | None = field(default_factory=dict)


VIDEOREPA, FINETUNE, REPA, BASE, STATIC, RENDERED = (
    *("videorepa", "finetune", "repa", "base", "static", "rendered"),
)
SPATIAL, TEMPORAL = "spatial", "temporal"
VARIANTS: dict[str, Variant] = {
    BASE: Variant("base", None),
    FINETUNE: Variant("plain fine-tuning", {"proj_coeff": 0.0}),
    REPA: Variant("REPA", {"alignment": "tokens"}),
    VIDEOREPA: Variant("VideoREPA"),
    SPATIAL: Variant("spatial terms alone", {"terms": "spatial"}),
    TEMPORAL: Variant("temporal terms alone", {"terms": "temporal"}),
    "paper": Variant("the paper's sum of both", {"terms": "paper"}),
    "weight_0.1": Variant("weight 0.1", {"proj_coeff": 0.1}),
    "weight_2": Variant("weight 2", {"proj_coeff": 2.0}),
    "first_block": Variant("first block", {"align_layer": 1}),
    "last_block": Variant("last block", {"align_layer": -1}),
    STATIC: Variant("the base's first frame, held", None),
    RENDERED: Variant("rendered by the world", None),
}
"""All variants; VideoREPA has the weight 0.5, pooled terms and the block at 0.6 of the depth."""


@dataclass(frozen=True)
class Prompt:
    """What is asked for.

    Attributes:
        text: The prompt.
        kind: Name of the motion.
        names: Nouns in the order of the motion's places.
        scene: A scene that shows it.
    """

    text: str
    kind: str
    names: tuple[str, ...]
    scene: MotionScene


def choose_variants(names: Sequence[str]) -> dict[str, Variant]:
    """The variants of these names; all of them for none.

    Raises:
        InputError: With the unknown ones and the known ones.
    """
    if unknown := [name for name in names if name not in VARIANTS]:
        raise InputError(
            f"`variants` has no {', '.join(map(repr, unknown))}; "
            f"choose among {', '.join(VARIANTS)}."
        )
    return {name: VARIANTS[name] for name in names or VARIANTS}


def draw_prompts(count: int, seed: Sequence[int]) -> list[Prompt]:
    """Draws prompts of all spoken motions in turn, physics and relations mixed."""
    rng = np.random.default_rng(seed)
    kinds = _alternate(list(PHYSICS), list(RELATIONS))
    prompts = []
    for index in range(count):
        kind = kinds[index % len(kinds)]
        scene, text = sample_motion(rng, kind, style=PLAIN)
        prompts.append(Prompt(text, kind, scene.names, scene))
    return prompts


def _alternate(first: list[str], second: list[str]) -> list[str]:
    """Mixes two lists so that any start holds both."""
    places = [
        (index / len(group), name) for group in (first, second) for index, name in enumerate(group)
    ]
    return [name for _, name in sorted(places, key=lambda place: place[0])]
