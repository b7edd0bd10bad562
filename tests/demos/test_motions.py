"""Every spoken motion is found in its own captions, and nothing in others."""

import numpy as np
import pytest

from visionrel.demos.motions import find_motion, mark
from visionrel.worlds.motion import PHYSICS, PLAIN, RELATIONS, Laws, Verdict, sample_motion


@pytest.mark.parametrize("kind", [*RELATIONS, *PHYSICS])
def test_captions_of_the_world_are_understood(kind):
    rng = np.random.default_rng(0)
    for _ in range(6):
        scene, caption = sample_motion(rng, kind, style=PLAIN)
        found = find_motion(f"A video of {caption}, white background")
        assert found.kind == kind and set(found.names) == set(scene.names)
        if kind != "topple":  # its boxes are not named
            assert found.names == scene.names


@pytest.mark.parametrize(
    "prompt",
    [
        "a street at night",
        "a ball",
        "a cat and a dog",
        "a zebra chases a dog",
        "a cat chases a cat",  # two of a kind cannot be told apart
        "a ball chases a dog",  # no noun of this place
    ],
)
def test_other_prompts_state_nothing(prompt):
    assert find_motion(prompt) is None


def test_marks_say_what_is_wrong():
    good, jumps = Laws(True, True, True), Laws(True, False, True, energy=False)
    assert mark(Verdict((True,), True, good)) == "✓ motion holds"
    assert mark(Verdict((True,), True, jumps)) == (
        "✗ motion holds, not physical (laws broken: continuous, energy)"
    )
    assert mark(Verdict((True, False), False, None)) == "✗ object not found"
    assert mark(Verdict((True,), False, good, cannot_tell=True)) == "? cannot tell"
