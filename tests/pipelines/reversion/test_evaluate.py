import json
from dataclasses import replace

import numpy as np
import pytest

from tests.toys import toy_folder
from visionrel.errors import InputError
from visionrel.pipelines.reversion import evaluate as module
from visionrel.pipelines.reversion.config import _SMALL_BASE, EvaluateConfig
from visionrel.pipelines.reversion.evaluate import evaluate
from visionrel.pipelines.reversion.studio import Scores, Studio
from visionrel.worlds.scenes import HELD_OUT, Judge, Verdict
from visionrel.worlds.scenes.reader import SceneReader


@pytest.fixture(autouse=True)
def untrained_judge(monkeypatch):
    judge = Judge(SceneReader())
    monkeypatch.setattr(Judge, "load", staticmethod(lambda: judge))


def make_config(folder, **changes) -> EvaluateConfig:
    settings = {
        "output_dir": folder / "out",
        "base": str(toy_folder()),
        "relations": ("diagonal", "riding"),
        "variants": ("reversion", "textual_inversion", "initialiser", "nearest_words"),
        "seeds": 2,
        "exemplars": 3,
        "pairs": 3,
        "max_train_steps": 1,
        "num_inference_steps": 1,
        "reference_inference_steps": 2,
        "vocabulary_prompts": 3,
        "judge_scenes": 4,
        "device": "cpu",
    }
    return EvaluateConfig(**(settings | changes))


def test_writes_cells_report_and_docs_and_does_nothing_twice(tmp_path, monkeypatch):
    config = make_config(tmp_path, docs_dir=tmp_path / "docs")
    report = evaluate(config)
    cells = {path.stem for path in (config.output_dir / "cells").glob("*.json")}
    assert len(cells) == 2 * 2 * 4 + 3 + 1  # comparison, base twice and judge, settings
    assert "diagonal-reversion-seed1" in cells and "vocabulary-2-steps" in cells

    columns = report.tables[0].columns
    assert columns == (
        *("variant", "relation right", "both objects found", "cannot tell", "ReVersion minus it"),
    )
    assert [row[0] for row in report.tables[0].rows] == [
        *("ReVersion", "textual inversion", "initialiser word", "nearest known words"),
    ]
    assert len(report.claims) == 3 and report.claims[-1].verdict == "not measured here"
    judged = report.tables[-1]
    assert judged.title == "The judge's own errors on 4 fresh scenes"
    assert [row[2] for row in judged.rows] == [4, 1, 1, 1, 1]
    assert sum(row[4] for row in judged.rows[1:]) <= 4
    text = (tmp_path / "docs" / "results.md").read_text()
    assert "## ReVersion" in text and "figures/reversion_relation.png" in text
    assert "evaluate reversion --base" in text and "--relations diagonal riding --variants" in text
    assert "ReVersion from the word 'and', ReVersion without steering" in text
    for name in ("relation", "entities", "vocabulary", "samples_reversion"):
        assert (tmp_path / "docs" / "figures" / f"reversion_{name}.png").is_file()

    def fail(*_arguments, **_settings):
        raise AssertionError("a finished cell was made again")

    monkeypatch.setattr(Studio, "draw", fail)
    monkeypatch.setattr(Studio, "learn", fail)
    again = evaluate(config)
    assert again.to_dict() == report.to_dict()
    fewer = evaluate(make_config(tmp_path, relations=("riding",), seeds=1))
    assert len(fewer.tables[1].rows) == 1
    assert {claim.verdict for claim in fewer.claims[:-1]} == {"undecided"}
    with pytest.raises(InputError, match="`pairs` was 3, is 4"):
        evaluate(make_config(tmp_path, pairs=4))


def test_an_interrupted_run_keeps_what_it_finished(tmp_path, monkeypatch):
    config = make_config(
        tmp_path, variants=("reversion",), seeds=1, vocabulary_prompts=0, judge_scenes=0
    )
    draw, learned = Studio.draw, []
    learn = Studio.learn
    monkeypatch.setattr(
        Studio, "learn", lambda *values: learned.append(values[2].stem) or learn(*values)
    )

    def stop(*_values):
        raise KeyboardInterrupt

    monkeypatch.setattr(Studio, "draw", stop)
    with pytest.raises(KeyboardInterrupt):
        evaluate(config)
    monkeypatch.setattr(Studio, "draw", draw)
    evaluate(config)
    assert learned == ["diagonal-reversion-seed0", "riding-reversion-seed0"]


def test_variants_are_compared_on_the_same_noise(tmp_path):
    """With no step taken, all learned variants are the initialiser word: equal pictures."""
    studio = Studio(str(toy_folder()), "cpu", 1)
    prompts = ["a cat and a dog", "a dog and a cat"]
    first, second = studio.draw(prompts, seed=1), studio.draw(prompts, seed=1)
    other = studio.draw(prompts, seed=2)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not np.array_equal(first[0], other[0])
    assert not np.array_equal(first[0], studio.draw(prompts, seed=1, reference_steps=2)[0])


def test_cannot_tell_and_missing_objects_count_as_wrong():
    scores = Scores.of(
        [
            Verdict(True, True, True),
            Verdict(True, True, False),
            Verdict(True, False, True),
            Verdict(True, True, True, cannot_tell=True),
        ]
    )
    assert (scores.entities, scores.relation) == ([1, 1, 0, 1], [1, 0, 0, 0])
    assert scores.unclear == [0, 0, 0, 1] and scores.accuracy == 0.25


def test_unseen_pairs_are_not_among_the_exemplars(tmp_path):
    run = module._Evaluation(make_config(tmp_path, pairs=100))
    captions = json.loads((run._exemplars(HELD_OUT["diagonal"]) / "text.json").read_text())
    seen = {templates[0] for templates in captions.values()}
    asked = {module.Phrase("{}").fill(*pair) for pair in run.pairs}
    assert len(seen) == 3 and len(asked) == 100 and not seen & asked


@pytest.mark.parametrize("name", ["seeds", "pairs", "exemplars"])
def test_numbers_below_one_are_refused(tmp_path, name):
    with pytest.raises(InputError, match=f"`{name}` must be at least 1, got 0"):
        evaluate(make_config(tmp_path, **{name: 0}))
    assert not (tmp_path / "out").exists()


def test_equal_numbers_of_steps_are_refused(tmp_path):
    with pytest.raises(InputError, match="`reference_inference_steps` is 1 as"):
        evaluate(make_config(tmp_path, reference_inference_steps=1))


def test_scores_of_another_judge_are_not_mixed_in(tmp_path, monkeypatch):
    module._Evaluation(make_config(tmp_path))
    judge = replace(module.load_manifest()["scenes-judge"], files={})
    monkeypatch.setattr(module, "load_manifest", lambda: {"scenes-judge": judge})
    with pytest.raises(InputError, match="judge"):
        module._Evaluation(make_config(tmp_path))


def test_scores_of_other_training_defaults_are_not_mixed_in(tmp_path, monkeypatch):
    module._Evaluation(make_config(tmp_path))
    monkeypatch.setitem(_SMALL_BASE, "learning_rate", 2e-3)
    with pytest.raises(InputError, match=r"`train learning_rate` was 0\.001, is 0\.002"):
        module._Evaluation(make_config(tmp_path))
