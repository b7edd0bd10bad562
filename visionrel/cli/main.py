"""`visionrel`: finds the command, reads its flags, runs it and turns failures into exit codes."""

from __future__ import annotations

import dataclasses
import os
import secrets
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from visionrel import __version__
from visionrel.cli.commands import Command
from visionrel.cli.console import logger, print_error, print_result, progress_on_stderr
from visionrel.cli.failures import explain_failure
from visionrel.cli.parsing import flatten, parse
from visionrel.cli.routing import find_command
from visionrel.cli.tree import TREE
from visionrel.errors import InputError, VisionrelError


def main(words: Sequence[str] | None = None) -> int:
    """Runs one command line.

    Args:
        words: The words after the program's name; those of the process by default.

    Returns:
        The exit code.
    """
    words = list(sys.argv[1:] if words is None else words)
    try:
        if words in (["--version"], ["-V"]):
            print(f"visionrel {__version__}")
            return 0
        name, found, rest = find_command(TREE, words)
        if isinstance(found, str):
            print(found)
            return 0
        return run_command(name, found, rest)
    except VisionrelError as error:
        print_error(str(error))
        return 2
    except BrokenPipeError:
        # The reader of our output went away, as `| head` does; nothing is left to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def run_command(name: str, command: Command, words: Sequence[str]) -> int:
    """Parses the flags of a command, runs it and prints its result or its failure."""
    try:
        line = parse(name, command, words)
    except SystemExit as stop:
        return int(stop.code or 0)
    settings = line.settings
    try:
        with progress_on_stderr(line.quiet):
            settings = choose_seed(settings)
            result = command.run(settings)
    except (Exception, KeyboardInterrupt) as error:
        explained = explain_failure(error, flatten(settings))
        if explained is None:
            raise
        text, code = explained
        print_error(text)
        return code
    print_result(result, line.json)
    return 0 if result.ok else 1


def choose_seed(settings: Any) -> Any:
    """Draws a seed where the user gave none, so that it can be printed, stored and used again.

    A training run is left alone: it agrees with its checkpoint and its other processes on a seed,
    and prints that itself.
    """
    if not hasattr(settings, "seed") or hasattr(settings, "resume_from_checkpoint"):
        return settings
    if settings.seed is None:
        settings = dataclasses.replace(settings, seed=secrets.randbelow(2**31))
    if not 0 <= settings.seed < 2**63:
        raise InputError(f"`seed` must lie in [0, 2^63), got {settings.seed}.")
    logger.info("seed %d", settings.seed)
    return settings


def end_process(code: int) -> NoReturn:
    """Ends this process; one of several without PyTorch's teardown of their group.

    The teardown aborts now and then ("terminate called without an active exception") when all is
    done and on the disk.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":  # as `accelerate launch` starts it
    end_process(main())
