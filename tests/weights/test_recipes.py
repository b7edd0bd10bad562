"""The recipes of the embedded models run from end to end, in few steps."""

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from visionrel.artifacts import load_tensors
from visionrel.errors import InputError
from visionrel.weights.recipes import scenes, scenes_judge
from visionrel.weights.recipes.scenes_stages.growing import deepen
from visionrel.weights.recipes.scenes_stages.handover import hand_over
from visionrel.weights.recipes.scenes_stages.layout import (
    compare_order,
    compare_parts,
    compare_turns,
    locate_parts,
    share_cells,
)
from visionrel.weights.recipes.scenes_stages.phrases import (
    add_phrases,
    draw_scene,
    embed_phrases,
)
from visionrel.weights.recipes.scenes_stages.text import describe_scene
from visionrel.weights.recipes.scenes_stages.tokenizer import MAX_LENGTH, build_tokenizer, tokenize
from visionrel.weights.recipes.scenes_stages.unet import make_scheduler
from visionrel.weights.shipping import ship_model
from visionrel.weights_manifest import load_manifest, weights_folder
from visionrel.worlds.scenes import (
    RELATIONS,
    Scene,
    SceneObject,
    render,
    sample_scene,
    vocabulary,
)
from visionrel.worlds.scenes.reader import SceneReader
from visionrel.worlds.scenes.rendering import load_sprite


SHORT = {"vae_steps": 1, "text_steps": 1, "cached_scenes": 40, "unet_steps": 1}


def equal(first: Path, second: Path) -> bool:
    one, two = load_tensors(first)[0], load_tensors(second)[0]
    return all(torch.equal(one[name], two[name]) for name in one)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("build")
    scenes.build(scenes.BuildConfig(output_dir=folder, **SHORT))
    return folder


