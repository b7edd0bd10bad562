"""The judge of the motion world reads clips back, and is not fooled by controls."""

from dataclasses import asdict, replace

import numpy as np
import pytest

from visionrel.errors import InputError
from visionrel.worlds.motion import KINDS, PHYSICS, PLAIN, render_clip, sample_motion
from visionrel.worlds.motion.judge import judge_clip, judge_reading, measure_errors
from visionrel.worlds.motion.rendering import proportions
from visionrel.worlds.motion.scene import DURATION, SAMPLES
from visionrel.worlds.motion.tracking import Reading, read_clip
from visionrel.worlds.motion.tracks import true_tracks


def draw(kind: str, seed: int = 0):
    scene = sample_motion(np.random.default_rng([11, seed]), kind, style=PLAIN)[0]
    return scene, render_clip(scene)


@pytest.mark.parametrize(
    ("clips", "seed"), [(6, 5), pytest.param(40, 9, marks=pytest.mark.slow, id="documented")]
)
def test_motions_are_affirmed_and_others_denied(clips, seed):
    """The documented errors are 0.8, 0.0 and 0.5 %; the second case is the documented run."""
    errors = measure_errors(KINDS, clips, seed)
    assert np.mean([error.denied for error in errors]) <= 0.01
    assert np.mean([error.affirmed for error in errors]) <= 0.001
    assert np.mean([error.unphysical for error in errors]) <= 0.01


@pytest.mark.parametrize("kind", ["chase", "drop"])
def test_paths_are_read_to_a_pixel(kind):
    scene, clip = draw(kind)
    reading = read_clip(clip)
    assert set(reading.tracks) == set(scene.names)
    for name, path in zip(scene.names, scene.trajectories(), strict=True):
        error = np.linalg.norm(reading.tracks[name].path - path, axis=-1)
        assert error.mean() < 1 / 48 and error.max() < 2.5 / 48
    assert (reading.floor is not None) == (scene.floor is not None)
    if scene.floor is not None:
        assert reading.floor == pytest.approx((scene.floor, scene.floor), abs=0.03)


@pytest.mark.parametrize("kind", ["chase", "orbit", *PHYSICS])
def test_a_still_clip_neither_shows_a_motion_nor_obeys_a_law(kind):
    scene, clip = draw(kind)
    verdict = judge_clip(np.repeat(clip[:1], len(clip), axis=0), kind, scene.names)
    assert not verdict.holds and not verdict.physical and verdict.physics_score == 0


@pytest.mark.parametrize("kind", ["drop", "follow"])
def test_teleports_and_gaps_are_noticed(kind):
    scene, clip = draw(kind, 1)
    ground = np.full_like(clip[0], scene.ground)
    teleport = clip.copy()
    teleport[7:10] = np.roll(clip[7:10], 16, axis=2)
    assert not judge_clip(teleport, kind, scene.names).laws.continuous
    gap = clip.copy()
    gap[6:10] = (
        ground
        if scene.floor is None
        else np.where(np.arange(48)[:, None, None] / 48 < scene.floor, ground, clip[6:10])
    )
    assert not judge_clip(gap, kind, scene.names).laws.lasting


def test_a_fall_upside_down_or_backwards_or_at_constant_speed_is_not_physical():
    scene, clip = draw("drop", 2)
    assert judge_clip(clip, "drop", scene.names).physical
    assert not judge_clip(clip[::-1].copy(), "drop", scene.names).physical
    # The first fall only, played so that every frame goes equally far.
    path = scene.trajectories(65)[0, :, 1]
    hit = int(np.argmax(path))
    even = np.interp(np.linspace(path[0], path[hit], 17), path[: hit + 1], np.arange(hit + 1))
    fine = render_clip(scene, 48, 65)
    verdict = judge_clip(fine[np.round(even).astype(int)], "drop", scene.names)
    assert verdict.laws.falls is False


def broken_laws(scene) -> list[str]:
    laws = asdict(judge_clip(render_clip(scene), scene.kind, scene.names).laws)
    return [name for name, obeyed in laws.items() if obeyed is False]


