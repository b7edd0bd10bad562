"""Several processes on the CPU with gloo."""

import json

import torch

from tests.processes import launch
from tests.training.test_loop import metrics_of
from tests.training.toy_task import ToyTask, result_of, toy_config
from visionrel.training import train


def test_two_processes_equal_one_with_the_same_global_batch(tmp_path):
    same = {"dropout": 0.0, "use_ema": True, "max_grad_norm": 0.5, "scale_lr": True}
    config = toy_config(tmp_path / "two", seed=None, train_batch_size=2, **same)
    settings = tmp_path / "two.json"
    settings.write_text(json.dumps(config.to_json()))
    printed = launch("tests.training.toy_task", str(settings))
    assert printed.split() == ["1", "2", "3", "4", "5", "6"]  # the main process alone reports
    seed = json.loads((tmp_path / "two" / "config.json").read_text())["seed"]
    one = toy_config(tmp_path / "one", seed=seed, train_batch_size=4, **same)
    train(ToyTask(0.0), one)
    for name, value in result_of(tmp_path / "one").items():
        torch.testing.assert_close(result_of(tmp_path / "two")[name], value)
    for two, alone in zip(metrics_of(tmp_path / "two"), metrics_of(tmp_path / "one"), strict=True):
        for name, value in alone.items():
            torch.testing.assert_close(two[name], value, rtol=1e-4, atol=1e-6)


def test_sharded_state_is_saved_whole_and_put_back(tmp_path):
    printed = launch("tests.training.sharded_state", str(tmp_path))
    assert printed.count("round trip exact") == 2
