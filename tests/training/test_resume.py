import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.training.test_loop import equal, metrics_of
from tests.training.toy_task import ToyTask, result_of, stop_at, toy_config
from visionrel.artifacts import load_tensors
from visionrel.errors import InputError, VisionrelError
from visionrel.training import train
from visionrel.training.checkpoints import list_checkpoints


ROOT = Path(__file__).parents[2]
FULL = {"use_ema": True, "lr_scheduler": "cosine", "lr_warmup_steps": 2, "max_grad_norm": 0.5}


def start(config, *arguments):
    """Trains in another process, which prints each step when it is done."""
    path = config.output_dir.with_suffix(".config.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(config.to_json()))
    return subprocess.Popen(
        [sys.executable, "-m", "tests.training.toy_task", str(path), *arguments],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TQDM_DISABLE": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def read_until(process, step):
    for line in process.stdout:
        if int(line) >= step:
            return
    raise AssertionError(process.stderr.read())


def state_of(folder, step):
    return load_tensors(folder / f"checkpoint-{step}" / "training_state.safetensors")[0]


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_stopped_and_resumed_equals_unbroken_bit_for_bit(tmp_path, optimizer):
    settings = {**FULL, "optimizer": optimizer}
    train(ToyTask(), toy_config(tmp_path / "whole", **settings))
    train(ToyTask(), toy_config(tmp_path / "broken", **settings), on_step=stop_at(3))
    again = toy_config(tmp_path / "broken", **settings, resume_from_checkpoint="latest")
    result = train(ToyTask(), again)
    assert (result.steps, result.stopped) == (6, False)
    assert equal(result_of(tmp_path / "whole"), result_of(tmp_path / "broken"))
    # parameters, both moments, the average and the bank
    whole, broken = state_of(tmp_path / "whole", 6), state_of(tmp_path / "broken", 6)
    assert equal(whole, broken)
    assert {name.split(".")[0] for name in whole} == {"parameter", "optimizer", "ema", "task"}
    assert metrics_of(tmp_path / "whole") == metrics_of(tmp_path / "broken")


def test_sigkill_at_a_random_moment_then_resume_is_bit_identical(tmp_path):
    settings = {**FULL, "max_train_steps": 40, "checkpointing_steps": 3}
    train(ToyTask(), toy_config(tmp_path / "whole", **settings))
    config = toy_config(tmp_path / "killed", **settings)
    process = start(config, "0.01")
    read_until(process, random.randint(4, 30))
    time.sleep(random.random() * 0.03)  # anywhere between two steps, or in the middle of a save
    process.kill()
    process.wait()
    assert not (tmp_path / "killed" / "toy.safetensors").exists()
    config.resume_from_checkpoint = "latest"
    train(ToyTask(), config)
    assert equal(result_of(tmp_path / "whole"), result_of(tmp_path / "killed"))
    assert equal(state_of(tmp_path / "whole", 40), state_of(tmp_path / "killed", 40))
    assert metrics_of(tmp_path / "whole") == metrics_of(tmp_path / "killed")
    assert not list((tmp_path / "killed").rglob("*.part"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_writes_a_checkpoint_and_says_how_to_go_on(tmp_path, number):
    config = toy_config(tmp_path / "run", max_train_steps=10_000, checkpointing_steps=9_999)
    process = start(config, "0.01")
    read_until(process, 3)
    process.send_signal(number)
    _, text = process.communicate(timeout=60)
    assert process.returncode != 0
    saved = list((tmp_path / "run").glob("checkpoint-*"))
    assert len(saved) == 1
    assert f"Stopped by {number.name} after step {saved[0].name.split('-')[1]} of 10000" in text
    assert "--resume_from_checkpoint latest" in text
    assert "/10000 [" in text and "loss=" in text  # the bar, with the time left


def test_resume_latest_without_a_checkpoint_starts_anew(tmp_path):
    config = toy_config(tmp_path, resume_from_checkpoint="latest", max_train_steps=1)
    assert train(ToyTask(), config).steps == 1


def test_a_finished_run_can_be_prolonged(tmp_path):
    train(ToyTask(), toy_config(tmp_path / "whole", max_train_steps=6))
    train(ToyTask(), toy_config(tmp_path / "short", max_train_steps=4))
    longer = toy_config(tmp_path / "short", max_train_steps=6, resume_from_checkpoint="latest")
    train(ToyTask(), longer)
    assert equal(result_of(tmp_path / "whole"), result_of(tmp_path / "short"))


def test_resume_takes_a_name_or_a_path(tmp_path):
    train(ToyTask(), toy_config(tmp_path / "run"))
    expected = result_of(tmp_path / "run")
    for wanted in ("checkpoint-2", str(tmp_path / "run" / "checkpoint-4")):
        train(ToyTask(), toy_config(tmp_path / "run", resume_from_checkpoint=wanted))
        assert equal(result_of(tmp_path / "run"), expected)


def test_another_runs_checkpoint_overwrites_no_run(tmp_path):
    train(ToyTask(), toy_config(tmp_path / "a"))
    train(ToyTask(), toy_config(tmp_path / "b", seed=3))
    before = result_of(tmp_path / "a")
    wanted = str(tmp_path / "b" / "checkpoint-2")
    with pytest.raises(InputError, match=r"holds checkpoint-6 of a run of its own"):
        train(ToyTask(), toy_config(tmp_path / "a", seed=3, resume_from_checkpoint=wanted))
    assert equal(result_of(tmp_path / "a"), before)
    train(ToyTask(), toy_config(tmp_path / "c", seed=3, resume_from_checkpoint=wanted))
    assert equal(result_of(tmp_path / "c"), result_of(tmp_path / "b"))


def test_after_going_back_latest_is_the_new_course(tmp_path):
    train(ToyTask(), toy_config(tmp_path))
    expected = result_of(tmp_path)
    back = toy_config(tmp_path, resume_from_checkpoint="checkpoint-2")
    train(ToyTask(), back, on_step=stop_at(3))
    assert [path.name for path in list_checkpoints(tmp_path)] == ["checkpoint-2", "checkpoint-3"]
    kept = {path.name.rpartition("-")[0] for path in tmp_path.glob("superseded-*")}
    assert kept == {"superseded-checkpoint-4", "superseded-checkpoint-6"}
    train(ToyTask(), toy_config(tmp_path, resume_from_checkpoint="latest"))
    assert equal(result_of(tmp_path), expected)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4, 5, 6]


def test_a_run_that_is_longer_already_is_not_called_finished(tmp_path):
    train(ToyTask(), toy_config(tmp_path))
    shorter = toy_config(tmp_path, resume_from_checkpoint="latest", max_train_steps=3)
    with pytest.raises(InputError, match="has 6 steps, and the run is to have 3"):
        train(ToyTask(), shorter)


def test_an_unknown_checkpoint_lists_the_known_ones(tmp_path):
    train(ToyTask(), toy_config(tmp_path))
    with pytest.raises(InputError, match=r"'checkpoint-5'.*checkpoint-2, checkpoint-4"):
        train(ToyTask(), toy_config(tmp_path, resume_from_checkpoint="checkpoint-5"))


def test_a_new_run_does_not_overwrite_an_old_one(tmp_path):
    train(ToyTask(), toy_config(tmp_path))
    with pytest.raises(InputError, match=r"already holds checkpoint-6.*resume_from_checkpoint"):
        train(ToyTask(), toy_config(tmp_path))


def test_resume_with_other_settings_names_each_that_differs(tmp_path):
    train(ToyTask(), toy_config(tmp_path, lr_scheduler="linear"))
    config = toy_config(
        tmp_path,
        learning_rate=0.5,
        seed=8,
        lr_scheduler="linear",
        max_train_steps=9,  # would change the linear schedule
        dropout=0.2,  # a setting of the method
        checkpointing_steps=1,  # free
        resume_from_checkpoint="latest",
    )
    before = (tmp_path / "config.json").read_bytes()
    with pytest.raises(InputError) as caught:
        train(ToyTask(), config)
    text = str(caught.value)
    for key in ("learning_rate", "seed", "max_train_steps", "dropout"):
        assert f"`{key}`" in text
    assert "`learning_rate` is 0.5, but" in text and "trained with 0.01" in text
    assert "checkpointing_steps" not in text
    assert (tmp_path / "config.json").read_bytes() == before


def test_resume_without_a_seed_takes_the_old_one(tmp_path):
    train(ToyTask(), toy_config(tmp_path / "whole"))
    train(ToyTask(), toy_config(tmp_path / "broken"), on_step=stop_at(2))
    train(ToyTask(), toy_config(tmp_path / "broken", seed=None, resume_from_checkpoint="latest"))
    assert equal(result_of(tmp_path / "whole"), result_of(tmp_path / "broken"))


def test_resume_with_other_data_or_another_model_is_refused(tmp_path):
    train(ToyTask(), toy_config(tmp_path))
    config = toy_config(tmp_path, resume_from_checkpoint="latest", max_train_steps=8)
    task = ToyTask()
    task.num_items = 11
    with pytest.raises(InputError, match=r"`num_items` is 11, but .* with 10"):
        train(task, config)
    task = ToyTask()
    task.bias = torch.nn.Parameter(torch.zeros(1))
    with pytest.raises(InputError, match=r"'bias' has shape \(4,\), this run needs \(1,\)"):
        train(task, config)


def test_resume_on_another_base_is_refused(tmp_path):
    class Based(ToyTask):
        digest = "a"

        def origin(self):
            return {"base_sha256": self.digest}

    train(Based(), toy_config(tmp_path, max_train_steps=2))
    again = toy_config(tmp_path, resume_from_checkpoint="latest", max_train_steps=4)
    Based.digest = "b"
    with pytest.raises(InputError, match=r"`base_sha256` is 'b', but .* with 'a'"):
        train(Based(), again)
    Based.digest = "a"
    assert train(Based(), again).steps == 4


def test_a_damaged_checkpoint_is_refused(tmp_path):
    train(ToyTask(), toy_config(tmp_path))
    path = tmp_path / "checkpoint-6" / "training_state.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match="not a whole safetensors file"):
        train(ToyTask(), toy_config(tmp_path, resume_from_checkpoint="latest"))


def test_pruning_keeps_the_newest(tmp_path):
    train(ToyTask(), toy_config(tmp_path, checkpointing_steps=1, checkpoints_total_limit=2))
    names = sorted(path.name for path in tmp_path.glob("checkpoint-*"))
    assert names == ["checkpoint-5", "checkpoint-6"]


def test_pruning_keeps_the_one_just_written_also_after_going_back(tmp_path):
    train(ToyTask(), toy_config(tmp_path, checkpointing_steps=2))
    back = str(tmp_path / "checkpoint-2")
    limits = {"checkpointing_steps": 1, "checkpoints_total_limit": 1}
    config = toy_config(tmp_path, resume_from_checkpoint=back, **limits)
    train(ToyTask(), config, on_step=stop_at(3))
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-3"]


def test_a_full_disk_leaves_the_last_checkpoint_and_says_what_to_lower(tmp_path):
    class Filling(ToyTask):
        def save(self, folder, weights, step):
            super().save(folder, weights, step)
            if step == 4:
                raise OSError(28, "No space left on device")

    with pytest.raises(VisionrelError, match=r"No space left.*checkpoints_total_limit"):
        train(Filling(), toy_config(tmp_path))
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-2"]
    assert not list(tmp_path.rglob("*.part"))
    train(ToyTask(), toy_config(tmp_path, resume_from_checkpoint="latest"))
    train(ToyTask(), toy_config(tmp_path / "whole"))
    assert equal(result_of(tmp_path), result_of(tmp_path / "whole"))


def test_leftovers_and_a_torn_metrics_line_are_cleared(tmp_path):
    train(ToyTask(), toy_config(tmp_path), on_step=stop_at(2))
    (tmp_path / ".checkpoint-3.1234abcd.part").mkdir()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "loss": 1.0}\n{"step": 4, "lo')
    train(ToyTask(), toy_config(tmp_path, resume_from_checkpoint="latest"))
    assert [line["step"] for line in metrics_of(tmp_path)] == [1, 2, 3, 4, 5, 6]
    assert not list(tmp_path.glob(".*.part"))


def test_tensorboard_gets_the_metrics(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(ToyTask(), toy_config(tmp_path, report_to="tensorboard"))
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    found = [event.step for event in events.Scalars("loss")]
    assert found == [1, 2, 3, 4, 5, 6]
