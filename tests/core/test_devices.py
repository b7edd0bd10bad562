import logging

import pytest
import torch

from tests.training.toy_task import ToyTask, toy_config
from visionrel.devices import choose_device, fast_precision, multiplies_bfloat16
from visionrel.training import train
from visionrel.training.muon import orthogonalise


CPU = torch.device("cpu")


@pytest.fixture(params=[True, False], ids=["fast", "slow"])
def bfloat16_is_fast(request, monkeypatch):
    """A processor with and one without instructions for bfloat16."""
    monkeypatch.setattr(
        torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": request.param}
    )
    return request.param


def test_the_instructions_decide_the_precision(bfloat16_is_fast):
    assert multiplies_bfloat16(CPU) == bfloat16_is_fast
    assert fast_precision("cpu") == ("bf16" if bfloat16_is_fast else "no")


def test_an_older_pytorch_that_does_not_tell_counts_as_slow(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert fast_precision("cpu") == "no"


def test_muon_multiplies_in_the_fast_type(bfloat16_is_fast):
    update = orthogonalise(torch.randn(1, 8, 16))
    assert update.dtype == torch.float32
    assert torch.equal(update, update.bfloat16().float()) == bfloat16_is_fast


def test_slow_bf16_is_said_once_before_training(bfloat16_is_fast, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="visionrel"):
        train(ToyTask(), toy_config(tmp_path, mixed_precision="bf16", max_train_steps=1))
    said = [each for each in caplog.messages if "bf16 is slow here" in each]
    assert len(said) == (0 if bfloat16_is_fast else 1)


def test_training_follows_the_gpu_that_was_chosen(monkeypatch):
    current = []
    monkeypatch.setattr(torch, "empty", lambda *_, device: None)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    for name in ("cuda:1", "cuda", "cpu"):
        assert choose_device(name) == torch.device(name)
    assert current == [torch.device("cuda:1")]
