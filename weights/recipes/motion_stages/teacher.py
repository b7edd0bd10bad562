"""Trains a small VideoMAE on the world's clips, without captions or labels, in two stages.

First what is hidden is drawn from what is seen, as VideoMAE learns. After 3000 steps of that its
features told no more of coming contacts than pixels do, so the encoder then foretells motions.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import VideoMAEConfig, VideoMAEForPreTraining, VideoMAEModel

from visionrel.training import SampleRandom, Task
from visionrel.weights.recipes.motion_stages.clips import clip_tensor, draw_any_motion
from visionrel.weights.recipes.scenes_stages.saving import save_model
from visionrel.worlds.motion import CLIP_SIDE, FRAMES


MASKED = 0.75
"""Share of tokens that are hidden."""
FUTURE_SHARE = 0.5
"""Share of clips of which the end is hidden, so that motions must be foretold; in the others the
same places are hidden at all times, as in VideoMAE."""
LOSS_SCALE = 25.0
"""Brings the squared error of pixels in [0, 1] to unit scale."""
COARSE = 4
"""Pixels along a side of what is foretold as one: where things will be, not their patterns."""
CHANGE_SCALE = 10.0
"""Brings the squared error of foretold changes to unit scale."""
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def make_teacher() -> VideoMAEForPreTraining:
    """Build the untrained encoder, 2.7 M parameters, with a narrow decoder.

    A token stands for 8 x 8 pixels of 2 frames; frame 0 is left out, as VideoREPA does.
    """
    return VideoMAEForPreTraining(
        VideoMAEConfig(
            image_size=CLIP_SIDE,
            patch_size=8,
            num_frames=FRAMES - 1,
            tubelet_size=2,
            hidden_size=192,
            num_hidden_layers=6,
            num_attention_heads=6,
            intermediate_size=768,
            decoder_hidden_size=96,
            decoder_num_hidden_layers=2,
            decoder_num_attention_heads=3,
            decoder_intermediate_size=384,
            layer_norm_eps=1e-6,
            # No norm after the last block: VideoREPA compares the residual stream.
            use_mean_pooling=True,
            norm_pix_loss=False,
        )
    )


class _ClipTask(Task):
    """Takes clips as the encoder does."""

    num_items = 1_000_000

    def __init__(self, model: VideoMAEModel | VideoMAEForPreTraining) -> None:
        super().__init__()
        self.model, config = model, model.config
        self.tubelets = config.num_frames // config.tubelet_size
        self.places = (config.image_size // config.patch_size) ** 2
        self.register_buffer("mean", torch.tensor(_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).view(3, 1, 1), persistent=False)

    def normalise(self, clips: Tensor) -> Tensor:
        """From [-1, 1] to the encoder's scale."""
        return ((clips + 1) / 2 - self.mean) / self.std


