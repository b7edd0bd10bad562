"""The recipes of the motion base and its teacher run from end to end, in one step each."""

import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import CogVideoXPipeline
from diffusers.models.attention_processor import CogVideoXAttnProcessor2_0

from visionrel.errors import InputError
from visionrel.pipelines.videorepa.teacher_files import load_teacher
from visionrel.pipelines.videorepa.teachers import VideoMAETeacher
from visionrel.training import SampleRandom
from visionrel.weights.recipes import motion, motion_teacher
from visionrel.weights.recipes.motion_stages import latents
from visionrel.weights.recipes.motion_stages.attention import PlainAttention
from visionrel.weights.recipes.motion_stages.clips import describe_cells, draw_scene
from visionrel.weights.recipes.motion_stages.teacher import (
    ForetellingTask,
    hold_still,
    make_teacher,
)
from visionrel.weights.recipes.motion_stages.text import WIDTH, describe_scene
from visionrel.weights.recipes.motion_stages.tokenizer import (
    MAX_LENGTH,
    build_tokenizer,
    tokenize,
)
from visionrel.weights.recipes.motion_stages.transformer import (
    DenoisingTask,
    make_rotary,
    make_scheduler,
    share_cells,
)
from visionrel.weights.recipes.motion_stages.vae import ReconstructionTask, make_vae
from visionrel.worlds.motion import render_masks, sample_motion, vocabulary


SHORT = {
    "text_steps": 1,
    "vae_crop_steps": 1,
    "vae_steps": 1,
    "cached_clips": 4,
    "transformer_steps": 1,
    "transformer_batch_size": 4,
}
TRANSFORMER = "transformer/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("build")
    found = motion.build(motion.BuildConfig(output_dir=folder, **SHORT))
    assert found["megabytes"] <= 25
    return folder


@pytest.fixture(scope="module")
def pipeline(built) -> CogVideoXPipeline:
    loaded = CogVideoXPipeline.from_pretrained(built / "motion", dtype=torch.float32)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def test_padding_of_the_training_is_not_saved(built):
    saved = json.loads((built / "motion" / "tokenizer" / "tokenizer.json").read_text())
    assert saved["padding"] is None and saved["truncation"] is None


def test_clips_beyond_whole_shards_are_cached_too(tmp_path, monkeypatch):
    monkeypatch.setattr(latents, "SHARD", 4)
    monkeypatch.setattr(latents, "_name_encoder", lambda vae: "vae")
    monkeypatch.setattr(
        latents,
        "_encode_shard",
        lambda vae, tokenizer, seed, count: {
            each.name: torch.zeros(count) + seed[1] for each in fields(latents.CachedClips)
        },
    )
    found = latents.cache_clips(None, None, tmp_path, 10, 3)
    assert found.latents.tolist() == [0] * 4 + [1] * 4 + [2] * 2
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "vae-seed3-2-002.safetensors",
        "vae-seed3-4-000.safetensors",
        "vae-seed3-4-001.safetensors",
    ]


def test_the_motion_recipe_leaves_a_stock_pipeline(pipeline):
    frames = pipeline("a ball drops and bounces", num_inference_steps=1, output_type="np").frames
    assert frames.shape == (1, 17, 48, 48, 3) and np.isfinite(frames).all()
    assert pipeline.vae.config.scaling_factor != 1.15258426


