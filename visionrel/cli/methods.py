"""`train`, `generate` and `evaluate`: one command per method of the registry."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from visionrel.cli.commands import Command, Group, Result
from visionrel.cli.detect import EVALUATE_AERIAL, EVALUATE_DETECTOR, TRAIN_DETECTOR
from visionrel.registry import Method, methods


def train_method(method: Method, settings: Any) -> Result:
    """Trains and says where the result lies."""
    result = method.module("trainer").train(settings)
    text = f"{result.output_dir}: {result.steps} steps in {result.seconds:.1f} s"
    data = {
        "output_dir": str(result.output_dir),
        "steps": result.steps,
        "seconds": result.seconds,
        "metrics": dict(result.metrics),
        "stopped": result.stopped,
    }
    return Result(text, data)


def generate_pictures(method: Method, settings: Any) -> Result:
    """Generates and lists the files, one per line."""
    paths: list[Path] = method.module("generate").generate(settings)
    data = {"files": [str(path) for path in paths], "seed": settings.seed}
    return Result("\n".join(data["files"]), data)


def evaluate_method(method: Method, settings: Any) -> Result:
    """Evaluates and prints the report."""
    report = method.module("evaluate").evaluate(settings)
    return Result(report.to_markdown(str(settings.output_dir)), report.to_dict())


def _members(config: str, run: Callable[[Method, Any], Result]) -> Mapping[str, Command]:
    """One command for every method whose config module has the dataclass, told by its docstring."""
    return {
        method.name: Command(
            inspect.getdoc(getattr(method.module("config"), config)).partition("\n")[0],
            partial(getattr, method.module("config"), config),
            partial(run, method),
            takes_config=True,
        )
        for method in methods()
        if hasattr(method.module("config"), config)
    }


TRAIN = Group(
    "Learn from exemplars with a method, or train a detector.",
    lambda: {**_members("TrainConfig", train_method), "detector": TRAIN_DETECTOR},
)
GENERATE = Group(
    "Generate with what was learned.", partial(_members, "GenerateConfig", generate_pictures)
)
EVALUATE = Group(
    "Measure a method against its baselines and ablations with a judge.",
    lambda: {
        **_members("EvaluateConfig", evaluate_method),
        "detector": EVALUATE_DETECTOR,
        "aerial": EVALUATE_AERIAL,
    },
)
