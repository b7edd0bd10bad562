"""The motion judge's own errors, measured once per evaluation and printed beside its scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from visionrel.evaluation import Interval, Table, wilson_interval
from visionrel.worlds.motion import KINDS, PHYSICS, RELATIONS
from visionrel.worlds.motion.judge import measure_errors


_ERRORS = {
    "denied": "a motion that is there is denied",
    "affirmed": "another motion is affirmed",
    "unphysical": "a clip is said to break a law",
}


def measure_judge(clips: int, seed: int, side: int) -> dict[str, Any]:
    """Asks the judge about fresh clips of every motion that prompts may name.

    Args:
        clips: Of each motion.
        seed: Decides them.
        side: Height and width in pixels.
    """
    errors = measure_errors((*PHYSICS, *RELATIONS), clips, seed, side)
    return {"errors": [asdict(error) for error in errors]}


def judge_table(found: Mapping[str, Any]) -> Table:
    """The errors of physics and relation clips, with Wilson intervals."""
    errors = found["errors"]
    groups = [
        [error for error in errors if error["kind"] in kinds] for kinds in (PHYSICS, RELATIONS)
    ]
    rows = tuple(
        (text, *(_pool(group, what, errors) for group in groups)) for what, text in _ERRORS.items()
    )
    worst = sorted(errors, key=lambda error: -error["denied"])[:3]
    denied = ", ".join(f"{error['kind']} {error['denied']:.3f}" for error in worst)
    return Table(
        f"The judge's own errors on {sum(error['clips'] for error in errors)} fresh clips",
        ("error", "physics", "relations"),
        rows,
        "Wilson intervals. Each clip is asked about its own motion and about every other one that "
        "takes as many objects; answers about one clip hang together, so that the intervals of the "
        f"second row are somewhat short. Most often denied: {denied}.",
    )


def _pool(
    group: Sequence[Mapping[str, Any]], what: str, errors: Sequence[Mapping[str, Any]]
) -> Interval:
    """The share of a group's questions that were answered wrongly."""
    asked = [error["clips"] if what != "affirmed" else _others(error, errors) for error in group]
    wrong = [round(error[what] * count) for error, count in zip(group, asked, strict=True)]
    return wilson_interval(sum(wrong), sum(asked))


def _others(asked: Mapping[str, Any], errors: Sequence[Mapping[str, Any]]) -> int:
    """How many clips of other motions were asked about this one."""
    places = len(KINDS[asked["kind"]].roles)
    return sum(
        error["clips"]
        for error in errors
        if error["kind"] != asked["kind"] and len(KINDS[error["kind"]].roles) == places
    )
