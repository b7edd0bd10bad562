"""Behaviours 11-13 of VideoREPA's training, its files, and exact resume."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import CogVideoXPipeline, CogVideoXTransformer3DModel
from safetensors import safe_open
from torch import Tensor

from tests.pipelines.videorepa.toys import (
    FRAMES,
    SIZE,
    make_clip,
    make_toy_dinov2,
    make_toy_pipeline,
    make_toy_videomae,
)
from visionrel.artifacts import load_tensors
from visionrel.bases import Base
from visionrel.data.video_files import write_mp4
from visionrel.errors import InputError
from visionrel.losses import token_alignment_loss, token_relation_distillation_loss
from visionrel.pipelines.videorepa.config import TrainConfig
from visionrel.pipelines.videorepa.dataset import TrainingClip
from visionrel.pipelines.videorepa.pipeline import (
    LORA_NAME,
    VideoREPAPipeline,
)
from visionrel.pipelines.videorepa.student import TokenGrid
from visionrel.pipelines.videorepa.trainer import HEADS_NAME, VideoREPATask, velocity_loss
from visionrel.training import SampleRandom, StopTraining, train


BASE = Base("toy", Path("."), "hub", "0" * 40)
CLIPS = [
    TrainingClip(f"{i}.mp4", caption, str(i), lambda i=i: make_clip(i))
    for i, caption in enumerate(("a red ball drops", "a blue box rolls", "a ball bounces"))
]


def make_config(folder: Path, **changes) -> TrainConfig:
    settings = {
        "train_data_dir": folder / "clips",
        "output_dir": folder / "out",
        "cache_dir": folder / "cache",
        "train_batch_size": 2,
        "max_train_steps": 3,
        "learning_rate": 1e-3,
        "seed": 5,
        "device": "cpu",
        "report_to": "none",
        "align_layer": 3,
        "head_width": 8,
    }
    if changes.get("tuning") == "lora":
        settings |= {"rank": 4, "lora_alpha": 2}
    return TrainConfig(**(settings | changes))


def make_task(folder: Path, components: CogVideoXPipeline | None = None, **changes):
    components = components or make_toy_pipeline()
    config = make_config(folder, **changes)
    return VideoREPATask(config, components, CLIPS, BASE, (make_toy_videomae(), "2" * 64))


def make_batch(task: VideoREPATask, count: int = 2) -> dict[str, Tensor]:
    return task.collate([task.sample(index, SampleRandom(0, index)) for index in range(count)])


def denoise(transformer: CogVideoXTransformer3DModel) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        return transformer.eval()(
            torch.randn(1, 3, 4, 4, 4, generator=generator),
            torch.randn(1, 8, 12, generator=generator),
            torch.tensor([500]),
        ).sample


# --- settings -------------------------------------------------------------------------------------


def test_defaults_are_what_took_effect(tmp_path):
    config = TrainConfig(train_data_dir=tmp_path)
    assert (config.base, config.teacher, config.tuning) == ("motion", "motion-teacher", "full")
    assert (config.proj_coeff, config.margin, config.terms) == (0.5, 0.1, "pooled")
    assert (config.learning_rate, config.max_train_steps) == (2e-6, 4000)
    assert (config.adam_beta1, config.adam_beta2, config.adam_weight_decay) == (0.9, 0.999, 1e-4)
    assert (config.lr_scheduler, config.lr_warmup_steps) == ("linear", 0)
    assert config.max_grad_norm == 1.0 and config.train_batch_size == 4
    assert config.rank == 128 and config.lora_alpha == 64 and config.checkpointing_steps == 800


def test_lora_and_nominal_settings(tmp_path):
    config = TrainConfig(train_data_dir=tmp_path, tuning="lora", published="nominal")
    assert (config.learning_rate, config.max_train_steps) == (1e-4, 2000)
    assert config.adam_beta2 == 0.95
    assert (config.lr_scheduler, config.lr_warmup_steps) == ("constant_with_warmup", 100)
    own = TrainConfig(train_data_dir=tmp_path, published="nominal", adam_beta2=0.9)
    assert own.adam_beta2 == 0.9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_frames": 48}, r"`num_frames` must be 4k \+ 1, got 48; for example 45"),
        ({"num_frames": 3}, r"`num_frames` must be 4k \+ 1, got 3; for example 5"),
        ({"proj_coeff": -1.0}, "`proj_coeff` must be at least 0"),
        ({"rank": 0}, "`rank` must be at least 1"),
        ({"align_layer": 0}, "`align_layer` must be at least 1"),
        ({"rank": 4}, "`rank` is 4, but it counts only with `tuning` lora"),
        ({"alignment": "tokens", "terms": "spatial"}, "`terms` is 'spatial', but it counts only"),
        ({"alignment": "tokens", "margin": 0.2}, "`margin` is 0.2, but it counts only with `align"),
        ({"validation_steps": 5}, "`validation_steps` draws nothing here; generate from"),
    ],
)
def test_bad_settings(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        make_config(tmp_path, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"align_layer": 5}, r"`align_layer` must lie in \[1, 4\]"),
        ({"height": 36}, "`height` must be a multiple of 8 for this base, got 36"),
    ],
)
def test_settings_that_do_not_fit_the_base(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        make_task(tmp_path, **changes)


def test_a_teacher_is_needed_and_must_fit(tmp_path):
    config = make_config(tmp_path)
    with pytest.raises(InputError, match="`proj_coeff` is above 0 and there is no teacher"):
        VideoREPATask(config, make_toy_pipeline(), CLIPS, BASE)
    with pytest.raises(InputError, match="needs `alignment` tokens"):
        VideoREPATask(config, make_toy_pipeline(), CLIPS, BASE, (make_toy_dinov2(), "3" * 64))


def test_what_the_base_decides(tmp_path):
    task = make_task(tmp_path, align_layer=None, head_width=None)
    config = task.config
    assert (config.num_frames, config.height, config.width) == (FRAMES, SIZE, SIZE)
    assert (config.align_layer, config.head_width) == (2, 64)


# --- behaviour 11: objective ----------------------------------------------------------------------


def test_diffusion_loss_is_the_authors_weighted_error():
    latents, noise, velocity = torch.randn(3, 4, 3, 2, 2, 2, dtype=torch.float64)
    alphas = torch.tensor([0.999, 0.7, 0.2, 1e-4], dtype=torch.float64)
    a = alphas.view(-1, 1, 1, 1, 1)
    noisy = a.sqrt() * latents + (1 - a).sqrt() * noise
    clean = a.sqrt() * noisy - (1 - a).sqrt() * velocity
    expected = ((clean - latents) ** 2 / (1 - a)).mean()
    found = velocity_loss(velocity, latents, noise, alphas)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=0)


def test_diffusion_loss_is_that_of_the_schedulers_velocity(tmp_path):
    task = make_task(tmp_path)
    latents, noise = torch.randn(2, 2, 3, 4, 4, 4)
    timesteps = torch.tensor([10, 999])
    target = task.scheduler.get_velocity(latents, noise, timesteps)
    loss = velocity_loss(target, latents, noise, task.scheduler.alphas_cumprod[timesteps])
    assert loss < 1e-12


@pytest.mark.parametrize("terms", ["pooled", "paper"])
def test_total_is_diffusion_plus_half_the_distillation(tmp_path, terms):
    task = make_task(tmp_path, terms=terms)
    batch = make_batch(task)
    found = task(batch)
    student = task.head(task.tap.take(), task.grid, task.target)
    expected = token_relation_distillation_loss(student, batch["tokens"], 0.1, terms)
    torch.testing.assert_close(found["relations"], expected)
    torch.testing.assert_close(found["loss"], found["diffusion"] + 0.5 * expected)
    assert task.grid == TokenGrid(3, 4, 4) and task.target == TokenGrid(4, 4, 4)


def test_token_alignment_is_the_control(tmp_path):
    task = make_task(tmp_path, alignment="tokens")
    batch = make_batch(task)
    found = task(batch)
    student = task.head(task.tap.take(), task.grid, task.target)
    expected = token_alignment_loss(student, batch["tokens"])
    torch.testing.assert_close(found["tokens"], expected)


def test_single_frame_teacher_aligns_tokens_on_the_students_grid(tmp_path):
    config = make_config(tmp_path, alignment="tokens")
    task = VideoREPATask(config, make_toy_pipeline(), CLIPS, BASE, (make_toy_dinov2(), "3" * 64))
    assert task.grid == task.target == TokenGrid(3, 4, 4)
    assert task(make_batch(task))["loss"].isfinite()


def plain_fine_tuning(folder: Path, task: VideoREPATask) -> CogVideoXTransformer3DModel:
    """Two AdamW steps of a stock transformer on the task's own batches."""
    transformer = make_toy_pipeline().transformer.train()
    optimizer = torch.optim.AdamW(transformer.parameters(), lr=1e-3, weight_decay=1e-4)
    for step in range(2):
        batch = make_batch(task, step + 1)
        noisy = task.scheduler.add_noise(batch["latents"], batch["noise"], batch["timestep"])
        velocity = transformer(noisy, batch["states"], batch["timestep"]).sample
        target = task.scheduler.get_velocity(batch["latents"], batch["noise"], batch["timestep"])
        torch.nn.functional.mse_loss(velocity, target).backward()
        optimizer.step()
        optimizer.zero_grad()
    return transformer


