"""The Diffusers pipeline that draws clips with a tuned CogVideoX; inference is the stock one."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLCogVideoX, CogVideoXPipeline, CogVideoXTransformer3DModel
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError
from transformers import T5EncoderModel

from visionrel.artifacts import load_json, load_tensors
from visionrel.bases import Base
from visionrel.errors import InputError
from visionrel.weights_manifest import embedded_folder, load_manifest


logger = logging.getLogger(__name__)

TRANSFORMER_FOLDER = "transformer"
WEIGHTS_NAME = "diffusion_pytorch_model.safetensors"
LORA_NAME = "pytorch_lora_weights.safetensors"
LORA_METADATA = "lora_adapter_metadata"
_MODELS = {
    "vae": AutoencoderKLCogVideoX,
    "transformer": CogVideoXTransformer3DModel,
    "text_encoder": T5EncoderModel,
}
# Commits the method was written against are not known: no network at the time. Pass `--revision`.


class VideoREPAPipeline(CogVideoXPipeline):
    """CogVideoX whose transformer was tuned with VideoREPA.

    "VideoREPA: Learning Physics for Video Generation through Relational Alignment with Foundation
    Models" (arXiv 2505.23656). The method changes training only, so components (for instance those
    of THUDM/CogVideoX-2b) and `__call__` are those of `CogVideoXPipeline`. The folder of this file
    is also a `custom_pipeline`.

    Example:
        >>> pipeline = VideoREPAPipeline.from_pretrained(base)  # doctest: +SKIP
        >>> pipeline.load_tuned("outputs/videorepa")  # doctest: +SKIP
        >>> frames = pipeline("a ball drops and bounces").frames[0]  # doctest: +SKIP
    """

    def load_tuned(self, source: str | Path) -> None:
        """Puts what `visionrel train videorepa` left in place of the base's transformer.

        Args:
            source: An output folder or checkpoint, with `transformer/` or a LoRA file.

        Raises:
            InputError: If it holds neither, or belongs to another base.
        """
        source = Path(source)
        if (source / TRANSFORMER_FOLDER).is_dir():
            tuned = load_model(CogVideoXTransformer3DModel, source / TRANSFORMER_FOLDER)
            self._check_shapes(tuned, source)
            old = self.transformer
            self.register_modules(transformer=tuned.to(old.device, old.dtype))
            return
        self._load_lora(source / LORA_NAME if source.is_dir() else source)

    def _check_shapes(self, tuned: CogVideoXTransformer3DModel, source: Path) -> None:
        mine, theirs = ({k: v.shape for k, v in m.state_dict().items()} for m in self._both(tuned))
        differing = sorted(k for k in {*mine, *theirs} if mine.get(k) != theirs.get(k))
        if differing:
            raise InputError(
                f"{source} was tuned on another base: {differing[0]} differs in shape "
                f"({len(differing)} such tensors). Give the base that it names."
            )

    def _both(self, tuned: CogVideoXTransformer3DModel) -> tuple[CogVideoXTransformer3DModel, ...]:
        return self.transformer, tuned

    def _load_lora(self, path: Path) -> None:
        tensors, metadata = load_tensors(path)
        if LORA_METADATA not in metadata:
            logger.warning(
                "%s does not say its `lora_alpha` and is applied at scale 1. VideoREPA-5B's "
                "published LoRA was trained at 0.5: call set_adapters with weight 0.5.",
                path,
            )
        try:
            self.load_lora_weights(path.parent, weight_name=path.name, local_files_only=True)
        except (ValueError, RuntimeError) as error:
            raise InputError(f"{path} ({len(tensors)} tensors) does not fit: {error}") from error


def resolve_video_base(name: str, revision: str | None = None) -> Base:
    """Finds a CogVideoX on the disk; never downloads.

    Args:
        name: An embedded name, a Diffusers folder, or a Hub id.
        revision: Commit of a Hub model.

    Raises:
        InputError: If it is unknown, incomplete or another pipeline; says what to do.
    """
    if name in load_manifest():
        base = Base(name, embedded_folder(name), "embedded")
    elif Path(name).expanduser().is_dir():
        base = Base(name, Path(name).expanduser().resolve(), "folder")
    else:
        base = _find_in_cache(name, revision)
    index = load_json(base.folder / "model_index.json")
    problems = [
        f"{base.folder} has {found} as `{part}`; {expected.__name__} is needed."
        for part, expected in _MODELS.items()
        if (found := (index.get(part) or [None, None])[1]) != expected.__name__
    ]
    if problems:
        raise InputError(
            [*problems, "Give the folder or Hub id of a CogVideoX text-to-video model."]
        )
    return base


def _find_in_cache(name: str, revision: str | None) -> Base:
    try:
        folder = Path(snapshot_download(name, revision=revision, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError) as error:
        raise InputError(
            f"Base {name!r} is no embedded model ({', '.join(load_manifest()) or 'none here'}), no "
            "folder, and not in the Hugging Face cache. Give a folder written by `save_pretrained`."
        ) from error
    return Base(name, folder, "hub", folder.name)


def load_video_components(
    base: Base, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> VideoREPAPipeline:
    """Loads a base in evaluation mode and without gradients.

    Raises:
        InputError: If a weights file is damaged or belongs to another architecture.
    """
    models = {part: load_model(kind, base.folder / part) for part, kind in _MODELS.items()}
    pipeline = VideoREPAPipeline.from_pretrained(base.folder, local_files_only=True, **models)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device, dtype)


def load_model(kind: type[torch.nn.Module], folder: Path) -> Any:
    """Loads one model of a pipeline in float32; refuses weights that leave something at random."""
    try:
        model, report = kind.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True, output_loading_info=True
        )
    except (SafetensorError, OSError, EOFError, RuntimeError, ValueError) as error:
        raise InputError(f"The weights in {folder} cannot be read: {str(error).strip()}") from error
    if missing := sorted(_missing(report)):
        raise InputError(
            f"{missing[0]} is not in the weights of {folder} ({len(missing)} such keys): they "
            "belong to another architecture."
        )
    return model.eval().requires_grad_(False)


def _missing(report: Mapping[str, Any]) -> list[str]:
    # T5's input table is one tensor under two names.
    found = map(str, report.get("missing_keys") or ())
    return [key for key in found if key != "encoder.embed_tokens.weight"]
