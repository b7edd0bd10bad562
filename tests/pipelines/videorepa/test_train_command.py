"""The command `train videorepa` on files: what it writes, and what it tells before it begins."""

import gc
import weakref

import pytest
import torch

from tests.pipelines.videorepa.test_trainer import make_config, make_task, write_clips
from tests.pipelines.videorepa.toys import (
    make_toy_pipeline,
    toy_base_folder,
    toy_teacher_folder,
)
from visionrel.artifacts import load_json, load_tensors
from visionrel.errors import InputError
from visionrel.pipelines.videorepa import trainer
from visionrel.pipelines.videorepa.pipeline import (
    load_video_components,
)
from visionrel.pipelines.videorepa.trainer import HEADS_NAME
from visionrel.pipelines.videorepa.trainer import train as run_command
from visionrel.training import StopTraining, train


def test_a_base_that_takes_a_picture_is_refused(tmp_path):
    make_toy_pipeline(in_channels=8).save_pretrained(tmp_path / "base")
    with pytest.raises(InputError, match="takes a picture besides the text"):
        run_command(make_config(tmp_path, base=str(tmp_path / "base"), proj_coeff=0.0))


@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_the_command_trains_on_files(tmp_path, tuning):
    write_clips(tmp_path / "clips")
    config = make_config(
        tmp_path,
        base=str(toy_base_folder()),
        teacher=str(toy_teacher_folder()),
        tuning=tuning,
        max_train_steps=1,
    )
    result = run_command(config)
    assert result.steps == 1 and {"diffusion", "relations"} <= result.metrics.keys()
    assert (tmp_path / "out" / HEADS_NAME).is_file()


def test_a_drawn_seed_repeats_the_run(tmp_path):
    """Head and LoRA are drawn before the loop, from the seed that the run stores."""
    write_clips(tmp_path / "clips")
    known = {"base": str(toy_base_folder()), "teacher": str(toy_teacher_folder())}
    known |= {"tuning": "lora", "max_train_steps": 1}
    first = run_command(make_config(tmp_path, **known, seed=None))
    seed = load_json(tmp_path / "out" / "config.json")["seed"]
    again = run_command(make_config(tmp_path, **known, seed=seed, output_dir=tmp_path / "again"))
    assert again.metrics["diffusion"] == first.metrics["diffusion"]
    assert again.metrics["relations"] == first.metrics["relations"]
    heads = [load_tensors(tmp_path / name / HEADS_NAME)[0] for name in ("out", "again")]
    assert all(torch.equal(value, heads[1][name]) for name, value in heads[0].items())


def test_an_occupied_folder_is_told_before_the_clips_are_encoded(tmp_path, monkeypatch):
    write_clips(tmp_path / "clips")
    known = {"base": str(toy_base_folder()), "teacher": str(toy_teacher_folder())}
    run_command(make_config(tmp_path, **known, max_train_steps=1))
    monkeypatch.setattr(trainer, "load_video_components", None)
    with pytest.raises(InputError, match="already holds"):
        run_command(make_config(tmp_path, **known, max_train_steps=1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"margin": 0.2}, "`margin` is 0.2, but .* was trained with 0.1"),
        ({"align_layer": 5}, "`align_layer` "),
        ({"height": 36}, "`height` "),
    ],
)
def test_wrong_settings_are_told_before_the_clips_are_read(tmp_path, monkeypatch, changes, message):
    write_clips(tmp_path / "clips")
    known = {"base": str(toy_base_folder()), "teacher": str(toy_teacher_folder())}
    if "margin" in changes:
        run_command(make_config(tmp_path, **known, max_train_steps=1))
        known |= {"max_train_steps": 1, "resume_from_checkpoint": "latest"}
    monkeypatch.setattr(trainer, "read_training_clips", None)
    with pytest.raises(InputError, match=message):
        run_command(make_config(tmp_path, **known, **changes))


def test_an_output_folder_that_cannot_be_made_is_told_before_the_base_is_loaded(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(trainer, "load_video_components", None)
    (tmp_path / "out").touch()
    known = {"base": str(toy_base_folder()), "teacher": str(toy_teacher_folder())}
    with pytest.raises(InputError, match=r"`output_dir` is .* is a file"):
        run_command(make_config(tmp_path, **known))


def test_cache_and_checkpointing_may_change_on_resume(tmp_path):
    def stop(_step, _metrics):
        raise StopTraining

    task = make_task(tmp_path)
    train(task, task.config, on_step=stop)
    changes = {"cache_dir": tmp_path / "moved", "gradient_checkpointing": True}
    task = make_task(tmp_path, resume_from_checkpoint="latest", **changes)
    assert train(task, task.config).steps == 3


def test_only_what_is_trained_stays_in_memory(tmp_path, monkeypatch):
    write_clips(tmp_path / "clips")
    frozen = []

    def load(*arguments):
        components = load_video_components(*arguments)
        frozen.extend(map(weakref.ref, (components.vae, components.text_encoder)))
        return components

    def run(task, config, on_step):
        gc.collect()
        assert task.transformer is not None and [model() for model in frozen] == [None, None]

    monkeypatch.setattr(trainer, "load_video_components", load)
    monkeypatch.setattr(trainer, "run_training", run)
    known = {"base": str(toy_base_folder()), "teacher": str(toy_teacher_folder())}
    run_command(make_config(tmp_path, **known))
    assert len(frozen) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teacher": "nobody"}, "Unknown teacher 'nobody'"),
        ({"base": "nothing/here"}, "nothing/here at revision main is not on this machine"),
    ],
)
def test_unknown_models(tmp_path, changes, message):
    known = {"base": str(toy_base_folder()), "teacher": str(toy_teacher_folder())}
    with pytest.raises(InputError, match=message):
        run_command(make_config(tmp_path, **(known | changes)))
