"""The token starts from the preposition that describes the exemplars best, if it is asked for."""

from pathlib import Path

import pytest
import torch

from tests.pipelines.reversion.stand_ins import write_exemplars
from tests.pipelines.reversion.test_trainer import load_row, make_config, make_task
from tests.toys import make_toy_stable_diffusion
from visionrel.artifacts import load_header
from visionrel.errors import InputError
from visionrel.pipelines.reversion import trainer
from visionrel.pipelines.reversion.config import BEST_PREPOSITION
from visionrel.pipelines.reversion.initializer import choose_preposition
from visionrel.pipelines.reversion.pipeline import EMBEDDINGS_NAME
from visionrel.pipelines.reversion.trainer import ReVersionTask


CPU = torch.device("cpu")


@pytest.fixture
def data(tmp_path) -> Path:
    return write_exemplars(tmp_path / "exemplars")


def prefer(monkeypatch, word: str) -> None:
    """A base that denoises the better the nearer the token is to a word's row."""

    def distance(task, batch):
        table = task.text_encoder.get_input_embeddings().weight
        (index,) = task.tokenizer(word, add_special_tokens=False).input_ids
        return (task.relation - table[index]).norm() + 1

    monkeypatch.setattr(ReVersionTask, "denoising_loss", distance)


def test_the_best_preposition_is_found(data, monkeypatch):
    prefer(monkeypatch, "under")
    task = make_task(data)
    assert choose_preposition(task, CPU) == "under"
    table = task.text_encoder.get_input_embeddings().weight
    assert torch.equal(task.relation, table[task.initializer_id])


def test_every_word_meets_the_same_noise(data):
    first, again = (choose_preposition(make_task(data, seed=seed), CPU) for seed in (1, 2))
    assert first == again


def test_a_tokenizer_without_prepositions(data, monkeypatch):
    task = make_task(data)
    monkeypatch.setattr(task.vocabulary, "basis", ())
    with pytest.raises(InputError, match=r"knows no preposition.*name a word.*'and'"):
        choose_preposition(task, CPU)


def test_small_bases_start_there_and_a_resumed_run_keeps_it(data, monkeypatch):
    calls = []

    def choose(task, device):
        calls.append(device)
        task.start_from(task.tokenizer("above", add_special_tokens=False).input_ids[0])

    monkeypatch.setattr(trainer, "choose_preposition", choose)
    config = make_config(data, max_train_steps=1)
    trainer.train(config)
    learned = config.output_dir / EMBEDDINGS_NAME
    assert load_header(learned)["initializer_token"] == "above"
    resumed = make_config(data, max_train_steps=1, resume_from_checkpoint="latest")
    learned.unlink()
    trainer.train(resumed)
    assert load_header(learned)["initializer_token"] == "above"
    assert calls == [CPU]


def test_a_given_word_is_taken(data):
    task = make_task(data, make_toy_stable_diffusion(), initializer_token="near")
    assert task.config.initializer_token == "near"
    config = make_config(data, initializer_token="near", max_train_steps=1, learning_rate=1e-12)
    trainer.train(config)
    torch.testing.assert_close(load_row(config.output_dir), task.relation.detach())
    assert BEST_PREPOSITION not in load_header(config.output_dir / EMBEDDINGS_NAME).values()
