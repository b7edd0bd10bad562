"""What a command is. Command modules import torch only inside `run`, so that help stays quick."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Result:
    """What a command found.

    Attributes:
        text: Printed on stdout.
        data: Printed on stdout instead, with `--json`.
        ok: False makes the process exit with 1 although the result was printed.
    """

    text: str
    data: Mapping[str, Any] = field(default_factory=dict)
    ok: bool = True


@dataclass(frozen=True)
class Command:
    """A leaf of the command tree.

    Attributes:
        summary: One line for the listing of commands and the head of its help.
        settings: Gives the dataclass whose fields are the flags; imports no torch.
        run: Does the work on an instance of that dataclass.
        takes_config: Offers `--config FILE`.
        words_first: Fields without a default are bare words instead of flags.
    """

    summary: str
    settings: Callable[[], type]
    run: Callable[[Any], Result]
    takes_config: bool = False
    words_first: bool = False


@dataclass(frozen=True)
class Group:
    """A node of the command tree.

    Attributes:
        summary: One line for the listing of commands.
        members: Gives the commands below it by name.
    """

    summary: str
    members: Callable[[], Mapping[str, Command | Group]]
