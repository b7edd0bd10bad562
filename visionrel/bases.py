"""A base model by name: embedded, a folder, or a Hub id at a revision.

Loading never touches the network. What is not on the disk is named, with the command that
fetches it; only `fetch_base` downloads.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLCogVideoX,
    CogVideoXTransformer3DModel,
    DiffusionPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError
from transformers import CLIPTextModel, T5EncoderModel

from visionrel.artifacts import PICKLE_REMEDY, PICKLE_SUFFIXES, load_header, load_json
from visionrel.attention import AttentionBackend, set_attention
from visionrel.errors import InputError, VisionrelError
from visionrel.weights_manifest import (
    digest_of,
    embedded_folder,
    hash_folder,
    load_manifest,
)


logger = logging.getLogger(__name__)

# Repositories that moved: the old id is withdrawn, the weights are the same.
ALIASES = {"runwayml/stable-diffusion-v1-5": "stable-diffusion-v1-5/stable-diffusion-v1-5"}
# Commits the methods were written against; for other models none is known and `--revision` decides.
REVISIONS = {
    "stable-diffusion-v1-5/stable-diffusion-v1-5": "451f4fe16113bff5a5d2269ed5ad43b0592e9a14"
}
Models = Mapping[str, type[torch.nn.Module]]
"""The networks of a pipeline, by the name of their folder."""

STABLE_DIFFUSION: Models = {
    "vae": AutoencoderKL,
    "unet": UNet2DConditionModel,
    "text_encoder": CLIPTextModel,
}
"""Stable Diffusion 1 and 2."""

COGVIDEOX: Models = {
    "vae": AutoencoderKLCogVideoX,
    "transformer": CogVideoXTransformer3DModel,
    "text_encoder": T5EncoderModel,
}
"""CogVideoX, text to video."""

_LAYOUTS = {"StableDiffusionPipeline": STABLE_DIFFUSION, "CogVideoXPipeline": COGVIDEOX}
# T5's table of words is one tensor under two names.
_SHARED = {"encoder.embed_tokens.weight"}
_TOKENIZERS = ("tokenizer.json", "spiece.model")
_WEIGHTS = ("diffusion_pytorch_model", "model", "pytorch_model")


@dataclass(frozen=True)
class Base:
    """A base model found on the disk.

    Attributes:
        name: Embedded name, folder or Hub id, as commands take it.
        folder: Where its files lie.
        kind: Where it comes from.
        revision: Commit of a Hub model.
    """

    name: str
    folder: Path
    kind: Literal["embedded", "folder", "hub"]
    revision: str | None = None

    @cached_property
    def digest(self) -> str:
        """One sha256 over all files; reads the whole model the first time."""
        return digest_of(hash_folder(self.folder))

    def describe(self) -> dict[str, str | None]:
        """What a picture's record says of it: name, and commit or hash."""
        if self.kind == "hub":
            return {"name": self.name, "revision": self.revision}
        return {"name": self.name, "sha256": self.digest}

    def origin(self) -> dict[str, str | None]:
        """What a learned file's header says of it: `base_revision` or `base_sha256`."""
        return {f"base_{key}": value for key, value in self.describe().items() if key != "name"}


def warn_of_other_base(path: Path, base: Base) -> None:
    """Warns if a learned file names another commit or hash than that of the base it goes into.

    Pickles, and files made elsewhere, name none.
    """
    if Path(path).suffix in PICKLE_SUFFIXES:
        return
    header = load_header(path)
    for key, value in base.origin().items():
        if header.get(key, value) != value:
            logger.warning(
                "%s was learned on %s with %s %s, but %s has %s; give the base that it names.",
                path,
                header.get("base_name", "another base"),
                key,
                header[key],
                base.name,
                value,
            )


def resolve_base(name: str, revision: str | None = None, models: Models = STABLE_DIFFUSION) -> Base:
    """Finds a base model on the disk.

    Args:
        name: An embedded name such as `scenes`, a Diffusers folder, or a Hub id.
        revision: Commit, branch or tag of a Hub model; known models have a pinned one.
        models: Networks that it must have.

    Raises:
        InputError: If it is unknown, damaged, incomplete or not downloaded; says what to do.
    """
    name = ALIASES.get(name, name)
    embedded = load_manifest()
    if name in embedded:
        base = Base(name, embedded_folder(name), "embedded")
    elif Path(name).expanduser().is_dir():
        base = Base(name, Path(name).expanduser().resolve(), "folder")
    elif name.count("/") == 1 and not name.startswith((".", "~", "/")):
        base = _find_in_cache(name, revision or REVISIONS.get(name))
    else:
        raise InputError(
            f"Unknown base {name!r}: it is no folder and none of the embedded models "
            f"({', '.join(embedded) or 'none installed'}). Give one of these, a folder written by "
            "`save_pretrained`, or a Hub id such as stable-diffusion-v1-5/stable-diffusion-v1-5."
        )
    _check_complete(base, models)
    return base


