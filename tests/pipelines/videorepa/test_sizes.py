"""Behaviour 15 through the whole trainer: any size, frame count and type."""

from functools import partial
from pathlib import Path

import pytest
import torch

from tests.pipelines.videorepa.test_trainer import BASE, make_config
from tests.pipelines.videorepa.toys import make_clip, make_toy_pipeline, make_toy_videomae
from visionrel.artifacts import load_tensors
from visionrel.pipelines.videorepa.dataset import TrainingClip
from visionrel.pipelines.videorepa.pipeline import LORA_NAME, TRANSFORMER_FOLDER, WEIGHTS_NAME
from visionrel.pipelines.videorepa.student import TokenGrid
from visionrel.pipelines.videorepa.trainer import HEADS_NAME, VideoREPATask
from visionrel.training import train


def make_task(
    folder: Path,
    size: tuple[int, int, int] = (9, 32, 32),
    *,
    patch: int = 8,
    rotary: bool = True,
    **changes,
) -> VideoREPATask:
    """A task on two clips of a size, with a teacher of some patch size."""
    clips = [
        TrainingClip(f"{seed}.mp4", "a ball drops", str(seed), partial(make_clip, seed, *size))
        for seed in (0, 1)
    ]
    components = make_toy_pipeline(use_rotary_positional_embeddings=rotary, attention_head_dim=16)
    sizes = dict(zip(("num_frames", "height", "width"), size, strict=True))
    config = make_config(folder, **sizes, max_train_steps=2, align_layer=2, **changes)
    teacher = make_toy_videomae(patch_size=patch), "2" * 64
    return VideoREPATask(config, components, clips, BASE, teacher)


@pytest.mark.parametrize(
    ("size", "patch", "rotary", "grid", "target"),
    [
        ((13, 40, 48), 8, True, (4, 5, 6), (6, 5, 6)),
        ((17, 48, 24), 8, False, (5, 6, 3), (8, 6, 3)),
        ((5, 48, 48), 8, True, (2, 6, 6), (2, 6, 6)),
        ((9, 48, 48), 24, False, (3, 6, 6), (4, 2, 2)),  # three tokens to one
        ((9, 40, 56), 16, True, (3, 5, 7), (4, 2, 3)),  # does not divide: interpolated
    ],
)
def test_any_size_trains(tmp_path, size, patch, rotary, grid, target):
    task = make_task(tmp_path, size, patch=patch, rotary=rotary)
    assert (task.grid, task.target) == (TokenGrid(*grid), TokenGrid(*target))
    assert (task.rotary is not None) == rotary
    before = [parameter.detach().clone() for parameter in task.parameters()]
    metrics = train(task, task.config).metrics
    assert metrics["diffusion"] > 0 and metrics["relations"] > 0
    assert all(
        not torch.equal(old, new) for old, new in zip(before, task.parameters(), strict=True)
    )


@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_bfloat16_trains_weights_of_float32(tmp_path, tuning):
    def run(precision: str):
        task = make_task(
            tmp_path, tuning=tuning, mixed_precision=precision, output_dir=tmp_path / precision
        )
        return train(task, task.config).metrics

    narrow, full = run("bf16"), run("no")
    for name in ("diffusion", "relations"):
        assert narrow[name] == pytest.approx(full[name], rel=0.02)
        assert narrow[name] != full[name]
    file = LORA_NAME if tuning == "lora" else f"{TRANSFORMER_FOLDER}/{WEIGHTS_NAME}"
    for path in (file, HEADS_NAME):
        tensors = load_tensors(tmp_path / "bf16" / path)[0]
        assert all(value.dtype == torch.float32 for value in tensors.values())
        assert all(value.isfinite().all() for value in tensors.values())
