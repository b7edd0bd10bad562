"""Behaviour 9 of VideoREPA: what the teachers see and give."""

import pytest
import torch
import torch.nn.functional as F
from transformers import VideoMAEConfig, VideoMAEModel, VJEPA2Model
from transformers.models.videomae.modeling_videomae import get_sinusoid_encoding_table

from tests.pipelines.videorepa.toys import (
    copy_of,
    make_clip,
    make_toy_dinov2,
    make_toy_videomae,
    make_toy_vjepa2,
    toy_teacher_folder,
    videomae_config,
)
from visionrel.errors import InputError
from visionrel.pipelines.videorepa import teacher_files
from visionrel.pipelines.videorepa.student import TokenGrid
from visionrel.pipelines.videorepa.teacher_files import find_teacher, load_teacher, teacher_digest
from visionrel.pipelines.videorepa.teachers import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    VideoMAETeacher,
    resize_positions,
    shrink_frames,
    shrink_of,
)
from visionrel.pipelines.videorepa.videomae_v2 import VIT_B, videomae_v2_model


def normalise(frames):
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return ((frames + 1) / 2 - mean) / std


# --- what it sees ---------------------------------------------------------------------------------


def test_picking_pixels_is_the_authors_bicubic_third():
    frames = make_clip(frames=2, height=24, width=36)[None]
    expected = F.interpolate(
        frames[0], size=(8, 12), mode="bicubic", align_corners=False, antialias=False
    )
    assert torch.equal(shrink_frames(frames, 3)[0], expected)
    assert torch.equal(shrink_frames(frames, 3), frames[..., 1::3, 1::3])


def test_large_clips_are_shrunk_to_a_third():
    assert (shrink_of(480), shrink_of(256), shrink_of(64)) == (3, 3, 1)


def test_frame_zero_is_not_seen():
    teacher, clip = make_toy_videomae(), make_clip()[None]
    changed = clip.clone()
    changed[:, 0] = 0
    assert torch.equal(teacher(clip), teacher(changed))
    changed[:, 1] = 0
    assert not torch.equal(teacher(clip), teacher(changed))


def test_no_part_of_a_picture_is_cut_off():
    """The student's tokens are those of the whole picture, so the teacher must see all of it."""
    teacher = make_toy_videomae()
    clip = make_clip()[None, ..., :20, :20]
    seen = teacher.prepare(clip)
    assert seen.shape[-2:] == (16, 16)
    corner = clip.clone()
    corner[..., 18:, 18:] = 1 - corner[..., 18:, 18:]
    assert not torch.equal(teacher.prepare(corner), seen)


# --- VideoMAE -------------------------------------------------------------------------------------


def test_tokens_are_the_residual_stream_in_time_row_column_order():
    teacher, clip = make_toy_videomae(), make_clip()[None]
    found = teacher(clip)
    assert found.shape == (1, 4, 16, 12) and not found.requires_grad
    plain = VideoMAEModel(videomae_config())
    plain.load_state_dict(teacher.model.state_dict())
    expected = plain.eval()(normalise(clip[:, 1:])).last_hidden_state
    torch.testing.assert_close(found.flatten(1, 2), expected)


def test_a_final_norm_is_taken_out():
    torch.manual_seed(0)
    model = VideoMAEModel(videomae_config(use_mean_pooling=False))
    torch.nn.init.normal_(model.layernorm.weight)
    clip = make_clip()[None]
    embedded = model.eval().embeddings(normalise(clip[:, 1:]), None)
    expected = model.encoder(embedded).last_hidden_state
    with_norm = model(normalise(clip[:, 1:])).last_hidden_state
    found = VideoMAETeacher(model)(clip).flatten(1, 2)
    torch.testing.assert_close(found, expected)
    assert not torch.allclose(found, with_norm)


def test_published_geometry():
    """49 frames of 480 x 720 are 24 x 10 x 15 tokens; 9 of 64 x 64 are 4 x 8 x 8 at patch 8."""
    with torch.device("meta"):
        model = VideoMAEModel(VideoMAEConfig(**VIT_B, num_hidden_layers=1))
    teacher = VideoMAETeacher(model)
    assert teacher.grid(49, 480, 720) == TokenGrid(24, 10, 15)
    assert teacher.native_grid == TokenGrid(8, 14, 14) and teacher.width == 768
    embedding, layer = (
        sum(p.numel() for p in part.parameters()) for part in (model.embeddings, model.encoder)
    )
    assert embedding + 12 * layer == 86_225_664
    assert make_toy_videomae().grid(9, 64, 64) == TokenGrid(4, 8, 8)


