"""What the person at the keyboard reads when a command fails, and the exit code that goes with it.

2 is a mistake in the input, 1 a failure of the machine, 128 + n the signal n. A bug keeps its
traceback.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Any

from visionrel.errors import VisionrelError


INTERRUPTED = 130
_MEMORY_SIGNS = ("out of memory", "can't allocate memory", "not enough memory")
_LOWER_FOR_MEMORY = (
    "train_batch_size",
    "batch_size",
    "resolution",
    "height",
    "width",
)
_TURN_ON_FOR_MEMORY = ("gradient_checkpointing",)


def explain_failure(error: BaseException, settings: Mapping[str, Any]) -> tuple[str, int] | None:
    """Finds the message and exit code of a failure.

    Args:
        error: What the command raised.
        settings: Values of its flags.

    Returns:
        Message and exit code, or None for a bug.
    """
    if isinstance(error, VisionrelError):
        return str(error), error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return "Interrupted.", INTERRUPTED
    if _is_out_of_memory(error):
        return f"Out of memory. {_memory_advice(settings)}", 1
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        where = error.filename or "while writing"
        return f"The disk is full ({where}). {_disk_advice(settings)}", 1
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{error}. Choose a folder that you may write to.", 1
    if isinstance(error, (FileExistsError, NotADirectoryError, IsADirectoryError)):
        return f"{error}. A file stands where a folder is needed; choose another path.", 2
    return None


def _is_out_of_memory(error: BaseException) -> bool:
    # torch.OutOfMemoryError is a RuntimeError; on the CPU torch raises a bare RuntimeError.
    if isinstance(error, MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(sign in text for sign in _MEMORY_SIGNS)


def _memory_advice(settings: Mapping[str, Any]) -> str:
    steps = [
        f"lower --{name} (now {'chosen by the base' if value is None else value})"
        for name in _LOWER_FOR_MEMORY
        if name in settings and (value := settings[name]) != 1
    ]
    if "cfg_options" in settings:
        steps.append("lower --cfg_options train_dataloader.batch_size=... or the sizes of `Resize`")
    if settings.get("tiles", 0) is None:
        steps.append("look at parts of the picture with --tiles 512")
    steps += [f"switch on --{name}" for name in _TURN_ON_FOR_MEMORY if settings.get(name) is False]
    steps += [
        f"use --{name} bf16"
        for name, full in (("mixed_precision", "no"), ("precision", "fp32"))
        if settings.get(name) == full
    ]
    return _sentence(steps, "Close other programs or take a smaller --base.")


def _disk_advice(settings: Mapping[str, Any]) -> str:
    steps = ["free some space"]
    if "checkpoints_total_limit" in settings:
        limit = settings["checkpoints_total_limit"]
        steps.append(f"lower --checkpoints_total_limit (now {limit})")
    if "output_dir" in settings:
        steps.append(f"choose another --output_dir (now {settings['output_dir']})")
    return _sentence(steps, "")


def _sentence(steps: list[str], otherwise: str) -> str:
    if not steps:
        return otherwise
    text = ", or ".join(steps)
    return f"{text[0].upper()}{text[1:]}. What was finished before is intact."
