import json
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
from diffusers import CogVideoXDDIMScheduler, CogVideoXDPMScheduler

from tests.pipelines.videorepa.test_trainer import make_task
from tests.pipelines.videorepa.toys import FRAMES, SIZE, make_toy_pipeline, toy_base_folder
from visionrel.artifacts import save_tensors
from visionrel.data.video_files import read_pixels
from visionrel.errors import InputError
from visionrel.pipelines.videorepa import generate as module
from visionrel.pipelines.videorepa.config import GenerateConfig
from visionrel.pipelines.videorepa.drawing import DrawingConfig
from visionrel.pipelines.videorepa.generate import draw, generate, load_pipeline, tuned_files
from visionrel.pipelines.videorepa.pipeline import resolve_video_base
from visionrel.pipelines.videorepa.studio import Studio
from visionrel.training import train


def make_config(folder, **changes) -> GenerateConfig:
    settings = {
        "prompts": ("a red ball drops",),
        "base": str(toy_base_folder()),
        "output_dir": folder / "clips",
        "num_inference_steps": 2,
        "seed": 3,
        "device": "cpu",
    }
    return GenerateConfig(**(settings | changes))


def test_clips_previews_and_records(tmp_path):
    paths = generate(make_config(tmp_path, prompts=("a red ball drops", "../a box"), num_videos=2))
    assert [path.name for path in paths] == [
        "0000_a-red-ball-drops_seed3.mp4",
        "0001_a-red-ball-drops_seed4.mp4",
        "0000_a-box_seed3.mp4",
        "0001_a-box_seed4.mp4",
    ]
    clip, rate = read_pixels(paths[0])
    assert clip.shape == (FRAMES, SIZE, SIZE, 3) and rate == pytest.approx(8)
    record = json.loads(paths[1].with_suffix(".json").read_text())
    assert (record["command"], record["seed"]) == ("generate videorepa", 4)
    assert record["base"]["sha256"] and paths[0].with_suffix(".gif").stat().st_size > 0


def test_same_settings_give_the_same_bytes_and_nothing_is_overwritten(tmp_path):
    first, second = (generate(make_config(tmp_path))[0] for _ in "ab")
    assert first != second and first.read_bytes() == second.read_bytes()


def test_a_clip_does_not_depend_on_its_neighbours(tmp_path):
    config = make_config(tmp_path)
    pipeline = load_pipeline(config, resolve_video_base(config.base))
    alone = draw(pipeline, "a red ball drops", 4, config)
    draw(pipeline, "a blue box rolls", 3, config)
    assert np.array_equal(alone, draw(pipeline, "a red ball drops", 4, config))
    assert not np.array_equal(alone, draw(pipeline, "a red ball drops", 5, config))


def test_a_small_base_is_drawn_as_it_is_judged_and_the_record_says_how(tmp_path):
    changes = {"num_inference_steps": None, "guidance_scale": None, "use_dynamic_cfg": None}
    calls = []
    config = make_config(tmp_path, **changes)
    for settings in (changes, {**changes, "num_inference_steps": 2}):
        record = json.loads(
            generate(make_config(tmp_path, **settings))[0].with_suffix(".json").read_text()
        )
        calls.append([record["config"][name] for name in changes])
    assert calls == [[25, 3.0, False], [2, 3.0, False]]
    studio = Studio(config.base, "cpu")
    assert [getattr(studio.drawing, name) for name in changes] == calls[0]
    studio = Studio(config.base, "cpu", DrawingConfig(use_dynamic_cfg=True))
    assert studio.drawing.use_dynamic_cfg and studio.drawing.guidance_scale == 3


def test_generate_and_studio_draw_the_same_clip(tmp_path):
    drawing = DrawingConfig(num_inference_steps=2, use_dynamic_cfg=True)
    studio = Studio(str(toy_base_folder()), "cpu", drawing)
    config = make_config(tmp_path, seed=0, use_dynamic_cfg=True)
    mine = draw(studio.pipeline, "a red ball drops", 0, config)
    assert np.array_equal(mine, studio.draw(["a red ball drops"], 0)[0])
    other = draw(studio.pipeline, "a red ball drops", 0, make_config(tmp_path, seed=0))
    assert not np.array_equal(mine, other)  # the guidance's course counts


def test_large_bases_have_the_authors_settings():
    settled = GenerateConfig(prompts=("a ball",)).settle(480)
    assert (settled.num_inference_steps, settled.guidance_scale) == (50, 6.0)
    assert settled.use_dynamic_cfg and settled.prompts == ("a ball",)


