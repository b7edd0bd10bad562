"""MMDetection is an extra: without it these tests are skipped, not failed."""

import pytest


pytest.importorskip("mmdet")

import torch

import visionrel.detectors  # noqa: F401  (before any test imports mmcv.ops)
from visionrel.worlds.aerial import write_aerial


@pytest.fixture(scope="session")
def aerial(tmp_path_factory):
    """A few pictures of the aerial world; tests that spoil something copy it first."""
    folder = tmp_path_factory.mktemp("world") / "aerial"
    write_aerial(folder, {"train": 6, "val": 2, "test-night": 2, "test-fog": 2, "test-steep": 2})
    return folder


@pytest.fixture
def process_group(tmp_path):
    """One process that trains as one of many would."""
    store = f"file://{tmp_path / 'store'}"
    torch.distributed.init_process_group("gloo", init_method=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()