@pytest.mark.parametrize("lower", [0.15, -0.1])
def test_turns_in_mid_air_and_sunken_objects_break_the_law_of_contacts_alone(lower):
    """The floor is drawn lower than the object bounces, or higher."""
    scene = draw("drop", 3)[0]
    assert not broken_laws(scene)
    assert broken_laws(replace(scene, floor=scene.floor + lower)) == ["contacts"]


@pytest.mark.parametrize(("share", "broken"), [(0.8, []), (1.25, ["energy"])])
def test_a_bounce_above_the_start_breaks_the_law_of_energy_alone(share, broken):
    """A fall from 0.35 to the floor, and up again with a share of the speed."""
    scene = draw("drop", 3)[0]
    gravity, mover = 2.4, scene.movers[0]
    height = scene.floor - proportions(mover.name)[1] * mover.size / 2 - 0.35
    times, hit = np.linspace(0, DURATION, SAMPLES), np.sqrt(2 * height / gravity)
    after = np.maximum(times - hit, 0)
    risen = np.maximum(share * gravity * hit * after - gravity / 2 * after**2, 0)
    y = 0.35 + np.where(times < hit, gravity / 2 * times**2, height - risen)
    path = np.stack([np.full(SAMPLES, 0.5), y], axis=1)
    assert broken_laws(replace(scene, movers=(replace(mover, path=path),))) == broken


def test_missing_objects_and_doubles_are_said():
    scene, clip = draw("chase", 3)
    absent = next(name for name in ("cat", "dog", "crab") if name not in scene.names)
    verdict = judge_clip(clip, "chase", (scene.names[0], absent))
    assert verdict.found == (True, False) and verdict.text == "object not found"
    assert verdict.physics_score == 0
    still, _ = sample_motion(np.random.default_rng(0), "roll", ("ball",), PLAIN)
    rolling = render_clip(still)
    twice = np.where(np.arange(48)[:, None, None] < 24, np.roll(rolling, -20, axis=1), rolling)
    assert judge_clip(twice.astype(np.uint8), "roll", ("ball",)).cannot_tell


def test_a_blurred_noisy_clip_is_still_read():
    scene, clip = draw("chase", 4)
    blurred = clip.astype(float)
    for axis in (1, 2):
        blurred = (np.roll(blurred, 1, axis) + 2 * blurred + np.roll(blurred, -1, axis)) / 4
    noise = np.random.default_rng(0).normal(0, 6, clip.shape)
    noisy = np.clip(blurred + noise, 0, 255).astype(np.uint8)
    assert judge_clip(noisy, "chase", scene.names).holds


def test_clips_of_other_sizes_and_lengths_are_read():
    scene, _ = draw("orbit", 5)
    assert judge_clip(render_clip(scene, 64, 25), "orbit", scene.names).holds


@pytest.mark.parametrize("frames", [33, 49])
def test_the_same_motion_in_more_frames_obeys_the_same_laws(frames):
    for kind in ("drop", "throw", "collide", "chase"):
        scene = sample_motion(np.random.default_rng(3), kind, style=PLAIN)[0]
        clips = (render_clip(scene, 48, count) for count in (17, frames))
        usual, longer = (judge_clip(clip, kind, scene.names) for clip in clips)
        assert longer == usual and longer.physical


@pytest.mark.parametrize("frames", [2, 3, 4])
def test_very_short_clips_are_judged(frames):
    for kind in KINDS:
        scene = sample_motion(np.random.default_rng(0), kind, style=PLAIN)[0]
        tracks = {track.name: track for track in true_tracks(scene, frames)}
        reading = Reading(tracks, frozenset(), scene.floor and (scene.floor, scene.floor))
        assert 0 <= judge_reading(reading, kind, scene.names).physics_score <= 1
    assert judge_clip(render_clip(scene, 48, frames), kind, scene.names)


def test_bad_arguments_are_refused():
    clip = draw("chase")[1]
    with pytest.raises(InputError, match="uint8"):
        read_clip(clip.astype(float))
    reading = read_clip(clip)
    with pytest.raises(InputError, match="distinct nouns"):
        judge_reading(reading, "chase", ("cat",))
    with pytest.raises(InputError, match="distinct nouns"):
        judge_reading(reading, "chase", ("cat", "unicorn"))