def test_published_size_step_by_step():
    """One narrow layer on 49 frames of 480 x 720, against the chain written out."""
    settings = {"num_hidden_layers": 1, "image_size": 224, "patch_size": 16, "num_frames": 16}
    teacher = make_toy_videomae(**settings)
    clip = make_clip(frames=49, height=480, width=720)[None]
    model = VideoMAEModel(
        videomae_config(**settings | {"image_size": (160, 240), "num_frames": 48})
    )
    model.layernorm = None
    model.load_state_dict(teacher.model.state_dict())
    table = get_sinusoid_encoding_table(8 * 14 * 14, 12).view(8, 14, 14, 12).permute(0, 3, 1, 2)
    maps = F.interpolate(table, size=(10, 15), mode="bicubic", align_corners=False)
    volume = F.interpolate(
        maps.transpose(0, 1)[None], size=(24, 10, 15), mode="trilinear", align_corners=False
    )
    model.embeddings.position_embeddings = volume.flatten(2).mT
    pixels = F.interpolate(
        normalise(clip)[0, 1:], size=(160, 240), mode="bicubic", align_corners=False
    )
    with torch.no_grad():
        expected = model.eval()(pixels[None]).last_hidden_state
    found = teacher(clip)
    assert found.shape == (1, 24, 150, 12)
    torch.testing.assert_close(found.flatten(1, 2), expected, rtol=1e-4, atol=1e-5)


def test_position_table_is_resized_not_made_anew():
    native, grid = TokenGrid(8, 14, 14), TokenGrid(24, 10, 15)
    table = get_sinusoid_encoding_table(native.tokens, 6)
    maps = table.reshape(8, 14, 14, 6).permute(0, 3, 1, 2)
    maps = F.interpolate(maps, size=(10, 15), mode="bicubic", align_corners=False)
    volume = F.interpolate(
        maps.permute(1, 0, 2, 3)[None], size=(24, 10, 15), mode="trilinear", align_corners=False
    )
    expected = volume[0].permute(1, 2, 3, 0).reshape(1, 3600, 6)
    torch.testing.assert_close(resize_positions(table, native, grid), expected)
    assert resize_positions(table, native, native) is table
    assert not torch.allclose(expected, get_sinusoid_encoding_table(3600, 6), atol=0.1)


def test_the_table_is_used_for_other_clips():
    teacher, clip = make_toy_videomae(), make_clip(frames=13, height=40, width=48)[None]
    found = teacher(clip)
    assert found.shape == (1, 6, 5 * 6, 12)
    patches = teacher.model.embeddings.patch_embeddings(normalise(clip[:, 1:]))
    positions = resize_positions(teacher.table, teacher.native_grid, TokenGrid(6, 5, 6))
    expected = teacher.model.encoder(patches + positions).last_hidden_state
    torch.testing.assert_close(found.flatten(1, 2), expected)
    assert teacher(make_clip()[None]).shape == (1, 4, 16, 12)  # and back


def test_sdpa_is_used():
    assert make_toy_videomae().model.config._attn_implementation == "sdpa"


def test_too_small_clips_are_refused():
    with pytest.raises(InputError, match="9 frames of 4 x 32 give this teacher no token"):
        make_toy_videomae()(make_clip(height=4)[None])


# --- VideoMAEv2's checkpoint ----------------------------------------------------------------------


def authors_layout(model: VideoMAEModel, prefix: str = "module.") -> dict[str, torch.Tensor]:
    """A model's tensors under the names of the authors' file."""
    theirs = {
        "patch_embed.proj": "embeddings.patch_embeddings.projection",
        "attn.proj": "attention.output.dense",
        "norm1": "layernorm_before",
        "norm2": "layernorm_after",
        "mlp.fc1": "intermediate.dense",
        "mlp.fc2": "output.dense",
    }
    state, found = model.state_dict(), {}
    for name in ("weight", "bias"):
        ours = theirs["patch_embed.proj"]
        found[f"patch_embed.proj.{name}"] = state[f"{ours}.{name}"]
    for i in range(model.config.num_hidden_layers):
        layer, block = f"encoder.layer.{i}.", f"blocks.{i}."
        inner = f"{layer}attention.attention."
        parts = [state[f"{inner}{part}.weight"] for part in ("query", "key", "value")]
        found[f"{block}attn.qkv.weight"] = torch.cat(parts)
        found[f"{block}attn.q_bias"] = state[f"{inner}query.bias"]
        found[f"{block}attn.v_bias"] = state[f"{inner}value.bias"]
        for their, ours in list(theirs.items())[1:]:
            for name in ("weight", "bias"):
                found[f"{block}{their}.{name}"] = state[f"{layer}{ours}.{name}"]
    unused = {"fc_norm.weight": torch.ones(12), "head.weight": torch.ones(710, 12)}
    return {f"{prefix}{name}": value for name, value in (found | unused).items()}


@pytest.mark.parametrize("prefix", ["module.", "encoder.", ""])
def test_checkpoint_of_the_authors(prefix):
    original = make_toy_videomae().model
    for parameter in original.parameters():
        torch.nn.init.normal_(parameter)
    loaded = videomae_v2_model(authors_layout(original, prefix), videomae_config())
    wrapped = {"module": authors_layout(original, ""), "epoch": 90}
    again = videomae_v2_model(wrapped, videomae_config())
    for name, value in original.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
        assert torch.equal(again.state_dict()[name], value), name


