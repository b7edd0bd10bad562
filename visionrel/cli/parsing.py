"""The flags of one command, made by tyro from its dataclass."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, make_dataclass
from pathlib import Path
from typing import Any

from visionrel.cli.commands import Command
from visionrel.cli.config_file import expand_config


@dataclass(frozen=True)
class Invocation:
    """A parsed command line.

    Attributes:
        settings: Instance of the command's dataclass.
        json: Print the result as JSON.
        quiet: Print no progress.
    """

    settings: Any
    json: bool
    quiet: bool


@dataclass(frozen=True)
class OutputFlags:
    """Flags of every command."""

    json: bool = False
    """Print the result as one JSON object."""
    quiet: bool = False
    """Print no progress on stderr."""


@dataclass(frozen=True)
class OutputAndConfigFlags(OutputFlags):
    """Flags of every command."""

    config: Path | None = None
    """YAML or JSON file of flags by name; flags on the command line win over it."""


def parse(name: str, command: Command, words: Sequence[str]) -> Invocation:
    """Reads the flags of a command; prints help or a mistake and exits as tyro does."""
    import tyro

    settings = command.settings()
    if command.takes_config:
        words = expand_config(words, settings)
    markers: list[Any] = [tyro.conf.OmitArgPrefixes, tyro.conf.PositionalMetavarFromFieldName]
    if command.words_first:
        markers.append(tyro.conf.PositionalRequiredArgs)
    output = OutputAndConfigFlags if command.takes_config else OutputFlags
    output = tyro.conf.FlagCreatePairsOff[output]
    parsed = tyro.cli(
        make_dataclass("CommandLine", [("command", settings), ("output", output)]),
        prog=name,
        description=command.summary,
        args=list(words),
        config=markers,
    )
    return Invocation(parsed.command, parsed.output.json, parsed.output.quiet)


def flatten(settings: Any) -> dict[str, Any]:
    """Returns the values of all flags by field name, nested dataclasses laid flat."""
    found: dict[str, Any] = {}
    for item in dataclasses.fields(settings):
        value = getattr(settings, item.name)
        found |= flatten(value) if dataclasses.is_dataclass(value) else {item.name: value}
    return found
