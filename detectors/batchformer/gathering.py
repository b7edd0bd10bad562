"""Rows of all processes, with gradients, and their masks."""

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
    return _Gather.apply(rows, _counts(rows)) if _shared() else rows


def gather_mask(mask: Tensor | None, rows: Tensor) -> Tensor | None:
    """Concatenates the masks of all processes; one that has none hides nothing.

    MMDetection gives none where all images of a process fill their canvas.

    Args:
        mask: Shape (N, S), boolean, or None.
        rows: Shape (N, S, C); what is masked.

    Returns:
        Shape (sum of N, S); None if no process has a mask.
    """
    if not _shared():
        return mask
    # All processes must take part in a collective: the others would wait for ever.
    masked = torch.tensor(int(mask is not None), device=rows.device)
    dist.all_reduce(masked, dist.ReduceOp.MAX)
    if not masked:
        return None
    whole = torch.zeros(rows.shape[:2], dtype=torch.bool, device=rows.device)
    return gather_rows(whole if mask is None else mask)


def _shared() -> bool:
    ready = dist.is_available() and dist.is_initialized()
    return ready and dist.get_world_size() > 1


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
