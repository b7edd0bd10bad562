"""Draws scenes once, encodes them and keeps latents and captions on the disk."""

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from transformers import CLIPTokenizer

from visionrel.artifacts import load_tensors, save_tensors
from visionrel.weights.recipes.scenes_stages.tokenizer import tokenize
from visionrel.worlds.scenes import render, sample_scene


SHARD = 5_000
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CachedLatents:
    """Means of the latents `(N, C, h, w)` in float16, unscaled, and token ids `(N, L)`."""

    latents: Tensor
    input_ids: Tensor

    def scaling_factor(self) -> float:
        """Return the factor that gives the latents unit deviation."""
        return round(1 / self.latents[:SHARD].float().std().item(), 5)


def cache_latents(
    vae: AutoencoderKL, tokenizer: CLIPTokenizer, folder: Path, count: int, seed: int
) -> CachedLatents:
    """Encode `count` scenes in shards; shards of the same encoder that exist are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for shard in range(max(1, count // SHARD)):
        path = folder / f"{_name_encoder(vae)}-seed{seed}-{shard:03d}.safetensors"
        if not path.exists():
            save_tensors(path, _encode_shard(vae, tokenizer, (seed, shard), min(count, SHARD)), {})
            logger.info("cached %d of %d scenes", (shard + 1) * min(count, SHARD), count)
        parts.append(load_tensors(path)[0])
    return CachedLatents(
        *(torch.cat([part[name] for part in parts]) for name in ("latents", "input_ids"))
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
    latents, captions = [], []
    for start in range(0, count, 100):
        drawn = [sample_scene(rng) for _ in range(min(100, count - start))]
        captions += [caption for _, caption in drawn]
        pixels = torch.from_numpy(np.stack([np.asarray(render(scene)) for scene, _ in drawn]))
        pixels = pixels.permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)
        latents.append(vae.encode(pixels).latent_dist.mean.half())
    return {"latents": torch.cat(latents), "input_ids": tokenize(tokenizer, captions)}
