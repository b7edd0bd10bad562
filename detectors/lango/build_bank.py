"""Builds text banks: `python -m visionrel.detectors.lango.build_bank`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from visionrel.artifacts import load_json
from visionrel.data.aerial.conditions import AXES
from visionrel.detectors.lango.command import run_command
from visionrel.detectors.lango.prompts import CLASS_WORDS, class_sentences, scene_sentences
from visionrel.detectors.lango.text_bank import Axis, TextBank, save_text_bank
from visionrel.errors import InputError
from visionrel.towers import Towers, load_towers, mean_direction


@dataclass(kw_only=True)
class BuildBankConfig:
    """Encode class names and scene conditions once, before any training."""

    classes: str
    """visdrone, uavdt, dota or aerial; or a JSON file of an object from class to words, or a list
    of classes, in the order of the data set."""
    output: Path
    """The bank to write, ending in .safetensors. Must not exist."""
    encoder: str | None = None
    """A folder or cached model for Transformers (CLIP or a sentence model), or
    open_clip:ARCHITECTURE:FILE; CLIP ViT-B/32 when not given, open_clip's if it is there."""
    licence: str = "unknown"
    """Licence of the encoder, written into the bank."""


def build_bank(
    words: Mapping[str, str],
    towers: Towers,
    licence: str,
    axes: Mapping[str, Sequence[str]] = AXES,
) -> TextBank:
    """Encodes classes and conditions.

    Args:
        words: class name, in the data set's order, to the words that stand for it.
        towers: the encoder.
        licence: its licence.
        axes: axis to phrases.
    """
    return TextBank(
        model=towers.name,
        licence=licence,
        classes=tuple(words),
        class_embeddings=torch.stack(
            [mean_direction(towers, class_sentences(text)) for text in words.values()]
        ),
        axes={
            name: Axis(
                tuple(phrases),
                torch.stack([mean_direction(towers, scene_sentences(text)) for text in phrases]),
            )
            for name, phrases in axes.items()
        },
    )


def read_words(classes: str) -> Mapping[str, str]:
    """The words of a known data set or of a JSON file.

    Raises:
        InputError: If it is neither.
    """
    if classes in CLASS_WORDS:
        return CLASS_WORDS[classes]
    if not classes.endswith(".json"):
        raise InputError(
            f"`classes` must be one of {', '.join(CLASS_WORDS)} or a .json file, got {classes!r}."
        )
    content = load_json(Path(classes))
    if isinstance(content, list):
        content = {name: name for name in content if isinstance(name, str)}
    if not (isinstance(content, dict) and content):
        raise InputError(f"{classes} must hold an object from class to words or a list of classes.")
    if wrong := [name for name, text in content.items() if not (isinstance(text, str) and text)]:
        raise InputError(f"{classes}: the words of {', '.join(wrong)} must be a text.")
    return content


def run(config: BuildBankConfig) -> str:
    """Builds one bank and writes it; returns a sentence for the person at the keyboard."""
    if config.output.suffix != ".safetensors":
        raise InputError(f"`output` must end in .safetensors, got {config.output}.")
    if config.output.exists():
        raise InputError(f"`output` {config.output} exists; choose another name.")
    words = read_words(config.classes)
    bank = build_bank(words, load_towers(config.encoder), config.licence)
    save_text_bank(bank, config.output)
    return f"{config.output}: {len(bank.classes)} classes, width {bank.dim}"


if __name__ == "__main__":
    run_command(BuildBankConfig, run)
