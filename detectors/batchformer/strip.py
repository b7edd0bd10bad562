"""Removes BatchFormer from a checkpoint, so that it loads strictly into the base detector.

    python -m visionrel.detectors.batchformer.strip epoch_50.pth epoch_50_base.pth

Prediction does not use the layers, so the base detector predicts the same.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import tyro
from torch import Tensor

from visionrel.artifacts import atomic_write
from visionrel.detectors.checkpoints import (
    SAFETENSORS,
    load_checkpoint,
    load_weights,
    save_weights,
)
from visionrel.detectors.lango.command import run_command
from visionrel.errors import InputError


_LAYERS = re.compile(r"(^|\.)bf_layers?\.")


def strip_batchformer(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Keeps the entries of a state dict that the base detector has."""
    return {name: value for name, value in weights.items() if not _LAYERS.search(name)}


def strip_checkpoint(source: Path, target: Path) -> int:
    """Writes a checkpoint of MMEngine without BatchFormer; the optimizer's state is left out.

    Args:
        source: Checkpoint of a training run, a bare state dict, or safetensors.
        target: New file, safetensors if it ends so; an existing one is not touched.

    Returns:
        Number of tensors removed.

    Raises:
        InputError: If a path is wrong, or the source cannot be read without running code of its
            own, or holds no BatchFormer.
    """
    source, target = Path(source), Path(target)
    if target.exists():
        raise InputError(f"{target} exists already; give a name that is free.")
    checkpoint = load_checkpoint(source)
    weights = checkpoint.get("state_dict", checkpoint)
    kept = strip_batchformer(weights)
    if len(kept) == len(weights):
        raise InputError(f"{source} holds no weights of BatchFormer (`bf_layers` or `bf_layer`).")
    if target.suffix == SAFETENSORS:
        save_weights(target, replace(load_weights(source), tensors=kept))
        return len(weights) - len(kept)
    with atomic_write(target) as temporary:
        torch.save({"meta": checkpoint.get("meta", {}), "state_dict": kept}, temporary)
    return len(weights) - len(kept)


@dataclass(kw_only=True)
class StripConfig:
    """Remove BatchFormer from a checkpoint."""

    source: tyro.conf.Positional[Path]
    """Checkpoint of a training run, or safetensors."""
    target: tyro.conf.Positional[Path]
    """New file for the base detector; safetensors if it ends so."""


def run(config: StripConfig) -> str:
    """Strips; returns a sentence for the person at the keyboard."""
    removed = strip_checkpoint(config.source, config.target)
    return f"{config.target}: removed {removed} tensors of BatchFormer"


if __name__ == "__main__":
    run_command(StripConfig, run)
