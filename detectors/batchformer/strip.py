"""Removes BatchFormer from a checkpoint, so that it loads strictly into the base detector.

    python -m visionrel.detectors.batchformer.strip epoch_50.pth epoch_50_base.pth

Prediction does not use the layers, so the base detector predicts the same.
"""

import re
import sys
from pathlib import Path

import torch
import tyro
from torch import Tensor

from visionrel.artifacts import atomic_write
from visionrel.detectors.checkpoints import load_checkpoint
from visionrel.errors import InputError, VisionrelError


_LAYERS = re.compile(r"(^|\.)bf_layers?\.")


def strip_batchformer(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Keeps the entries of a state dict that the base detector has."""
    return {name: value for name, value in weights.items() if not _LAYERS.search(name)}


def strip_checkpoint(source: Path, target: Path) -> int:
    """Writes a checkpoint of MMEngine without BatchFormer; the optimizer's state is left out.

    Args:
        source: Checkpoint of a training run, or a bare state dict.
        target: New file; an existing one is not touched.

    Returns:
        Number of tensors removed.

    Raises:
        InputError: If a path is wrong, or the source cannot be read without running code of its
            own, or holds no BatchFormer.
    """
    if Path(target).exists():
        raise InputError(f"{target} exists already; give a name that is free.")
    checkpoint = load_checkpoint(source)
    weights = checkpoint.get("state_dict", checkpoint)
    kept = strip_batchformer(weights)
    if len(kept) == len(weights):
        raise InputError(f"{source} holds no weights of BatchFormer (`bf_layers` or `bf_layer`).")
    with atomic_write(target) as temporary:
        torch.save({"meta": checkpoint.get("meta", {}), "state_dict": kept}, temporary)
    return len(weights) - len(kept)


def main() -> None:
    """Command line: `IN OUT`."""

    def strip(source: tyro.conf.Positional[Path], target: tyro.conf.Positional[Path]) -> None:
        """Removes BatchFormer from a checkpoint.

        Args:
            source: Checkpoint of a training run.
            target: New file for the base detector.
        """
        removed = strip_checkpoint(source, target)
        print(f"{target}: removed {removed} tensors of BatchFormer")

    try:
        tyro.cli(strip)
    except VisionrelError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
