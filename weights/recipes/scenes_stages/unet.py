"""Trains the U-Net on cached latents, under captions that the frozen text encoder has read."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import CLIPTextModel, CLIPTokenizer

from visionrel.training import SampleRandom, Task
from visionrel.weights.recipes.scenes_stages.latents import MOST_OBJECTS, CachedLatents
from visionrel.weights.recipes.scenes_stages.saving import save_model
from visionrel.weights.recipes.scenes_stages.text import WIDTH
from visionrel.weights.recipes.scenes_stages.tokenizer import tokenize
from visionrel.worlds.scenes import OBJECTS


CAPTION_DROPOUT = 0.2
"""Twice what guidance needs: without words the heads must see turns and order in the latents."""
TIMESTEP_CENTRE, TIMESTEP_SPREAD = 0.0, 1.0
"""Timesteps are `T sigmoid(n)`, n normal: half of them above 500. Signal and noise are about equal
at 380, where sprites get their details; words decide layout, turns and order above."""
BETA_END = 0.025
"""Twice Stable Diffusion's. Twelve channels show a layout through noise that hides a picture of
four: with 0.012 it is plain at t < 850 and still leaks at T, so words were hardly ever needed."""
LAYOUT_WEIGHT, TURN_WEIGHT, ORDER_WEIGHT = 0.1, 0.3, 0.2


def make_unet(latent_channels: int, side: int) -> UNet2DConditionModel:
    """Build the untrained U-Net: words enter at 8 x 8 and 4 x 4, where the layout is decided."""
    return UNet2DConditionModel(
        sample_size=side,
        in_channels=latent_channels,
        out_channels=latent_channels,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(64, 128, 192),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
    )


def make_scheduler() -> DDPMScheduler:
    """Stable Diffusion's noise schedule, ending in noise alone, with velocity prediction."""
    return DDPMScheduler(
        beta_start=0.00085,
        beta_end=BETA_END,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        clip_sample=False,
        timestep_spacing="trailing",
        steps_offset=1,
    )