def test_scheduler_and_tiles_are_the_authors(tmp_path):
    base = tmp_path / "base"
    shutil.copytree(toy_base_folder(), base)
    scheduler = make_toy_pipeline().scheduler
    ddim = CogVideoXDDIMScheduler.from_config(scheduler.config, timestep_spacing="linspace")
    ddim.save_pretrained(base / "scheduler")
    index = json.loads((base / "model_index.json").read_text())
    index["scheduler"][1] = "CogVideoXDDIMScheduler"
    (base / "model_index.json").write_text(json.dumps(index))
    found = resolve_video_base(str(base))
    small, large = (load_pipeline(make_config(tmp_path, height=h), found) for h in (None, 256))
    assert isinstance(small.scheduler, CogVideoXDPMScheduler)
    assert small.scheduler.config.timestep_spacing == "trailing"
    assert small.scheduler.config.snr_shift_scale == scheduler.config.snr_shift_scale
    assert not small.vae.use_tiling and large.vae.use_tiling


def test_every_shard_of_a_tuned_transformer_is_hashed(tmp_path):
    names = [f"diffusion_pytorch_model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    (tmp_path / "transformer").mkdir()
    for name in names:
        (tmp_path / "transformer" / name).write_bytes(b"")
    assert [path.name for path in tuned_files(tmp_path)] == names


def test_length_and_size_can_be_chosen(tmp_path):
    config = make_config(tmp_path, num_frames=17, height=16, width=24)
    (path,) = generate(config)
    assert read_pixels(path)[0].shape == (17, 16, 24, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompts": ()}, "`prompts` needs at least one prompt"),
        ({"num_frames": 13}, r"`num_frames` must be 8k \+ 1, got 13; for example 9"),
        ({"fps": 0}, "`fps` must be at least 1"),
        ({"num_videos": 0}, "`num_videos` must be at least 1"),
    ],
)
def test_bad_settings(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        make_config(tmp_path, **changes)


def test_a_size_that_holds_no_whole_patches_is_refused_before_anything_is_drawn(tmp_path):
    with pytest.raises(InputError) as caught:
        generate(make_config(tmp_path, height=20, width=28))
    assert caught.value.problems == [
        "`height` must be a multiple of 8 for this base, got 20.",
        "`width` must be a multiple of 8 for this base, got 28.",
    ]
    assert not (tmp_path / "clips").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tuned": "nothing"}, "`tuned` is .*nothing, which does not exist"),
        ({"output_dir": "file"}, "`output_dir` is .* is a file"),
    ],
)
def test_wrong_paths_are_told_before_the_base_is_loaded(tmp_path, monkeypatch, changes, message):
    (tmp_path / "file").touch()
    monkeypatch.setattr(module, "load_pipeline", None)
    paths = {name: tmp_path / value for name, value in changes.items()}
    with pytest.raises(InputError, match=message):
        generate(make_config(tmp_path, **paths))


def test_a_lora_is_applied_at_the_wanted_scale(tmp_path):
    task = make_task(tmp_path, tuning="lora", max_train_steps=1)
    train(task, task.config)
    config = make_config(tmp_path, tuned=tmp_path / "out", lora_scale=0.5)
    pipeline = load_pipeline(config, resolve_video_base(config.base))
    layer = pipeline.transformer.transformer_blocks[0].attn1.to_q
    assert list(layer.scaling.values()) == [0.25]  # half of alpha / rank
    assert '"lora_scale": 0.5' in generate(config)[0].with_suffix(".json").read_text()
    with pytest.raises(InputError, match=r"`lora_scale` is 0\.5, but `tuned` is None"):
        generate(make_config(tmp_path, lora_scale=0.5))


def test_weights_tuned_on_another_base_are_warned_of(tmp_path, caplog):
    config = make_config(tmp_path, tuned=tmp_path / "out")
    base = resolve_video_base(config.base)
    transformer = load_pipeline(replace(config, tuned=None), base).transformer
    transformer.save_config(tmp_path / "out" / "transformer")
    weights = tmp_path / "out" / "transformer" / "diffusion_pytorch_model.safetensors"
    for digest in (base.digest, "0" * 64):
        assert "with base_sha256" not in caplog.text
        save_tensors(weights, transformer.state_dict(), {"base_sha256": digest})
        load_pipeline(config, base)
    assert f"with base_sha256 {'0' * 64}, but {base.name} has {base.digest}" in caplog.text


def test_other_pipelines_are_refused(tmp_path):
    (tmp_path / "model_index.json").write_text('{"unet": ["diffusers", "UNet2DConditionModel"]}')
    with pytest.raises(InputError, match="CogVideoXTransformer3DModel is needed"):
        resolve_video_base(str(tmp_path))


def test_the_folder_is_a_custom_pipeline(monkeypatch):
    from importlib.resources import files

    from diffusers import DiffusionPipeline

    # Diffusers gives every local pipeline one module name, and keeps what it held before.
    monkeypatch.delitem(sys.modules, "diffusers_modules.local.pipeline", raising=False)
    loaded = DiffusionPipeline.from_pretrained(
        toy_base_folder(),
        custom_pipeline=str(files("visionrel.pipelines.videorepa")),
        trust_remote_code=True,
    )
    assert type(loaded).__name__ == "VideoREPAPipeline"
    state = make_toy_pipeline().transformer.state_dict()
    assert loaded.transformer.state_dict().keys() == state.keys()
