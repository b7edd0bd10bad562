"""Hands a trained U-Net over to a text encoder that has learned on.

The U-Net meets words only through the keys and values of its cross attention, which are linear in
the encoder's states. Whatever of the old states is linear in the new ones can so be put into the
weights before training goes on; the rest training has to mend.
"""

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel


COMPARED = 3000
"""Captions that are enough to compare two encoders."""
_RIDGE = 1e-3


@torch.no_grad()
def hand_over(
    unet: UNet2DConditionModel, old: CLIPTextModel, new: CLIPTextModel, input_ids: Tensor
) -> None:
    """Let keys and values read the new encoder's states as they read the old one's.

    Args:
        unet: Changed in place.
        old: The encoder it was trained with.
        new: The encoder it will be trained with, of the same width.
        input_ids: Captions to compare them on, `(N, L)`; those with tokens that the old encoder
            does not have are left out.
    """
    known = input_ids[(input_ids < old.config.vocab_size).all(dim=1)]
    before, after = (
        encoder(known).last_hidden_state.flatten(0, 1).double() for encoder in (old, new)
    )
    # before = after @ change, least squares
    ridge = _RIDGE * torch.eye(after.shape[1], dtype=after.dtype)
    change = torch.linalg.solve(after.T @ after + ridge, after.T @ before)
    for name, module in unet.named_modules():
        if name.endswith("attn2"):
            for layer in (module.to_k, module.to_v):
                layer.weight.copy_((layer.weight.double() @ change.T).to(layer.weight))
