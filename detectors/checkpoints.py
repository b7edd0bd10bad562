"""Checkpoints of MMEngine, read without running their code, and weights to pass on.

    python -m visionrel.detectors.checkpoints iter_4000.pth detector.safetensors

writes the weights of a checkpoint as safetensors, with the class names in the header.
"""

import json
import pickle
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from mmengine.logging import HistoryBuffer
from mmengine.runner.checkpoint import CheckpointLoader, get_torch_safe_globals
from torch import Tensor, nn

from visionrel.artifacts import check_file, load_tensors, save_tensors
from visionrel.errors import InputError
from visionrel.weights_manifest import embedded_folder, load_manifest


HEADER = "detector"
SAFETENSORS = ".safetensors"
FILE = f"model{SAFETENSORS}"
"""Of a shipped detector, in the folder of its name."""
_SHOWN = 3
# MMEngine appends the start of the run to the name of the configuration.
_TIME = re.compile(r"_\d{8}_\d{6}$")
_STATISTICS = ("current", "max", "mean", "min")


@dataclass(frozen=True)
class Weights:
    """What a file says about a detector.

    Attributes:
        tensors: The state dict.
        classes: Class names in the order of the labels; None if the file does not tell.
        config: Name of the configuration it was trained with; None if the file does not tell.
    """

    tensors: Mapping[str, Tensor]
    classes: tuple[str, ...] | None = None
    config: str | None = None


def find_weights(name: str | Path) -> Path:
    """Finds weights: a file, or the name of a shipped detector, whose hash is verified.

    Raises:
        InputError: If there is neither; lists the shipped ones.
    """
    if Path(name).exists():
        return Path(name)
    shipped = [known for known, entry in load_manifest().items() if FILE in entry.files]
    shipped = [known for known in shipped if known.startswith("aerial")]
    if str(name) in shipped:
        return embedded_folder(str(name)) / FILE
    raise InputError(
        f"There are no weights {str(name)!r}, neither as a file nor among the shipped ones: "
        f"{', '.join(shipped) or 'none'}."
    )


def load_checkpoint(path: Path | str) -> dict[str, Any]:
    """Reads a checkpoint of MMEngine; only tensors and the types of its own records are allowed.

    MMEngine's own loader runs the code in a file that it cannot read safely. Weights in safetensors
    become a checkpoint too, whose `meta` has their classes and their configuration.

    Raises:
        InputError: If the file is missing, damaged or holds anything else.
    """
    if Path(path).suffix == SAFETENSORS:
        return _read_safetensors(path)
    check_file(path)
    try:
        with torch.serialization.safe_globals(_safe_types()):
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read safely ({str(error).splitlines()[0]}). Nothing in it was run; "
            "on a machine that trusts it, keep the weights alone: "
            "torch.save({'state_dict': torch.load(PATH, weights_only=False)['state_dict']}, NEW)"
        ) from error
    if not isinstance(checkpoint, dict) or not isinstance(
        checkpoint.get("state_dict", checkpoint), dict
    ):
        raise InputError(f"{path} must hold a checkpoint of MMEngine or a state dict.")
    return checkpoint


def _read_safetensors(path: Path | str) -> dict[str, Any]:
    tensors, metadata = load_tensors(path)
    header = json.loads(metadata.get(HEADER, "{}"))
    meta = {
        "dataset_meta": {"classes": header.get("classes")},
        "experiment_name": header.get("config") or "",
    }
    return {"state_dict": tensors, "meta": meta}


