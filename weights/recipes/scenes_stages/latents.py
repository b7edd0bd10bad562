"""Draws scenes once, encodes them and keeps latents and captions on the disk."""

import hashlib
import logging
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from transformers import CLIPTokenizer

from visionrel.artifacts import load_tensors, save_tensors
from visionrel.weights.recipes.scenes_stages.phrases import draw_scene
from visionrel.weights.recipes.scenes_stages.tokenizer import tokenize
from visionrel.worlds.scenes import OBJECTS, Scene, render, render_coverage


SHARD = 5_000
FORM = "parts"
"""Part of a shard's name: one that was written in an earlier form is made anew."""
GRID_SIDE = 16
MOST_OBJECTS = 3
LAYOUT = ("nouns", "coverage", "hidden", "turns", "places")
"""What a shard knows of the scenes besides latents and captions."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CachedLatents:
    """What the U-Net learns from.

    Attributes:
        latents: means of the autoencoder's latents, unscaled, `(N, C, h, w)` float16.
        input_ids: tokens of the captions, `(N, L)`.
        nouns: index of each object in `OBJECTS`, -1 where a scene has fewer, `(N, 3)` int8.
        coverage: what each object covers in sight of a 16 x 16 grid, 255 is all of a cell,
            `(N, 3, 16, 16)` uint8.
        hidden: what others hide of each object there, of the same shape.
        turns: cosine and sine of each object's rotation, 0 where a scene has fewer, `(N, 3, 2)`
            float16.
        places: x, y and size of each object in picture sides, and -1 if it is mirrored, else 1;
            0 where a scene has fewer, `(N, 3, 4)` float16.
    """

    latents: Tensor
    input_ids: Tensor
    nouns: Tensor
    coverage: Tensor
    hidden: Tensor
    turns: Tensor
    places: Tensor

    def scaling_factor(self) -> float:
        """Return the factor that gives the latents unit deviation."""
        return round(1 / self.latents[:SHARD].float().std().item(), 5)


def cache_latents(
    vae: AutoencoderKL, tokenizer: CLIPTokenizer, folder: Path, count: int, seed: int
) -> CachedLatents:
    """Encode `count` scenes in shards; shards of the same encoder that exist are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for shard, start in enumerate(range(0, count, SHARD)):
        size = min(SHARD, count - start)
        part = f"{shard:03d}" if size == SHARD else f"{shard:03d}-first{size}"
        path = folder / f"{_name_encoder(vae)}-{FORM}-seed{seed}-{part}.safetensors"
        if not path.exists():
            save_tensors(path, _encode_shard(vae, tokenizer, (seed, shard), size), {})
            logger.info("cached %d of %d scenes", start + size, count)
        parts.append(load_tensors(path)[0])
    return CachedLatents(
        **{
            each.name: torch.cat([part[each.name] for part in parts])
            for each in fields(CachedLatents)
        }
    )


def _name_encoder(vae: AutoencoderKL) -> str:
    """Return eight hex digits that change with any weight of the encoder."""
    digest = hashlib.sha256()
    for part in (vae.encoder, vae.quant_conv):
        for value in part.state_dict().values():
            digest.update(value.half().contiguous().numpy().tobytes())
    return digest.hexdigest()[:8]


@torch.no_grad()
def _encode_shard(
    vae: AutoencoderKL, tokenizer: CLIPTokenizer, seed: tuple[int, int], count: int
) -> dict[str, Tensor]:
    rng = np.random.default_rng(seed)
    latents, captions, layouts = [], [], []
    for start in range(0, count, 100):
        drawn = [draw_scene(rng) for _ in range(min(100, count - start))]
        captions += [caption for _, caption in drawn]
        layouts += [_describe_layout(scene) for scene, _ in drawn]
        pixels = torch.from_numpy(np.stack([np.asarray(render(scene)) for scene, _ in drawn]))
        pixels = pixels.permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)
        latents.append(vae.encode(pixels).latent_dist.mean.half())
    layout = (torch.from_numpy(np.stack(part)) for part in zip(*layouts, strict=True))
    return {
        "latents": torch.cat(latents),
        "input_ids": tokenize(tokenizer, captions),
        **dict(zip(LAYOUT, layout, strict=True)),
    }


def _describe_layout(scene: Scene) -> tuple[np.ndarray, ...]:
    """Return the arrays of `LAYOUT` for one scene."""
    nouns = np.full(MOST_OBJECTS, -1, np.int8)
    areas = np.zeros((2, MOST_OBJECTS, GRID_SIDE, GRID_SIDE), np.uint8)
    count = len(scene.objects)
    nouns[:count] = [OBJECTS.index(item.name) for item in scene.objects]
    areas[:, :count] = (255 * np.stack(render_coverage(scene, GRID_SIDE))).round()
    turns = np.zeros((MOST_OBJECTS, 2), np.float16)
    angles = np.radians([item.rotation for item in scene.objects])
    turns[:count] = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    places = np.zeros((MOST_OBJECTS, 4), np.float16)
    places[:count] = [(item.x, item.y, item.size, 1 - 2 * item.flip) for item in scene.objects]
    return nouns, *areas, turns, places
