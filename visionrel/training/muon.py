"""Muon: momentum whose update is made orthogonal, for matrices; AdamW for everything else.

Every matrix moves by `U V^T` of its momentum's singular value decomposition `U S V^T`, so that rare
directions move as far as common ones (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon).
PyTorch's own `torch.optim.Muon` takes two-dimensional parameters only; here the kernels of
convolutions count as matrices `(out, in * height * width)`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW

from visionrel.devices import multiplies_bfloat16


COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic iteration; its fixed point is only near 1, which training does not notice."""
RMS = 0.2
"""Root mean square of an update over the learning rate, about AdamW's, so that both kinds share one
rate (Liu et al. 2025, arXiv 2502.16982, equation 4)."""


class Muon(AdamW):
    """AdamW whose parameters with two or more axes move by orthogonal momentum instead.

    Args:
        parameters: Trained tensors.
        lr: Learning rate of both kinds.
        momentum: Decay of the momentum of matrices; the look-ahead is Nesterov's.
        **settings: Those of AdamW; its weight decay counts for all parameters.
    """

    def __init__(
        self, parameters: Iterable[Tensor], lr: float, momentum: float = 0.95, **settings: Any
    ) -> None:
        parameters = list(parameters)
        matrices = [each for each in parameters if each.ndim > 1]
        others = [each for each in parameters if each.ndim < 2]
        groups = [{"params": each, "matrices": each is matrices} for each in (matrices, others)]
        super().__init__([group for group in groups if group["params"]], lr=lr, **settings)
        self.momentum = momentum

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step of both kinds."""
        groups = self.param_groups
        for group in groups:
            if group["matrices"]:
                self._move_matrices(group)
        self.param_groups = [group for group in groups if not group["matrices"]]
        try:
            return super().step(closure)
        finally:
            self.param_groups = groups

    def _move_matrices(self, group: dict[str, Any]) -> None:
        alike: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for parameter in group["params"]:
            if parameter.grad is None:
                continue
            state = self.state[parameter]
            if not state:
                state["momentum_buffer"] = torch.zeros_like(parameter)
            buffer = state["momentum_buffer"].mul_(self.momentum).add_(parameter.grad)
            ahead = parameter.grad.add(buffer, alpha=self.momentum).flatten(1)
            alike[tuple(ahead.shape)].append((parameter, ahead))
        for shape, found in alike.items():
            updates = orthogonalise(torch.stack([ahead for _, ahead in found]))
            scale = group["lr"] * RMS * max(shape) ** 0.5
            for (parameter, _), update in zip(found, updates, strict=True):
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(update.view(parameter.shape), alpha=-scale)


def orthogonalise(matrices: Tensor, iterations: int = 5) -> Tensor:
    """Sets all singular values to about 1 by Newton and Schulz's iteration.

    It runs in bfloat16 where that is fast, which costs no accuracy that training would notice.

    Args:
        matrices: Shape (count, rows, columns).
        iterations: Of `X <- a X + (b A + c A A) X` with `A = X X^T`.

    Returns:
        Float32 of the same shape; singular values lie between 0.7 and 1.2.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    dtype = torch.bfloat16 if multiplies_bfloat16(matrices.device) else torch.float32
    x = (matrices.mT if tall else matrices).to(dtype)
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(iterations):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).float()
