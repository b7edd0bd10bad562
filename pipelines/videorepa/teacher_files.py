"""Finds and loads the encoders that Transformers saved, embedded ones and folders."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import Dinov2Model, PreTrainedModel, VideoMAEModel, VJEPA2Model

from visionrel.artifacts import load_json
from visionrel.errors import InputError
from visionrel.pipelines.videorepa.teachers import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    DINOv2Teacher,
    Teacher,
    VideoMAETeacher,
    VJEPA2Teacher,
)
from visionrel.weights_manifest import (
    digest_of,
    embedded_folder,
    hash_folder,
    load_manifest,
    weights_folder,
)


_TEACHERS: Mapping[str, tuple[type[PreTrainedModel], type[Teacher]]] = {
    "videomae": (VideoMAEModel, VideoMAETeacher),
    "vjepa2": (VJEPA2Model, VJEPA2Teacher),
    "dinov2": (Dinov2Model, DINOv2Teacher),
}


def find_teacher(name: str) -> Path:
    """The folder of a teacher: an embedded name, or a folder that Transformers saved.

    Raises:
        InputError: If there is none.
    """
    encoders = [each for each in load_manifest() if _model_type(weights_folder() / each)]
    if name in encoders:
        return embedded_folder(name)
    if Path(name).expanduser().is_dir():
        return Path(name).expanduser()
    step = "Give a folder that Transformers saved."
    if name == "motion-teacher":
        step = (
            "Make it with `visionrel weights build motion-teacher` and give its folder, or train "
            "without teacher: `--proj_coeff 0`."
        )
    raise InputError(
        f"Unknown teacher {name!r}: it is no folder and none of the embedded encoders "
        f"({', '.join(encoders) or 'none installed'}). {step}"
    )


# Of video and of picture processors.
_PROCESSORS = ("video_preprocessor_config.json", "preprocessor_config.json")


def _model_type(folder: Path) -> str | None:
    """Which of the encoders a folder holds; None for anything else."""
    path = folder / "config.json"
    kind = load_json(path).get("model_type") if path.is_file() else None
    return kind if kind in _TEACHERS else None


def load_teacher(folder: Path) -> Teacher:
    """Loads an encoder that Transformers saved; its config says which.

    Raises:
        InputError: If it is of another kind or its weights cannot be read.
    """
    kind = load_json(folder / "config.json").get("model_type")
    if kind not in _TEACHERS:
        raise InputError(
            f"{folder} holds a model of type {kind!r}; teachers are {', '.join(_TEACHERS)}."
        )
    model_class, teacher_class = _TEACHERS[kind]
    try:
        model, report = model_class.from_pretrained(
            folder, local_files_only=True, dtype=torch.float32, output_loading_info=True
        )
    except (SafetensorError, OSError, EOFError, RuntimeError, ValueError) as error:
        raise InputError(f"The teacher in {folder} cannot be read: {error}") from error
    # The norm after the last block is taken out, so a file may lack it.
    missing = [key for key in sorted(report["missing_keys"]) if not key.startswith("layernorm")]
    if missing:
        raise InputError(f"{missing[0]} and {len(missing) - 1} more are not in {folder}'s weights.")
    return teacher_class(model, *_read_normalisation(folder))


def teacher_digest(folder: Path) -> str:
    """One sha256 over an encoder's files; it names the features made with it."""
    return digest_of(hash_folder(folder))


def _read_normalisation(folder: Path) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and deviation from the file that Transformers' processors leave; else ImageNet's."""
    paths = [folder / name for name in _PROCESSORS]
    path = next((path for path in paths if path.is_file()), None)
    settings = {} if path is None else load_json(path)
    mean, std = settings.get("image_mean", IMAGENET_MEAN), settings.get("image_std", IMAGENET_STD)
    if not (len(mean) == len(std) == 3 and all(math.isfinite(v) for v in mean) and min(std) > 0):
        raise InputError(f"{path}: `image_mean` and `image_std` must be three numbers each.")
    return mean, std
