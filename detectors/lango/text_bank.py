"""Text banks: vectors of class names and of scene conditions, made before any training.

A bank is one safetensors file. Its tensors are `class_emb` (K, D) and `axes.<axis>` (K_a, D); the
header entry `text_bank` is JSON with `model`, `licence`, `classes` and `axes` (axis to phrases).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from visionrel.artifacts import load_tensors, save_tensors
from visionrel.data.aerial.conditions import AXES
from visionrel.errors import InputError
from visionrel.weights_manifest import embedded_folder


HEADER = "text_bank"
SHIPPED = "text-banks"
"""Embedded model that holds the shipped banks."""


@dataclass(frozen=True)
class Axis:
    """One axis of conditions, such as the weather.

    Attributes:
        names: The K_a phrases.
        embeddings: Their vectors, shape (K_a, D).
    """

    names: tuple[str, ...]
    embeddings: Tensor


@dataclass(frozen=True, eq=False)
class TextBank:
    """Vectors of class names and scene conditions.

    Attributes:
        model: The text encoder.
        licence: Its licence.
        classes: The K class names, in the data set's order.
        class_embeddings: Their vectors, float32, shape (K, D).
        axes: Axis name to conditions, in order.
    """

    model: str
    licence: str
    classes: tuple[str, ...]
    class_embeddings: Tensor
    axes: Mapping[str, Axis]

    def __post_init__(self) -> None:
        if problems := list(self._problems()):
            raise InputError(problems)

    @property
    def dim(self) -> int:
        """Width D of every vector."""
        return self.class_embeddings.shape[-1]

    def _problems(self) -> Iterator[str]:
        parts = {"classes": Axis(self.classes, self.class_embeddings), **self.axes}
        for name, part in parts.items():
            yield from _problems_of(name, part)
        widths = {part.embeddings.shape[-1] for part in parts.values()}
        if len(widths) > 1:
            yield f"Text bank: all vectors must have one width, got {sorted(widths)}."


def _problems_of(name: str, part: Axis) -> Iterator[str]:
    vectors, names = part.embeddings, part.names
    if not names or len(set(names)) < len(names):
        yield f"Text bank: {name!r} must hold different names, got {list(names)}."
    if vectors.ndim != 2 or len(vectors) != len(names) or not vectors.is_floating_point():
        yield (
            f"Text bank: the vectors of {name!r} must be floats of shape ({len(names)}, D), got "
            f"{vectors.dtype} of shape {tuple(vectors.shape)}; build the bank again."
        )
    else:
        for row, norm in zip(names, vectors.norm(dim=1), strict=True):
            if not (norm.isfinite() and norm > 0):
                yield f"Text bank: the vector of {row!r} in {name!r} is zero or not finite."


def save_text_bank(bank: TextBank, path: Path) -> None:
    """Writes a bank as one safetensors file."""
    header = {
        "model": bank.model,
        "licence": bank.licence,
        "classes": bank.classes,
        "axes": {name: axis.names for name, axis in bank.axes.items()},
    }
    tensors = {f"axes.{name}": axis.embeddings for name, axis in bank.axes.items()}
    save_tensors(
        path, {"class_emb": bank.class_embeddings, **tensors}, {HEADER: json.dumps(header)}
    )


def load_text_bank(path: Path) -> TextBank:
    """Reads a bank and checks it.

    Raises:
        InputError: If the file is damaged or no text bank, or a vector is zero or not finite.
    """
    tensors, metadata = load_tensors(path)
    try:
        header = json.loads(metadata[HEADER])
        axes = {
            name: Axis(tuple(names), tensors[f"axes.{name}"].float())
            for name, names in header["axes"].items()
        }
        return TextBank(
            model=header["model"],
            licence=header["licence"],
            classes=tuple(header["classes"]),
            class_embeddings=tensors["class_emb"].float(),
            axes=axes,
        )
    except InputError as error:
        raise InputError([f"{path}: {problem}" for problem in error.problems]) from None
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(
            f"{path} is no text bank ({type(error).__name__}: {error}); build one with "
            "`python -m visionrel.detectors.lango.build_bank`."
        ) from error


def random_text_bank(
    classes: Sequence[str],
    seed: int = 0,
    dim: int = 64,
    axes: Mapping[str, Sequence[str]] = AXES,
) -> TextBank:
    """A bank of random vectors: for smoke tests, and to see whether the language matters."""
    generator = torch.Generator().manual_seed(seed)

    def draw(count: int) -> Tensor:
        return F.normalize(torch.randn(count, dim, generator=generator), dim=1)

    return TextBank(
        model=f"random, seed {seed}",
        licence="none",
        classes=tuple(classes),
        class_embeddings=draw(len(classes)),
        axes={name: Axis(tuple(names), draw(len(names))) for name, names in axes.items()},
    )


def compare_classes(ours: Sequence[str], theirs: Sequence[str]) -> list[str]:
    """Compares a bank's class names with a data set's; names the first difference, if any."""
    for place, (bank, data) in enumerate(zip_longest(ours, theirs)):
        if bank != data:
            return [
                f"The text bank and the data set differ first at class {place}: the bank has "
                f"{bank!r}, `metainfo['classes']` has {data!r} (None: no such class). Build a "
                "bank for these classes, in this order, with "
                "`python -m visionrel.detectors.lango.build_bank`."
            ]
    return []


def build_text_bank(settings: TextBank | str | Path | Mapping[str, Any]) -> TextBank:
    """Finds the bank that a config names.

    Args:
        settings: A bank; the name of a shipped one (`"visdrone"`) or a file; or a dict with
            `type="file"` and `file`, a name or path, or with `type="random"` and the arguments of
            `random_text_bank`. With `classes` the class names are compared.

    Raises:
        InputError: If there is no such bank, it is damaged, or its classes differ.
    """
    if isinstance(settings, TextBank):
        return settings
    if not isinstance(settings, Mapping):
        return load_text_bank(_find_file(settings))
    arguments = dict(settings)
    kind = arguments.pop("type", "file")
    allowed = {"file": {"file", "classes"}, "random": {"classes", "seed", "dim", "axes"}}
    needed = {"file": "file", "random": "classes"}
    if kind not in allowed or not {needed[kind]} <= arguments.keys() <= allowed[kind]:
        raise InputError(
            "`text_bank` must be dict(type='file', file=..., classes=...) or dict(type='random', "
            f"classes=..., seed=0, dim=64), got {dict(settings)}."
        )
    if kind == "random":
        return random_text_bank(**arguments)
    bank = load_text_bank(_find_file(arguments["file"]))
    classes = arguments.get("classes", bank.classes)
    if problems := compare_classes(bank.classes, classes):
        raise InputError(problems)
    return bank


def _find_file(name: str | Path) -> Path:
    """A path ends in .safetensors; anything else is the name of a shipped bank."""
    if Path(name).suffix == ".safetensors":
        return Path(name)
    folder = embedded_folder(SHIPPED)
    known = sorted(path.stem for path in folder.glob("*.safetensors"))
    if name not in known:
        raise InputError(
            f"There is no text bank {str(name)!r}; shipped are: {', '.join(known)}. A bank of your "
            "own is a path that ends in .safetensors."
        )
    return folder / f"{name}.safetensors"
