"""Toy components of CogVideoX's and the teachers' classes, small enough to train in a second."""

import json
import shutil
import tempfile
from functools import cache
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKLCogVideoX,
    CogVideoXDPMScheduler,
    CogVideoXPipeline,
    CogVideoXTransformer3DModel,
)
from tokenizers import Tokenizer
from tokenizers.models import Unigram
from tokenizers.pre_tokenizers import Metaspace
from transformers import (
    Dinov2Config,
    Dinov2Model,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
    VideoMAEConfig,
    VideoMAEModel,
    VJEPA2Config,
    VJEPA2Model,
)

from visionrel.pipelines.videorepa.teachers import DINOv2Teacher, VideoMAETeacher, VJEPA2Teacher


FRAMES, SIZE, TEXT_LENGTH = 9, 32, 8
WORDS = ("a", "red", "blue", "ball", "box", "drops", "rolls", "and", "bounces")


def make_toy_transformer(seed: int = 0, **changes) -> CogVideoXTransformer3DModel:
    """Four blocks of width 16 for latents of 3 x 8 x 8, patch 2: 48 tokens on 3 x 4 x 4."""
    settings = {
        "num_attention_heads": 2,
        "attention_head_dim": 8,
        "in_channels": 4,
        "out_channels": 4,
        "time_embed_dim": 8,
        "text_embed_dim": 12,
        "num_layers": 4,
        "sample_width": 8,
        "sample_height": 8,
        "sample_frames": FRAMES,
        "patch_size": 2,
        "max_text_seq_length": TEXT_LENGTH,
    }
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return CogVideoXTransformer3DModel(**(settings | changes))


def make_toy_pipeline(seed: int = 0, **changes) -> CogVideoXPipeline:
    """A CogVideoX of 9 frames of 32 x 32 with random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        vae = AutoencoderKLCogVideoX(
            down_block_types=("CogVideoXDownBlock3D",) * 3,
            up_block_types=("CogVideoXUpBlock3D",) * 3,
            block_out_channels=(4, 4, 4),
            latent_channels=4,
            layers_per_block=1,
            norm_num_groups=2,
            sample_height=SIZE,
            sample_width=SIZE,
            temporal_compression_ratio=4,
            scaling_factor=0.7,
        )
        text_encoder = T5EncoderModel(
            T5Config(
                vocab_size=len(WORDS) + 3, d_model=12, d_kv=4, d_ff=16, num_layers=1, num_heads=2
            )
        )
    return CogVideoXPipeline(
        tokenizer=make_toy_tokenizer(),
        text_encoder=text_encoder.eval(),
        vae=vae.eval(),
        transformer=make_toy_transformer(seed, **changes),
        scheduler=CogVideoXDPMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            prediction_type="v_prediction",
            rescale_betas_zero_snr=True,
            timestep_spacing="trailing",
            snr_shift_scale=3.0,
        ),
    )


def make_toy_tokenizer() -> PreTrainedTokenizerFast:
    """Each word is one id."""
    pieces = ["<pad>", "</s>", "<unk>", *(f"▁{word}" for word in WORDS)]
    tokenizer = Tokenizer(Unigram([(piece, -1.0) for piece in pieces], unk_id=2))
    tokenizer.pre_tokenizer = Metaspace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )


@cache
def toy_base_folder() -> Path:
    """A Diffusers folder of the toy pipeline, shared by all tests; do not write into it."""
    folder = Path(tempfile.mkdtemp(prefix="visionrel-toy-video-"))
    make_toy_pipeline().save_pretrained(folder)
    return folder


def videomae_config(**changes) -> VideoMAEConfig:
    settings = {
        "hidden_size": 12,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "image_size": SIZE,
        "patch_size": 8,
        "num_frames": FRAMES - 1,
        "tubelet_size": 2,
        "qv_bias": True,
        "use_mean_pooling": True,
        "layer_norm_eps": 1e-6,
    }
    return VideoMAEConfig(**(settings | changes))


def make_toy_videomae(seed: int = 0, **changes) -> VideoMAETeacher:
    """Tokens of width 12 on 4 x 4 x 4 for the toy clips."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return VideoMAETeacher(VideoMAEModel(videomae_config(**changes)))


def make_toy_vjepa2(crop_size: int = SIZE) -> VJEPA2Teacher:
    config = VJEPA2Config(
        hidden_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        mlp_ratio=1.0,
        patch_size=8,
        crop_size=crop_size,
        frames_per_clip=FRAMES - 1,
        tubelet_size=2,
        pred_hidden_size=12,
        pred_num_attention_heads=2,
        pred_num_hidden_layers=1,
        attention_dropout=0.0,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return VJEPA2Teacher(VJEPA2Model(config))


def make_toy_dinov2() -> DINOv2Teacher:
    config = Dinov2Config(
        hidden_size=12,
        num_hidden_layers=1,
        num_attention_heads=2,
        mlp_ratio=1,
        image_size=28,
        patch_size=14,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return DINOv2Teacher(Dinov2Model(config))


@cache
def toy_teacher_folder() -> Path:
    """A Transformers folder of the toy VideoMAE; do not write into it."""
    folder = Path(tempfile.mkdtemp(prefix="visionrel-toy-teacher-"))
    make_toy_videomae().model.save_pretrained(folder)
    return folder


def copy_of(folder: Path, target: Path, **config_changes) -> Path:
    """A folder of one's own, with changes to its config.json."""
    shutil.copytree(folder, target)
    path = target / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **config_changes}))
    return target


def make_clip(seed: int = 0, frames: int = FRAMES, height: int = SIZE, width: int = SIZE):
    """Noise in [-1, 1] of shape (frames, 3, height, width)."""
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(frames, 3, height, width, generator=generator) - 1
