"""Stable Diffusion 1.5: its published sizes on the meta device, and a run at real size."""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.pipelines.reversion.stable_diffusion import (
    REAL,
    TOY,
    Shape,
    make_scheduler,
    save_stable_diffusion,
)
from tests.pipelines.reversion.stand_ins import CLIP_SIZE, make_clip_tokenizer, write_exemplars
from visionrel.artifacts import load_learned_embeds
from visionrel.cli.main import main
from visionrel.pipelines.reversion.config import TrainConfig
from visionrel.pipelines.reversion.drawing import few_step_scheduler
from visionrel.pipelines.reversion.tokens import add_relation_tokens, initializer_id


MEMORY_LIMIT_GIB = 24


def count(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_parameter_counts():
    with torch.device("meta"):
        assert count(REAL.make_unet()) == 859_520_964
        assert count(REAL.make_text_encoder()) == 123_060_480
        assert count(REAL.make_vae()) == 83_653_863


def test_token_table_grows_by_the_placeholder():
    tokenizer = make_clip_tokenizer()
    with torch.device("meta"):
        text_encoder = REAL.make_text_encoder()
        table = text_encoder.get_input_embeddings().weight
        row = table[initializer_id(tokenizer, "and")]
        add_relation_tokens(tokenizer, text_encoder, {"<R>": row})
    assert tokenizer.convert_tokens_to_ids("<R>") == CLIP_SIZE == 49408
    assert tokenizer("cat <r> stone").input_ids[2] == 49408
    assert text_encoder.get_input_embeddings().weight.shape == (49409, 768)
    assert row.shape == (768,)
    assert count(text_encoder) == 123_060_480 + 768


def test_settings_for_512_pixels():
    config = TrainConfig(train_data_dir=Path("x")).settle(REAL.resolution)
    assert config.resolution == 512
    effective = config.train_batch_size * config.gradient_accumulation_steps
    assert effective == 8 and config.max_train_steps == 3000


def test_noise_schedules_of_trainer_and_solver():
    solver = few_step_scheduler(make_scheduler())
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    torch.testing.assert_close(solver.alphas_cumprod, (1 - betas).cumprod(0))


def run_here(words: list[str]) -> dict[str, float]:
    """Runs the command in this process."""
    assert main(words) == 0
    return {}


def run_apart(words: list[str]) -> dict[str, float]:
    """Runs it in a process of its own; gives seconds and the children's peak memory in GiB."""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "visionrel.cli.main", *words],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # The largest of all children so far, so that the last command's number covers every one.
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    return {"seconds": round(time.monotonic() - started, 1), "peak_gib": round(peak, 2)}


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("shape", "run"),
    [
        pytest.param(TOY, run_here, id="toy"),
        pytest.param(REAL, run_apart, id="real", marks=pytest.mark.slow),
    ],
)
def test_commands_on_random_weights(
    tmp_path: Path,
    shape: Shape,
    run: Callable[[list[str]], dict[str, float]],
    capsys: pytest.CaptureFixture,
):
    """Learns two optimizer steps and draws one picture in two steps, as a user would.

    At real size: `pytest -m slow tests/pipelines/reversion/test_contract.py`.
    """
    base = save_stable_diffusion(tmp_path / "base", shape)
    data = write_exemplars(tmp_path / "exemplars", count=2)
    out, pictures = tmp_path / "out", tmp_path / "pictures"
    common = ["--base", str(base), "--seed", "0", "--device", "cpu", "--output_dir"]
    size = f"--resolution {shape.resolution} --train_batch_size 1 --gradient_accumulation_steps 1"
    length = "--gradient_checkpointing --max_train_steps 2"
    trained = run(
        [
            "train",
            "reversion",
            *common,
            str(out),
            "--train_data_dir",
            str(data),
            *f"{size} {length}".split(),
        ]
    )
    generated = run(
        [
            "generate",
            "reversion",
            *common,
            str(pictures),
            "--relations",
            str(out),
            "--prompts",
            "cat {} stone",
            "--num_images",
            "1",
            "--num_inference_steps",
            "2",
        ]
    )
    row = load_learned_embeds(out / "learned_embeds.safetensors")["<R>"]
    assert row.shape == (shape.text_width,)
    (path,) = pictures.glob("*.png")
    assert Image.open(path).size == (shape.resolution, shape.resolution)
    if generated:
        with capsys.disabled():
            print("\n" + json.dumps({"train": trained, "generate": generated}))
        assert generated["peak_gib"] < MEMORY_LIMIT_GIB