def test_positions_are_those_of_the_pipeline(pipeline):
    stock = pipeline._prepare_rotary_positional_embeddings(48, 48, 5, torch.device("cpu"))
    for ours, theirs in zip(make_rotary(), stock, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_attention_for_training_is_that_of_the_base(pipeline):
    transformer, generator = pipeline.transformer, torch.Generator().manual_seed(0)
    latents = torch.randn(2, 5, 12, 12, 12, generator=generator)
    words = torch.randn(2, MAX_LENGTH, WIDTH, generator=generator)
    found = []
    for processor in (CogVideoXAttnProcessor2_0(), PlainAttention()):
        transformer.set_attn_processor(processor)
        with torch.no_grad():
            timesteps = torch.tensor([3, 900])
            found.append(transformer(latents, words, timesteps, image_rotary_emb=make_rotary()))
    torch.testing.assert_close(found[1].sample, found[0].sample, atol=1e-5, rtol=1e-4)
    transformer.set_attn_processor(CogVideoXAttnProcessor2_0())


def test_a_last_run_sees_little_noise(pipeline):
    cached = latents.CachedClips(
        *(torch.zeros(1, *shape) for shape in ((12, 5, 12, 12), (MAX_LENGTH,), (3,), (3, 5, 6, 6)))
    )
    parts = (pipeline.transformer, pipeline.text_encoder, pipeline.tokenizer, cached, 1.0)
    shares = {}
    for levels in ("layout", "shapes"):
        task = DenoisingTask(*parts, levels)
        drawn = [task.sample(0, SampleRandom(0, step))["timesteps"] for step in range(500)]
        assert 0 <= min(drawn) and max(drawn) < 1000
        shares[levels] = np.mean([step < 100 for step in drawn])
    pipeline.transformer.set_attn_processor(CogVideoXAttnProcessor2_0())
    assert shares["layout"] < 0.03 and shares["shapes"] == pytest.approx(0.316, abs=0.06)


def test_a_second_run_goes_on_and_changes_nothing(built):
    before = (built / "motion" / TRANSFORMER).read_bytes()
    motion.build(motion.BuildConfig(output_dir=built, **SHORT))
    assert (built / "motion" / TRANSFORMER).read_bytes() == before
    assert len(list((built / "latents").iterdir())) == 1


def test_a_run_from_a_base_keeps_its_encoders(built, tmp_path):
    motion.build(motion.BuildConfig(output_dir=tmp_path, start=built / "motion", **SHORT))
    text = "text_encoder/model.safetensors"
    assert (tmp_path / "motion" / text).read_bytes() == (built / "motion" / text).read_bytes()


def test_no_steps_keep_the_transformer_of_the_start(built, tmp_path):
    short = SHORT | {"vae_steps": 0, "transformer_steps": 0}
    motion.build(motion.BuildConfig(output_dir=tmp_path, start=built / "motion", **short))
    before = (built / "motion" / TRANSFORMER).read_bytes()
    assert (tmp_path / "motion" / TRANSFORMER).read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"build.json", "motion"}


def test_a_folder_that_began_elsewhere_is_refused(built, tmp_path):
    (tmp_path / "build.json").write_text('{"start": "scratch"}')
    with pytest.raises(InputError, match="holds a build from scratch, and `start` is now"):
        motion.build(motion.BuildConfig(output_dir=tmp_path, start=built / "motion", **SHORT))
    with pytest.raises(InputError, match="which this build would replace"):
        motion.build(motion.BuildConfig(output_dir=built, start=built / "motion", **SHORT))


@pytest.mark.parametrize(
    ("recipe", "changes", "message"),
    [
        (motion, {"transformer_steps": 0}, "`transformer_steps` must be at least 1, got 0"),
        (motion, {"text_steps": 0}, "`text_steps` must be at least 1, got 0"),
        (motion, {"transformer_batch_size": 0}, "`transformer_batch_size` must be at least 1"),
        (motion, {"vae_crop_steps": 0, "vae_steps": 0}, "`vae_crop_steps` and `vae_steps` are 0"),
        (motion, {"cached_clips": 0}, "`cached_clips` must be at least 1, got 0"),
        (motion, {"vae_learning_rate": 0.0}, "`vae_learning_rate` must be above 0"),
        (motion_teacher, {"masked_steps": 0}, "`masked_steps` must be at least 1, got 0"),
        (motion_teacher, {"learning_rate": 0.0}, "`learning_rate` must be above 0"),
    ],
)
def test_bad_settings_are_told_at_once(recipe, changes, message):
    with pytest.raises(InputError, match=message):
        recipe.BuildConfig(**changes)


def test_the_teacher_recipe_leaves_a_teacher_of_videorepa(tmp_path):
    short = {"output_dir": tmp_path, "masked_steps": 1, "foretelling_steps": 1}
    config = motion_teacher.BuildConfig(**short)
    found = motion_teacher.build(config)
    teacher = load_teacher(Path(found["teacher"]))
    assert isinstance(teacher, VideoMAETeacher) and found["megabytes"] <= 25
    assert teacher(torch.zeros(1, 17, 3, 48, 48)).shape == (1, 8, 36, 192)
    before = (tmp_path / "motion-teacher" / "model.safetensors").read_bytes()
    motion_teacher.build(config)
    assert (tmp_path / "motion-teacher" / "model.safetensors").read_bytes() == before
    again = {"output_dir": tmp_path / "again", "start": found["teacher"], "foretelling_steps": 1}
    assert Path(motion_teacher.build(motion_teacher.BuildConfig(**again))["teacher"]).is_dir()
    assert not (tmp_path / "again" / "masked").exists()