class DenoisingTask(Task):
    """Denoise cached latents under their captions, and know which object covers which cell.

    Four further losses look at what linear heads read from the decoder's 8 x 8 features: which
    nouns and which roles (first, second or third object of the caption) share each cell (cross
    entropy), how the objects there are turned (squared error of cosine and sine), and whether the
    first covers the others or is covered (cross entropy). Which role stands where, leans where and
    covers which is what a relation says, whatever the nouns. They tie words to places at every
    noise level, where the squared error of the velocity is mostly noise. The heads are not kept.

    The text encoder stays as the reading stage left it. Trained along, it forgot relations (the
    share of the vertical offset's variance that its last token explains fell from 0.8 to 0.3).
    """

    def __init__(
        self,
        unet: UNet2DConditionModel,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        cache: CachedLatents,
        scaling_factor: float,
    ) -> None:
        super().__init__()
        self.unet = unet
        self.text_encoder = text_encoder.eval().requires_grad_(False)
        self.cache, self.scaling_factor = cache, scaling_factor
        self.num_items = len(cache.latents)
        self.noise_scheduler = make_scheduler()
        self.empty_ids = tokenize(tokenizer, [""])[0]
        features = unet.config.block_out_channels[-1]
        self.noun_head = nn.Conv2d(features, len(OBJECTS) + 1, 1)
        self.role_head = nn.Conv2d(features, 1 + MOST_OBJECTS, 1)
        self.turn_head = nn.Conv2d(features, 2 * MOST_OBJECTS, 1)
        self.order_head = nn.Conv2d(features, 1, 1)
        # From random heads the first gradients would spoil a U-Net that is already trained.
        for head in (self.noun_head, self.role_head, self.turn_head, self.order_head):
            nn.init.zeros_(head.weight)

    def sample(self, item: int, random: SampleRandom) -> dict[str, Tensor]:
        """Draw noise, a timestep, and whether the caption is dropped."""
        latents = self.cache.latents[item].float() * self.scaling_factor
        dropped = random.numpy.rand() < CAPTION_DROPOUT
        level = TIMESTEP_CENTRE + TIMESTEP_SPREAD * torch.randn((), generator=random.torch)
        steps = self.noise_scheduler.config.num_train_timesteps
        return {
            "latents": latents,
            "input_ids": self.empty_ids if dropped else self.cache.input_ids[item],
            "nouns": self.cache.nouns[item],
            "coverage": self.cache.coverage[item],
            "hidden": self.cache.hidden[item],
            "turns": self.cache.turns[item].float(),
            "noise": torch.randn(latents.shape, generator=random.torch),
            "timesteps": (level.sigmoid() * steps).long().clamp(max=steps - 1),
        }

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Mean squared error of the velocity plus the weighted layout loss."""
        latents, noise, timesteps = batch["latents"], batch["noise"], batch["timesteps"]
        noisy = self.noise_scheduler.add_noise(latents, noise, timesteps)
        target = self.noise_scheduler.get_velocity(latents, noise, timesteps)
        with torch.no_grad():
            states = self.text_encoder(batch["input_ids"]).last_hidden_state
        # In bfloat16 on a CPU the backward pass of the fused attention is slow.
        with keep_output(self.unet.up_blocks[0]) as kept, sdpa_kernel(SDPBackend.MATH):
            predicted = self.unet(noisy, timesteps, states, return_dict=False)[0]
        velocity = F.mse_loss(predicted.float(), target)
        roles, nouns = share_cells(batch["nouns"].long(), batch["coverage"])
        noun_loss = F.cross_entropy(self.noun_head(kept[0]).float(), nouns)
        role_loss = F.cross_entropy(self.role_head(kept[0]).float(), roles)
        turn_loss = compare_turns(self.turn_head(kept[0]).float(), batch["turns"], roles[:, 1:])
        order_loss = compare_order(self.order_head(kept[0]).float(), batch["hidden"])
        layout = (
            LAYOUT_WEIGHT * (noun_loss + role_loss)
            + TURN_WEIGHT * turn_loss
            + ORDER_WEIGHT * order_loss
        )
        terms = {"nouns": noun_loss, "roles": role_loss, "turns": turn_loss, "order": order_loss}
        return {"loss": velocity + layout, "velocity": velocity, **terms}

    def save(self, folder: Path, weights: Mapping[str, Tensor], step: int) -> None:
        """Write the U-Net as a Diffusers folder, float16."""
        save_model(self.unet, weights, "unet", folder)


def compare_turns(read: Tensor, turns: Tensor, shares: Tensor) -> Tensor:
    """Squared error of the turns read in each cell, weighted by what the object covers of it.

    Args:
        read: cosine and sine of each role, `(B, 2 x roles, h, w)`.
        turns: the true ones, `(B, roles, 2)`.
        shares: of each role in each cell, `(B, roles, h, w)`.

    Returns:
        The mean over what is covered; 0 where nothing is.
    """
    error = read.unflatten(1, (-1, 2)) - turns[..., None, None]
    weighted = shares * error.square().sum(2)
    return weighted.sum() / shares.sum().clamp(min=1e-6)


def compare_order(read: Tensor, hidden: Tensor) -> Tensor:
    """Cross entropy of "the first covers the others here", weighted by what is hidden of a cell.

    Args:
        read: its log-odds, `(B, 1, h, w)`.
        hidden: share of each cell in which an object is hidden, 255 is all, `(B, roles, h, w)`
            uint8.

    Returns:
        The mean over what is hidden; 0 where nothing is.
    """
    under, over = (part.float() / 255 for part in (hidden[:, :1], hidden[:, 1:].sum(1, True)))
    weighted = under * F.softplus(read) + over * F.softplus(-read)
    return weighted.sum() / (under + over).sum().clamp(min=1e-6)


@contextmanager
def keep_output(block: nn.Module) -> Iterator[list[Tensor]]:
    """Collect what a block returns; the hook is gone afterwards, so that models stay copyable."""
    kept: list[Tensor] = []
    hook = block.register_forward_hook(lambda module, args, output: kept.append(output))
    try:
        yield kept
    finally:
        hook.remove()


def share_cells(nouns: Tensor, coverage: Tensor) -> tuple[Tensor, Tensor]:
    """Return how ground (index 0) and roles, and ground and nouns, share each cell.

    Args:
        nouns: index of each object's noun, -1 for none, `(B, roles)`.
        coverage: share of each cell that an object covers, 255 is all, `(B, roles, h, w)` uint8.

    Returns:
        `(B, 1 + roles, h, w)` and `(B, 1 + nouns, h, w)`; both sum to 1 over the second axis.
    """
    covered = coverage.float() / 255
    ground = 1 - covered.sum(1, keepdim=True)
    shares = covered.new_zeros((len(nouns), len(OBJECTS) + 1, *coverage.shape[2:]))
    shares.scatter_add_(1, (nouns + 1)[:, :, None, None].expand_as(coverage), covered)
    return torch.cat([ground, covered], 1), torch.cat([ground, shares[:, 1:]], 1)
