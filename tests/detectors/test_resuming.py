"""A run that was killed or interrupted and goes on equals one that was not."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from tests.detectors.runs import quick_run, same
from visionrel.detectors.checkpoints import load_checkpoint
from visionrel.detectors.configuration import find_config
from visionrel.detectors.training import latest_checkpoint
from visionrel.training import Interrupted


BATCHFORMER = "bf-faster-rcnn_r18_fpn_1xb4-2k_aerial"
# Three steps of two pictures each.
EPOCHS = """
train_cfg = dict(_delete_=True, type="EpochBasedTrainLoop", max_epochs=2)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=5),
    dict(type="MultiStepLR", by_epoch=True, milestones=[1]),
]
train_dataloader = dict(sampler=dict(type="DefaultSampler"))
default_hooks = dict(checkpoint=dict(by_epoch=True))
log_processor = dict(by_epoch=True)
"""


@HOOKS.register_module()
class InterruptFifthStep(Hook):
    """Somebody presses Ctrl-C in the middle of the second epoch."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == 5:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(scope="module")
def epochs(aerial, tmp_path_factory):
    """A configuration that counts epochs, and its unbroken run."""
    folder = tmp_path_factory.mktemp("epochs")
    path = folder / "mine.py"
    path.write_text(f"_base_ = {str(find_config(BATCHFORMER))!r}\n{EPOCHS}")
    return path, quick_run(folder / "whole", aerial, path, None)


def kill_run(folder, data, name, iterations, step):
    """Trains in a process that is killed at the end of a step."""
    words = [*map(str, (folder, data, name, iterations, step))]
    process = subprocess.run(
        [sys.executable, "-m", "tests.detectors.kill", *words],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert process.returncode == -9, process.stderr


def logged(work_dir):
    """What was logged of each step by each process that ran there, but for times."""
    found = []
    for path in sorted(Path(work_dir).glob("*/vis_data/scalars.json")):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        found.append(
            {row["step"]: {k: v for k, v in row.items() if "time" not in k} for row in rows}
        )
    return found


def compare(whole, resumed):
    """Weights, optimizer and the losses of every step, before and after."""
    assert whole.iterations == resumed.iterations
    one, two = load_checkpoint(whole.checkpoint), load_checkpoint(resumed.checkpoint)
    assert same(one["state_dict"], two["state_dict"])
    first, second = (found["optimizer"]["state"] for found in (one, two))
    assert all(same(first[key], second[key]) for key in first)
    (unbroken,) = logged(whole.work_dir)
    before, after = logged(resumed.work_dir)
    assert {**before, **after}.keys() == unbroken.keys()
    for rows in (before, after):
        for step, row in rows.items():
            assert (row["loss"], row["lr"]) == (unbroken[step]["loss"], unbroken[step]["lr"])


def test_killed_between_checkpoints(aerial, tmp_path):
    """Order of pictures, flips, sampled regions and BatchFormer's dropout are random."""
    whole = quick_run(tmp_path / "whole", aerial, BATCHFORMER, 5)
    kill_run(tmp_path / "killed", aerial, BATCHFORMER, 5, 4)
    assert latest_checkpoint(tmp_path / "killed").name == "iter_3.pth"
    compare(whole, quick_run(tmp_path / "killed", aerial, BATCHFORMER, 5, resume="latest"))


def test_killed_in_the_middle_of_an_epoch(aerial, tmp_path, epochs):
    path, whole = epochs
    assert whole.iterations == 6 and whole.checkpoint.name == "epoch_2.pth"
    kill_run(tmp_path / "killed", aerial, path, 0, 5)
    assert latest_checkpoint(tmp_path / "killed").name == "epoch_1.pth"
    compare(whole, quick_run(tmp_path / "killed", aerial, path, None, resume="latest"))


def test_ctrl_c_in_the_middle_of_an_epoch_keeps_the_last_whole_one(aerial, tmp_path, epochs):
    path, whole = epochs
    folder, options = tmp_path / "run", ("default_hooks.interrupt.type=InterruptFifthStep",)
    with pytest.raises(Interrupted, match="after iteration 5; go on with --resume latest"):
        quick_run(folder, aerial, path, None, options=options)
    assert [each.name for each in folder.glob("*.pth")] == ["epoch_1.pth"]
    compare(whole, quick_run(folder, aerial, path, None, resume="latest"))
