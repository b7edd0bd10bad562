"""Two bodies that physics brings together or not."""

import numpy as np
import pytest

from visionrel.worlds.motion import PHYSICS, render_clip
from visionrel.worlds.motion.encounters import ENCOUNTERS, first_touch, sample_encounter
from visionrel.worlds.motion.scene import lies_inside
from visionrel.worlds.motion.tracks import reach, true_tracks


def draw(kind: str, count: int = 30):
    rng = np.random.default_rng([5, len(kind)])
    return [sample_encounter(rng, kind) for _ in range(count)]


@pytest.mark.parametrize("kind", ENCOUNTERS)
def test_gravity_pulls_two_bodies_that_meet_or_do_not(kind):
    scenes = draw(kind)
    assert kind in PHYSICS and all(scene.kind == kind for scene in scenes)
    assert all(scene.gravity > 1.5 and len({*scene.names}) == 2 for scene in scenes)
    assert all(lies_inside(scene.movers, 0.03) for scene in scenes)
    touched = [first_touch(scene) is not None for scene in scenes]
    assert 0.2 <= np.mean(touched) <= 0.9


@pytest.mark.parametrize("kind", ENCOUNTERS)
def test_they_are_near_when_they_touch_and_apart_before(kind):
    for scene in draw(kind, 10):
        if (time := first_touch(scene)) is not None:
            gaps = reach(*true_tracks(scene, 65))
            # Boxes may meet corner to corner.
            assert gaps[min(round(time * 32), 64)] <= 1.45
            assert gaps[0] > gaps[min(round(time * 32), 64)]


def test_equal_seeds_give_equal_scenes():
    one, two = (sample_encounter(np.random.default_rng(1), "throw") for _ in "ab")
    assert np.array_equal(render_clip(one, 24, 5), render_clip(two, 24, 5))
