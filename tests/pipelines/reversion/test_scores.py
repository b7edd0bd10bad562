"""Scores of the paper's benchmark, by whatever measures them."""

import pytest
import torch
from PIL import Image

from visionrel import towers
from visionrel.errors import InputError
from visionrel.pipelines.reversion import scores
from visionrel.pipelines.reversion.scores import ClipEntityScore, score_benchmark
from visionrel.records import Record, save_picture


@pytest.fixture
def drawn(tmp_path):
    """Three white pictures of one prompt and a black one of another, and a grid beside them."""
    for index, (prompt, colour) in enumerate(
        [*[("cat {} stone", "white")] * 3, ("sea {} vase", "black")]
    ):
        record = Record("generate reversion", {}, prompt, index, {})
        for folder in (tmp_path, tmp_path / "grids"):
            save_picture(Image.new("RGB", (4, 4), colour), folder, index, record)
    return tmp_path


def test_scores_are_means_over_pictures(drawn, caplog):
    asked = []

    def light(pictures, text):
        asked.append((text, len(pictures)))
        return sum(picture.getpixel((0, 0))[0] for picture in pictures) / 255 / len(pictures)

    scores = score_benchmark(drawn, "painted_on", relation_score=light, entity_score=light)
    assert asked == [
        ("painted_on", 3),
        ("cat, stone", 3),
        ("painted_on", 1),
        ("sea, vase", 1),
    ]
    assert (scores.prompts, scores.pictures) == (2, 4)
    assert scores.relation_score == scores.entity_score == 0.75
    assert "only 2 of the 100 prompts" in caplog.text
    assert score_benchmark(drawn, "painted_on", entity_score=light).relation_score is None


def test_pictures_of_other_prompts_are_refused(drawn, tmp_path):
    with pytest.raises(InputError, match=r"'cat \{\} stone', which is no prompt of 'hug'"):
        score_benchmark(drawn, "hug")
    with pytest.raises(InputError, match="--benchmark hug --output_dir"):
        score_benchmark(tmp_path / "empty", "hug")


def show(monkeypatch, found):
    monkeypatch.setattr(scores, "load_towers", lambda encoder: found)


def test_the_entity_score_is_a_mean_of_cosines(monkeypatch):
    vectors = {"red": [3.0, 0.0], "blue": [0.0, 2.0], "grey": [-1.0, 0.0]}
    pictures = {colour: Image.new("RGB", (2, 2), colour) for colour in vectors}
    seen = {picture.getpixel((0, 0)): vectors[colour] for colour, picture in pictures.items()}

    def look(given):
        return torch.tensor([seen[picture.getpixel((0, 0))] for picture in given])

    show(monkeypatch, towers.Towers("toy", lambda texts: torch.tensor([[5.0, 0.0]]), look))
    score = ClipEntityScore()
    assert [score([picture], "cat, stone") for picture in pictures.values()] == [1, 0, -1]
    assert score([pictures["red"], pictures["blue"]], "cat, stone") == 0.5


def test_an_encoder_of_text_alone_is_refused(monkeypatch):
    show(monkeypatch, towers.Towers("sentences", lambda texts: torch.ones(1, 2)))
    with pytest.raises(InputError, match="sentences encodes text only; the entity score needs"):
        ClipEntityScore()


def test_weights_that_are_missing_are_named_with_the_way_to_get_them(tmp_path):
    with pytest.raises(InputError, match="hf download openai/clip"):
        ClipEntityScore(str(tmp_path / "nowhere"))