def _find_in_cache(name: str, revision: str | None) -> Base:
    try:
        folder = Path(snapshot_download(name, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError as error:
        raise InputError(
            f"{name} at revision {revision or 'main'} is not on this machine (looked in the "
            f"Hugging Face cache). {_how_to_fetch(name, revision)}"
        ) from error
    except HFValidationError as error:
        raise InputError(f"{name!r} is neither a folder nor a Hub id: {error}.") from error
    return Base(name, folder, "hub", folder.name)


def _how_to_fetch(name: str, revision: str | None) -> str:
    pin = f" --revision {revision}" if revision else ""
    return (
        f"With a network run `visionrel weights fetch {name}{pin}`; without one, copy the model's "
        "folder here and pass it as the base."
    )


def fetch_base(name: str, revision: str | None = None) -> Base:
    """Downloads a model into the Hugging Face cache: safetensors only.

    Raises:
        VisionrelError: If the network or the Hub refuses; the download continues next time.
    """
    name = ALIASES.get(name, name)
    revision = revision or REVISIONS.get(name)
    try:
        folder = DiffusionPipeline.download(name, revision=revision, use_safetensors=True)
    except Exception as error:  # the HTTP client of the Hub has many of its own
        raise VisionrelError(
            f"{name} could not be downloaded: {error}. Check the id, the network and "
            "HF_HUB_OFFLINE, then run the command again: it continues where it stopped."
        ) from error
    index = load_json(Path(folder) / "model_index.json")
    return resolve_base(name, revision, _LAYOUTS.get(index["_class_name"], STABLE_DIFFUSION))


def _check_complete(base: Base, models: Models) -> None:
    """Refuses a folder with files missing or of another pipeline; lists them all."""
    index = load_json(base.folder / "model_index.json")
    problems = []
    for part, expected in (*models.items(), ("tokenizer", None), ("scheduler", None)):
        found = (index.get(part) or [None, None])[1]
        if found is None or (expected and found != expected.__name__):
            needed = expected.__name__ if expected else part
            problems.append(f"{base.folder} has {found} as `{part}`; {needed} is needed.")
    if problems:
        kinds = " or ".join(name for name, known in _LAYOUTS.items() if known is models)
        problems.append(f"Give the folder or Hub id of a {kinds or 'pipeline with these parts'}.")
        raise InputError(problems)
    if missing := [
        f"{base.folder / name} is missing." for name in _missing_files(base.folder, models)
    ]:
        if base.kind == "hub":
            missing.append(_how_to_fetch(base.name, base.revision))
        raise InputError(missing)


def _missing_files(folder: Path, models: Models) -> list[str]:
    missing = []
    for part in models:
        if not (folder / part / "config.json").is_file():
            missing.append(f"{part}/config.json")
        files = {path.name for path in (folder / part).glob("*")}
        for stem in _WEIGHTS:
            if index := next((n for n in files if n == f"{stem}.safetensors.index.json"), None):
                shards = set(load_json(folder / part / index)["weight_map"].values())
                missing.extend(f"{part}/{shard}" for shard in sorted(shards - files))
                break
            if f"{stem}.safetensors" in files or f"{stem}.bin" in files:
                break
        else:
            stem = "model" if part == "text_encoder" else "diffusion_pytorch_model"
            missing.append(f"{part}/{stem}.safetensors")
    if not (folder / "scheduler/scheduler_config.json").is_file():
        missing.append("scheduler/scheduler_config.json")
    # A tokenizer is one file, here of the tokenizers package or of SentencePiece, or two of CLIP.
    if not any((folder / "tokenizer" / name).is_file() for name in _TOKENIZERS):
        names = ("tokenizer/vocab.json", "tokenizer/merges.txt")
        missing.extend(name for name in names if not (folder / name).is_file())
    return missing


def load_components(
    base: Base,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    attention: AttentionBackend = "auto",
) -> StableDiffusionPipeline:
    """Loads a base as a stock pipeline, in evaluation mode and without gradients.

    Args:
        base: From `resolve_base`.
        device: Where it runs.
        dtype: Of the weights in memory.
        attention: Attention kernel of U-Net and VAE.

    Raises:
        InputError: If a weights file is damaged or belongs to another architecture.
    """
    models = {
        part: load_model(kind, base.folder / part, dtype) for part, kind in STABLE_DIFFUSION.items()
    }
    try:
        pipeline = StableDiffusionPipeline.from_pretrained(
            base.folder, dtype=dtype, local_files_only=True, **models
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(
            f"{base.folder} cannot be opened: {error} Copy or fetch it again."
        ) from error
    pipeline.set_progress_bar_config(disable=True)
    pipeline.to(device)
    for part in ("unet", "vae"):
        set_attention(models[part], attention)
    return pipeline


def load_model(
    kind: type[torch.nn.Module], place: Path, dtype: torch.dtype = torch.float32
) -> torch.nn.Module:
    """Loads one network of a pipeline, in evaluation mode and without gradients.

    Raises:
        InputError: If its weights are damaged or leave a parameter at random.
    """
    try:
        model, report = kind.from_pretrained(
            place, dtype=dtype, local_files_only=True, output_loading_info=True
        )
    except (SafetensorError, OSError, EOFError, RuntimeError, ValueError, UnpicklingError) as error:
        if isinstance(error, (UnpicklingError, OSError)) and (pickled := _pickled_weights(place)):
            raise InputError(
                f"{pickled} is damaged or holds more than plain tensors. Nothing in it was run; "
                f"copy or fetch it again, or {PICKLE_REMEDY}."
            ) from error
        raise InputError(
            f"The weights in {place} cannot be read: {str(error).strip()} They are half-downloaded "
            "or belong to another architecture; copy or fetch them again."
        ) from error
    _check_keys(place, report)
    return model.eval().requires_grad_(False)


def _pickled_weights(place: Path) -> Path | None:
    """The pickle that is read where no safetensors stand beside it."""
    if any(place.glob("*.safetensors")):
        return None
    return next(iter(sorted(place.glob("*.bin"))), None)


def _check_keys(place: Path, report: Mapping[str, Any]) -> None:
    """Refuses weights that left a parameter at random; names the first one."""
    for kind in ("mismatched_keys", "missing_keys"):
        if keys := sorted({*map(str, report.get(kind) or ())} - _SHARED):
            what = "differs in shape from" if kind == "mismatched_keys" else "is not in"
            raise InputError(
                f"{keys[0]} of {place / 'config.json'} {what} the weights beside it "
                f"({len(keys)} such keys): they belong to another architecture."
            )
