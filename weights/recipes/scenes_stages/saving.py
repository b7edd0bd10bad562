"""Writes one part of a base from the weights that the training loop hands over."""

import copy
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn


def save_model(model: nn.Module, weights: Mapping[str, Tensor], name: str, folder: Path) -> None:
    """Write `<folder>/<name>` in float16 from the weights whose names start with `<name>.`."""
    prefix = f"{name}."
    state = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
    whole = copy.deepcopy(model).cpu()
    whole.load_state_dict(state, strict=False)  # buffers are not trained and stay as they are
    whole.to(torch.float16, memory_format=torch.contiguous_format).save_pretrained(folder / name)
