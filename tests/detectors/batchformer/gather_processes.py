"""Script for two processes: a gathered layer under DDP against the whole batch in one."""

import sys
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tests.processes import leave
from visionrel.errors import InputError


SIZES = (2, 3)


def leave_out_mmdetection() -> None:
    """The packages import all of it, many seconds in each process; the layer needs nothing of it.

    Only for a process of its own: where MMDetection is used as well, pytest's collection of
    doctests among them, the stand-ins would take the place of the packages.
    """
    folder = Path(__file__).parents[3] / "detectors"
    for name, place in (("detectors", folder), ("detectors.batchformer", folder / "batchformer")):
        package = sys.modules[f"visionrel.{name}"] = ModuleType(f"visionrel.{name}")
        package.__path__ = [str(place)]


def compare_without_a_mask(
    layer: nn.Module, whole: nn.Module, rows: Tensor, padding: Tensor
) -> None:
    """All images of one process, then of both, fill their canvas: MMDetection gives no mask."""
    rank = torch.distributed.get_rank()
    own, hidden = rows.split(SIZES)[rank], padding.split(SIZES)[rank]
    one_sided = padding.clone()
    one_sided[: SIZES[0]] = False
    expected = whole(rows, one_sided).split(SIZES)[rank]
    torch.testing.assert_close(layer(own, None if rank == 0 else hidden), expected)
    torch.testing.assert_close(layer(own), whole(rows).split(SIZES)[rank])
    print("maskless", flush=True)


def main() -> None:
    from visionrel.detectors.batchformer.layer import BatchFormerLayer

    torch.distributed.init_process_group("gloo")
    rank = torch.distributed.get_rank()
    torch.manual_seed(0)
    layer = BatchFormerLayer(8, dropout=0.0, num_layers=2, gather=True).double()
    whole = BatchFormerLayer(8, dropout=0.0, num_layers=2).double()
    whole.load_state_dict(layer.state_dict())
    rows = torch.randn(sum(SIZES), 4, 8, dtype=torch.float64)
    padding = torch.rand(sum(SIZES), 4) < 0.3

    own = rows.split(SIZES)[rank].clone().requires_grad_()
    # Averages only while it lives, so it must not be a temporary.
    parallel = DistributedDataParallel(layer)
    output = parallel(own, padding.split(SIZES)[rank])
    # The mean of these over the processes is the loss of the whole batch.
    (output.pow(3).sum() * len(SIZES) / sum(SIZES)).backward()
    rows.requires_grad_()
    expected = whole(rows, padding)
    (expected.pow(3).sum() / sum(SIZES)).backward()

    torch.testing.assert_close(output, expected.split(SIZES)[rank])
    # DDP averages the gradients of weights; those of inputs are summed over both losses
    torch.testing.assert_close(own.grad, rows.grad.split(SIZES)[rank] * len(SIZES))
    for ours, theirs in zip(layer.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)
    print("equal", flush=True)
    compare_without_a_mask(layer, whole, rows.detach(), padding)
    try:
        layer(torch.randn(2, 4 + rank, 8, dtype=torch.float64))
    except InputError as error:
        print("refused" if "one size on all processes" in str(error) else error, flush=True)
    leave()


if __name__ == "__main__":
    leave_out_mmdetection()
    main()
