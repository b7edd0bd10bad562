"""CogVideoX 2B and 5B: published sizes on the meta device, published files, one step of 2B."""

import json
import resource
import subprocess
import sys
import time

import pytest
import torch
from diffusers import CogVideoXPipeline
from peft import LoraConfig, get_peft_model_state_dict

from tests.pipelines.videorepa.cogvideox import (
    FRAMES,
    HEIGHT,
    SPATIAL,
    TEMPORAL,
    WIDTH,
    make_transformer,
)
from tests.pipelines.videorepa.toys import make_toy_pipeline, make_toy_transformer
from visionrel.artifacts import save_tensors
from visionrel.losses import token_relation_distillation_loss
from visionrel.pipelines.videorepa.pipeline import (
    LORA_NAME,
    TRANSFORMER_FOLDER,
    WEIGHTS_NAME,
    VideoREPAPipeline,
)
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


def test_the_published_transformer_loads_though_it_holds_the_heads(tmp_path):
    """VideoREPA-2B's file: the base's names, and the authors' projector and convolution."""
    transformer = make_toy_transformer(seed=1)
    heads = {
        **{f"projectors.0.{layer}.weight": torch.ones(4, 4) for layer in (0, 2, 4)},
        "downsampler_cogvideo_output.weight": torch.ones(4, 4, 3, 3),
    }
    transformer.save_config(tmp_path / TRANSFORMER_FOLDER)
    save_tensors(
        tmp_path / TRANSFORMER_FOLDER / WEIGHTS_NAME, {**transformer.state_dict(), **heads}, {}
    )
    pipeline = VideoREPAPipeline(**make_toy_pipeline().components)
    pipeline.load_tuned(tmp_path)
    loaded = pipeline.transformer.state_dict()
    assert loaded.keys() == transformer.state_dict().keys()
    assert all(torch.equal(loaded[name], v) for name, v in transformer.state_dict().items())


def test_a_lora_without_alpha_is_warned_of_and_loads_at_scale_one(tmp_path, caplog):
    """VideoREPA-5B's file: nothing but A and B of each layer."""
    transformer = make_toy_transformer()
    transformer.add_adapter(LoraConfig(r=4, lora_alpha=2, target_modules=list(LORA_TARGETS)))
    lora = get_peft_model_state_dict(transformer)
    CogVideoXPipeline.save_lora_weights(tmp_path, transformer_lora_layers=lora)
    pipeline = VideoREPAPipeline(**make_toy_pipeline().components)
    pipeline.load_tuned(tmp_path)
    assert f"{tmp_path / LORA_NAME} does not say its `lora_alpha`" in caplog.text
    assert "--lora_scale 0.5" in caplog.text
    layer = pipeline.transformer.transformer_blocks[0].attn1.to_out[0]
    assert list(layer.scaling.values()) == [1.0]
    pipeline.set_adapters(pipeline.get_active_adapters(), 0.5)
    assert list(layer.scaling.values()) == [0.5]


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
