"""Scene conditions of aerial pictures: four axes of phrases, and the side file that keeps them.

A side file is JSON. Every picture has, per axis, a probability for each phrase of the axis; a
picture or an axis that is absent is unknown::

    {"axes": {"time": ["daytime", "dusk or dawn", "night"], ...},
     "images": {"000001.jpg": {"time": [1.0, 0.0, 0.0], ...}}}
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from visionrel.artifacts import load_json, save_json
from visionrel.errors import InputError


AXES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "time": ("daytime", "dusk or dawn", "night"),
        "weather": ("clear weather", "cloudy weather", "fog", "rain", "snow"),
        "view": ("straight down", "at an oblique angle", "from the side"),
        "altitude": ("low altitude", "medium altitude", "high altitude"),
    }
)
"""The default axes and the phrases of each."""

SceneConditions = dict[str, dict[str, tuple[float, ...]]]
"""File name -> axis -> probability of each phrase."""


def encode_conditions(
    phrases: Mapping[str, str], axes: Mapping[str, Sequence[str]] = AXES
) -> dict[str, tuple[float, ...]]:
    """Turn one phrase per axis into probabilities of 0 and 1.

    Example:
        >>> encode_conditions({"time": "night"})
        {'time': (0.0, 0.0, 1.0)}

    Raises:
        InputError: If an axis or a phrase is unknown.
    """
    problems = [
        f"Unknown condition {axis}={phrase!r}; {axis!r} may be one of: {', '.join(axes[axis])}."
        if axis in axes
        else f"Unknown axis {axis!r}; the axes are: {', '.join(axes)}."
        for axis, phrase in phrases.items()
        if axis not in axes or phrase not in axes[axis]
    ]
    if problems:
        raise InputError(problems)
    return {
        axis: tuple(float(name == phrase) for name in axes[axis])
        for axis, phrase in phrases.items()
    }


def save_conditions(
    path: Path, conditions: SceneConditions, axes: Mapping[str, Sequence[str]] = AXES
) -> None:
    """Write a side file."""
    save_json(path, {"axes": {a: list(p) for a, p in axes.items()}, "images": conditions})


def load_conditions(path: Path, axes: Mapping[str, Sequence[str]] = AXES) -> SceneConditions:
    """Read a side file and check it against the axes that a model has.

    Raises:
        InputError: With every problem: other axes or phrases, a probability outside [0, 1], a
            vector of another length or one that does not sum to 1.
    """
    content = load_json(path)
    if not isinstance(content, dict) or not all(
        isinstance(content.get(key), dict) for key in ("axes", "images")
    ):
        raise InputError(f'{path} must have the objects "axes" and "images"; write it anew.')
    problems = [
        f"{path}: axis {axis!r} has the phrases {content['axes'].get(axis)}, expected "
        f"{list(phrases)}; make the side file with the axes of the model."
        for axis, phrases in axes.items()
        if content["axes"].get(axis, list(phrases)) != list(phrases)
    ]
    for name, entry in content["images"].items():
        problems += [f"{path}: {name}: {text}" for text in _entry_problems(entry, axes)]
    if problems:
        raise InputError(problems)
    return {
        name: {axis: tuple(values) for axis, values in entry.items() if axis in axes}
        for name, entry in content["images"].items()
    }


def _entry_problems(entry: Any, axes: Mapping[str, Sequence[str]]) -> list[str]:
    if not isinstance(entry, dict):
        return [f"must be an object from axes to probabilities, got {str(entry)[:60]}."]
    return [
        f"`{axis}` must be {len(axes[axis])} probabilities that sum to 1, got {str(values)[:60]}."
        for axis, values in entry.items()
        if axis in axes and not _is_distribution(values, len(axes[axis]))
    ]


def _is_distribution(values: Any, length: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) == length
        and all(isinstance(value, int | float) and 0 <= value <= 1 for value in values)
        and math.isclose(sum(values), 1.0, abs_tol=1e-3)
    )
