"""The scenes world: drawing, saying and judging agree."""

import hashlib
import json
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest

from visionrel.data import read_exemplars
from visionrel.errors import InputError
from visionrel.worlds.scenes import (
    HELD_OUT,
    NEUTRAL,
    OBJECTS,
    PLAIN,
    RELATIONS,
    SceneObject,
    compounds,
    render,
    render_coverage,
    sample_scene,
    unseen_pairs,
    vocabulary,
    write_exemplars,
)
from visionrel.worlds.scenes.depth import order_shows, read_depths
from visionrel.worlds.scenes.exemplars import exemplar_pairs
from visionrel.worlds.scenes.fitting import fit_objects
from visionrel.worlds.scenes.judge import Judge, judge_objects
from visionrel.worlds.scenes.relations import TOLERANCE
from visionrel.worlds.scenes.rendering import load_sprite
from visionrel.worlds.scenes.scene import angle_between


ALL = RELATIONS | HELD_OUT


def draw_many(relation, count: int = 60, seed: int = 0):
    rng = np.random.default_rng(seed)
    return [sample_scene(rng, relation)[0] for _ in range(count)]


@pytest.mark.parametrize("name", ALL)
def test_every_sampled_scene_satisfies_its_relation(name):
    assert all(ALL[name].holds(*scene.objects) for scene in draw_many(ALL[name]))


@pytest.mark.parametrize("name", ALL)
def test_objects_stand_inside_the_picture(name):
    for scene in draw_many(ALL[name]):
        for item in scene.objects:
            low, high = item.size / 2 - 1e-9, 1 - item.size / 2 + 1e-9
            assert low <= item.x <= high and low <= item.y <= high


def test_compound_phrases_draw_what_they_say():
    for phrase, relation in list(compounds().items())[::7]:
        for scene in draw_many(relation, 5):
            assert relation.holds(*scene.objects), phrase
    assert set(" ".join(compounds()).split()) <= set(vocabulary())


def test_no_compound_comes_close_to_a_held_out_relation():
    named = compounds()
    assert not {"upside down just below", "lying beside", "toward against"} & named.keys()
    assert {"upside down above", "lying left of", "small before beside"} <= named.keys()


def test_fitting_mends_a_rough_reading():
    for relation in ("above", "behind", "inside", "hugging"):
        scene = draw_many(ALL[relation], 1)[0]
        rough = [
            replace(item, x=item.x + 0.02, size=item.size * 1.1, rotation=item.rotation + 9)
            for item in scene.objects
        ]
        for true, read in zip(
            scene.objects, fit_objects(np.asarray(render(scene)), rough), strict=True
        ):
            assert abs(true.x - read.x) < 0.015 and abs(true.y - read.y) < 0.015
            assert abs(true.size / read.size - 1) < 0.06
            assert abs(true.rotation - read.rotation) < 5


def test_fitting_finds_the_order_of_sprites_that_cover_each_other():
    for scene in draw_many(ALL["before"], 8):
        swapped = [replace(item, depth=1 - item.depth) for item in scene.objects]
        first, second = fit_objects(np.asarray(render(scene)), swapped)
        assert first.depth < second.depth


def test_a_doubtful_sprite_counts_if_drawing_it_explains_the_picture():
    for scene in draw_many(ALL["around"], 8):
        picture = np.asarray(render(scene))
        big, small = scene.objects
        rough = replace(small, x=small.x + 0.02, confidence=0.1)
        assert [item.name for item in fit_objects(picture, [big, rough])] == [
            big.name,
            small.name,
        ]
        alone = np.asarray(render(replace(scene, objects=(big,))))
        assert len(fit_objects(alone, [big, rough])) == 1
        elsewhere = replace(rough, x=(big.x + 0.5) % 1, y=(big.y + 0.5) % 1)
        assert len(fit_objects(alone, [big, elsewhere])) == 1


