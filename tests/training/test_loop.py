import json
import math

import pytest
import torch

from tests.training.toy_task import ToyTask, result_of, stop_at, toy_config
from visionrel.errors import InputError
from visionrel.training import TrainingError, train, weight_dtype
from visionrel.training.launching import count_steps


def metrics_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_run_leaves_result_config_metrics_and_checkpoints(tmp_path):
    result = train(ToyTask(), toy_config(tmp_path / "run"))
    assert (result.steps, result.stopped) == (6, False)
    assert result_of(result.output_dir).keys() == {"weight", "bias"}  # frozen weights stay out
    assert json.loads((result.output_dir / "config.json").read_text())["seed"] == 7
    lines = metrics_of(result.output_dir)
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert {"loss", "fit", "size", "learning_rate", "gradient_norm"} <= lines[0].keys()
    assert lines[-1] == {"step": 6, **result.metrics}
    names = sorted(path.name for path in result.output_dir.glob("checkpoint-*"))
    assert names == ["checkpoint-2", "checkpoint-4", "checkpoint-6"]
    assert equal(result_of(result.output_dir / names[-1]), result_of(result.output_dir))
    assert not list(result.output_dir.rglob("*.part"))


def test_the_same_seed_gives_the_same_run_and_another_seed_another(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(ToyTask(), toy_config(tmp_path / name, seed=seed))
    assert equal(result_of(tmp_path / "a"), result_of(tmp_path / "b"))
    assert not equal(result_of(tmp_path / "a"), result_of(tmp_path / "c"))


def test_a_seed_not_given_is_drawn_and_stored(tmp_path):
    train(ToyTask(), toy_config(tmp_path / "a", seed=None, max_train_steps=1))
    seed = json.loads((tmp_path / "a" / "config.json").read_text())["seed"]
    train(ToyTask(), toy_config(tmp_path / "b", seed=seed, max_train_steps=1))
    assert equal(result_of(tmp_path / "a"), result_of(tmp_path / "b"))


@pytest.mark.parametrize("batch, accumulation", [(8, 1), (4, 2), (1, 8)])
def test_splitting_the_effective_batch_changes_nothing_but_rounding(tmp_path, batch, accumulation):
    splits = {"train_batch_size": batch, "gradient_accumulation_steps": accumulation}
    # dropout draws per forward pass, everything else per sample
    train(ToyTask(0.0), toy_config(tmp_path / "run", max_train_steps=4, dropout=0.0, **splits))
    whole = {"train_batch_size": 8, "gradient_accumulation_steps": 1}
    train(ToyTask(0.0), toy_config(tmp_path / "whole", max_train_steps=4, dropout=0.0, **whole))
    for name, value in result_of(tmp_path / "whole").items():
        torch.testing.assert_close(result_of(tmp_path / "run")[name], value)


def test_each_epoch_shows_every_item_once_in_a_new_order(tmp_path):
    task = ToyTask()
    train(task, toy_config(tmp_path, max_train_steps=5))
    first, second = task.seen[:10], task.seen[10:]
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second


def test_workers_do_not_change_the_samples(tmp_path):
    for name, workers in (("a", 0), ("b", 2)):
        train(ToyTask(), toy_config(tmp_path / name, dataloader_num_workers=workers))
    assert equal(result_of(tmp_path / "a"), result_of(tmp_path / "b"))


def test_epochs_decide_the_steps(tmp_path):
    config = toy_config(tmp_path, num_train_epochs=24, gradient_accumulation_steps=4)
    assert count_steps(config, num_items=1000) == 24 * 125  # 10 pictures, 100 repeats, batch 2
    assert count_steps(config, num_items=1000, processes=2) == 24 * 63
    config = toy_config(tmp_path, num_train_epochs=2)
    assert train(ToyTask(), config).steps == 6


@pytest.mark.parametrize(
    "scale, batch, accumulation, expected",
    [(True, 2, 4, 2e-3), (True, 1, 1, 2.5e-4), (False, 2, 4, 2.5e-4)],
)
def test_scale_lr(tmp_path, scale, batch, accumulation, expected):
    config = toy_config(
        tmp_path,
        learning_rate=2.5e-4,
        scale_lr=scale,
        train_batch_size=batch,
        gradient_accumulation_steps=accumulation,
        max_train_steps=1,
    )
    assert train(ToyTask(), config).metrics["learning_rate"] == pytest.approx(expected)


def test_warm_up_and_schedule_count_optimizer_steps(tmp_path):
    config = toy_config(tmp_path, lr_scheduler="linear", lr_warmup_steps=2, learning_rate=1.0)
    train(ToyTask(), config)
    rates = [line["learning_rate"] for line in metrics_of(tmp_path)]
    assert rates == pytest.approx([0.0, 0.5, 1.0, 0.75, 0.5, 0.25])


def test_clipping_bounds_the_step_and_reports_the_length_before(tmp_path):
    class Plain(ToyTask):
        def forward(self, batch):
            terms = super().forward(batch)
            terms["loss"] = terms["loss"] * 1000
            return terms

    config = toy_config(tmp_path, max_grad_norm=0.5, max_train_steps=1, adam_epsilon=1e3)
    task = Plain()
    before = task.weight.detach().clone()
    result = train(task, config)
    assert result.metrics["gradient_norm"] > 10
    # with this epsilon AdamW moves by about lr * gradient / epsilon
    moved = (task.weight.detach() / (1 - 1e-2 * 1e-2) - before).norm()
    assert moved <= 1e-2 * 0.5 / 1e3 * 1.1


def test_bf16_trains_float32_weights(tmp_path):
    task = ToyTask()
    seen = []
    task.frozen.register_forward_hook(lambda module, args, output: seen.append(output.dtype))
    train(task, toy_config(tmp_path, mixed_precision="bf16"))
    assert set(seen) == {torch.bfloat16} == {weight_dtype("bf16")}
    assert result_of(tmp_path)["weight"].dtype == torch.float32
    assert weight_dtype("no") == torch.float32


def test_fp16_on_a_cpu_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(InputError, match=r"`mixed_precision` fp16 needs a GPU.*Use bf16"):
        train(ToyTask(), toy_config(tmp_path / "run", mixed_precision="fp16"))
    assert not (tmp_path / "run").exists()


def test_the_bar_can_be_silenced(tmp_path, capfd):
    train(ToyTask(), toy_config(tmp_path, max_train_steps=2))  # TQDM_DISABLE=1, as --quiet sets it
    assert capfd.readouterr().err == ""


def test_ema_is_saved_instead_of_the_last_weights(tmp_path):
    task = ToyTask()
    start = task.weight.detach().clone()
    config = toy_config(tmp_path, use_ema=True, max_train_steps=1)
    train(task, config)
    decay = 2 / 11  # (1 + step) / (10 + step)
    expected = decay * start + (1 - decay) * task.weight.detach()
    torch.testing.assert_close(result_of(tmp_path)["weight"], expected)


def test_validation_sees_averaged_weights_in_eval_mode_and_disturbs_nothing(tmp_path):
    task = ToyTask()
    train(task, toy_config(tmp_path / "a", validation_steps=2, use_ema=True))
    train(ToyTask(), toy_config(tmp_path / "b", use_ema=True))
    assert equal(result_of(tmp_path / "a"), result_of(tmp_path / "b"))
    line = metrics_of(tmp_path / "a")[5]
    assert line["validation/training"] == 0.0
    assert line["validation/norm"] == pytest.approx(
        float(result_of(tmp_path / "a")["weight"].norm())
    )
    assert line["validation/norm"] != pytest.approx(float(task.weight.detach().norm()))
    assert "validation/norm" not in metrics_of(tmp_path / "a")[4]


def test_stop_training_saves_and_returns(tmp_path):
    result = train(ToyTask(), toy_config(tmp_path), on_step=stop_at(3))
    assert (result.steps, result.stopped) == (3, True)
    assert (tmp_path / "checkpoint-3").is_dir()
    assert result_of(tmp_path).keys() == {"weight", "bias"}


def test_nan_names_step_term_and_items_and_keeps_earlier_files(tmp_path):
    task = ToyTask()
    train(task, toy_config(tmp_path, max_train_steps=2))
    kept = {path: path.read_bytes() for path in tmp_path.rglob("*.safetensors")}
    task = ToyTask()
    task.poisoned_item = 3
    config = toy_config(tmp_path, max_train_steps=9, resume_from_checkpoint="latest")
    with pytest.raises(TrainingError) as caught:
        train(task, config)
    message = str(caught.value)
    assert "3.png" in message
    assert "Step " in message and "micro-batch " in message
    assert "`fit` is nan" in message and "`size`" not in message
    assert "learning_rate" in message
    assert all(path.read_bytes() == content for path, content in kept.items())
    assert all(math.isfinite(line["loss"]) for line in metrics_of(tmp_path))


def test_an_infinite_gradient_stops_the_run(tmp_path):
    class Cliff(ToyTask):
        def forward(self, batch):  # finite, but its slope at zero is not
            return {"loss": self.bias.square().sum().sqrt()}

    with pytest.raises(TrainingError, match="norm of the gradient") as caught:
        train(Cliff(), toy_config(tmp_path, gradient_accumulation_steps=2))
    # Any item of the step may be to blame.
    assert str(caught.value).count(".png") == 4 and "micro-batch" not in str(caught.value)


def test_a_schedule_that_does_not_go_with_the_rate_is_told(tmp_path):
    with pytest.raises(InputError, match="`lr_scheduler` polynomial does not go with"):
        train(ToyTask(), toy_config(tmp_path, lr_scheduler="polynomial", learning_rate=1e-8))


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
def test_out_of_memory_names_the_setting_to_lower(tmp_path, error):
    class Huge(ToyTask):
        def forward(self, batch):
            raise error

    with pytest.raises(TrainingError, match="train_batch_size"):
        train(Huge(), toy_config(tmp_path))


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"train_batch_size": 0}, ["`train_batch_size` must be at least 1, got 0"]),
        ({"learning_rate": -1.0, "ema_decay": 1.0}, ["`learning_rate`", "`ema_decay`"]),
        ({"learning_rate": float("nan")}, ["`learning_rate` must be above 0, got nan"]),
        ({"seed": -1}, ["`seed` must be at least 0, got -1"]),
    ],
)
def test_impossible_settings_are_refused_together(tmp_path, changes, words):
    with pytest.raises(InputError) as caught:
        toy_config(tmp_path, **changes)
    assert all(word in str(caught.value) for word in words)
