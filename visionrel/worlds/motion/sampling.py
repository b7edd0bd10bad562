"""Draws random motions and says them in words."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from visionrel.errors import InputError
from visionrel.worlds.motion.drafts import Draft, place
from visionrel.worlds.motion.kinds import ALONE, KINDS, NEUTRAL, PHYSICS, RELATIONS, Kind
from visionrel.worlds.motion.scene import (
    FRAMES,
    GROUNDS,
    LEAVES_BY,
    OBJECTS,
    MotionScene,
    lies_inside,
)
from visionrel.worlds.motion.tracks import true_tracks


_DIRECTED = ("chase", "follow", "push", "throw", "collide", "roll", "roll_down", "topple")
_TRIALS = 400
# Factors of paths and sizes.
_MISREADINGS = ((1.0, 1.0), (0.94, 1.0), (1.0, 0.93), (1.0, 1.07))


@dataclass(frozen=True)
class MotionStyle:
    """How much of a clip its caption tells; all are probabilities.

    Attributes:
        told_ground: the caption names the background.
        told_way: it says to which side a motion goes that has one.
        told_medium: it begins with "a video of".
        definite: a noun has "the".
        neutral: a clip of no kind in particular, when the kind is free.
    """

    told_ground: float = 0.6
    told_way: float = 0.4
    told_medium: float = 0.1
    definite: float = 0.1
    neutral: float = 0.15


PLAIN = MotionStyle(told_ground=0.0, told_way=0.0, told_medium=0.0, definite=0.0, neutral=0.0)
"""The bare statement: how exemplars and evaluation prompts look."""

DENSE = MotionStyle()
"""Most of what varies is told now and then: what the base learns from."""


def sample_motion(
    rng: np.random.Generator,
    kind: Kind | str | None = None,
    names: Sequence[str] | None = None,
    style: MotionStyle = DENSE,
) -> tuple[MotionScene, str]:
    """Draw one moving scene and one caption for it.

    Args:
        rng: source of randomness; equal states give equal scenes.
        kind: the motion or its name; None draws one that captions can name, or none in particular.
        names: distinct nouns that the kind's places can hold; None draws them.
        style: how telling the caption is.

    Returns:
        The scene, and a caption; where the kind has no words the caption holds `{}` in their place.
    """
    kind = _any_kind(rng, style) if kind is None else find_kind(kind)
    if names is None:
        names = kind.sample_names(rng)
    else:
        _check_names(kind, names)
    draft = _draw(rng, kind, names)
    scene = make_scene(kind.name, draft, names, *draw_ground(rng))
    return scene, _caption(rng, kind, scene, style)


def _check_names(kind: Kind, names: Sequence[str]) -> None:
    held = len(names) == len(kind.roles) and all(map(operator.contains, kind.roles, names))
    if not held or len(set(names)) != len(names):
        places = "; ".join(", ".join(role) for role in kind.roles)
        raise InputError(
            f"`names` is {tuple(names)}; {kind.name!r} takes distinct nouns for "
            f"{len(kind.roles)} places: {places}"
        )


def find_kind(kind: Kind | str) -> Kind:
    """Return a kind of the world by name.

    Errors:
        InputError: no kind has this name.
    """
    if isinstance(kind, Kind):
        return kind
    known = KINDS | {each.name: each for each in (NEUTRAL, ALONE)}
    if kind not in known:
        raise InputError(f"`kind` is {kind!r}; known kinds: {', '.join(known)}")
    return known[kind]


def _any_kind(rng: np.random.Generator, style: MotionStyle) -> Kind:
    if rng.random() < style.neutral:
        return NEUTRAL if rng.random() < 0.75 else ALONE
    spoken = [*RELATIONS.values(), *PHYSICS.values()]
    return spoken[rng.integers(len(spoken))]


def _draw(rng: np.random.Generator, kind: Kind, names: Sequence[str]) -> Draft:
    """Draw until the motion lies in the picture and shows what its name says."""
    for _ in range(_TRIALS):
        draft = kind.draw(rng, names, kind.sample_sizes(rng))
        if not kind.gravity:
            draft = place(rng, draft, kind.tilt)
            if draft is None:
                continue
        scene = make_scene(kind.name, draft, names)
        if lies_inside(scene.movers, LEAVES_BY) and _holds_clearly(kind, scene):
            return draft
    raise InputError(
        f"no {kind.name!r} of {tuple(names)} fits the picture in {_TRIALS} trials; "
        "take other nouns or another seed"
    )


def _holds_clearly(kind: Kind, scene: MotionScene) -> bool:
    """Whether a motion still holds if it were read a little wrong, in way or in size."""
    tracks = true_tracks(scene, FRAMES)
    return all(
        kind.holds([replace(t, path=t.path * way, size=t.size * size) for t in tracks])
        for way, size in _MISREADINGS
    )


def draw_ground(rng: np.random.Generator) -> tuple[tuple[int, ...], str]:
    """Draw a colour of the ground, 8-bit RGB, and give it with its name."""
    name = list(GROUNDS)[rng.integers(len(GROUNDS))]
    return tuple(int(np.clip(c + rng.integers(-8, 9), 0, 255)) for c in GROUNDS[name]), name


def make_scene(
    kind: str,
    draft: Draft,
    names: Sequence[str],
    ground: tuple[int, ...] = (0, 0, 0),
    ground_name: str = "",
) -> MotionScene:
    """Dress a draft of a kind with nouns and a ground."""
    return MotionScene(
        kind,
        draft.movers(names),
        ground,
        ground_name,
        draft.floor,
        draft.slope,
        draft.pivot,
        draft.gravity,
        draft.contacts,
    )


def _caption(rng: np.random.Generator, kind: Kind, scene: MotionScene, style: MotionStyle) -> str:
    """Fill a text of the kind with nouns, and add what the style wants told."""
    text = kind.texts[rng.integers(len(kind.texts))] if kind.texts else "{0} {{}} {1}"
    text = text.format(*(_phrase(rng, name, style) for name in scene.names))
    if kind.name in _DIRECTED and rng.random() < style.told_way:
        ways = np.diff(scene.trajectories(2)[:, :, 0], axis=1)[:, 0]
        text = f"{text} to the {'right' if ways[np.abs(ways).argmax()] > 0 else 'left'}"
    if rng.random() < style.told_medium:
        text = f"a video of {text}"
    if rng.random() < style.told_ground:
        text = f"{text}, {scene.ground_name} background"
    return text


def _phrase(rng: np.random.Generator, name: str, style: MotionStyle) -> str:
    article = "an" if name[0] in "aeiou" else "a"
    return f"{'the' if rng.random() < style.definite else article} {name}"


def annotate(scene: MotionScene, caption: str, frames: int = FRAMES) -> dict[str, Any]:
    """Describe a clip for JSON: what moves how, what touches what, with which gravity.

    Returns:
        `kind`, `caption`, `background`, `gravity`, `floor`, `contacts` (time, first, second) and
        `objects`, each with `name`, `size` and `trajectory`, a list of (x, y) per frame.
    """
    return {
        "kind": scene.kind,
        "caption": caption,
        "background": scene.ground_name,
        "gravity": scene.gravity,
        "floor": scene.floor,
        "contacts": [[touch.time, touch.first, touch.second] for touch in scene.contacts],
        "objects": [
            {"name": mover.name, "size": mover.size, "trajectory": path.tolist()}
            for mover, path in zip(scene.movers, scene.trajectories(frames), strict=True)
        ],
    }


def vocabulary() -> tuple[str, ...]:
    """Return every word that captions use, sorted."""
    kinds = (*RELATIONS.values(), *PHYSICS.values(), NEUTRAL, ALONE)
    texts = [text for kind in kinds for text in kind.texts]
    fields = [word for text in texts for word in text.split() if "{" not in word]
    extra = "a an the to right left video of , background".split()
    words = {*OBJECTS, *GROUNDS, *fields, *extra}
    return tuple(sorted(words))
