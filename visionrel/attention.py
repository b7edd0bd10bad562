"""One choice of attention kernel for every model, and attention of plain tensors through it.

xFormers is imported on CUDA only: on a CPU its import prints warnings and gains nothing.
"""

import importlib.util
import logging
from functools import cache
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from visionrel.errors import InputError


logger = logging.getLogger(__name__)

AttentionBackend = Literal["auto", "xformers", "sdpa"]
_INSTALL = "pip install '.[gpu]'"


def resolve_attention(
    backend: AttentionBackend, device: torch.device | str
) -> Literal["xformers", "sdpa"]:
    """Decides the kernel: xFormers where it runs, which needs CUDA, else PyTorch's own.

    Args:
        backend: `auto`, or one of the two by name.
        device: Device of the model.

    Raises:
        InputError: If `xformers` is asked for where it cannot run, or the name is unknown.
    """
    if backend not in ("auto", "xformers", "sdpa"):
        raise InputError(f"`attention` must be auto, xformers or sdpa, got {backend!r}.")
    if backend == "sdpa":
        return "sdpa"
    problem = _xformers_problem(torch.device(device))
    if backend == "xformers" and problem:
        raise InputError(f"`attention` xformers {problem}; `sdpa` works everywhere.")
    return "sdpa" if problem else "xformers"


def _xformers_problem(device: torch.device) -> str | None:
    if device.type != "cuda":
        return f"needs CUDA, not {device}"
    if importlib.util.find_spec("xformers") is None:
        return f"needs the package: {_INSTALL}"
    return _try_xformers(device)


@cache
def _try_xformers(device: torch.device) -> str | None:
    """Why one small attention fails, as in a package built for another PyTorch or GPU."""
    try:
        from xformers.ops import memory_efficient_attention

        query = torch.randn(1, 2, 1, 40, device=device)
        memory_efficient_attention(query, query, query)
    except Exception as error:  # of the import, the operators or CUDA
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        logger.warning("xFormers is installed but cannot run here: %s", reason)
        return f"is installed but cannot run here ({reason})"
    return None


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


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    dropout: float = 0.0,
    backend: AttentionBackend = "auto",
) -> Tensor:
    """Computes softmax(q k^T / sqrt(D)) v with the chosen kernel.

    PyTorch's own is always taken with a mask and in float64, which xFormers does not compute in.

    Args:
        query: Shape (B, heads, queries, D).
        key: Shape (B, heads, keys, D).
        value: Shape (B, heads, keys, D).
        mask: True where a query may see a key; broadcasts to (B, heads, queries, keys).
        dropout: Probability with which an attention weight is dropped; 0 outside training.
        backend: Which kernel, see `resolve_attention`.

    Returns:
        Shape (B, heads, queries, D).
    """
    chosen = resolve_attention(backend, query.device)
    if chosen == "sdpa" or mask is not None or query.dtype == torch.float64:
        return F.scaled_dot_product_attention(query, key, value, mask, dropout)
    from xformers.ops import memory_efficient_attention

    # [B, heads, tokens, D] -> [B, tokens, heads, D]
    query, key, value = (tensor.transpose(1, 2) for tensor in (query, key, value))
    return memory_efficient_attention(query, key, value, p=dropout).transpose(1, 2)
