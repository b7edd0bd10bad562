"""What the offline commands share: flags from a dataclass, messages, exit codes."""

import sys
from collections.abc import Callable
from typing import TypeVar

import tyro

from visionrel.errors import VisionrelError


Settings = TypeVar("Settings")


def run_command(settings_class: type[Settings], run: Callable[[Settings], str]) -> None:
    """Parses the flags, runs the job and prints its last line.

    A mistake in the input is told on stderr and ends the process with 2.
    """
    settings = tyro.cli(settings_class)
    try:
        result = run(settings)
    except VisionrelError as error:
        sys.stderr.write(f"Error: {error}\n")
        sys.exit(2)
    sys.stdout.write(f"{result}\n")
