"""Two gloo processes train one detector, as `torchrun` starts them on a machine without a GPU."""

import json
import os
import subprocess
import sys

import pytest
from mmengine.config import Config

from visionrel.detectors.checkpoints import load_checkpoint
from visionrel.detectors.processes import prepare_processes
from visionrel.errors import InputError


LANGO = "lango-gfl_r18_fpn_1xb4-2k_aerial"


def test_the_documented_command_trains_in_two_processes(aerial, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc_per_node", "2", "-m", "visionrel.cli.main", "train", "detector", LANGO]
    command += ["--data_root", str(aerial), "--work_dir", str(tmp_path / "run"), "--json"]
    command += ["--iterations", "2", "--no-check_labels", "--cfg_options"]
    command += ["env_cfg.dist_cfg.backend=gloo", "train_dataloader.batch_size=1"]
    done = subprocess.run(
        command,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)  # the first process alone reports
    assert found["steps"] == 2 and found["checkpoint"] == str(tmp_path / "run" / "iter_2.pth")
    assert "Distributed launcher: pytorch" in done.stderr + done.stdout
    assert "GPU number: 2" in done.stderr + done.stdout  # what MMEngine calls its processes
    state = load_checkpoint(tmp_path / "run" / "iter_2.pth")["state_dict"]
    assert not any(name.startswith("module.") for name in state)


def test_a_backend_of_gpus_is_refused_without_one(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    config = Config({"env_cfg": {"dist_cfg": {"backend": "nccl"}}})
    with pytest.raises(InputError, match=r"is 'nccl'.*env_cfg\.dist_cfg\.backend=gloo"):
        prepare_processes(config)


def test_one_process_needs_no_other(monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    config = Config({})
    prepare_processes(config)
    assert config.launcher == "none" and "model_wrapper_cfg" not in config
