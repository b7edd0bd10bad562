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
    assert choose_preposition(task) == "under"
    table = task.text_encoder.get_input_embeddings().weight
    assert torch.equal(task.relation, table[task.initializer_id])


def test_every_word_meets_the_same_noise_in_batches_of_the_run(data, monkeypatch):
    met: dict[int, list[torch.Tensor]] = {}
    loss = ReVersionTask.denoising_loss

    def note(task, batch):
        met.setdefault(task.initializer_id, []).append(batch["noise"])
        return loss(task, batch)

    monkeypatch.setattr(ReVersionTask, "denoising_loss", note)
    choose_preposition(make_task(data, seed=1, train_batch_size=2))
    rounds = sorted({len(noises) for noises in met.values()})
    assert rounds == [2, 10]  # three exemplars are two batches, at one timestep or at five
    assert sum(len(noises) == 10 for noises in met.values()) == 8
    longest = max(met.values(), key=len)
    for noises in met.values():
        assert all(len(noise) <= 2 for noise in noises)
        assert all(torch.equal(*pair) for pair in zip(noises, longest, strict=False))


def test_a_tokenizer_without_prepositions(data, monkeypatch):
    task = make_task(data)
    monkeypatch.setattr(task.vocabulary, "basis", ())
    with pytest.raises(InputError, match=r"knows no preposition.*name a word.*'and'"):
        choose_preposition(task)


def test_small_bases_start_there_and_a_resumed_run_keeps_it(data, monkeypatch):
    def answer(word):
        def choose(task):
            task.start_from(task.tokenizer(word, add_special_tokens=False).input_ids[0])

        monkeypatch.setattr(trainer, "choose_preposition", choose)

    def told(folder):
        return load_header(folder / EMBEDDINGS_NAME)["initializer_token"]

    config = make_config(data, max_train_steps=1)
    answer("above")
    trainer.train(config)
    assert told(config.output_dir) == "above"
    learned = load_row(config.output_dir)
    answer("under")  # as another machine might
    (config.output_dir / EMBEDDINGS_NAME).unlink()
    trainer.train(make_config(data, max_train_steps=1, resume_from_checkpoint="latest"))
    assert told(config.output_dir) == "above"
    assert torch.equal(load_row(config.output_dir), learned)


def test_a_given_word_is_taken(data):
    task = make_task(data, make_toy_stable_diffusion(), initializer_token="near")
    assert task.config.initializer_token == "near"
    config = make_config(data, initializer_token="near", max_train_steps=1, learning_rate=1e-12)
    trainer.train(config)
    torch.testing.assert_close(load_row(config.output_dir), task.relation.detach())
    assert BEST_PREPOSITION not in load_header(config.output_dir / EMBEDDINGS_NAME).values()
