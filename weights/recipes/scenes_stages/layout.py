"""Further losses of the U-Net: from its features it must tell what stands where, and how.

The squared error of the velocity is mostly noise, and a relation is a small part of the rest. So
linear heads read the decoder's features at every noise level. At 8 x 8: which nouns and which roles
(first, second or third object of the caption) share each cell, how the objects there are turned,
and whether the first covers the others or is covered. At 16 x 16: which part of a sprite each cell
shows, in the sprite's own frame, which is the same however it is turned; what is learned of upright
sprites so serves turned ones. The heads are not kept.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from visionrel.weights.recipes.scenes_stages.latents import MOST_OBJECTS
from visionrel.worlds.scenes import OBJECTS


WEIGHTS = {"nouns": 0.1, "roles": 0.1, "turns": 0.3, "order": 0.2, "parts": 0.5}


class LayoutHeads(nn.Module):
    """Linear heads on the outputs of the first two blocks of a U-Net's decoder."""

    def __init__(self, unet: UNet2DConditionModel) -> None:
        super().__init__()
        deep, fine = reversed(unet.config.block_out_channels[1:])
        self.noun_head = nn.Conv2d(deep, len(OBJECTS) + 1, 1)
        self.role_head = nn.Conv2d(deep, 1 + MOST_OBJECTS, 1)
        self.turn_head = nn.Conv2d(deep, 2 * MOST_OBJECTS, 1)
        self.order_head = nn.Conv2d(deep, 1, 1)
        self.part_head = nn.Conv2d(fine, 2, 1)
        # From random heads the first gradients would spoil a U-Net that is already trained.
        for head in self.children():
            nn.init.zeros_(head.weight)

    def forward(self, deep: Tensor, fine: Tensor, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the losses by name.

        Args:
            deep: features `(B, C, h, w)` of the decoder's first block.
            fine: features `(B, c, 2 h, 2 w)` of its second.
            batch: `nouns`, `turns` and `places` as in `CachedLatents`, and its `coverage` and
                `hidden` at the side of `fine`.
        """
        coverage, hidden = (batch[name].float() / 255 for name in ("coverage", "hidden"))
        roles, nouns = share_cells(batch["nouns"].long(), F.avg_pool2d(coverage, 2))
        turns = batch["turns"].float()
        parts = locate_parts(batch["places"].float(), turns, fine.shape[-1])
        return {
            "nouns": F.cross_entropy(self.noun_head(deep).float(), nouns),
            "roles": F.cross_entropy(self.role_head(deep).float(), roles),
            "turns": compare_turns(self.turn_head(deep).float(), turns, roles[:, 1:]),
            "order": compare_order(self.order_head(deep).float(), F.avg_pool2d(hidden, 2)),
            "parts": compare_parts(self.part_head(fine).float(), parts, coverage),
        }


def share_cells(nouns: Tensor, coverage: Tensor) -> tuple[Tensor, Tensor]:
    """Return how ground (index 0) and roles, and ground and nouns, share each cell.

    Args:
        nouns: index of each object's noun, -1 for none, `(B, roles)`.
        coverage: share of each cell that an object covers, `(B, roles, h, w)`.

    Returns:
        `(B, 1 + roles, h, w)` and `(B, 1 + nouns, h, w)`; both sum to 1 over the second axis.
    """
    ground = 1 - coverage.sum(1, keepdim=True)
    shares = coverage.new_zeros((len(nouns), len(OBJECTS) + 1, *coverage.shape[2:]))
    shares.scatter_add_(1, (nouns + 1)[:, :, None, None].expand_as(coverage), coverage)
    return torch.cat([ground, coverage], 1), torch.cat([ground, shares[:, 1:]], 1)


def compare_turns(read: Tensor, turns: Tensor, shares: Tensor) -> Tensor:
    """Squared error of the turns read in each cell, weighted by what the object covers of it.

    Args:
        read: cosine and sine of each role, `(B, 2 x roles, h, w)`.
        turns: the true ones, `(B, roles, 2)`.
        shares: of each role in each cell, `(B, roles, h, w)`.

    Returns:
        The mean over what is covered; 0 where nothing is.
    """
    return _weigh(read.unflatten(1, (-1, 2)) - turns[..., None, None], shares)


def compare_order(read: Tensor, hidden: Tensor) -> Tensor:
    """Cross entropy of "the first covers the others here", weighted by what is hidden of a cell.

    Args:
        read: its log-odds, `(B, 1, h, w)`.
        hidden: share of each cell in which an object is hidden, `(B, roles, h, w)`.

    Returns:
        The mean over what is hidden; 0 where nothing is.
    """
    under, over = hidden[:, :1], hidden[:, 1:].sum(1, keepdim=True)
    weighted = under * F.softplus(read) + over * F.softplus(-read)
    return weighted.sum() / (under + over).sum().clamp(min=1e-6)


def locate_parts(places: Tensor, turns: Tensor, side: int) -> Tensor:
    """Return where the centre of each cell lies in each sprite's own frame.

    Args:
        places: x, y and size in picture sides, and -1 if mirrored, else 1, `(B, roles, 4)`; a size
            of 0 for none.
        turns: cosine and sine of the counter-clockwise rotation, `(B, roles, 2)`.
        side: cells of a side.

    Returns:
        `(B, roles, 2, side, side)`: right and down as the unturned sprite is drawn; the sprite
        reaches from -1 to 1.
    """
    centres = (torch.arange(side) + 0.5).to(places) / side
    half = (places[..., 2, None, None] / 2).clamp(min=1e-3)
    dx = (centres[None, :] - places[..., 0, None, None]) / half
    dy = (centres[:, None] - places[..., 1, None, None]) / half
    cosine, sine = (turns[..., i, None, None] for i in range(2))
    right = (dx * cosine - dy * sine) * places[..., 3, None, None]
    return torch.stack([right, dx * sine + dy * cosine], dim=2)


def compare_parts(read: Tensor, parts: Tensor, shares: Tensor) -> Tensor:
    """Squared error of the parts read in each cell, weighted by what the object covers of it.

    Args:
        read: place in the frame of the sprite that stands there, `(B, 2, h, w)`.
        parts: the true ones by role, `(B, roles, 2, h, w)`.
        shares: of each role in each cell, `(B, roles, h, w)`.

    Returns:
        The mean over what is covered; 0 where nothing is.
    """
    return _weigh(read[:, None] - parts, shares)


def _weigh(error: Tensor, shares: Tensor) -> Tensor:
    """Mean squared error over shares; error `(B, roles, 2, h, w)`, shares `(B, roles, h, w)`."""
    return (shares * error.square().sum(2)).sum() / shares.sum().clamp(min=1e-6)


@contextmanager
def keep_outputs(*blocks: nn.Module) -> Iterator[list[Tensor]]:
    """Collect what blocks return; the hooks are gone afterwards, so that models stay copyable."""
    kept: list[Tensor] = []
    hooks = [
        block.register_forward_hook(lambda module, args, output: kept.append(output))
        for block in blocks
    ]
    try:
        yield kept
    finally:
        for hook in hooks:
            hook.remove()
