"""Trains the transformer on cached latents, under captions that the frozen encoder has read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from diffusers import CogVideoXDPMScheduler, CogVideoXTransformer3DModel
from diffusers.models.embeddings import get_3d_rotary_pos_embed
from torch import Tensor, nn
from transformers import T5EncoderModel, T5Tokenizer

from visionrel.training import SampleRandom, Task
from visionrel.weights.recipes.motion_stages.attention import PlainAttention
from visionrel.weights.recipes.motion_stages.clips import GRID_FRAMES, GRID_SIDE, MOST_OBJECTS
from visionrel.weights.recipes.motion_stages.latents import CachedClips
from visionrel.weights.recipes.motion_stages.text import WIDTH, pad_sometimes
from visionrel.weights.recipes.motion_stages.tokenizer import MAX_LENGTH, tokenize
from visionrel.weights.recipes.scenes_stages.layout import keep_outputs
from visionrel.weights.recipes.scenes_stages.saving import save_model
from visionrel.worlds.motion import FRAMES
from visionrel.worlds.motion.scene import APPEARANCES


CAPTION_DROPOUT = 0.08
TIMESTEP_CENTRE, TIMESTEP_SPREAD = 0.4, 1.0
"""Timesteps for layouts are `T sigmoid(n)`, n normal: half of them where words still decide."""
SNR_SHIFT = 3.0
"""Divides the signal-to-noise ratio, as in CogVideoX: many latent frames show one layout."""
LAYOUT_WEIGHT = 0.1
Timesteps = Literal["layout", "shapes"]
"""Mostly those at which words decide the layout, or `T u^2`, u uniform: a third of them below 100,
where the shifted ratio leaves noise of 0.52 and less, and shapes are decided."""
_HEADS, _HEAD_WIDTH, _LAYERS, _PATCH = 6, 32, 6, 2


def make_transformer(latent_channels: int, side: int) -> CogVideoXTransformer3DModel:
    """Build the untrained transformer: width 192, 6 layers, patches of 2 x 2 latents.

    Positions are rotary, as in CogVideoX 5B: prompts of any length enter.
    """
    return CogVideoXTransformer3DModel(
        num_attention_heads=_HEADS,
        attention_head_dim=_HEAD_WIDTH,
        in_channels=latent_channels,
        out_channels=latent_channels,
        time_embed_dim=_HEADS * _HEAD_WIDTH,
        text_embed_dim=WIDTH,
        num_layers=_LAYERS,
        sample_width=side,
        sample_height=side,
        sample_frames=FRAMES,
        patch_size=_PATCH,
        max_text_seq_length=MAX_LENGTH,
        use_rotary_positional_embeddings=True,
    )


def make_scheduler() -> CogVideoXDPMScheduler:
    """CogVideoX's noise schedule, ending in noise alone, with velocity prediction."""
    return CogVideoXDPMScheduler(
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        clip_sample=False,
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        snr_shift_scale=SNR_SHIFT,
    )


def make_rotary() -> tuple[Tensor, Tensor]:
    """Cosines and sines of the token positions, as the pipeline computes them at this size."""
    return get_3d_rotary_pos_embed(
        embed_dim=_HEAD_WIDTH,
        crops_coords=((0, 0), (GRID_SIDE, GRID_SIDE)),
        grid_size=(GRID_SIDE, GRID_SIDE),
        temporal_size=GRID_FRAMES,
        device=torch.device("cpu"),
    )


