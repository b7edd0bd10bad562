"""`quickstart`: the main job in one word, by the first method that offers it."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from visionrel.cli.commands import Command, Result
from visionrel.errors import VisionrelError
from visionrel.registry import Method, methods


def _first_method() -> Method:
    for method in methods():
        if find_spec(f"{method.package}.quickstart"):
            return method
    raise VisionrelError("No installed method offers a quickstart; install visionrel again.")


def run_quickstart(settings: Any) -> Result:
    """Learns, generates and judges."""
    found = _first_method().module("quickstart").quickstart(settings)
    return Result(found.sentence, found.to_dict())


QUICKSTART = Command(
    "Learn a relation from shipped exemplars, generate new pairs, judge, save a grid.",
    lambda: _first_method().module("config").QuickstartConfig,
    run_quickstart,
    takes_config=True,
)