def test_without_weight_it_is_plain_fine_tuning(tmp_path):
    task = make_task(tmp_path, proj_coeff=0.0)
    assert task.head is None and not hasattr(task, "tap")
    assert "tokens" not in make_batch(task)
    assert {name.split(".")[0] for name, _ in task.named_parameters()} == {"transformer"}
    optimizer = torch.optim.AdamW(task.parameters(), lr=1e-3, weight_decay=1e-4)
    for step in range(2):
        task(make_batch(task, step + 1))["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
    expected = plain_fine_tuning(tmp_path, task).state_dict()
    for name, value in task.transformer.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-6)


def test_the_weight_changes_no_noise(tmp_path):
    """The head draws from random numbers of its own."""
    batches = [make_batch(make_task(tmp_path, proj_coeff=weight)) for weight in (0.0, 0.5)]
    for name, value in batches[0].items():
        assert torch.equal(value, batches[1][name])


# --- behaviour 12: gradients ----------------------------------------------------------------------


def test_distillation_reaches_the_blocks_up_to_the_tapped_one(tmp_path):
    task = make_task(tmp_path)
    task(make_batch(task))["relations"].backward()
    reached = {
        int(name.split(".")[2])
        for name, parameter in task.named_parameters()
        if name.startswith("transformer.transformer_blocks") and parameter.grad is not None
    }
    assert reached == {0, 1, 2}
    assert all(parameter.grad.any() for parameter in task.head.parameters())