def test_a_held_clip_repeats_the_last_frame_that_moved():
    clips = torch.arange(2 * 4.0).view(2, 4, 1, 1, 1)
    held = hold_still(clips, torch.tensor([1, 3])).flatten(1)
    assert held.tolist() == [[0, 0, 0, 0], [4, 5, 6, 6]]


def test_what_is_foretold_is_the_change_of_each_place_one_tubelet_later():
    task = ForetellingTask(make_teacher().videomae)
    clips = torch.zeros(1, 16, 3, 48, 48)
    clips[:, 4:6, 1, 8:12, 20:24] = 16.0  # third tubelet, second row, third column, upper right
    coarse = task.coarse(clips).view(1, 8, 6, 6, 2, 2, 2, 3)
    assert coarse[0, 2, 1, 2, :, 0, 1, 1].tolist() == [16, 16] and coarse.sum() == 32
    # At first it says nothing: all is right of a clip that never moves, no change of any other.
    still = {"clips": clips[:, :1].expand(-1, 16, -1, -1, -1), "moving": torch.tensor([3])}
    assert task(still)["loss"] == 0
    short, long = (task({"clips": clips, "moving": torch.tensor([n])}) for n in (2, 3))
    assert short["explained"] == long["explained"] == 0
    # Held before the flash: that it comes. Held in it: that, and five times that it is gone.
    assert long["loss"].item() == pytest.approx(6 * short["loss"].item())


def test_every_word_is_one_token_and_every_caption_fits(tmp_path):
    tokenizer = build_tokenizer(vocabulary(), tmp_path)
    words = [word for word in vocabulary() if word != ","]
    assert all(len(tokenizer(word).input_ids) == 2 for word in words)
    assert tokenizer.unk_token_id not in tokenizer("a zebra!").input_ids
    rng = np.random.default_rng(0)
    captions = [draw_scene(rng)[1] for _ in range(60)]
    ids = tokenize(tokenizer, captions)
    assert ids.shape == (60, MAX_LENGTH) and (ids[:, -1] == tokenizer.pad_token_id).all()
    assert tokenizer.decode(ids[0], skip_special_tokens=True) == captions[0]


@pytest.mark.parametrize(("frames", "side"), [(9, 24), (17, 48)])
def test_pieces_are_taken_around_objects(frames, side):
    task = ReconstructionTask(make_vae(), frames, side)
    random = SampleRandom(0, 3)
    clip = task.sample(3, random)["clips"]
    assert clip.shape == (3, frames, side, side)
    ground = clip[:, 0, 0, 0]
    assert (clip - ground[:, None, None, None]).abs().amax(0).gt(0.3).any()


def test_labels_say_what_the_caption_says():
    scene, _ = sample_motion(np.random.default_rng(0), "chase", ("cat", "dog"))
    labels = describe_scene(scene, "a cat chases a dog to the right")
    assert labels[1:3] == [0, 1] and labels[3:] == [-1, 1, -1]


def test_the_noise_schedule_of_the_base_ends_in_noise_alone():
    assert make_scheduler().alphas_cumprod[-1] == 0


def test_cells_are_shared_in_the_order_of_tokens():
    scene, _ = sample_motion(np.random.default_rng(3), "collide")
    nouns, coverage = (torch.from_numpy(part)[None] for part in describe_cells(scene))
    roles, looks = share_cells(nouns.long(), coverage)
    for shares in (roles, looks):
        torch.testing.assert_close(shares.sum(1), torch.ones(1, 5 * 36))
    torch.testing.assert_close(roles[:, 1], looks[:, 1 + int(nouns[0, 0])])
    masks = render_masks(scene)[0].astype(float)
    exact = masks[1:5].reshape(4, 6, 8, 6, 8).mean((0, 2, 4))
    assert np.abs(roles[0, 1].view(5, 6, 6)[1].numpy() - exact).max() < 0.25
