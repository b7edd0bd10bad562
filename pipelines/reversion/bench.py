"""ReVersion's rows of `visionrel bench`, each timed beside what it is compared to."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline

from visionrel.artifacts import save_learned_embeds
from visionrel.bases import load_components, resolve_base
from visionrel.errors import VisionrelError
from visionrel.evaluation.timing import Timing, time_in_turns
from visionrel.pipelines.reversion.config import TrainConfig
from visionrel.pipelines.reversion.drawing import SMALL_BASE_GUIDANCE, few_step_scheduler
from visionrel.pipelines.reversion.pipeline import ReVersionPipeline
from visionrel.pipelines.reversion.quickstart import (
    SHIPPED_COUNT,
    prepare_exemplars,
)
from visionrel.worlds.scenes import HELD_OUT


BASE = "scenes"
PROMPT = "a cat above a dog"
PICTURES, STEPS = 8, 20
# Stable Diffusion 1.5's token table with one token added.
TABLE = (49409, 768)


def bench_against_stock(repeats: int, base: str = BASE) -> Timing:
    """Draws the same pictures with the stock pipeline and with ours, in turns."""
    stock = load_components(resolve_base(base))
    stock.scheduler = few_step_scheduler(stock.scheduler)
    ours = ReVersionPipeline(**stock.components, requires_safety_checker=False)
    pictures: dict[str, np.ndarray] = {}

    def make_call(name: str, pipeline: StableDiffusionPipeline) -> Callable[[], None]:
        pipeline.set_progress_bar_config(disable=True)

        def call() -> None:
            seeds = [torch.Generator().manual_seed(seed) for seed in range(PICTURES)]
            pictures[name] = pipeline(
                PROMPT,
                num_inference_steps=STEPS,
                guidance_scale=SMALL_BASE_GUIDANCE,
                num_images_per_prompt=PICTURES,
                generator=seeds,
                output_type="np",
            ).images

        return call

    calls = {"ours": make_call("ours", ours), "stock": make_call("stock", stock)}
    seconds = time_in_turns(calls, repeats)
    difference = np.abs(pictures["ours"] - pictures["stock"]).max() * 255
    return Timing(
        "generation against stock Diffusers",
        seconds["ours"],
        seconds["stock"],
        "1.3x, same pictures to 1/255",
        f"{PICTURES} pictures, {STEPS} steps; largest difference {difference:.3f}/255",
        "2x",
    )


def bench_optimizer(repeats: int, table: tuple[int, int] = TABLE) -> Timing:
    """One optimizer step on the relation's row against AdamW on the whole table and a restore."""
    config = TrainConfig(train_data_dir=Path())
    row = torch.nn.Parameter(torch.randn(table[1]))
    weight = torch.nn.Parameter(torch.randn(table))
    original = weight.detach().clone()
    row.grad, weight.grad = torch.randn_like(row), torch.zeros_like(weight)
    weight.grad[-1] = row.grad
    row_step, table_step = _adamw(row, config), _adamw(weight, config)

    @torch.no_grad()
    def step_table() -> None:
        table_step()
        # The authors overwrite every row but the learned one, which is the last.
        weight[:-1] = original[:-1]

    seconds = time_in_turns({"ours": row_step, "table": step_table}, 10 * repeats)
    return Timing(
        "ReVersion optimizer step",
        seconds["ours"],
        seconds["table"],
        "20x",
        f"AdamW on one row against the {table[0]} x {table[1]} table and its restore; "
        f"{10 * repeats} rounds",
        "100x",
    )


def bench_train_command(repeats: int) -> Timing:
    """Wall time of `visionrel train reversion` on shipped exemplars, process start included."""
    with tempfile.TemporaryDirectory(prefix="visionrel-bench-") as name:
        folder = Path(name)
        exemplars = prepare_exemplars(HELD_OUT["diagonal"], SHIPPED_COUNT, folder)

        def command(turn: int) -> Sequence[str]:
            return (
                *("train", "reversion", "--train_data_dir", str(exemplars)),
                *("--output_dir", str(folder / f"run-{turn}"), "--base", BASE, "--seed", "0"),
            )

        seconds = _time_command(command, repeats)
    return Timing("visionrel train reversion", seconds, None, "120 s", f"base {BASE}", "45 s")


def bench_generate_command(repeats: int) -> Timing:
    """Wall time of `visionrel generate reversion` for eight pictures, process start included."""
    with tempfile.TemporaryDirectory(prefix="visionrel-bench-") as name:
        folder = Path(name)
        learned = folder / "learned_embeds.safetensors"
        table = load_components(resolve_base(BASE)).text_encoder.get_input_embeddings()
        save_learned_embeds(learned, {"<R>": table.weight[-1]})

        def command(turn: int) -> Sequence[str]:
            return (
                *("generate", "reversion", "--prompts", "a cat {} a dog", "--base", BASE),
                *("--relations", str(learned), "--num_images", str(PICTURES), "--seed", "0"),
                *("--output_dir", str(folder / f"run-{turn}")),
            )

        seconds = _time_command(command, repeats)
    note = f"{PICTURES} pictures, base {BASE}"
    return Timing("visionrel generate reversion", seconds, None, "20 s", note, "8 s")


def bench_quickstart_command(repeats: int) -> Timing:
    """Wall time of `visionrel quickstart`, process start included, installing not."""
    with tempfile.TemporaryDirectory(prefix="visionrel-bench-") as name:
        seconds = _time_command(
            lambda turn: ("quickstart", "--output_dir", str(Path(name) / f"run-{turn}")), repeats
        )
    note = "without installing, which the goals for `make demo` in a fresh clone include"
    return Timing("visionrel quickstart", seconds, None, "300 s", note, "180 s")


ROWS: Mapping[str, Callable[[int], Timing]] = {
    "stock": bench_against_stock,
    "optimizer": bench_optimizer,
    "train": bench_train_command,
    "generate": bench_generate_command,
    "quickstart": bench_quickstart_command,
}


def _adamw(parameter: torch.nn.Parameter, config: TrainConfig) -> Callable[[], None]:
    optimizer = torch.optim.AdamW(
        [parameter],
        lr=2e-3,
        betas=(config.adam_beta1, config.adam_beta2),
        weight_decay=config.adam_weight_decay,
        eps=config.adam_epsilon,
    )
    return optimizer.step


def _time_command(command: Callable[[int], Sequence[str]], repeats: int) -> float:
    """Median wall seconds of a command line; `command` gives a new output folder each turn."""
    seconds = []
    for turn in range(repeats):
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "visionrel.cli.main", *command(turn), "--quiet"],
            capture_output=True,
            text=True,
            check=False,
        )
        seconds.append(time.perf_counter() - start)
        if done.returncode:
            raise VisionrelError(f"`visionrel {' '.join(command(turn))}` failed: {done.stderr}")
    return statistics.median(seconds)
