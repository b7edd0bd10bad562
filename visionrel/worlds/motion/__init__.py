"""The motion world: clips of moving objects with relations and physics, and a judge."""

from typing import Any

from visionrel.worlds.motion.kinds import HELD_OUT, KINDS, NEUTRAL, PHYSICS, RELATIONS, Kind
from visionrel.worlds.motion.rendering import render_clip, render_masks
from visionrel.worlds.motion.sampling import (
    DENSE,
    PLAIN,
    MotionStyle,
    annotate,
    find_kind,
    sample_motion,
    vocabulary,
)
from visionrel.worlds.motion.scene import (
    CLIP_SIDE,
    DURATION,
    FRAMES,
    FRAMES_PER_SECOND,
    GROUNDS,
    OBJECTS,
    Contact,
    MotionScene,
    Mover,
)


__all__ = [
    "CLIP_SIDE",
    "DENSE",
    "DURATION",
    "FRAMES",
    "FRAMES_PER_SECOND",
    "GROUNDS",
    "HELD_OUT",
    "KINDS",
    "NEUTRAL",
    "OBJECTS",
    "PHYSICS",
    "PLAIN",
    "RELATIONS",
    "Contact",
    "Kind",
    "Laws",
    "MotionScene",
    "MotionStyle",
    "Mover",
    "Verdict",
    "annotate",
    "find_kind",
    "judge_clip",
    "measure_errors",
    "render_clip",
    "render_masks",
    "sample_motion",
    "vocabulary",
]


def __getattr__(name: str) -> Any:
    """Import the judge, and with it torch, only when it is asked for."""
    if name in ("Laws", "Verdict", "judge_clip", "measure_errors"):
        from visionrel.worlds.motion import judge

        return getattr(judge, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