def test_the_scenes_recipe_leaves_a_stock_pipeline(built):
    pipeline = StableDiffusionPipeline.from_pretrained(built / "scenes", dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    picture = pipeline("a cat above a dog", num_inference_steps=2, output_type="np").images[0]
    assert picture.shape == (64, 64, 3)
    assert pipeline.vae.config.scaling_factor != 0.18215


def test_a_second_run_goes_on_and_changes_nothing(built):
    name = "unet/diffusion_pytorch_model.safetensors"
    before = (built / "scenes" / name).read_bytes()
    scenes.build(scenes.BuildConfig(output_dir=built, **SHORT))
    assert (built / "scenes" / name).read_bytes() == before
    assert len(list((built / "latents").iterdir())) == 1


def test_a_run_from_the_shipped_base_keeps_its_encoder_and_trains_the_rest(tmp_path):
    start = weights_folder() / "scenes"
    # The learning rate rises from 0, and float16 hides a very small change.
    longer = {**SHORT, "vae_steps": 6, "text_steps": 0, "unet_steps": 6}
    scenes.build(scenes.BuildConfig(output_dir=tmp_path, start=Path("scenes"), **longer))
    file = "vae/diffusion_pytorch_model.safetensors"
    old, new = (load_tensors(folder / file)[0] for folder in (start, tmp_path / "scenes"))
    same = {name for name in old if torch.equal(old[name], new[name])}
    assert same >= {name for name in old if name.startswith(("encoder", "quant_conv"))}
    assert not same & {"decoder.conv_in.weight", "decoder.conv_out.weight"}
    text = "text_encoder/model.safetensors"
    assert equal(start / text, tmp_path / "scenes" / text)
    unet = "unet/diffusion_pytorch_model.safetensors"
    assert not equal(start / unet, tmp_path / "scenes" / unet)


def test_turns_count_where_their_object_is():
    turns = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    shares = torch.zeros(1, 2, 4, 4)
    shares[0, 0, 1, 2], shares[0, 1, 3, 3] = 1.0, 0.5
    read = torch.zeros(1, 4, 4, 4)
    read[0, 2:, 3, 3] = torch.tensor([0.0, 1.0])
    # The first is read as (0, 0), an error of 1 over all of a cell; the second is right.
    assert compare_turns(read, turns, shares) == pytest.approx(1 / 1.5)
    assert compare_turns(read, turns, torch.zeros_like(shares)) == 0


def test_order_counts_where_an_object_is_hidden():
    hidden = torch.zeros(1, 3, 4, 4)
    hidden[0, 0, 1, 2], hidden[0, 1, 3, 3] = 1.0, 0.2
    read = torch.zeros(1, 1, 4, 4)
    assert compare_order(read, hidden) == pytest.approx(math.log(2))
    # The first lies under another in one cell and over the second in the other.
    read[0, 0, 1, 2], read[0, 0, 3, 3] = -20.0, 20.0
    assert compare_order(read, hidden) < 1e-6
    assert compare_order(-read, hidden) == pytest.approx(20.0)
    assert compare_order(read, torch.zeros_like(hidden)) == 0


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("rotation", [0.0, 90.0, 30.0])
def test_parts_are_told_in_the_frame_of_the_sprite(rotation, flip):
    item = SceneObject("duck", 0.4, 0.6, 0.5, rotation, flip)
    angle = math.radians(rotation)
    places = torch.tensor([[[item.x, item.y, item.size, 1.0 - 2.0 * flip]]])
    turns = torch.tensor([[[math.cos(angle), math.sin(angle)]]])
    parts = locate_parts(places, turns, 64)[:, 0]
    # Drawn from the upright sprite by what each pixel is told to show, the picture is the same.
    sprite = torch.from_numpy(np.asarray(load_sprite("duck"))).float().permute(2, 0, 1)[None]
    shown = F.grid_sample(sprite, parts.permute(0, 2, 3, 1), align_corners=False)[0]
    ground = torch.full((3, 64, 64), 128.0)
    drawn = torch.lerp(ground, shown[:3], shown[3:] / 255)
    picture = np.asarray(render(Scene((item,), (128, 128, 128), "gray"))).transpose(2, 0, 1)
    assert (drawn - torch.from_numpy(picture.copy())).abs().mean() < 4


def test_parts_count_where_their_object_is():
    parts = torch.zeros(1, 2, 2, 4, 4)
    parts[0, 1, 0] = 1.0
    shares = torch.zeros(1, 2, 4, 4)
    shares[0, 0, 1, 2], shares[0, 1, 3, 3] = 1.0, 0.5
    assert compare_parts(torch.zeros(1, 2, 4, 4), parts, shares) == pytest.approx(0.5 / 1.5)


def test_the_noise_schedule_of_the_base_ends_in_noise_alone():
    assert make_scheduler().alphas_cumprod[-1].sqrt() < 0.01


def test_shares_of_a_cell_belong_to_roles_nouns_and_ground():
    coverage = torch.zeros(1, 3, 8, 8)
    coverage[0, 0, 2, 3], coverage[0, 1, 2, 3] = 0.2, 0.4
    roles, nouns = share_cells(torch.tensor([[4, 7, -1]]), coverage)
    for shares in (roles, nouns):
        torch.testing.assert_close(shares.sum(1), torch.ones(1, 8, 8))
        assert (shares[0, 0].sum() - 63.4).abs() < 1e-4
    torch.testing.assert_close(roles[0, :, 2, 3], torch.tensor([0.4, 0.2, 0.4, 0.0]))
    torch.testing.assert_close(nouns[0, [0, 5, 8], 2, 3], torch.tensor([0.4, 0.2, 0.4]))


def test_the_judge_recipe_goes_on_from_the_shipped_judge(tmp_path):
    start = weights_folder() / "scenes-judge" / "model.safetensors"
    scenes_judge.build(scenes_judge.BuildConfig(output_dir=tmp_path, start=start, steps=2))
    assert not equal(start, tmp_path / "model.safetensors")
    SceneReader().load_state_dict(load_tensors(tmp_path / "model.safetensors")[0])


def test_every_word_of_the_world_is_one_token(tmp_path):
    tokenizer = build_tokenizer(vocabulary(), tmp_path)
    assert all(len(tokenizer(word).input_ids) == 3 for word in vocabulary())
    assert len(tokenizer("zebra").input_ids) > 3


def test_the_geometry_of_a_scene_tells_toward_from_away():
    rng = np.random.default_rng(0)
    leans = {
        name: [describe_scene(*sample_scene(rng, RELATIONS[name]))[1][10] for _ in range(20)]
        for name in ("toward", "off")
    }
    assert min(leans["toward"]) > 0 > max(leans["off"])


class TableEncoder:
    """States that depend on the token alone."""

    config = SimpleNamespace(vocab_size=200)

    def __init__(self, table: torch.Tensor) -> None:
        self.table = table

    def __call__(self, ids: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(last_hidden_state=self.table[ids])


def test_a_unet_reads_a_new_encoder_as_it_read_the_old():
    unet = UNet2DConditionModel.from_pretrained(weights_folder() / "scenes" / "unet").float()
    random = torch.manual_seed(0)
    table, change = torch.randn(201, 128, generator=random), torch.randn(128, 128, generator=random)
    old, new = TableEncoder(table), TableEncoder(table @ change)
    layer = unet.mid_block.attentions[0].transformer_blocks[0].attn2.to_k
    before = layer(table[:5])
    # One caption has a token that the old encoder does not know.
    hand_over(unet, old, new, torch.cat([torch.arange(200).view(10, 20), torch.full((1, 20), 200)]))
    torch.testing.assert_close(layer(new.table[:5]), before, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("layers", [(2, 1), (1, 3), (3, 2)])
def test_a_deeper_unet_predicts_the_same_and_learns_on(layers):
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=8,
        attention_head_dim=2,
        norm_num_groups=4,
    )
    deeper = deepen(unet, layers)
    inputs = torch.randn(2, 4, 8, 8), torch.tensor([10, 700]), torch.randn(2, 5, 8)
    predicted = deeper(*inputs).sample
    torch.testing.assert_close(predicted, unet(*inputs).sample)
    assert len(list(deeper.parameters())) > len(list(unet.parameters()))
    predicted.square().mean().backward()
    added = deeper.down_blocks[layers.index(max(layers))].resnets[-1]
    assert added.conv2.weight.grad.abs().max() > 0
    assert deepen(deeper, layers) is deeper
    with pytest.raises(ValueError, match="layers can be added only"):
        deepen(deeper, (1, 1))


def test_levels_with_attention_are_not_deepened():
    unet = UNet2DConditionModel.from_pretrained(weights_folder() / "scenes" / "unet")
    with pytest.raises(ValueError, match="only to levels without attention"):
        deepen(unet, (2, 2, 1))


def test_a_compound_phrase_is_one_token_that_sums_its_words():
    folder = weights_folder() / "scenes"
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    encoder = CLIPTextModel.from_pretrained(folder / "text_encoder").float()
    words = encoder.get_input_embeddings().weight.detach().clone()
    told = add_phrases(tokenizer)
    table = embed_phrases(encoder, tokenizer).get_input_embeddings()
    ids = told("a cat small+lying+above a dog").input_ids
    assert len(ids) == len(told("a cat above a dog").input_ids)
    parts = tokenizer("small lying above", add_special_tokens=False).input_ids
    torch.testing.assert_close(table(torch.tensor(ids[3])), words[parts].sum(0))
    assert set(encoder.state_dict()) == set(CLIPTextModel(encoder.config).state_dict())


def test_every_training_caption_fits_the_encoder():
    tokenizer = CLIPTokenizer.from_pretrained(weights_folder() / "scenes" / "tokenizer")
    rng = np.random.default_rng(0)
    captions = [draw_scene(rng)[1] for _ in range(500)]
    assert tokenize(add_phrases(tokenizer), captions).shape == (500, MAX_LENGTH)
    assert any("+" in caption for caption in captions)


def test_nothing_is_shipped_from_an_empty_folder(tmp_path):
    with pytest.raises(InputError, match="has 0 bytes"):
        ship_model(tmp_path / "typo", "scenes", "visionrel weights build scenes", 0, {})
    assert (weights_folder() / "scenes" / "model_index.json").is_file()


def test_shipping_forgets_the_training_machine(tmp_path, monkeypatch):
    monkeypatch.setattr("visionrel.weights.shipping.weights_folder", lambda: tmp_path / "weights")
    saved = []
    monkeypatch.setattr("visionrel.weights.shipping.save_entry", saved.append)
    source = tmp_path / "source"
    (source / "unet").mkdir(parents=True)
    (source / "unet" / "config.json").write_text('{"_name_or_path": "/home/me", "width": 3}')
    entry = ship_model(source, "toy", "visionrel weights build toy", 0, {"both": 1.0})
    assert "/home" not in (tmp_path / "weights" / "toy" / "unet" / "config.json").read_text()
    assert saved == [entry] and list(entry.files) == ["unet/config.json"]
    assert "toy" not in load_manifest()
