"""Toy components of the real classes, small enough for a test to train in a second."""

import json
import tempfile
from functools import cache
from itertools import pairwise
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer


WORDS = (
    "a an and the two photo of with in at on to it is its . ,"
    " above across against along around before behind below beside between beyond down from"
    " inside into near off onto opposite out over past round through towards under underneath"
    " up upon within"
    " cat dog stone cup box basket apple car house tree bird fish man woman wall street"
    " red green blue yellow white grey small large left right next far"
).split()
MAX_LENGTH = 24
RESOLUTION = 32


def merge_pieces(pieces: list[str], merges: list[tuple[str, str]]) -> list[str]:
    """Byte-pair encoding: the earliest merge that fits is done first."""
    while True:
        fitting = [pair for pair in pairwise(pieces) if pair in merges]
        if not fitting:
            return pieces
        at = list(pairwise(pieces)).index(min(fitting, key=merges.index))
        pieces = [*pieces[:at], pieces[at] + pieces[at + 1], *pieces[at + 2 :]]


def write_toy_tokenizer(folder: Path) -> None:
    """Writes a CLIP vocabulary in which each of `WORDS` is one id and other words are letters."""
    letters = [*"abcdefghijklmnopqrstuvwxyz0123456789.,<>'!?-_"]
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        pieces = merge_pieces([*word[:-1], f"{word[-1]}</w>"], merges)
        while len(pieces) > 1:
            merges.append((pieces[0], pieces[1]))
            pieces = merge_pieces(pieces, merges)
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), *map("".join, merges)]
    tokens = dict.fromkeys([*pieces, "<|startoftext|>", "<|endoftext|>"])
    folder.mkdir(parents=True, exist_ok=True)
    ids = {token: index for index, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(ids), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges), ""]
    (folder / "merges.txt").write_text("\n".join(lines), encoding="utf-8")


def make_toy_tokenizer() -> CLIPTokenizer:
    with tempfile.TemporaryDirectory() as folder:
        write_toy_tokenizer(Path(folder))
        return CLIPTokenizer(
            vocab=f"{folder}/vocab.json",
            merges=f"{folder}/merges.txt",
            model_max_length=MAX_LENGTH,
            pad_token="<|endoftext|>",
        )


def make_toy_stable_diffusion(seed: int = 0) -> StableDiffusionPipeline:
    """Builds a Stable Diffusion of 32 x 32 pictures and 8 x 8 x 4 latents with random weights."""
    state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    tokenizer = make_toy_tokenizer()
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=MAX_LENGTH,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    unet = UNet2DConditionModel(
        sample_size=RESOLUTION // 4,
        in_channels=4,
        out_channels=4,
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=32,
        attention_head_dim=8,
        norm_num_groups=8,
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=RESOLUTION,
    )
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
    torch.random.set_rng_state(state)
    return StableDiffusionPipeline(
        vae=vae.eval(),
        text_encoder=text_encoder.eval(),
        tokenizer=tokenizer,
        unet=unet.eval(),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


@cache
def toy_folder() -> Path:
    """A folder with the toy pipeline, as `save_pretrained` writes it; do not write into it."""
    folder = Path(tempfile.mkdtemp(prefix="toy-stable-diffusion-"))
    make_toy_stable_diffusion().save_pretrained(folder)
    return folder
