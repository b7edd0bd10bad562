"""Two gloo processes train as one does with the same global batch."""

import pytest
import torch
from safetensors.torch import load_file

from tests.pipelines.videorepa.test_trainer import make_config, write_clips
from tests.pipelines.videorepa.toys import toy_base_folder, toy_teacher_folder
from tests.processes import launch
from visionrel.pipelines.videorepa.pipeline import LORA_NAME, TRANSFORMER_FOLDER, WEIGHTS_NAME
from visionrel.pipelines.videorepa.trainer import HEADS_NAME, train


@pytest.mark.parametrize(
    ("tuning", "file"),
    [("full", f"{TRANSFORMER_FOLDER}/{WEIGHTS_NAME}"), ("lora", LORA_NAME)],
)
def test_two_processes_equal_one(tmp_path, tuning, file):
    write_clips(tmp_path / "clips")
    settings = {
        "tuning": tuning,
        **({"rank": 4, "lora_alpha": 2} if tuning == "lora" else {}),
        "base": str(toy_base_folder()),
        "teacher": str(toy_teacher_folder()),
        "max_grad_norm": 0.5,
        # A bias of keys has no gradient but rounding, which AdamW would blow up to whole steps.
        "adam_epsilon": 1e-3,
    }
    train(make_config(tmp_path, output_dir=tmp_path / "one", train_batch_size=4, **settings))
    flags = {
        **settings,
        "train_data_dir": tmp_path / "clips",
        "output_dir": tmp_path / "two",
        "cache_dir": tmp_path / "cache of two",
        "train_batch_size": 2,
        **{"max_train_steps": 3, "learning_rate": 1e-3, "seed": 5, "device": "cpu"},
        **{"report_to": "none", "align_layer": 3, "head_width": 8},
    }
    words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    launch("visionrel.cli.main", "train", "videorepa", *words)
    files = len(list((tmp_path / "cache of two").rglob("*.safetensors")))
    assert files == len(list((tmp_path / "cache").rglob("*.safetensors"))) == 9
    for path in (file, HEADS_NAME):
        one, two = (load_file(tmp_path / name / path) for name in ("one", "two"))
        assert one.keys() == two.keys()
        for name, value in one.items():
            torch.testing.assert_close(two[name], value, rtol=1e-4, atol=1e-6)
