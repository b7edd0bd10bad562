"""Reads objects and their paths back from the pixels of a clip; needs no trained weights.

Every object of the world is known by its looks, so each frame is compared with small pictures of
it. With cover `A`, weights `W = A / sum A`, the frame's difference `D` from the empty ground and
the difference `Q` that the object makes on this ground, a template at a place has the errors

    e = sum W |D - Q|^2   of the object,        b = sum W |D|^2   of the empty ground,

and the score `(b - e) / (b + e0)`: 1 where the object explains all, 0 or less where the ground does
as well. A few templates search the whole frame, all of them fit the best places. The comparison
runs on softened frames of `READING_SIDE` pixels, so blur that leaves colours alone changes little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from visionrel.errors import InputError
from visionrel.worlds.motion.backdrop import Backdrop
from visionrel.worlds.motion.scene import APPEARANCES
from visionrel.worlds.motion.templates import (
    KERNEL,
    READING_SIDE,
    Templates,
    load_templates,
    soften,
)


NOISE = 0.1**2
"""Squared colour error `e0` that counts for nothing."""

CANDIDATES = 3
"""Places per frame that are looked at closely."""

HOPELESS = 0.25
"""Median score of the first search below which an object is not looked for more closely."""

_AROUND = 1
_SEPARATE = 2
_PAD = KERNEL // 2
# A slight preference for the larger of two sizes that explain a place alike.
_SIZE_POWER = 0.1


@dataclass(frozen=True, eq=False)
class Sightings:
    """Where one appearance may be in each frame, best place first.

    Attributes:
        name: the appearance.
        place: centres (x, y) in picture sides, `(frames, CANDIDATES, 2)`.
        score: how well the object explains the place, `(frames, CANDIDATES)`, at most 1.
        error: root mean squared colour error there in [0, 1] units, `(frames, CANDIDATES)`.
        size: longer side of the fitting template, `(frames, CANDIDATES)`.
    """

    name: str
    place: np.ndarray
    score: np.ndarray
    error: np.ndarray
    size: np.ndarray


def to_reading_size(clip: np.ndarray) -> Tensor:
    """Turn uint8 `(frames, H, W, 3)` into `(frames, 3, side, side)` in [0, 1], by averaging.

    Errors:
        InputError: another type or shape, or fewer than two frames.
    """
    if clip.dtype != np.uint8 or clip.ndim != 4 or clip.shape[-1] != 3 or len(clip) < 2:
        raise InputError(
            f"`clip` has type {clip.dtype} and shape {clip.shape}; "
            "allowed is uint8 (frames, height, width, 3) with at least two frames"
        )
    # frames, height, width, channels -> frames, channels, height, width
    pixels = torch.from_numpy(np.ascontiguousarray(clip)).permute(0, 3, 1, 2).float() / 255.0
    return functional.interpolate(pixels, size=(READING_SIDE, READING_SIDE), mode="area")


@torch.no_grad()
def sight(
    clip: Tensor, backdrop: Backdrop, names: Sequence[str] = APPEARANCES
) -> dict[str, Sightings]:
    """Look for appearances in every frame of a clip `(frames, 3, side, side)`.

    Returns:
        Sightings by name, without the appearances that nothing in the clip resembles.
    """
    differs = soften(clip - backdrop.picture)
    square = differs.square().sum(dim=1, keepdim=True)
    layers = functional.pad(torch.cat([square, differs], dim=1), [_PAD] * 4)
    banks = [load_templates(name) for name in names]
    kernels = [_kernels(bank, backdrop.ground) for bank in banks]
    maps = _search(layers, banks, kernels)
    # frames, side, side, layers, K, K: the surroundings of every place
    patches = layers.unfold(2, KERNEL, 1).unfold(3, KERNEL, 1).permute(0, 2, 3, 1, 4, 5)
    return {
        name: _fit(name, bank, kernel, scores, patches)
        for name, bank, kernel, scores in zip(names, banks, kernels, maps, strict=True)
        if scores.amax(dim=(1, 2)).median() >= HOPELESS
    }


def _kernels(bank: Templates, ground: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return `W` as `(T, 1, K, K)`, `2 W Q` as `(T, 3, K, K)` and `sum W |Q|^2` as `(T,)`."""
    weight = (bank.cover / bank.cover.sum(dim=(1, 2), keepdim=True))[:, None]
    change = bank.colour - bank.cover[:, None] * ground[:, None, None]
    return weight, 2 * weight * change, (weight * change.square()).sum(dim=(1, 2, 3))


