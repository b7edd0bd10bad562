import numpy as np
import pytest

from visionrel.errors import InputError
from visionrel.pipelines.reversion.comparison import (
    VARIANTS,
    Phrase,
    choose_relations,
    choose_variants,
    nearest_words,
)
from visionrel.pipelines.reversion.config import TrainConfig
from visionrel.worlds.scenes import HELD_OUT, PLAIN, RELATIONS, sample_scene, vocabulary


@pytest.mark.parametrize(
    ("relation", "expected"),
    [
        ("diagonal", "a A above and right of a B"),  # a direction
        ("hanging_from", "a A upside down just below a B"),  # a turn of the subject
        ("looming_over", "a big A just above a small B"),  # a ratio of sizes
    ],
)
def test_nearest_words_say_what_the_relation_demands(relation, expected):
    assert str(nearest_words(HELD_OUT[relation])[0]) == expected


def test_a_tilt_leans_to_the_side_where_the_other_stands():
    phrases = [str(phrase) for phrase in nearest_words(HELD_OUT["leaning_on"])]
    assert "a A tilted right just left of a B" in phrases
    assert not any("tilted left just left" in phrase for phrase in phrases)


@pytest.mark.parametrize("relation", HELD_OUT.values(), ids=HELD_OUT)
def test_phrases_use_the_vocabulary_of_the_world(relation):
    known = set(vocabulary())
    for phrase in nearest_words(relation, samples=20):
        assert set(phrase.fill("owl", "cat").split()) <= known


def test_articles_follow_the_next_word():
    assert Phrase("<R>").fill("owl", "apple") == "an owl <R> an apple"
    assert Phrase("on", ("small", ""), ("", "lying")).fill("owl", "cat") == (
        "a small owl on a cat lying"
    )


def test_variants_switch_parts_of_the_method_off():
    made = {
        name: TrainConfig(train_data_dir="x", **variant.settings)
        for name, variant in VARIANTS.items()
        if variant.settings is not None
    }
    parts = {
        name: (c.steer_weight > 0, c.importance_sampling, c.initializer_token, c.max_train_steps)
        for name, c in made.items()
    }
    assert parts == {
        "reversion": (True, True, None, None),
        "textual_inversion": (False, False, "and", None),
        "long_textual_inversion": (False, False, "and", 200),
        "no_prior": (True, True, "and", None),
        "no_steering": (False, True, None, None),
        "no_focal": (True, False, None, None),
    }


def test_none_given_means_all_and_unknown_ones_are_refused():
    assert list(choose_relations(())) == list(HELD_OUT) and len(HELD_OUT) >= 6
    assert list(choose_variants(("no_focal", "reversion"))) == ["no_focal", "reversion"]
    with pytest.raises(InputError, match=r"`relations` has no 'above'; choose among diagonal"):
        choose_relations(("above",))
    with pytest.raises(InputError, match="`variants`"):
        choose_variants(("reversed",))


def test_held_out_relations_are_not_what_words_already_give():
    """If a spoken relation lay inside a held-out one, there would be nothing to learn."""
    rng = np.random.default_rng(0)
    for spoken in RELATIONS.values():
        scenes = [sample_scene(rng, spoken, style=PLAIN)[0].objects for _ in range(50)]
        for held in HELD_OUT.values():
            assert np.mean([held.holds(first, second) for first, second in scenes]) < 0.95
