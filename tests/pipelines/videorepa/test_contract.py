"""CogVideoX 2B and 5B: published sizes on the meta device, and one step at the size of 2B."""

import json
import resource
import subprocess
import sys
import time

import pytest
import torch
from peft import LoraConfig

from tests.pipelines.videorepa.cogvideox import (
    FRAMES,
    HEIGHT,
    SPATIAL,
    TEMPORAL,
    WIDTH,
    make_transformer,
)
from visionrel.losses import token_relation_distillation_loss
from visionrel.pipelines.videorepa.student import (
    BlockTap,
    TokenGrid,
    default_align_layer,
    make_head,
    student_grid,
)
from visionrel.pipelines.videorepa.trainer import LORA_TARGETS, velocity_loss


MEMORY_LIMIT_GIB = 24
LATENTS = ((FRAMES - 1) // TEMPORAL + 1, HEIGHT // SPATIAL, WIDTH // SPATIAL)
TEACHER = TokenGrid(24, 10, 15)


def count(parameters) -> int:
    return sum(parameter.numel() for parameter in parameters)


@pytest.mark.parametrize(
    ("name", "layers", "width", "parameters", "lora"),
    [
        # LoRA: layers x 4 projections x (A and B) x rank 128 x width.
        ("2b", 30, 1920, 1_693_783_872, 30 * 4 * 2 * 128 * 1920),
        ("5b", 42, 3072, 5_570_283_072, 42 * 4 * 2 * 128 * 3072),
    ],
)
def test_published_sizes(name, layers, width, parameters, lora):
    with torch.device("meta"):
        transformer = make_transformer(name)
    assert len(transformer.transformer_blocks) == layers
    assert count(transformer.parameters()) == parameters
    assert student_grid(transformer, LATENTS) == TokenGrid(13, 30, 45)
    assert student_grid(transformer, LATENTS).tokens == 17_550
    assert default_align_layer(layers) == 18
    head = make_head(transformer.to_empty(device="meta"), 768, 3, seed=0)
    assert head.projector[0].in_features == width

    transformer.requires_grad_(False)
    with torch.device("meta"):
        transformer.add_adapter(
            LoraConfig(r=128, lora_alpha=64, target_modules=list(LORA_TARGETS)),
        )
    trained = [parameter for parameter in transformer.parameters() if parameter.requires_grad]
    assert count(trained) == lora and len(trained) == layers * 4 * 2
    scales = transformer.transformer_blocks[0].attn1.to_out[0].scaling
    assert list(scales.values()) == [0.5]


@pytest.mark.parametrize("name", ["2b", "5b"])
def test_tokens_of_block_18_reach_the_teachers_grid(name):
    with torch.device("meta"):
        transformer = make_transformer(name)
        tap = BlockTap(transformer, 18)
        # What follows does not touch the tokens.
        transformer.transformer_blocks = transformer.transformer_blocks[:18]
        head = make_head(transformer, 768, 3, seed=None).to("meta")
        rotary = None
        if transformer.config.use_rotary_positional_embeddings:
            rotary = (torch.empty(17_550, 64), torch.empty(17_550, 64))
        transformer.requires_grad_(False)(
            torch.empty(1, LATENTS[0], 16, *LATENTS[1:]),
            torch.empty(1, 226, 4096),
            torch.empty(1, dtype=torch.long),
            image_rotary_emb=rotary,
        )
        tokens = head(tap.take(), student_grid(transformer, LATENTS), TEACHER)
    assert tokens.shape == (1, 24, 150, 768)


def take_one_step() -> dict[str, float]:
    """One AdamW-free training step of 2B in bfloat16 on 9 frames of 96 x 144, TRD included.

    The step is plain SGD in place: AdamW's two moments alone would take 6.8 GB more.
    """
    torch.manual_seed(0)
    started = time.monotonic()
    torch.set_default_dtype(torch.bfloat16)
    transformer = make_transformer("2b").train()
    torch.set_default_dtype(torch.float32)
    transformer.enable_gradient_checkpointing()
    tap, head = BlockTap(transformer, 18), make_head(transformer, 768, 3, seed=0).bfloat16()
    built, worked = time.monotonic(), time.process_time()

    latents, noise = torch.randn(2, 1, 3, 16, 12, 18)
    timesteps, alphas = torch.tensor([500]), torch.tensor([0.5])
    noisy = alphas.sqrt() * latents + (1 - alphas).sqrt() * noise
    states = torch.randn(1, 226, 4096).bfloat16()
    velocity = transformer(noisy.bfloat16(), states, timesteps).sample
    student = head(tap.take(), student_grid(transformer, (3, 12, 18)), TokenGrid(4, 2, 3))
    teacher = torch.randn(1, 4, 6, 768)
    distance = token_relation_distillation_loss(student, teacher)
    loss = velocity_loss(velocity, latents, noise, alphas) + 0.5 * distance
    loss.backward()
    with torch.no_grad():
        for parameter in (*transformer.parameters(), *head.parameters()):
            parameter.sub_(parameter.grad, alpha=1e-6)
    return {
        "build_seconds": round(built - started, 1),
        "step_seconds": round(time.monotonic() - built, 1),
        "step_cpu_seconds": round(time.process_time() - worked, 1),
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "loss": float(loss.detach()),
        "relations": float(distance.detach()),
    }


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_one_step_at_the_size_of_2b(capsys):
    """`pytest -m slow tests/pipelines/videorepa/test_contract.py`."""
    code = f"import json; from {__name__} import take_one_step; print(json.dumps(take_one_step()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    with capsys.disabled():
        print("\n" + json.dumps(found))
    assert found["peak_gib"] < MEMORY_LIMIT_GIB and found["relations"] > 0
