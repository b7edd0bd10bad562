"""Guesses scene conditions with CLIP: `python -m visionrel.detectors.lango.pseudo_labels`.

Labels that a data set publishes, such as UAVDT's attributes, are better; this is for the others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from visionrel.data.aerial.conditions import AXES, SceneConditions, save_conditions
from visionrel.data.exemplars import EXTENSIONS, open_picture
from visionrel.detectors.lango.command import run_command
from visionrel.detectors.lango.prompts import scene_sentences
from visionrel.errors import InputError
from visionrel.towers import Towers, load_towers, mean_direction


LOGIT_SCALE = 100.0
"""Factor of the cosines before the softmax: the value at which CLIP's own is capped."""


@dataclass(kw_only=True)
class PseudoLabelsConfig:
    """Guess the conditions of pictures from the whole picture, without training."""

    folder: Path
    """Folder of pictures, subfolders included."""
    output: Path
    """Side file to write, for `LoadSceneCondition`. Must not exist."""
    encoder: str | None = None
    """A folder or cached CLIP for Transformers, or open_clip:ARCHITECTURE:FILE; CLIP ViT-B/32 when
    not given, open_clip's if it is there."""
    threshold: float = 0.6
    """An axis whose likeliest phrase has a smaller probability is left unknown, in [0, 1]."""
    batch_size: int = 16
    """Pictures at a time."""


@torch.no_grad()
def guess_conditions(
    pictures: Sequence[Path],
    towers: Towers,
    axes: Mapping[str, Sequence[str]] = AXES,
    threshold: float = 0.6,
    batch_size: int = 16,
) -> list[dict[str, tuple[float, ...]]]:
    r"""Zero-shot probabilities of the phrases of each axis.

    .. math:: t_a = \mathrm{softmax}_k(100 \langle v, T_{a,k} \rangle)

    Args:
        pictures: Files.
        towers: CLIP.
        axes: Axis to phrases.
        threshold: Axes whose greatest probability is smaller are left out.
        batch_size: Pictures at a time.

    Returns:
        Per picture, axis to probabilities.

    Raises:
        InputError: If the encoder has no picture tower, or pictures of a batch cannot be read.
    """
    if towers.encode_pictures is None:
        raise InputError(
            f"{towers.name} encodes text only; conditions are read from pictures with CLIP: "
            "leave `encoder` out or name another CLIP."
        )
    phrases = {
        name: torch.stack([mean_direction(towers, scene_sentences(text)) for text in texts])
        for name, texts in axes.items()
    }
    guesses = []
    for start in range(0, len(pictures), batch_size):
        opened = _open_pictures(pictures[start : start + batch_size])
        vectors = F.normalize(towers.encode_pictures(opened).float(), dim=-1)
        guesses += [_guess(vector, phrases, threshold) for vector in vectors]
    return guesses


def _open_pictures(paths: Sequence[Path]) -> list[Image.Image]:
    pictures, problems = [], []
    for path in paths:
        try:
            pictures.append(open_picture(path))
        except ValueError as error:
            problems.append(f"{path}: {error}")
    if problems:
        raise InputError(problems)
    return pictures


def _guess(
    vector: Tensor, phrases: Mapping[str, Tensor], threshold: float
) -> dict[str, tuple[float, ...]]:
    shares = {name: (LOGIT_SCALE * rows @ vector).softmax(0) for name, rows in phrases.items()}
    return {name: tuple(part.tolist()) for name, part in shares.items() if part.max() >= threshold}


def run(config: PseudoLabelsConfig) -> str:
    """Writes the side file; returns a sentence for the person at the keyboard."""
    if not 0 <= config.threshold <= 1:
        raise InputError(f"`threshold` must lie in [0, 1], got {config.threshold}.")
    if config.batch_size < 1:
        raise InputError(f"`batch_size` must be at least 1, got {config.batch_size}.")
    if config.output.exists():
        raise InputError(f"`output` {config.output} exists; choose another name.")
    if not config.folder.is_dir():
        raise InputError(f"`folder` {config.folder} is not a folder; give that of the pictures.")
    paths = sorted(path for path in config.folder.rglob("*") if path.suffix.lower() in EXTENSIONS)
    if not paths:
        raise InputError(f"{config.folder} holds no picture ({', '.join(sorted(EXTENSIONS))}).")
    guesses = guess_conditions(
        paths, load_towers(config.encoder), threshold=config.threshold, batch_size=config.batch_size
    )
    names = [path.relative_to(config.folder).as_posix() for path in paths]
    conditions: SceneConditions = dict(zip(names, guesses, strict=True))
    save_conditions(config.output, conditions)
    known = {axis: sum(axis in entry for entry in guesses) for axis in AXES}
    shares = ", ".join(f"{axis} {count}" for axis, count in known.items())
    return f"{config.output}: {len(paths)} pictures; known: {shares}"


if __name__ == "__main__":
    run_command(PseudoLabelsConfig, run)