# --- behaviour 13: LoRA and files -----------------------------------------------------------------


def test_lora_trains_the_adapter_and_the_head_only(tmp_path):
    task = make_task(tmp_path, tuning="lora")
    trained = {name for name, parameter in task.named_parameters() if parameter.requires_grad}
    assert all("lora_" in name or name.startswith("head.") for name in trained)
    assert len([name for name in trained if "lora_" in name]) == 4 * 4 * 2
    sizes = [p.numel() for n, p in task.named_parameters() if "lora_" in n and p.requires_grad]
    assert sum(sizes) == 4 * 4 * 2 * 4 * 16  # blocks, layers, A and B, rank, width


@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_what_is_trained_is_what_stock_diffusers_loads(tmp_path, tuning):
    task = make_task(tmp_path, tuning=tuning)
    train(task, task.config)
    out = tmp_path / "out"
    trained = denoise(task.transformer)
    assert not torch.allclose(trained, denoise(make_toy_pipeline().transformer), atol=1e-5)
    if tuning == "full":
        loaded = CogVideoXTransformer3DModel.from_pretrained(out / "transformer")
        state = task.transformer.state_dict()
        assert all(torch.equal(value, state[name]) for name, value in loaded.state_dict().items())
        # Equal weights at other addresses may round differently.
        torch.testing.assert_close(denoise(loaded), trained, rtol=1e-5, atol=1e-6)
    else:
        pipeline = make_toy_pipeline()
        pipeline.load_lora_weights(out)
        layer = pipeline.transformer.transformer_blocks[0].attn1.to_q
        assert list(layer.scaling.values()) == [0.5]
        torch.testing.assert_close(denoise(pipeline.transformer), trained, rtol=1e-5, atol=1e-6)
    ours = VideoREPAPipeline(**make_toy_pipeline().components)
    ours.load_tuned(out)
    torch.testing.assert_close(denoise(ours.transformer), trained, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_the_head_lies_apart(tmp_path, tuning):
    task = make_task(tmp_path, tuning=tuning, max_train_steps=1)
    train(task, task.config)
    out = tmp_path / "out"
    heads, metadata = load_tensors(out / HEADS_NAME)
    assert heads.keys() == task.head.state_dict().keys()
    assert metadata["method"] == "videorepa" and metadata["align_layer"] == "3"
    weights = out / LORA_NAME if tuning == "lora" else next((out / "transformer").glob("*.safet*"))
    with safe_open(weights, "pt") as file:
        assert not [name for name in file.keys() if "projector" in name or "downsampler" in name]
        assert file.metadata()["base_revision"] == "0" * 40


@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_another_bases_weights_are_refused(tmp_path, tuning):
    task = make_task(tmp_path, tuning=tuning, max_train_steps=1)
    train(task, task.config)
    other = VideoREPAPipeline(**make_toy_pipeline(num_layers=2).components)
    with pytest.raises(InputError, match="was tuned on another base"):
        other.load_tuned(tmp_path / "out")
    with pytest.raises(InputError, match="does not exist"):
        other.load_tuned(tmp_path)


# --- the loop -------------------------------------------------------------------------------------


@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_a_stopped_run_ends_as_an_unbroken_one(tmp_path, tuning):
    def run(name: str, last: int, **changes):
        config = {"output_dir": tmp_path / name, "tuning": tuning, "max_train_steps": 4, **changes}
        task = make_task(tmp_path, **config)

        def stop(step, _metrics):
            if step == last:
                raise StopTraining

        train(task, task.config, on_step=stop)
        return {n: p.detach() for n, p in task.named_parameters() if p.requires_grad}

    unbroken = run("whole", 4)
    run("broken", 2)
    resumed = run("broken", 4, resume_from_checkpoint="latest")
    for name, value in unbroken.items():
        assert torch.equal(value, resumed[name]), name


def test_features_are_made_once(tmp_path, monkeypatch):
    make_task(tmp_path)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.safetensors")}
    assert len(files) == 9  # latents, text and tokens of three clips
    teacher = make_toy_videomae()
    monkeypatch.setattr(teacher, "forward", lambda *_: pytest.fail("the cache was not used"))
    config = make_config(tmp_path)
    VideoREPATask(config, make_toy_pipeline(), CLIPS, BASE, (teacher, "2" * 64))
    assert files == {path: path.stat().st_mtime_ns for path in files}


def test_models_of_the_pass_over_the_clips_share_no_memory(tmp_path, monkeypatch):
    moves = []
    components, teacher = make_toy_pipeline(), make_toy_videomae()
    for model in (components.text_encoder, components.vae, teacher):
        monkeypatch.setattr(model, "to", lambda device, m=model: moves.append((m, str(device))))
    config = make_config(tmp_path, device="cpu")
    task = VideoREPATask(config, components, CLIPS, BASE, (teacher, "2" * 64))
    assert len(moves) == 6
    order = [(model, "cpu") for model, _ in moves[::2] for _ in range(2)]
    assert [(id(m), d) for m, d in moves] == [(id(m), d) for m, d in order]
    task.features.fill(components, teacher, torch.device("cuda"))
    assert len(moves) == 6  # all is there: no model is needed


def test_latents_are_drawn_from_the_scaled_posterior(tmp_path):
    components = make_toy_pipeline()
    sample = make_task(tmp_path, components).sample(0, SampleRandom(0, 0))
    with torch.no_grad():
        posterior = components.vae.encode(CLIPS[0].load()[None].transpose(1, 2)).latent_dist
    noise = torch.randn(sample["latents"].shape, generator=SampleRandom(0, 0).torch)
    mean, std = (part[0].transpose(0, 1) for part in (posterior.mean, posterior.std))
    torch.testing.assert_close(sample["latents"], (mean + std * noise) * 0.7)


def test_checkpointing_changes_no_loss(tmp_path):
    def losses(**changes):
        task = make_task(tmp_path, **changes)
        found = task(make_batch(task))
        found["loss"].backward()
        return found["loss"], task.head.projector[0].weight.grad

    torch.testing.assert_close(losses(gradient_checkpointing=True), losses())


def write_clips(folder: Path) -> None:
    folder.mkdir()
    for index, item in enumerate(CLIPS):
        frames = np.random.default_rng(index).integers(0, 256, (FRAMES, SIZE, SIZE, 3), np.uint8)
        write_mp4(folder / item.name, frames)
        (folder / item.name).with_suffix(".txt").write_text(item.caption)
