from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch

from tests.pipelines.videorepa.test_evaluate import make_config
from tests.pipelines.videorepa.toys import FRAMES, SIZE
from visionrel.errors import InputError
from visionrel.pipelines.videorepa.comparison import VARIANTS
from visionrel.pipelines.videorepa.evaluate import evaluate
from visionrel.pipelines.videorepa.probe import choose_probed
from visionrel.pipelines.videorepa.probe_findings import PARTS, ProbeFindings, probe_report
from visionrel.pipelines.videorepa.questions import (
    ALIKE,
    Question,
    draw_questions,
    render_questions,
)
from visionrel.pipelines.videorepa.ridge import answer
from visionrel.pipelines.videorepa.studio import Studio
from visionrel.worlds.motion import DURATION, PHYSICS
from visionrel.worlds.motion.encounters import ENCOUNTERS, first_touch


@pytest.fixture(scope="module")
def questions() -> list[Question]:
    return draw_questions(200, (0,), 17)


def best_guess(questions, clue) -> float:
    """Share right of whoever knows the clue and its most frequent answer."""
    counts = Counter((clue(question), question.touches) for question in questions)
    right = (max(counts[known, True], counts[known, False]) for known in {key[0] for key in counts})
    return sum(right) / len(questions)


def test_all_questions_are_about_physics(questions):
    assert len(questions) == 200
    assert {question.scene.kind for question in questions} == {*ENCOUNTERS} <= {*PHYSICS}
    assert all(question.scene.gravity > 0 for question in questions)
    for question in questions:
        time = first_touch(question.scene)
        assert question.touches == (time is not None)
        assert time is None or question.last * DURATION / 16 < time


def test_neither_kind_nor_moment_nor_distance_tells_the_answer(questions):
    for kind in ENCOUNTERS:
        touches = [each.touches for each in questions if each.scene.kind == kind]
        assert sum(touches) * 2 == len(touches) == 40
    assert best_guess(questions, lambda each: each.scene.kind) <= 0.55
    assert best_guess(questions, lambda each: (each.scene.kind, each.last)) <= 0.55
    gaps = [np.mean([each.gap for each in questions if each.touches == yes]) for yes in (0, 1)]
    assert abs(gaps[0] - gaps[1]) < ALIKE


def test_both_halves_hold_both_answers(questions):
    halves = [sum(each.touches for each in part) for part in (questions[:100], questions[100:])]
    assert max(halves) <= 65


def test_clips_hold_still_where_they_stop():
    found = draw_questions(6, (1,), FRAMES)
    clips = render_questions(found, SIZE, FRAMES)
    assert clips.shape == (6, FRAMES, 3, SIZE, SIZE)
    for question, clip in zip(found, clips, strict=True):
        moves = [bool((one != two).any()) for one, two in pairwise(clip)]
        assert any(moves[: question.last]) and not any(moves[question.last :])


@pytest.mark.parametrize("parts", [2, 4])
def test_answers_follow_from_pairs_of_features(parts):
    """The label is a product of two values, which no line through the features can read."""
    features = torch.randn(200 * parts, 6, generator=torch.Generator().manual_seed(0))
    labels = (features[:, 0] * features[:, 1] > 0).long()
    right = answer(features, labels, parts)
    assert len(right) == len(labels) and np.mean(right) > 0.8
    noise = torch.randint(2, labels.shape, generator=torch.Generator().manual_seed(1))
    assert abs(np.mean(answer(features, noise, parts)) - 0.5) < 0.12


def test_each_part_is_answered_by_the_part_before():
    """The middle part says the opposite of the others: who learns from it is always wrong."""
    features = torch.randn(300, 6, generator=torch.Generator().manual_seed(0))
    labels = (features[:, 0] > 0).long()
    labels[100:200] = 1 - labels[100:200]
    shares = [np.mean(part) for part in np.split(np.array(answer(features, labels, 3)), 3)]
    assert shares[0] > 0.8 and shares[1] < 0.2 and shares[2] < 0.2


