"""The scenes world: two or three sprites on a coloured ground, 64 x 64 RGB, and its judge."""

from typing import Any

from visionrel.worlds.scenes.compounds import compounds
from visionrel.worlds.scenes.exemplars import unseen_pairs, write_exemplars
from visionrel.worlds.scenes.relations import HELD_OUT, NEUTRAL, RELATIONS, Relation
from visionrel.worlds.scenes.rendering import PICTURE_SIDE, render, render_coverage
from visionrel.worlds.scenes.sampling import DENSE, PLAIN, SceneStyle, sample_scene, vocabulary
from visionrel.worlds.scenes.scene import GROUNDS, OBJECTS, TINTS, Scene, SceneObject


__all__ = [
    "DENSE",
    "GROUNDS",
    "HELD_OUT",
    "NEUTRAL",
    "OBJECTS",
    "PICTURE_SIDE",
    "PLAIN",
    "RELATIONS",
    "TINTS",
    "Judge",
    "Relation",
    "Scene",
    "SceneObject",
    "SceneStyle",
    "Verdict",
    "compounds",
    "render",
    "render_coverage",
    "sample_scene",
    "unseen_pairs",
    "vocabulary",
    "write_exemplars",
]


def __getattr__(name: str) -> Any:
    """Import the judge, and with it torch, only when it is asked for."""
    if name in ("Judge", "Verdict"):
        from visionrel.worlds.scenes import judge

        return getattr(judge, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