def test_checkpoint_of_another_size_is_refused():
    state = authors_layout(make_toy_videomae().model)
    with pytest.raises(InputError, match=r"has \(12, 3, 2, 8, 8\) for .*projection.weight"):
        videomae_v2_model(state, videomae_config(hidden_size=24))
    del state["module.blocks.1.attn.q_bias"]
    with pytest.raises(InputError, match=r"has nothing for encoder.layer.1.*query.bias"):
        videomae_v2_model(state, videomae_config())


# --- other teachers -------------------------------------------------------------------------------


def test_vjepa2_at_its_own_size_is_the_stock_encoder_without_its_final_norm():
    teacher, clip = make_toy_vjepa2(), make_clip()[None]
    found = teacher(clip)
    assert found.shape == (1, 4, 16, 24)
    stock = VJEPA2Model(teacher.model.config).eval()
    report = stock.load_state_dict(teacher.model.state_dict(), strict=False)
    assert report.missing_keys == ["encoder.layernorm.weight", "encoder.layernorm.bias"]
    torch.nn.init.normal_(stock.encoder.layernorm.weight)

    def encode() -> torch.Tensor:
        states = stock(normalise(clip[:, 1:]), skip_predictor=True).last_hidden_state
        return states.detach().unflatten(1, (4, 16))

    assert not torch.allclose(found, encode(), atol=1e-2)
    stock.encoder.layernorm = torch.nn.Identity()
    torch.testing.assert_close(found, encode(), rtol=1e-4, atol=1e-5)


def test_vjepa2_positions_do_not_depend_on_the_training_size():
    clip = make_clip(height=16, width=40)[None]
    found = [make_toy_vjepa2(crop_size)(clip) for crop_size in (32, 64)]
    assert found[0].shape == (1, 4, 2 * 5, 24)
    assert torch.equal(*found)


def test_dinov2_pools_frames_to_latent_frames():
    teacher, clip = make_toy_dinov2(), make_clip(height=32, width=48)[None]
    found = teacher(clip)
    assert teacher.sees_first_frame and found.shape == (1, 3, 2 * 3, 12)
    alone = teacher(clip[:, :1])
    torch.testing.assert_close(found[:, :1], alone)
    four = torch.cat([teacher(clip[:, [frame]]) for frame in range(1, 5)]).mean(0)
    torch.testing.assert_close(found[:, 1], four, rtol=1e-4, atol=1e-5)


def test_dinov2_sees_the_published_size():
    clip = torch.zeros(1, 1, 3, 480, 720)
    assert make_toy_dinov2().prepare(clip).shape[-2:] == (420, 630)
    assert make_toy_dinov2().grid(49, 480, 720) == TokenGrid(13, 30, 45)


# --- loading --------------------------------------------------------------------------------------


def test_only_encoders_are_teachers(tmp_path, monkeypatch):
    copy_of(toy_teacher_folder(), tmp_path / "encoder")
    (tmp_path / "motion").mkdir()
    embedded = dict.fromkeys(("encoder", "motion"))
    monkeypatch.setattr(teacher_files, "load_manifest", lambda: embedded)
    monkeypatch.setattr(teacher_files, "weights_folder", lambda: tmp_path)
    monkeypatch.setattr(teacher_files, "embedded_folder", lambda name: tmp_path / name)
    assert find_teacher("encoder") == tmp_path / "encoder"
    with pytest.raises(InputError, match=r"Unknown teacher 'motion'.*encoders \(encoder\)"):
        find_teacher("motion")
    with pytest.raises(InputError, match=r"weights build motion-teacher.*--proj_coeff 0"):
        find_teacher("motion-teacher")


def test_a_saved_teacher_is_the_same():
    clip = make_clip()[None]
    torch.testing.assert_close(load_teacher(toy_teacher_folder())(clip), make_toy_videomae()(clip))
    assert len(teacher_digest(toy_teacher_folder())) == 64


@pytest.mark.parametrize("name", ["preprocessor_config.json", "video_preprocessor_config.json"])
def test_normalisation_is_read_from_the_folder(tmp_path, name):
    folder = copy_of(toy_teacher_folder(), tmp_path / "teacher")
    (folder / name).write_text('{"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}')
    assert load_teacher(folder).mean.flatten().tolist() == [0.5] * 3
    (folder / name).write_text('{"image_std": [0.5, 0.5, 0]}')
    with pytest.raises(InputError, match="must be three numbers each"):
        load_teacher(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "bert"}, "holds a model of type 'bert'; teachers are videomae, vjepa2"),
        ({"num_hidden_layers": 3}, r"encoder.layer.2.* are not in"),
        ({"hidden_size": 24}, "cannot be read"),
    ],
)
def test_unfit_teachers_are_refused(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        load_teacher(copy_of(toy_teacher_folder(), tmp_path / "teacher", **changes))