def test_the_probe_is_measured_once_and_reported(tmp_path, monkeypatch):
    config = make_config(
        tmp_path, probe=True, probe_clips=8, variants=(), docs_dir=tmp_path / "docs"
    )
    report = evaluate(config)
    by_fitted, by_kind = report.tables
    assert [row[0] for row in by_fitted.rows[1:]] == [
        f"base `{config.base}`, the aligned block",
        "the same block after plain fine-tuning",
        "the same block after VideoREPA",
        "pixels, every fourth",
    ]
    assert sum(row[1] for row in by_kind.rows) == 8
    assert len(report.claims) == 3 * len(PARTS)
    # Two seeds decide nothing.
    assert {claim.verdict for claim in report.claims[len(PARTS) :]} == {"undecided"}
    assert "8 clips of two bodies, simulated" in report.summary
    assert "saw 2 clips of the world for 1 steps of 1" in report.summary
    assert "--probe --" in report.summary and report.summary.endswith("--probe_clips 8`.")
    assert [path.name for path in tmp_path.rglob("report.md")] == ["report.md"]
    assert next(tmp_path.rglob("report.md")).parent.name == "probe-report"
    assert "begin videorepa-probe" in (tmp_path / "docs" / "results.md").read_text()
    cells = {path.stem for path in (config.output_dir / "probe").glob("*.json")}
    trained = {f"{name}-seed{seed}" for name in ("finetune", "videorepa") for seed in (0, 1)}
    assert cells == {"settings", "kinds", "teacher", "base", "pixels"} | trained
    assert not list((config.output_dir / "probe" / "learned").iterdir())

    def fail(*_arguments, **_settings):
        raise AssertionError("a finished cell was made again")

    monkeypatch.setattr(Studio, "learn", fail)
    monkeypatch.setattr("visionrel.pipelines.videorepa.probe.draw_questions", fail)
    assert evaluate(config).to_dict() == report.to_dict()


def test_variants_that_train_nothing_are_not_probed():
    assert list(choose_probed(())) == ["finetune", "videorepa"]
    assert list(choose_probed(("base", "repa", "static"))) == ["repa"]
    with pytest.raises(InputError, match="`variants` has no 'best'"):
        choose_probed(("best",))


def test_differences_are_paired_over_seeds_and_clips():
    """What is fixed stands beside every seed of what was trained."""
    right, wrong = {"8": [1, 1, 1, 0], "2": [1, 0, 1, 1]}, {"8": [0, 0, 0, 0], "2": [1, 0, 1, 1]}
    found = ProbeFindings({"videorepa": [right, wrong, wrong], "base": [wrong]}, list("abab"))
    assert found.gain("videorepa", "base", 8).estimate == pytest.approx(0.25)
    assert str(found.gain("videorepa", "base", 2)) == "0.000 [0.000, 0.000]"
    assert found.outcomes("base", 2, "a").tolist() == [[1, 1]] and found.fitted(2) == 2


def test_a_claim_holds_from_three_seeds_on(tmp_path):
    config = make_config(tmp_path, seeds=3)
    right, wrong = ({str(parts): [value] * 16 for parts in PARTS} for value in (1, 0))
    answers = {"teacher": [right], "base": [wrong], "pixels": [wrong], "videorepa": [right] * 3}
    labels = {"videorepa": VARIANTS["videorepa"].label}
    report = probe_report(answers, ["drop"] * 16, labels, config, "visionrel")
    assert [claim.verdict for claim in report.claims] == ["holds"] * 4
    assert "plain fine-tuning" not in report.to_markdown()
    alone = {name: answers[name] for name in ("teacher", "base", "pixels")}
    report = probe_report(alone, ["drop"] * 16, {}, config, "visionrel")
    assert len(report.claims) == 2 and "What was trained" not in report.summary
