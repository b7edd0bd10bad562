"""How often the judge is wrong, counted as the evaluation counts it."""

from collections import defaultdict
from statistics import fmean
from types import SimpleNamespace

import pytest

from visionrel.pipelines.reversion import evaluate
from visionrel.pipelines.reversion.evaluate import measure_judge
from visionrel.worlds.scenes import HELD_OUT, RELATIONS, Judge


@pytest.mark.parametrize(
    ("read", "missed"),
    [(lambda scene: list(scene.objects), 0), (lambda scene: [], 1)],
    ids=["sees all", "sees nothing"],
)
def test_errors_are_those_of_the_reading(monkeypatch, read, missed):
    monkeypatch.setattr(evaluate, "render", lambda scene: scene)
    judge = SimpleNamespace(read=lambda scenes: [read(scene) for scene in scenes])
    found = measure_judge(judge, 80, seed=0)
    assert set(found["missed"]) == {missed} and set(found["accepted"]) == {0}
    assert set(found["relations"]) == {*RELATIONS, *HELD_OUT}
    assert all(a != b for a, b in zip(found["relations"], found["others"], strict=True))


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_the_judge_is_as_good_as_documented():
    """Measured: 1.3 % denied, 0.4 % affirmed, of single relations at most 18.5 % denied."""
    found = measure_judge(Judge.load(), 2000, seed=0)
    assert fmean(found["missed"]) <= 0.015
    assert fmean(found["accepted"]) <= 0.006
    denied = defaultdict(list)
    for relation, missed in zip(found["relations"], found["missed"], strict=True):
        denied[relation].append(missed)
    assert {name: fmean(each) for name, each in denied.items() if fmean(each) > 0.25} == {}
