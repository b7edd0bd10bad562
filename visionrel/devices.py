"""The device that a command runs on, by name."""

import torch

from visionrel.errors import InputError


def choose_device(name: str) -> torch.device:
    """Resolves `auto` to CUDA, Apple's MPS or the CPU, whichever is there first.

    Raises:
        InputError: If the device is unknown or not there.
    """
    if name == "auto":
        there = (torch.cuda.is_available(), torch.backends.mps.is_available())
        return torch.device("cuda" if there[0] else "mps" if there[1] else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"`device` {name!r} cannot be used ({reason}); try auto.") from error
    return device
