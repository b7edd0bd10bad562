"""Relations across processes."""

import torch

from tests.processes import launch
from visionrel.detectors import BatchFormerLayer


def test_two_processes_equal_one_with_the_whole_batch():
    printed = launch("tests.detectors.batchformer.gather_processes")
    for word in ("equal", "maskless", "refused"):
        assert printed.count(word) == 2


def test_in_one_process_gathering_changes_nothing():
    layer, rows = BatchFormerLayer(8, dropout=0.0), torch.randn(3, 8)
    expected = layer(rows)
    layer.gather = True
    assert torch.equal(layer(rows), expected)
