"""Two gloo processes learn the token that one learns from the same micro-batches."""

import torch

from tests.pipelines.reversion.stand_ins import write_exemplars
from tests.pipelines.reversion.test_trainer import load_row, make_config
from tests.processes import launch
from tests.toys import toy_folder
from visionrel.pipelines.reversion.trainer import train


def test_two_processes_equal_one_that_accumulates(tmp_path):
    data = write_exemplars(tmp_path / "exemplars")
    # Steering pools the words of a micro-batch, so that micro-batches of one size are compared.
    train(make_config(data, output_dir=tmp_path / "one", gradient_accumulation_steps=2))
    flags = {
        "train_data_dir": data,
        "output_dir": tmp_path / "two",
        "base": toy_folder(),
        **{"train_batch_size": 2, "gradient_accumulation_steps": 1, "max_train_steps": 4},
        **{"seed": 5, "device": "cpu", "report_to": "none"},
    }
    words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    launch("visionrel.cli.main", "train", "reversion", *words)
    one, two = (load_row(tmp_path / name) for name in ("one", "two"))
    torch.testing.assert_close(two, one, rtol=1e-4, atol=1e-6)
