"""`weights`: the embedded models, their hashes, their recipes, and base models from the Hub."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

from visionrel.cli.commands import Command, Group, Result
from visionrel.errors import InputError


RECIPES = "visionrel.weights.recipes"


@dataclass(kw_only=True)
class ListSettings:
    """The list has no settings of its own."""


@dataclass(kw_only=True)
class VerifySettings:
    """What to verify."""

    names: tuple[str, ...]
    """Embedded models; all when none is given."""


@dataclass(kw_only=True)
class FetchSettings:
    """What to download."""

    name: str
    """Hub id, such as stable-diffusion-v1-5/stable-diffusion-v1-5."""
    revision: str | None = None
    """Commit, branch or tag; known models have a pinned commit."""


def list_weights(settings: ListSettings) -> Result:
    """Lists the embedded models with licence, size and measured scores."""
    from visionrel.weights_manifest import load_manifest

    entries = load_manifest()
    lines = []
    for entry in entries.values():
        scores = ", ".join(f"{name} {value}" for name, value in entry.scores.items())
        lines.append(f"{entry.name}  {entry.size / 1e6:.1f} MB  {entry.licence}  {scores}".rstrip())
    data = {
        name: {
            "bytes": entry.size,
            "licence": entry.licence,
            "command": entry.command,
            "seed": entry.seed,
            "scores": dict(entry.scores),
        }
        for name, entry in entries.items()
    }
    return Result("\n".join(lines) or "No model is embedded.", data)


def verify_weights(settings: VerifySettings) -> Result:
    """Compares every file with the manifest.

    Raises:
        InputError: If a name is not in the manifest.
    """
    from visionrel.weights_manifest import find_damage, load_manifest

    entries = load_manifest()
    if unknown := [name for name in settings.names if name not in entries]:
        raise InputError(
            f"No embedded model is called {', '.join(unknown)}; there are: {', '.join(entries)}."
        )
    damage = {name: find_damage(entries[name]) for name in settings.names or entries}
    lines = [
        "\n".join([f"{name}  {'damaged' if problems else 'whole'}", *problems])
        for name, problems in damage.items()
    ]
    return Result("\n".join(lines), damage, ok=not any(damage.values()))


def fetch_weights(settings: FetchSettings) -> Result:
    """Downloads a base model into the Hugging Face cache."""
    from visionrel.bases import fetch_base

    base = fetch_base(settings.name, settings.revision)
    data = {"name": base.name, "revision": base.revision, "folder": str(base.folder)}
    return Result(f"{base.name} at {base.revision}: {base.folder}", data)


def build_weights(recipe: ModuleType, settings: Any) -> Result:
    """Trains an embedded model by its recipe."""
    found = recipe.build(settings)
    return Result("\n".join(f"{name}: {value}" for name, value in found.items()), found)


def _recipes() -> Mapping[str, Command]:
    """One command for every module in the folder of recipes."""
    package = importlib.import_module(RECIPES)
    commands = {}
    for item in pkgutil.iter_modules(package.__path__):
        recipe = importlib.import_module(f"{RECIPES}.{item.name}")
        if hasattr(recipe, "BuildConfig"):
            commands[item.name.replace("_", "-")] = Command(
                recipe.SUMMARY,
                partial(getattr, recipe, "BuildConfig"),
                partial(build_weights, recipe),
                takes_config=True,
            )
    return commands


WEIGHTS = Group(
    "List, verify, build and fetch models.",
    lambda: {
        "list": Command(
            "List the embedded models with their scores.", lambda: ListSettings, list_weights
        ),
        "verify": Command(
            "Compare the embedded models with their hashes.",
            lambda: VerifySettings,
            verify_weights,
            words_first=True,
        ),
        "build": Group("Train an embedded model by its recipe.", _recipes),
        "fetch": Command(
            "Download a base model from the Hub.",
            lambda: FetchSettings,
            fetch_weights,
            words_first=True,
        ),
    },
)
