"""Rows of all processes, with gradients."""

import torch
from torch import Tensor
from torch import distributed as dist
from torch.autograd.function import once_differentiable

from visionrel.errors import InputError


def gather_rows(rows: Tensor) -> Tensor:
    """Concatenates the rows of all processes along axis 0, in the order of their ranks.

    The gradient that a row receives is the sum over all processes: with gradients averaged over
    processes, as DistributedDataParallel does, training equals that of one process with the whole
    batch.

    Args:
        rows: Shape (N, ...); N may differ between processes, the rest may not.

    Returns:
        Shape (sum of N, ...); `rows` itself in a single process.

    Raises:
        InputError: If the other axes differ; every process raises it.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return rows
    return _Gather.apply(rows, _counts(rows))


def _counts(rows: Tensor) -> list[int]:
    shape = torch.tensor(rows.shape, device=rows.device)
    shapes = [torch.empty_like(shape) for _ in range(dist.get_world_size())]
    dist.all_gather(shapes, shape)
    shapes = [other.tolist() for other in shapes]
    if any(other[1:] != shapes[0][1:] for other in shapes):
        raise InputError(
            f"`gather` needs feature maps of one size on all processes, got {shapes}. Resize or "
            "pad all images to one size, or leave `gather` off."
        )
    return [other[0] for other in shapes]


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rows: Tensor, counts: list[int]) -> Tensor:
        ctx.counts = counts
        # Collectives need equal shapes, so the rows are padded to the largest count.
        padded = rows.new_zeros(max(counts), *rows.shape[1:])
        padded[: len(rows)] = rows
        gathered = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(gathered, padded)
        return torch.cat([other[:count] for other, count in zip(gathered, counts, strict=True)])

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        # A copy: autograd may use the incoming tensor elsewhere.
        gradient = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(gradient)
        return gradient.split(ctx.counts)[dist.get_rank()], None
