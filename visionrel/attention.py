"""One choice of attention kernel for every Diffusers model.

xFormers is imported on CUDA only: on a CPU its import prints warnings and gains nothing.
"""

import importlib.util
from typing import Literal

import torch
from torch import nn

from visionrel.errors import InputError


AttentionBackend = Literal["auto", "xformers", "sdpa"]
_INSTALL = "pip install 'visionrel[gpu]'"


def resolve_attention(
    backend: AttentionBackend, device: torch.device | str
) -> Literal["xformers", "sdpa"]:
    """Decides the kernel: xFormers where CUDA and the package are there, else PyTorch's own.

    Args:
        backend: `auto`, or one of the two by name.
        device: Device of the model.

    Raises:
        InputError: If `xformers` is asked for where it cannot run, or the name is unknown.
    """
    if backend not in ("auto", "xformers", "sdpa"):
        raise InputError(f"`attention` must be auto, xformers or sdpa, got {backend!r}.")
    on_cuda = torch.device(device).type == "cuda"
    installed = on_cuda and importlib.util.find_spec("xformers") is not None
    if backend == "xformers" and not installed:
        reason = f"needs the package: {_INSTALL}" if on_cuda else f"needs CUDA, not {device}"
        raise InputError(f"`attention` xformers {reason}; `sdpa` works everywhere.")
    return "xformers" if installed and backend != "sdpa" else "sdpa"


def set_attention(
    model: nn.Module, backend: AttentionBackend = "auto"
) -> Literal["xformers", "sdpa"]:
    """Sets the attention kernel of a Diffusers model that already stands on its device.

    Returns:
        The kernel chosen.
    """
    chosen = resolve_attention(backend, next(model.parameters()).device)
    if chosen == "xformers":
        model.enable_xformers_memory_efficient_attention()
    else:
        model.disable_xformers_memory_efficient_attention()
    return chosen