def _search(
    layers: Tensor, banks: Sequence[Templates], kernels: Sequence[tuple[Tensor, Tensor, Tensor]]
) -> list[Tensor]:
    """Score every place with the coarse templates; one map `(frames, side, side)` a bank."""
    weight, product, square = (
        torch.cat([kernel[part][bank.coarse] for bank, kernel in zip(banks, kernels, strict=True)])
        for part in range(3)
    )
    ground = functional.conv2d(layers[:, :1], weight)
    gain = functional.conv2d(layers[:, 1:], product, -square)
    scores = _score(gain, ground)
    return [part.amax(dim=1) for part in scores.split([len(b.coarse) for b in banks], dim=1)]


def _score(gain: Tensor, ground: Tensor) -> Tensor:
    """Score `b - e` and `b`."""
    return gain / (ground + NOISE)


def _fit(
    name: str,
    bank: Templates,
    kernel: tuple[Tensor, Tensor, Tensor],
    scores: Tensor,
    patches: Tensor,
) -> Sightings:
    """Fit all templates of a bank at the best places of its map."""
    frames, side, _ = scores.shape
    rows, columns = _peaks(scores)
    steps = torch.arange(-_AROUND, _AROUND + 1)
    # frames, candidates, steps, steps
    near_rows = (rows[:, :, None, None] + steps[:, None]).clamp(0, side - 1)
    near_columns = (columns[:, :, None, None] + steps[None]).clamp(0, side - 1)
    seen = patches[torch.arange(frames)[:, None, None, None], near_rows, near_columns]
    weight, product, square = kernel
    ground = seen[..., :1, :, :].flatten(-3) @ weight.flatten(1).T
    gain = seen[..., 1:, :, :].flatten(-3) @ product.flatten(1).T - square
    error = ground - gain
    fit = _score(gain, ground)
    preferred = fit * (bank.size / bank.size.max()) ** _SIZE_POWER
    best = preferred.flatten(2).argmax(dim=-1)
    width, count = len(steps), len(bank.size)
    template = best % count
    row, column = best // count // width, best // count % width

    def at_best(values: Tensor) -> Tensor:
        return values.flatten(2).gather(2, best[..., None])[..., 0]

    of_template = fit.gather(-1, template[..., None, None, None].expand(*fit.shape[:-1], 1))[..., 0]
    y = rows + _between(of_template.gather(3, _index(column, width, 3))[..., 0], row)
    x = columns + _between(of_template.gather(2, _index(row, width, 2))[..., 0, :], column)
    return Sightings(
        name,
        torch.stack([x + 0.5, y + 0.5], dim=-1).double().numpy() / side,
        at_best(fit).numpy(),
        at_best(error).clamp_min(0.0).sqrt().numpy(),
        bank.size[template].numpy(),
    )


def _index(index: Tensor, width: int, axis: int) -> Tensor:
    """Shape an index `(frames, candidates)` so that it gathers one slice along an axis."""
    if axis == 3:
        return index[..., None, None].expand(-1, -1, width, 1)
    return index[..., None, None].expand(-1, -1, 1, width)


def _peaks(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Return rows and columns of the best separate places, `(frames, CANDIDATES)` each."""
    scores = scores.clone()
    side = scores.shape[-1]
    grid = torch.arange(side)
    rows, columns = [], []
    for _ in range(CANDIDATES):
        best = scores.flatten(1).argmax(dim=1)
        row, column = best // side, best % side
        near_row = (grid - row[:, None]).abs() <= _SEPARATE
        near_column = (grid - column[:, None]).abs() <= _SEPARATE
        scores[near_row[:, :, None] & near_column[:, None]] = -torch.inf
        rows.append(row)
        columns.append(column)
    return torch.stack(rows, dim=1), torch.stack(columns, dim=1)


def _between(line: Tensor, peak: Tensor) -> Tensor:
    """Place a peak on a line `(frames, candidates, width)` by a parabola; 0 is the middle."""
    width = line.shape[-1]
    inner = peak.clamp(1, width - 2)[..., None]
    before, middle, after = (line.gather(-1, inner + step)[..., 0] for step in (-1, 0, 1))
    bend = (before - 2 * middle + after).clamp_max(-1e-6)
    shift = (0.5 * (before - after) / bend).clamp(-1.0, 1.0)
    return inner[..., 0] + shift - width // 2
