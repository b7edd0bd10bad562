"""Who may write where: results on stdout, everything else on stderr."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from collections.abc import Iterator

from visionrel.cli.commands import Result


logger = logging.getLogger("visionrel")

# Read by tqdm, huggingface_hub, transformers and diffusers when they are imported.
_QUIET = {
    "TQDM_DISABLE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "DIFFUSERS_VERBOSITY": "error",
}


@contextlib.contextmanager
def progress_on_stderr(quiet: bool) -> Iterator[None]:
    """Sends log lines, and whatever a library prints, to stderr; with `quiet` only warnings."""
    if quiet:
        os.environ.update(_QUIET)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        logger.removeHandler(handler)


def print_result(result: Result, as_json: bool) -> None:
    """Prints a result on stdout; of several processes only the first one does."""
    if os.environ.get("RANK", "0") != "0":
        return
    if as_json:
        text = json.dumps(result.data, indent=2, ensure_ascii=False, default=str)
    else:
        text = result.text
    print(text, flush=True)


def print_error(text: str) -> None:
    """Prints a message on stderr."""
    print(text, file=sys.stderr, flush=True)