class MaskedReconstructionTask(_ClipTask):
    """Draw hidden tokens from the others."""

    def sample(self, item: int, random: SampleRandom) -> dict[str, Tensor]:
        """Draw a clip and what of it is hidden."""
        rng = random.generator
        clip = _draw_clip(rng)
        hidden = torch.zeros(self.tubelets, self.places, dtype=torch.bool)
        if rng.random() < FUTURE_SHARE:
            hidden[-round(MASKED * self.tubelets) :] = True
        else:
            places = rng.permutation(self.places)[: round(MASKED * self.places)]
            hidden[:, torch.from_numpy(places)] = True
        return {"clips": clip, "hidden": hidden.flatten()}

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Squared error of the hidden pixels."""
        pixels = self.normalise(batch["clips"])
        error = self.model(pixels, bool_masked_pos=batch["hidden"]).loss
        return {"loss": LOSS_SCALE * error, "psnr": -10 * error.detach().log10()}

    def save(self, folder: Path, weights: Mapping[str, Tensor], step: int) -> None:
        """Write the encoder as a Transformers folder; the decoder is dropped."""
        inner = {name.replace("model.videomae.", "teacher."): w for name, w in weights.items()}
        save_model(self.model.videomae, inner, "teacher", folder)


class ForetellingTask(_ClipTask):
    """Foretell what a clip of which the end holds still would have shown.

    Each token but those of the last tubelet tells by how much its place, coarsely seen, differs one
    tubelet later from what it sees now. Where the clip still moves, that is to be found; where it
    holds still, and what it holds is ever further from the truth, to be foretold.
    """

    def __init__(self, model: VideoMAEModel) -> None:
        super().__init__(model)
        config = model.config
        self.cells = config.patch_size // COARSE
        values = config.tubelet_size * self.cells**2 * 3
        self.head = nn.Sequential(
            nn.LayerNorm(config.hidden_size), nn.Linear(config.hidden_size, values)
        )
        for parameter in self.head[1].parameters():  # at first nothing changes
            nn.init.zeros_(parameter)

    def sample(self, item: int, random: SampleRandom) -> dict[str, Tensor]:
        """Draw a clip and how many tubelets of it move."""
        rng = random.generator
        clip = _draw_clip(rng)
        return {"clips": clip, "moving": torch.tensor(rng.integers(1, self.tubelets + 1))}

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Squared error of the changes; `explained` is 1 less its share of the error of none."""
        clips, moving = self.normalise(batch["clips"]), batch["moving"]
        held = hold_still(clips, moving * self.model.config.tubelet_size)
        change = self.coarse(clips)[:, 1:] - self.coarse(held)[:, :-1]
        tokens = self.head(self.model(held).last_hidden_state)
        told = tokens.float().unflatten(1, (self.tubelets, self.places))[:, :-1]
        error, size = (told - change).square().mean(-1), change.square().mean(-1)
        later = torch.arange(1, self.tubelets, device=moving.device)
        future = (later >= moving[:, None])[..., None].expand_as(size)
        explained = 1 - error.detach()[future].sum() / size[future].sum().clamp_min(1e-6)
        return {"loss": CHANGE_SCALE * error.mean(), "explained": explained}

    def coarse(self, clips: Tensor) -> Tensor:
        """Means of squares of pixels, as the encoder's tokens.

        Args:
            clips: Shape (batch, frames, 3, side, side).

        Returns:
            Shape (batch, tubelets, places, values).
        """
        small = F.avg_pool2d(clips.flatten(0, 1), COARSE).unflatten(0, clips.shape[:2])
        # batch, tubelets, frames, 3, rows, cells, columns, cells
        parts = small.unflatten(1, (self.tubelets, -1)).unflatten(-1, (-1, self.cells))
        parts = parts.unflatten(-3, (-1, self.cells))
        return parts.permute(0, 1, 4, 6, 2, 5, 7, 3).flatten(4).flatten(2, 3)

    def save(self, folder: Path, weights: Mapping[str, Tensor], step: int) -> None:
        """Write the encoder as a Transformers folder; the head is dropped."""
        inner = {name.replace("model.", "teacher.", 1): w for name, w in weights.items()}
        save_model(self.model, inner, "teacher", folder)


def hold_still(clips: Tensor, moving: Tensor) -> Tensor:
    """Holds each clip's end.

    Args:
        clips: Shape (batch, frames, 3, side, side).
        moving: How many frames of each are kept, from 1; the others repeat the last of them.
    """
    frames = torch.arange(clips.shape[1], device=clips.device)
    shown = torch.minimum(frames, moving[:, None] - 1)
    return clips[torch.arange(len(clips), device=clips.device)[:, None], shown]


def _draw_clip(rng: np.random.Generator) -> Tensor:
    """Frames of any motion but the first, shape (frames, 3, side, side), in [-1, 1]."""
    return clip_tensor(draw_any_motion(rng))[:, 1:].transpose(0, 1)
