"""Several processes on the CPU with gloo."""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch

from tests.training.test_loop import metrics_of
from tests.training.toy_task import ToyTask, result_of, toy_config
from visionrel.training import train


ROOT = Path(__file__).parents[2]


def launch(*command):
    # `accelerate launch --cpu` would start one process; this way it starts two, which then find
    # no GPU and talk through gloo
    launcher = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    launcher += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    launcher += ["--main_process_port", "0"]
    result = subprocess.run(
        [sys.executable, *launcher, "-m", *command],
        cwd=ROOT,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "TQDM_DISABLE": "1",
            "ACCELERATE_USE_CPU": "true",
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


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