# MMEngine takes the first pattern, in reverse order of the alphabet, that fits the start of a path:
# an address, whatever it ends in, stays an address.
@CheckpointLoader.register_scheme(prefixes=rf".*\{SAFETENSORS}$")
def load_from_safetensors(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Lets MMEngine and its tools read weights in safetensors; they stay on the CPU."""
    return load_checkpoint(filename)


def check_resumable(path: Path | str) -> None:
    """Makes sure that a file can hold more than weights.

    Raises:
        InputError: If it is safetensors.
    """
    if Path(path).suffix == SAFETENSORS:
        raise InputError(
            f"{path} holds weights without the state of the optimizer, which resuming needs; start "
            f"a new run from it without --resume: --cfg_options load_from={path}"
        )


def _safe_types() -> list[Any]:
    """The types of MMEngine's records; its list has all of `getattr`, records need four methods."""
    types = [item for item in get_torch_safe_globals() if item is not getattr]
    return [*types, (_get_statistic, "builtins.getattr")]


def _get_statistic(owner: Any, name: str) -> Any:
    if owner is not HistoryBuffer or name not in _STATISTICS:
        raise pickle.UnpicklingError(f"it asks for {name!r} of {owner!r}")
    return getattr(owner, name)


def load_weights(path: Path | str) -> Weights:
    """Reads weights from safetensors or from a checkpoint of MMEngine.

    Args:
        path: A file, or the name of a shipped detector.

    Raises:
        InputError: If the file is missing, damaged or cannot be read safely.
    """
    checkpoint = load_checkpoint(find_weights(path))
    meta = checkpoint.get("meta", {})
    classes = (meta.get("dataset_meta") or {}).get("classes")
    name = _TIME.sub("", meta.get("experiment_name", "")) or None
    return Weights(
        checkpoint.get("state_dict", checkpoint), tuple(classes) if classes else None, name
    )


def save_weights(path: Path, weights: Weights, dtype: torch.dtype | None = None) -> None:
    """Writes weights as safetensors; `dtype` applies to floating-point tensors."""
    tensors = {
        name: value.to(dtype) if dtype is not None and value.is_floating_point() else value
        for name, value in weights.tensors.items()
    }
    header = {"classes": weights.classes, "config": weights.config}
    save_tensors(path, tensors, {HEADER: json.dumps(header)})


def put_weights(
    model: nn.Module, weights: Weights, classes: Sequence[str], source: Path | str
) -> None:
    """Puts weights into a detector; those of another detector are refused.

    Layers that only training uses may be absent from the detector, or from the weights: the same
    weights serve the configuration with and without BatchFormer or the relation loss.

    Args:
        model: The detector.
        weights: What was read.
        classes: Class names of the configuration.
        source: Named in messages.

    Raises:
        InputError: If classes or tensors do not fit; names the first difference.
    """
    problems = []
    if weights.classes is not None and weights.classes != tuple(classes):
        problems.append(_describe_classes(source, weights.classes, classes))
    own = model.state_dict()
    missing = sorted(prediction_names(model) - weights.tensors.keys())
    extra = sorted(name for name in weights.tensors.keys() - own.keys() if not training_only(name))
    wrong = sorted(
        name
        for name in own.keys() & weights.tensors.keys()
        if own[name].shape != weights.tensors[name].shape
    )
    for what, names in (("lacks", missing), ("has besides", extra), ("has other sizes of", wrong)):
        if names:
            problems.append(
                f"{source} is of another detector than the configuration: it {what} "
                f"{', '.join(names[:_SHOWN])}{' ...' if len(names) > _SHOWN else ''}. "
                "Give the configuration that it was trained with."
            )
    if problems:
        raise InputError(problems)
    model.load_state_dict(
        {name: value for name, value in weights.tensors.items() if name in own}, strict=False
    )


def prediction_names(model: nn.Module) -> set[str]:
    """Names in the state dict that prediction uses; those of BatchFormer only with `eval_bf`."""
    mixing = tuple(
        f"{name}.bf_layers."
        for name, part in model.named_modules()
        if getattr(getattr(part, "bf", None), "eval_bf", False)
    )
    return {
        name for name in model.state_dict() if not training_only(name) or name.startswith(mixing)
    }


def training_only(name: str) -> bool:
    """Whether a name is of BatchFormer or a relation loss, which prediction usually leaves out."""
    return any(part in ("relation", "bf_layer", "bf_layers") for part in name.split("."))


def _describe_classes(source: Path | str, found: Sequence[str], expected: Sequence[str]) -> str:
    pairs = list(zip(found, expected, strict=False))
    place = next((i for i, (one, two) in enumerate(pairs) if one != two), len(pairs))
    ours, theirs = (names[place] if place < len(names) else None for names in (found, expected))
    return (
        f"{source} was trained on other classes: number {place} is {ours!r}, the configuration "
        f"has {theirs!r} (None: no such class). Give the configuration of these weights."
    )


def export_checkpoint(source: Path, target: Path, half: bool = False) -> Weights:
    """Writes the weights of a checkpoint as safetensors, without the optimizer's state.

    Args:
        source: Checkpoint of a training run.
        target: New file ending in `.safetensors`.
        half: Stores half precision; detectors are still run in single precision.

    Raises:
        InputError: If a path is wrong or the checkpoint cannot be read safely.
    """
    if target.suffix != SAFETENSORS or target.exists():
        raise InputError(f"{target} must be a free name that ends in .safetensors.")
    weights = load_weights(source)
    save_weights(target, weights, torch.float16 if half else None)
    return weights


@dataclass(kw_only=True)
class ExportConfig:
    """Write the weights of a checkpoint as safetensors."""

    source: tyro.conf.Positional[Path]
    """Checkpoint of a training run."""
    target: tyro.conf.Positional[Path]
    """New file ending in .safetensors."""
    half: bool = False
    """Store half precision."""


def run(config: ExportConfig) -> str:
    """Exports; returns a sentence for the person at the keyboard."""
    weights = export_checkpoint(config.source, config.target, config.half)
    classes = ", ".join(weights.classes or ("unknown classes",))
    return f"{config.target}: {len(weights.tensors)} tensors; {classes}"


if __name__ == "__main__":
    from visionrel.detectors.lango.command import run_command

    run_command(ExportConfig, run)
