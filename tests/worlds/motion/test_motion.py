"""The motion world: drawing, saying and moving agree."""

import json

import numpy as np
import pytest

from visionrel.errors import InputError
from visionrel.worlds.motion import (
    FRAMES,
    HELD_OUT,
    KINDS,
    OBJECTS,
    PHYSICS,
    PLAIN,
    RELATIONS,
    annotate,
    find_kind,
    render_clip,
    render_masks,
    sample_motion,
    vocabulary,
)
from visionrel.worlds.motion.scene import APPEARANCES, lies_inside
from visionrel.worlds.motion.tracks import true_tracks


def draw(kind, count: int = 6, seed: int = 0):
    rng = np.random.default_rng([seed, len(kind)])
    return [sample_motion(rng, kind, style=PLAIN)[0] for _ in range(count)]


@pytest.mark.parametrize("name", KINDS)
def test_every_sampled_motion_holds_inside_the_picture_and_is_no_other(name):
    for scene in draw(name):
        assert lies_inside(scene.movers, 0.03)
        for other, kind in KINDS.items():
            if len(kind.roles) == len(scene.movers):
                assert kind.holds(true_tracks(scene)) == (other == name), other


@pytest.mark.parametrize("name", [n for n in KINDS if len(KINDS[n].roles) == 2])
def test_roles_matter_where_the_caption_tells_them_apart(name):
    mutual = ("meet", "hug", "part", "pass_by", "dance", "rebound", "seesaw")
    for scene in draw(name):
        assert KINDS[name].holds(true_tracks(scene)[::-1]) == (name in mutual)


@pytest.mark.parametrize("name", OBJECTS)
def test_every_noun_can_fall_fly_and_swing(name):
    rng = np.random.default_rng(2)
    for kind in ("drop", "throw", "pendulum"):
        assert sample_motion(rng, kind, (name,))[0].names == (name,)


def test_equal_seeds_give_equal_clips_and_other_seeds_others():
    clips = []
    for seed in (3, 3, 4):
        scene, caption = sample_motion(np.random.default_rng(seed))
        clips.append((caption, render_clip(scene, 24, 5).tobytes()))
    assert clips[0] == clips[1] != clips[2]


def test_clip_and_masks_have_the_shape_asked_for():
    scene = draw("hand_over", 1)[0]
    clip, masks = render_clip(scene), render_masks(scene, 32, 9)
    assert clip.shape == (FRAMES, 48, 48, 3) and clip.dtype == np.uint8
    assert masks.shape == (3, 9, 32, 32) and masks.dtype == bool
    assert masks.any(axis=(2, 3)).all(), "every object is seen in every frame"
    assert (masks.sum(axis=0) <= 1).all(), "what is hidden does not count"


def test_masks_cover_where_the_picture_differs_from_the_ground():
    scene = draw("chase", 1)[0]
    clip, masks = render_clip(scene), render_masks(scene)
    differs = np.abs(clip.astype(int) - scene.ground).max(axis=-1) > 60
    # A pixel that an object covers by less than half may still differ.
    assert (differs & ~masks.any(axis=0)).sum() < 0.1 * differs.sum()


def test_frames_span_the_same_time_whatever_their_number():
    scene = draw("orbit", 1)[0]
    few, many = scene.trajectories(5), scene.trajectories(17)
    assert np.allclose(few, many[:, ::4])
    assert np.array_equal(render_clip(scene, 24, 5), render_clip(scene, 24, 17)[::4])


def test_captions_use_the_vocabulary_and_never_name_a_held_out_relation():
    words = set()
    for seed in range(200):
        words |= set(sample_motion(np.random.default_rng(seed))[1].replace(",", " ,").split())
    assert words <= set(vocabulary())
    assert len(set(vocabulary()) - words) < 16
    assert not set(vocabulary()) & {"dance", "dances", "rebound", "seesaw", "tow", "tows"}


@pytest.mark.parametrize("name", HELD_OUT)
def test_a_held_out_relation_leaves_its_place_open(name):
    caption = sample_motion(np.random.default_rng(0), name, ("cat", "dog"), PLAIN)[1]
    assert caption == "a cat {} a dog"


def test_spoken_kinds_have_several_wordings():
    for kind in (*RELATIONS.values(), *PHYSICS.values()):
        assert len(set(kind.texts)) >= 2
        assert kind.tilt == 0 or not kind.gravity


def test_bad_arguments_name_what_is_known():
    with pytest.raises(InputError, match="known kinds: chase"):
        find_kind("explode")
    wrong = [("chase", ("cat",)), ("chase", ("cat", "cat")), ("drop", ("unicorn",))]
    for kind, names in [*wrong, ("hand_over", ("cat", "box", "dog"))]:
        with pytest.raises(InputError, match=r"takes distinct nouns for \d places: "):
            sample_motion(np.random.default_rng(0), kind, names)


def test_annotations_are_json_and_tell_gravity_and_contacts():
    rng = np.random.default_rng(1)
    scene, caption = sample_motion(rng, "drop", ("ball",), PLAIN)
    record = json.loads(json.dumps(annotate(scene, caption)))
    assert record["kind"] == "drop" and 1.5 < record["gravity"] < 3.5
    assert len(record["objects"][0]["trajectory"]) == FRAMES
    assert record["contacts"][0][1:] == [0, "floor"]
    assert annotate(*sample_motion(rng, "chase"))["gravity"] == 0


def test_what_falls_falls_with_the_gravity_of_the_annotation():
    for scene in draw("drop", 4):
        hit = scene.contacts[0].time
        times = np.arange(65) / 32
        before = times < hit - 0.05
        height = scene.movers[0].path[before, 1]
        bend = 2 * np.polyfit(times[before], height, 2)[0]
        assert bend == pytest.approx(scene.gravity, rel=0.03)


def test_names_of_objects_are_those_of_the_captions():
    assert set(OBJECTS) <= set(APPEARANCES)
    assert 6 <= len(OBJECTS) <= 10