def test_a_sprite_read_in_a_wrong_pose_is_turned_and_dyed_back():
    for scene in draw_many(ALL["knocked_over_by"], 8):
        lying, other = scene.objects
        wrong = replace(lying, rotation=10.0, flip=not lying.flip, tint="red")
        read, _ = fit_objects(np.asarray(render(scene)), [wrong, other])
        # Mirrored or not: some sprites look the same both ways.
        assert read.tint == lying.tint
        assert angle_between(read.rotation, lying.rotation) < TOLERANCE["turn"]


def test_one_hidden_sprite_is_not_read_as_several_others():
    for scene in draw_many(ALL["behind"], 8):
        hidden, near = scene.objects
        names = [name for name in OBJECTS if name not in (hidden.name, near.name)][:2]
        parts = [replace(hidden, name=name, confidence=0.45) for name in names]
        read = fit_objects(
            np.asarray(render(scene)), [near, *parts, replace(hidden, confidence=0.2)]
        )
        assert [item.name for item in read] == [near.name, hidden.name]


def test_a_likely_sprite_stays_where_nothing_explains_the_picture():
    likely = replace(draw_many(ALL["above"], 1)[0].objects[0], confidence=0.4)
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    assert [item.name for item in fit_objects(noise, [likely])] == [likely.name]
    assert fit_objects(noise, [replace(likely, confidence=0.2)]) == []


@pytest.mark.parametrize("name", [name for name, each in ALL.items() if each.front])
def test_a_picture_shows_who_is_in_front_where_a_relation_needs_it(name):
    assert all(order_shows(*scene.objects) for scene in draw_many(ALL[name], 20))


def test_coverage_counts_only_what_is_seen():
    scene = draw_many(ALL["inside"], 1)[0]
    both, hidden = render_coverage(scene, 8)
    assert both.shape == hidden.shape == (2, 8, 8)
    assert both.min() >= 0 and both.sum(0).max() <= 1 + 1e-6
    first, second = (
        render_coverage(replace(scene, objects=(item,)), 8)[0][0] for item in scene.objects
    )
    np.testing.assert_array_equal(both[0], first)
    assert both[1].sum() < 0.95 * second.sum()
    assert hidden[0].max() == 0
    np.testing.assert_allclose(both[1] + hidden[1], second, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "opposite"),
    [("above", "below"), ("left", "right"), ("inside", "around"), ("before", "behind")],
)
def test_a_relation_does_not_hold_for_its_opposite(name, opposite):
    assert not any(ALL[name].holds(*scene.objects) for scene in draw_many(ALL[opposite]))


def test_directions_turns_and_depth_by_hand():
    low = SceneObject("dog", 0.5, 0.7, 0.3)
    high = SceneObject("cat", 0.5, 0.3, 0.3)
    assert ALL["above"].holds(high, low) and not ALL["above"].holds(low, high)
    leaning = SceneObject("cat", 0.4, 0.5, 0.3, rotation=-30)  # clockwise: to the right
    beside = SceneObject("dog", 0.62, 0.5, 0.3)
    assert ALL["leaning_on"].holds(leaning, beside)
    assert not ALL["leaning_on"].holds(replace(leaning, rotation=30), beside)
    near, far = replace(low, x=0.42, depth=0.0), replace(high, y=0.55, depth=1.0)
    assert ALL["before"].holds(near, far) and ALL["behind"].holds(far, near)


def test_equal_seeds_give_equal_scenes_and_other_seeds_others():
    first, again, other = (sample_scene(np.random.default_rng(s)) for s in (3, 3, 4))
    assert first == again != other
    assert render(first[0]).tobytes() == render(again[0]).tobytes()


def test_more_exemplars_than_pairs_are_refused():
    with pytest.raises(InputError, match="552 pairs exist"):
        exemplar_pairs(553, 0)


def test_captions_use_the_vocabulary_and_never_name_a_held_out_relation():
    rng = np.random.default_rng(0)
    words = {w for _ in range(2000) for w in sample_scene(rng)[1].replace(",", " ,").split()}
    assert words == set(vocabulary())
    assert not words & {part for name in HELD_OUT for part in name.split("_")} - {
        "on",
        "over",
        "by",
        "from",
    }


