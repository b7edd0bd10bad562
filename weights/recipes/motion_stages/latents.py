"""Draws clips once, encodes them and keeps latents, captions and masks on the disk."""

import hashlib
import logging
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKLCogVideoX
from torch import Tensor
from transformers import T5Tokenizer

from visionrel.artifacts import load_tensors, save_tensors
from visionrel.weights.recipes.motion_stages.clips import clip_tensor, describe_cells, draw_scene
from visionrel.weights.recipes.motion_stages.tokenizer import tokenize


SHARD = 1_000
_BATCH = 20
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CachedClips:
    """What the transformer learns from.

    Attributes:
        latents: means of the autoencoder's latents, unscaled, `(N, C, f, h, w)` float16.
        input_ids: tokens of the captions, `(N, L)`.
        nouns: index of each object in `APPEARANCES`, -1 where a clip has fewer, `(N, 3)` int8.
        coverage: what each object covers of each cell of the transformer, 255 is all,
            `(N, 3, frames, rows, columns)` uint8.
    """

    latents: Tensor
    input_ids: Tensor
    nouns: Tensor
    coverage: Tensor

    def scaling_factor(self) -> float:
        """Return the factor that gives the latents unit deviation."""
        return round(1 / self.latents[:SHARD].float().std().item(), 5)


def cache_clips(
    vae: AutoencoderKLCogVideoX, tokenizer: T5Tokenizer, folder: Path, count: int, seed: int
) -> CachedClips:
    """Encode `count` clips in shards; shards of the same encoder that exist are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for shard, start in enumerate(range(0, count, SHARD)):
        size = min(SHARD, count - start)
        path = folder / f"{_name_encoder(vae)}-seed{seed}-{size}-{shard:03d}.safetensors"
        if not path.exists():
            save_tensors(path, _encode_shard(vae, tokenizer, (seed, shard), size), {})
            logger.info("cached %d of %d clips", start + size, count)
        parts.append(load_tensors(path)[0])
    return CachedClips(
        **{
            each.name: torch.cat([part[each.name] for part in parts])
            for each in fields(CachedClips)
        }
    )


def _name_encoder(vae: AutoencoderKLCogVideoX) -> str:
    """Return eight hex digits that change with any weight of the encoder."""
    digest = hashlib.sha256()
    for value in vae.encoder.state_dict().values():
        digest.update(value.half().contiguous().numpy().tobytes())
    return digest.hexdigest()[:8]


@torch.no_grad()
def _encode_shard(
    vae: AutoencoderKLCogVideoX, tokenizer: T5Tokenizer, seed: tuple[int, int], count: int
) -> dict[str, Tensor]:
    rng = np.random.default_rng(seed)
    latents, captions, layouts = [], [], []
    for start in range(0, count, _BATCH):
        drawn = [draw_scene(rng) for _ in range(min(_BATCH, count - start))]
        captions += [caption for _, caption in drawn]
        layouts += [describe_cells(scene) for scene, _ in drawn]
        clips = torch.stack([clip_tensor(scene) for scene, _ in drawn])
        latents.append(vae.encode(clips).latent_dist.mean.half())
    nouns, coverage = (torch.from_numpy(np.stack(part)) for part in zip(*layouts, strict=True))
    return {
        "latents": torch.cat(latents),
        "input_ids": tokenize(tokenizer, captions),
        "nouns": nouns,
        "coverage": coverage,
    }
