import numpy as np
import torch

from tests.pipelines.videorepa.test_evaluate import make_config
from tests.pipelines.videorepa.toys import FRAMES, SIZE
from visionrel.pipelines.videorepa.evaluate import evaluate
from visionrel.pipelines.videorepa.probe import answer, draw_questions, will_touch
from visionrel.worlds.motion import sample_motion


def test_questions_are_balanced_and_hold_still():
    found = draw_questions(6, (0,), SIZE, FRAMES)
    assert found.clips.shape == (6, FRAMES, 3, SIZE, SIZE) and found.touches.sum() == 3
    halves = draw_questions(40, (0,), SIZE, FRAMES).touches.view(2, 20).sum(1)
    assert (halves - 10).abs().max() <= 4
    middle = FRAMES // 2
    assert (found.clips[:, middle:] == found.clips[:, middle : middle + 1]).all()
    assert (found.clips[:, 0] != found.clips[:, middle]).flatten(1).any(1).all()


def test_what_is_a_question():
    rng = np.random.default_rng(0)
    meetings = [will_touch(sample_motion(rng, "meet")[0], 17) for _ in range(10)]
    assert True in meetings and False not in meetings
    assert will_touch(sample_motion(rng, "drop")[0], 17) is None  # one object
    assert will_touch(sample_motion(rng, "part")[0], 17) is None  # they touch at the start


def test_answers_follow_from_pairs_of_features():
    """The label is a product of two values, which no line through the features can read."""
    features = torch.randn(400, 6, generator=torch.Generator().manual_seed(0))
    labels = (features[:, 0] * features[:, 1] > 0).long()
    assert np.mean(answer(features, labels)) > 0.8
    noise = torch.randint(2, (400,), generator=torch.Generator().manual_seed(1))
    assert abs(np.mean(answer(features, noise)) - 0.5) < 0.12


def test_the_probe_is_measured_once_and_reported(tmp_path):
    config = make_config(tmp_path, probe=True, probe_clips=8, docs_dir=tmp_path / "docs")
    report = evaluate(config)
    assert [row[0].split()[0] for row in report.tables[0].rows] == ["teacher", "base", "pixels,"]
    assert [path.name for path in tmp_path.rglob("report.md")] == ["report.md"]
    assert next(tmp_path.rglob("report.md")).parent.name == "probe-report"
    assert "begin videorepa-probe" in (tmp_path / "docs" / "results.md").read_text()
    assert (config.output_dir / "probe" / "contacts.json").is_file()
    assert evaluate(config).to_dict() == report.to_dict()
