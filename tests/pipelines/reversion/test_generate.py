"""Pictures, records and grids on the disk."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
from PIL import Image
from transformers import CLIPConfig, CLIPImageProcessor

from tests.toys import make_toy_stable_diffusion, toy_folder
from visionrel.artifacts import save_learned_embeds, sha256_of
from visionrel.bases import resolve_base
from visionrel.cli.replay import ReplaySettings, replay
from visionrel.errors import InputError
from visionrel.pipelines.reversion import generate as module
from visionrel.pipelines.reversion.config import GenerateConfig
from visionrel.pipelines.reversion.generate import (
    choose_device,
    find_relation,
    generate,
    load_pipeline,
    make_grid,
)
from visionrel.records import read_record


@pytest.fixture
def learned(tmp_path) -> Path:
    row = torch.randn(32, generator=torch.Generator().manual_seed(0))
    save_learned_embeds(tmp_path / "run" / "learned_embeds.safetensors", {"<R>": row})
    return tmp_path / "run"


def make_config(learned: Path, **changes) -> GenerateConfig:
    settings = {
        "prompts": ("cat {} stone",),
        "relations": (str(learned),),
        "output_dir": learned.parent / "out",
        "base": str(toy_folder()),
        "num_images": 2,
        "num_inference_steps": 2,
        "seed": 7,
        "device": "cpu",
    }
    return GenerateConfig(**(settings | changes))


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


@pytest.mark.parametrize("count", [1, 5])
def test_any_count_gives_pictures_and_a_grid(learned, count):
    *pictures, grid = generate(make_config(learned, num_images=count))
    assert [path.name for path in pictures] == [
        f"000{index}_cat-stone_seed{7 + index}.png" for index in range(count)
    ]
    assert grid.parent.name == "grids"
    columns, rows = {1: (1, 1), 5: (3, 2)}[count]
    assert Image.open(grid).size == (32 * columns, 32 * rows)


def test_record_says_how_it_was_made(learned):
    config = make_config(learned, prompts=("Cat <r> ../stone",), num_images=1, grid=False)
    (path,) = generate(config)
    assert path == config.output_dir / "0000_cat-r-stone_seed7.png"
    for record in (read_record(path), read_record(path.with_suffix(".json"))):
        assert record.command == "generate reversion"
        assert (record.prompt, record.seed) == ("Cat <r> ../stone", 7)
        assert record.config["num_inference_steps"] == 2 and record.config["seed"] == 7
        assert record.base == resolve_base(str(toy_folder())).describe()
        learned_hash = sha256_of(learned / "learned_embeds.safetensors")
        assert record.adapter == {str(learned): learned_hash}


def test_same_settings_same_bits_and_nothing_is_overwritten(learned):
    first, second = (generate(make_config(learned)) for _ in range(2))
    assert not set(first) & set(second)
    for one, two in zip(first, second, strict=True):
        assert np.array_equal(pixels(one), pixels(two))


def test_picture_i_has_seed_plus_i(learned):
    pictures = generate(make_config(learned, num_images=3, grid=False))
    alone = generate(make_config(learned, num_images=1, seed=9, grid=False))
    difference = pixels(pictures[2]).astype(int) - pixels(alone[0])
    assert np.abs(difference).max() <= 1


def test_a_part_of_the_papers_benchmark(learned):
    config = make_config(
        learned, prompts=("man {} cat",), benchmark="hug", num_images=1, seed=None, grid=False
    )
    (path,) = generate(config)
    record = read_record(path)
    assert record.prompt == "man {} cat" and record.config["benchmark"] == "hug"
    assert len(make_config(learned, prompts=(), benchmark="hug").prompts) == 100


def test_a_seed_is_drawn_and_stored(learned):
    (path,) = generate(make_config(learned, seed=None, num_images=1, grid=False))
    record = read_record(path)
    assert record.config["seed"] == record.seed >= 0
    assert f"seed{record.seed}" in path.name


def save_checked_base(folder: Path, flagged: Image.Image, others: list[Image.Image]) -> Path:
    """The toy base with a safety checker that flags one of these pictures."""
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2}
    vision = {**sizes, "num_hidden_layers": 1, "image_size": 16, "patch_size": 8}
    checker = StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision, projection_dim=8))
    size = {"height": 16, "width": 16}
    extractor = CLIPImageProcessor(size={"shortest_edge": 16}, crop_size=size)
    with torch.no_grad():
        shown = extractor([flagged, *others], return_tensors="pt").pixel_values
        seen = checker.eval().visual_projection(checker.vision_model(shown)[1])
        seen = torch.nn.functional.normalize(seen)
        checker.concept_embeds[:] = seen[0] - seen[1:].mean(0)
        likeness = torch.nn.functional.cosine_similarity(seen, checker.concept_embeds[:1])
        checker.concept_embeds_weights[:] = (likeness[0] + likeness[1:].max()) / 2
        checker.special_care_embeds_weights[:] = 2
    parts = {"safety_checker": checker, "feature_extractor": extractor}
    base = StableDiffusionPipeline(**(make_toy_stable_diffusion().components | parts))
    base.save_pretrained(folder)
    return folder


def test_a_bases_safety_checker_blackens_as_in_the_stock_pipeline(learned, caplog):
    settings = {"num_images": 3, "scheduler": "base", "grid": False}
    first, *others = (Image.open(path) for path in generate(make_config(learned, **settings)))
    base = save_checked_base(learned.parent / "base", first, others)
    paths = generate(make_config(learned, base=str(base), **settings))
    assert "safety checker blackened pictures of 'cat {} stone': seed 7." in caplog.text
    assert not pixels(paths[0]).any()
    for path, other in zip(paths[1:], others, strict=True):
        assert np.array_equal(pixels(path), np.asarray(other))
    again = ReplaySettings(file=paths[0], output=learned.parent / "again.png")
    assert replay(again).data["identical"]

    stock = StableDiffusionPipeline.from_pretrained(base)
    stock.load_textual_inversion(str(learned))
    generators = [torch.Generator().manual_seed(7 + index) for index in range(3)]
    drawn = stock(
        "cat <R> stone",
        num_images_per_prompt=3,
        num_inference_steps=2,
        guidance_scale=3.0,
        generator=generators,
    )
    assert drawn.nsfw_content_detected == [True, False, False]
    for path, other in zip(paths, drawn.images, strict=True):
        assert np.abs(pixels(path).astype(int) - np.asarray(other)).max() <= 1


def test_several_relations_and_the_bases_own_scheduler(learned):
    config = make_config(
        learned,
        prompts=("cat <r> stone <on> box", "dog <on> cup"),
        relations=(str(learned), f"<on>={learned / 'learned_embeds.safetensors'}"),
        scheduler="base",
        guidance_scale=1.0,
    )
    paths = generate(config)
    assert len(paths) == 2 * 2 + 2
    assert len(read_record(paths[0]).adapter) == 2


def test_a_file_in_the_place_of_the_folder_is_refused_before_drawing(learned, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file is a file; choose another folder"):
        generate(make_config(learned, output_dir=tmp_path / "file" / "out"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompts": ("cat {} stone", "cat <Q> stone")}, "names <Q>, which is not loaded"),
        ({"relations": ()}, "needs exactly one learned relation; loaded: none"),
        ({"relations": ("nowhere.safetensors",)}, "does not exist; train first: `visionrel train"),
        ({"base": "nowhere"}, "Unknown base 'nowhere'"),
        ({"device": "cuda:99"}, "`device` 'cuda:99' cannot be used"),
        ({"device": "toaster"}, "`device` 'toaster' cannot be used"),
        ({"height": 33}, "multiples of 4"),
    ],
)
def test_bad_settings_leave_nothing(learned, changes, message):
    config = make_config(learned, **changes)
    with pytest.raises(InputError, match=message):
        generate(config)
    assert not config.output_dir.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompts": ()}, "`prompts` needs at least one"),
        ({"prompts": (" ",)}, "`prompts` needs at least one"),
        ({"benchmark": "hug"}, "`prompts` has 'cat {} stone', which is not in the benchmark"),
        ({"num_images": 0}, "`num_images` must be at least 1"),
        ({"seed": -1}, "`seed` must be at least 0"),
    ],
)
def test_bad_values(learned, changes, message):
    with pytest.raises(InputError, match=message):
        make_config(learned, **changes)


def test_grid_order_and_sizes():
    pictures = [Image.new("RGB", (2, 3), (index, 0, 0)) for index in range(5)]
    sheet = np.asarray(make_grid(pictures))
    assert sheet.shape == (6, 6, 3)
    assert sheet[0, ::2, 0].tolist() == [0, 1, 2] and sheet[3, ::2, 0].tolist() == [3, 4, 255]
    with pytest.raises(InputError, match="one size"):
        make_grid([*pictures, Image.new("RGB", (4, 4))])
    with pytest.raises(InputError, match="got 0"):
        make_grid([])


def test_relation_with_and_without_a_name(learned):
    file = learned / "learned_embeds.safetensors"
    assert find_relation(f"<on>={learned}") == ("<on>", file)
    assert find_relation(str(learned)) == find_relation(str(file)) == (None, file)
    renamed = file.rename(learned / "a=b.bin")
    assert find_relation(str(renamed)) == (None, renamed)


def test_a_missing_relation_is_told_before_the_base_is_loaded(learned, monkeypatch):
    monkeypatch.setattr(module, "load_components", None)
    file = learned / "learned_embeds.safetensors"
    for step in (10, 9):
        (learned / f"checkpoint-{step}").mkdir()
        shutil.copy(file, learned / f"checkpoint-{step}")
    file.unlink()
    newest = learned / "checkpoint-10" / file.name
    with pytest.raises(InputError, match=rf"does not exist; the newest .* has {newest}\."):
        generate(make_config(learned))
    empty = learned.parent / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match=rf"train first: .* --output_dir {empty}`"):
        generate(make_config(learned, relations=(str(empty),)))


@pytest.mark.parametrize(("digest", "warns"), [("0" * 64, True), (None, False)])
def test_a_token_of_another_base_is_warned_of(learned, caplog, digest, warns):
    base = resolve_base(str(toy_folder()))
    header = {"base_name": "scenes", "base_sha256": digest or base.digest}
    save_learned_embeds(learned / "learned_embeds.safetensors", {"<R>": torch.ones(32)}, header)
    load_pipeline(make_config(learned), base)
    text = f"learned on scenes with base_sha256 {digest}, but {base.name} has {base.digest}"
    assert (text in caplog.text) is warns


def test_device():
    assert choose_device("auto").type in ("cpu", "cuda", "mps")
    assert choose_device("cpu") == torch.device("cpu")
