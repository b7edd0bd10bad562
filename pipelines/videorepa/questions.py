"""Clips of two bodies that stop before a contact that comes or does not: will the two touch?

As in Physion's contact prediction, gravity, friction and the bodies' motion decide. Questions come
in pairs, one with a contact and one without, of one kind and stopped at the same frame with the
bodies about as far apart, so that neither kind nor moment nor distance tells the answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from visionrel.worlds.motion import DURATION, MotionScene, render_clip
from visionrel.worlds.motion.encounters import ENCOUNTERS, first_touch, sample_encounter
from visionrel.worlds.motion.tracks import reach, true_tracks


LEAD = (0.12, 0.6)
"""Seconds between what is shown and the contact, to which up to a frame is added."""
SEEN = 0.3
"""Least seconds that are shown."""
NEAR_MISS = 1.1
"""Bodies that do not touch stay farther apart than this, 1 is touching."""
ALIKE = 0.1
"""Greatest difference of the distances at which the two clips of a pair stop."""


@dataclass(frozen=True, eq=False)
class Question:
    """A scene that is shown up to a frame.

    Attributes:
        scene: Of two bodies.
        last: The last frame shown; nothing has touched yet.
        touches: Whether the two touch later.
        gap: Their distance then, 1 is touching.
    """

    scene: MotionScene
    last: int
    touches: bool
    gap: float


def draw_questions(count: int, seed: int | Sequence[int], frames: int) -> list[Question]:
    """Draws about as many questions of every kind, half of each kind with a contact.

    Args:
        count: How many; an odd one is rounded down.
        seed: Decides them.
        frames: Of a clip.
    """
    rng = np.random.default_rng(seed)
    pairs, kinds = count // 2, len(ENCOUNTERS)
    found = [
        question
        for index, kind in enumerate(ENCOUNTERS)
        for question in _draw_pairs(rng, kind, (pairs + kinds - 1 - index) // kinds, frames)
    ]
    # What is fitted and what is answered are parts of these.
    return [found[index] for index in rng.permutation(len(found))]


def render_questions(questions: Sequence[Question], side: int, frames: int) -> Tensor:
    """Draws clips that hold still from their last frame on.

    Returns:
        In [-1, 1], `(N, frames, 3, side, side)`.
    """
    clips = []
    for question in questions:
        clip = render_clip(question.scene, side, frames)
        clip[question.last + 1 :] = clip[question.last]
        clips.append(torch.from_numpy(clip).permute(0, 3, 1, 2).float() / 127.5 - 1)
    return torch.stack(clips)


def _draw_pairs(rng: np.random.Generator, kind: str, count: int, frames: int) -> Iterator[Question]:
    """Lets scenes with a contact wait until one without is alike at the frame of their stop."""
    waiting: list[Question] = []
    while count:
        scene = sample_encounter(rng, kind)
        gaps = reach(*true_tracks(scene, frames))
        if (time := first_touch(scene)) is not None:
            last = int((time - rng.uniform(*LEAD)) * (frames - 1) / DURATION)
            if last >= SEEN * (frames - 1) / DURATION:
                waiting.append(Question(scene, last, True, float(gaps[last])))
        elif twin := next((each for each in waiting if _is_alike(gaps, each)), None):
            waiting.remove(twin)
            yield twin
            yield Question(scene, twin.last, False, float(gaps[twin.last]))
            count -= 1


def _is_alike(gaps: np.ndarray, touch: Question) -> bool:
    """Whether bodies that never touch are as far apart as those, and have still to come nearer."""
    apart = gaps.min() > NEAR_MISS and gaps.argmin() > touch.last
    return bool(apart and abs(gaps[touch.last] - touch.gap) < ALIKE)
