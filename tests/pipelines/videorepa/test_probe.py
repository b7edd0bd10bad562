from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch

from tests.pipelines.videorepa.test_evaluate import make_config
from tests.pipelines.videorepa.toys import FRAMES, SIZE
from visionrel.pipelines.videorepa.evaluate import evaluate
from visionrel.pipelines.videorepa.probe import answer
from visionrel.pipelines.videorepa.questions import (
    ALIKE,
    Question,
    draw_questions,
    render_questions,
)
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


def test_the_probe_is_measured_once_and_reported(tmp_path):
    config = make_config(tmp_path, probe=True, probe_clips=8, docs_dir=tmp_path / "docs")
    report = evaluate(config)
    assert [row[0].split()[0] for row in report.tables[0].rows] == ["teacher", "base", "pixels,"]
    assert sum(row[1] for row in report.tables[1].rows) == 8
    assert "8 clips of two bodies, simulated" in report.summary
    assert "--probe --" in report.summary and report.summary.endswith("--probe_clips 8`.")
    assert [path.name for path in tmp_path.rglob("report.md")] == ["report.md"]
    assert next(tmp_path.rglob("report.md")).parent.name == "probe-report"
    assert "begin videorepa-probe" in (tmp_path / "docs" / "results.md").read_text()
    assert (config.output_dir / "probe" / "contacts.json").is_file()
    assert evaluate(config).to_dict() == report.to_dict()
