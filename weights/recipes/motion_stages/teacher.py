"""Trains a small VideoMAE on the world's clips: what is hidden is drawn from what is seen."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import VideoMAEConfig, VideoMAEForPreTraining

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


class MaskedReconstructionTask(Task):
    """Draw hidden tokens from the others."""

    num_items = 1_000_000

    def __init__(self, model: VideoMAEForPreTraining) -> None:
        super().__init__()
        self.model = model
        config = model.config
        self.tubelets = config.num_frames // config.tubelet_size
        self.places = (config.image_size // config.patch_size) ** 2
        self.register_buffer("mean", torch.tensor(_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).view(3, 1, 1), persistent=False)

    def sample(self, item: int, random: SampleRandom) -> dict[str, Tensor]:
        """Draw a clip and what of it is hidden."""
        rng = np.random.default_rng(random.numpy.randint(2**31))
        clip = clip_tensor(draw_any_motion(rng))[:, 1:].transpose(0, 1)
        hidden = torch.zeros(self.tubelets, self.places, dtype=torch.bool)
        if rng.random() < FUTURE_SHARE:
            hidden[-round(MASKED * self.tubelets) :] = True
        else:
            places = rng.permutation(self.places)[: round(MASKED * self.places)]
            hidden[:, torch.from_numpy(places)] = True
        return {"clips": clip, "hidden": hidden.flatten()}

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Squared error of the hidden pixels."""
        pixels = ((batch["clips"] + 1) / 2 - self.mean) / self.std
        error = self.model(pixels, bool_masked_pos=batch["hidden"]).loss
        return {"loss": LOSS_SCALE * error, "psnr": -10 * error.detach().log10()}

    def save(self, folder: Path, weights: Mapping[str, Tensor], step: int) -> None:
        """Write the encoder as a Transformers folder; the decoder is dropped."""
        inner = {name.replace("model.videomae.", "teacher."): w for name, w in weights.items()}
        save_model(self.model.videomae, inner, "teacher", folder)
