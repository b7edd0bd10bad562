"""What VideoREPA is compared with, and the prompts that all variants draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from visionrel.evaluation import Variant, choose
from visionrel.pipelines.videorepa.config import TrainConfig
from visionrel.worlds.motion import PHYSICS, PLAIN, RELATIONS, MotionScene, sample_motion


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
    """The variants of these names; all of them for none."""
    return {name: VARIANTS[name] for name in choose(names, VARIANTS, "variants")}


def needs_teacher(variant: Variant) -> bool:
    """Whether a variant learns from a video encoder."""
    if variant.settings is None:
        return False
    return variant.settings.get("proj_coeff", TrainConfig.proj_coeff) != 0


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