def test_a_held_out_relation_leaves_its_place_open():
    caption = sample_scene(np.random.default_rng(0), HELD_OUT["riding"], ("cat", "bus"))[1]
    assert caption.count("{}") == 1
    with pytest.raises(InputError, match="already name"):
        write_exemplars("nowhere-is-written", NEUTRAL, 1)


def test_the_atlas_is_the_licensed_one():
    folder = files("visionrel.worlds.scenes") / "sprites"
    digest = hashlib.sha256((folder / "atlas.png").read_bytes()).hexdigest()
    assert digest in (folder / "LICENSE.md").read_text()
    assert len(OBJECTS) >= 20
    assert len({load_sprite(name).tobytes() for name in OBJECTS}) == len(OBJECTS)


def test_exemplars_are_readable_and_repeatable(tmp_path):
    pairs = write_exemplars(tmp_path / "a", HELD_OUT["diagonal"], 6, seed=1)
    write_exemplars(tmp_path / "b", HELD_OUT["diagonal"], 6, seed=1)
    assert len(read_exemplars(tmp_path / "a")) == 6
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    captions = json.loads((tmp_path / "a" / "text.json").read_text())
    assert all("{}" in text for texts in captions.values() for text in texts)
    assert pairs == exemplar_pairs(6, 1)
    with pytest.raises(InputError, match="not empty"):
        write_exemplars(tmp_path / "a", HELD_OUT["diagonal"], 6)


def test_unseen_pairs_are_unseen_and_distinct():
    pairs = unseen_pairs(100, seed=2, exemplars=10)
    assert len(set(pairs)) == 100
    assert not set(pairs) & set(exemplar_pairs(10, 2))
    assert all(first != second for first, second in pairs)


def test_the_judge_says_cannot_tell_rather_than_guess():
    cat, dog = (
        SceneObject("cat", 0.4, 0.5, 0.3, depth=0.45),
        SceneObject("dog", 0.55, 0.5, 0.3, depth=0.55),
    )
    unsure = judge_objects([cat, dog], "cat", "dog", RELATIONS["before"])
    assert unsure.cannot_tell and not unsure.relation_holds
    doubled = judge_objects([cat, dog, replace(cat, x=0.9)], "cat", "dog", RELATIONS["left"])
    assert doubled.cannot_tell and doubled.entities_found
    missing = judge_objects([dog], "cat", "dog", RELATIONS["left"])
    assert (missing.subject_found, missing.object_found, missing.relation_holds) == (
        False,
        True,
        False,
    )
    assert missing.text == "subject not found"


@pytest.mark.parametrize(
    "name", ["above", "far left", "near", "diagonal", "tailing", "looming_over"]
)
def test_the_judge_reads_simple_relations_of_rendered_scenes(name):
    rng = np.random.default_rng([7, len(name)])
    scenes = [sample_scene(rng, ALL[name], style=PLAIN)[0] for _ in range(40)]
    subjects, objects = ([scene.objects[k].name for scene in scenes] for k in (0, 1))
    verdicts = Judge.load().verdicts([render(s) for s in scenes], subjects, objects, name)
    assert np.mean([verdict.relation_holds for verdict in verdicts]) >= 0.97
    swapped = Judge.load().verdicts([render(s) for s in scenes], objects, subjects, name)
    assert name == "near" or not any(verdict.relation_holds for verdict in swapped)


@pytest.mark.parametrize("name", ["around", "inside", "knocked_over_by"])
def test_the_judge_reads_sprites_that_are_covered_or_lie(name):
    scenes = draw_many(ALL[name], 20, seed=5)
    subjects, objects = ([scene.objects[k].name for scene in scenes] for k in (0, 1))
    verdicts = Judge.load().verdicts([render(s) for s in scenes], subjects, objects, name)
    assert np.mean([verdict.relation_holds for verdict in verdicts]) >= 0.85


def test_the_judge_sees_which_sprite_is_in_front():
    scene = draw_many(RELATIONS["before"], 1)[0]
    near, far = (replace(item, depth=0.5) for item in scene.objects)
    first, second = read_depths(np.asarray(render(scene)), [near, far])
    assert first.depth < 0.1 and second.depth > 0.9
    alone = read_depths(np.asarray(render(scene)), [near])
    assert alone == [near]