class DenoisingTask(Task):
    """Denoise cached latents under their captions, and know which object covers which cell.

    Two further losses are cross entropies between what linear heads read from the middle block's
    video tokens and the true shares of each cell: of the appearances, and of the roles (first,
    second or third object of the caption). Which role is where and when is what a motion says,
    whatever the nouns. They tie words to places at every noise level, where the squared error of
    the velocity is mostly noise. The heads are not kept.
    """

    def __init__(
        self,
        transformer: CogVideoXTransformer3DModel,
        text_encoder: T5EncoderModel,
        tokenizer: T5Tokenizer,
        cache: CachedClips,
        scaling_factor: float,
        timesteps: Timesteps = "layout",
    ) -> None:
        super().__init__()
        self.transformer, self.timesteps = transformer, timesteps
        transformer.set_attn_processor(PlainAttention())
        self.text_encoder = text_encoder.eval().requires_grad_(False)
        self.cache, self.scaling_factor = cache, scaling_factor
        self.num_items = len(cache.latents)
        self.noise_scheduler = make_scheduler()
        self.pad, self.empty_ids = tokenizer.pad_token_id, tokenize(tokenizer, [""])[0]
        self.rotary = make_rotary()
        width = _HEADS * _HEAD_WIDTH
        self.noun_head = nn.Linear(width, 1 + len(APPEARANCES))
        self.role_head = nn.Linear(width, 1 + MOST_OBJECTS)

    def sample(self, item: int, random: SampleRandom) -> dict[str, Tensor]:
        """Draw noise, a timestep, and whether the caption is dropped."""
        # channels, frames, rows, columns -> frames, channels, rows, columns
        latents = self.cache.latents[item].float().transpose(0, 1) * self.scaling_factor
        dropped = random.numpy.rand() < CAPTION_DROPOUT
        return {
            "latents": latents,
            "input_ids": self.empty_ids if dropped else self.cache.input_ids[item],
            "nouns": self.cache.nouns[item],
            "coverage": self.cache.coverage[item],
            "noise": torch.randn(latents.shape, generator=random.torch),
            "timesteps": self._draw_timestep(random),
        }

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Mean squared error of the velocity plus the weighted layout loss."""
        latents, noise, timesteps = batch["latents"], batch["noise"], batch["timesteps"]
        noisy = self.noise_scheduler.add_noise(latents, noise, timesteps)
        target = self.noise_scheduler.get_velocity(latents, noise, timesteps)
        with torch.no_grad():
            ids = pad_sometimes(batch["input_ids"], self.pad)
            states = self.text_encoder(ids).last_hidden_state
        with keep_outputs(self.transformer.transformer_blocks[_LAYERS // 2]) as kept:
            predicted = self.transformer(
                noisy,
                states,
                timesteps,
                image_rotary_emb=tuple(part.to(noisy.device) for part in self.rotary),
                return_dict=False,
            )[0]
        velocity = F.mse_loss(predicted.float(), target)
        tokens = kept[0][0]
        roles, nouns = share_cells(batch["nouns"].long(), batch["coverage"])
        noun_loss = _compare(self.noun_head(tokens), nouns)
        role_loss = _compare(self.role_head(tokens), roles)
        loss = velocity + LAYOUT_WEIGHT * (noun_loss + role_loss)
        return {"loss": loss, "velocity": velocity, "nouns": noun_loss, "roles": role_loss}

    def _draw_timestep(self, random: SampleRandom) -> Tensor:
        steps = self.noise_scheduler.config.num_train_timesteps
        if self.timesteps == "shapes":
            return (torch.rand((), generator=random.torch).square() * steps).long()
        level = TIMESTEP_CENTRE + TIMESTEP_SPREAD * torch.randn((), generator=random.torch)
        return (level.sigmoid() * steps).long().clamp(max=steps - 1)

    def save(self, folder: Path, weights: Mapping[str, Tensor], step: int) -> None:
        """Write the transformer as a Diffusers folder, float16."""
        save_model(self.transformer, weights, "transformer", folder)


def share_cells(nouns: Tensor, coverage: Tensor) -> tuple[Tensor, Tensor]:
    """Return how ground (index 0) and roles, and ground and appearances, share each cell.

    Args:
        nouns: index of each object's appearance, -1 for none, `(B, roles)`.
        coverage: share of each cell that an object covers, 255 is all, `(B, roles, ...)` uint8.

    Returns:
        `(B, 1 + roles, cells)` and `(B, 1 + appearances, cells)`; both sum to 1 over the second
        axis. Cells are in the order of the transformer's tokens.
    """
    covered = coverage.flatten(2).float() / 255
    # Rounding of the shares may cover a little more than everything.
    covered = covered / covered.sum(1, keepdim=True).clamp(min=1)
    ground = 1 - covered.sum(1, keepdim=True)
    shares = covered.new_zeros((len(nouns), len(APPEARANCES) + 1, covered.shape[2]))
    shares.scatter_add_(1, (nouns + 1)[:, :, None].expand_as(covered), covered)
    return torch.cat([ground, covered], 1), torch.cat([ground, shares[:, 1:]], 1)


def _compare(logits: Tensor, shares: Tensor) -> Tensor:
    """Cross entropy of logits `(B, cells, classes)` and shares `(B, classes, cells)`."""
    return F.cross_entropy(logits.float().mT, shares)
