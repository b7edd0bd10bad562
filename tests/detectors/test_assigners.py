"""Regions to ignore in pictures with and without a box that counts."""

import pytest
import torch
from mmdet.registry import TASK_UTILS
from mmengine.structures import InstanceData

import visionrel.detectors
from visionrel.detectors import IgnoreAwareATSSAssigner, IgnoreAwareMaxIoUAssigner


# Inside the ignored box, half of it there, beside it.
PRIORS = torch.tensor([[2.0, 2, 8, 8], [5, 0, 15, 10], [20, 20, 30, 30]])
IGNORED = torch.tensor([[0.0, 0, 10, 10]])
NONE = torch.zeros(0, 4)
ARGUMENTS = {
    "MaxIoUAssigner": {"pos_iou_thr": 0.5, "neg_iou_thr": 0.5, "ignore_iof_thr": 0.5},
    "ATSSAssigner": {"topk": 2, "ignore_iof_thr": 0.5},
}


def assign(name, counted=NONE, ignored=IGNORED, priors=PRIORS, **changes):
    settings = ARGUMENTS[name.removeprefix("IgnoreAware")] | changes
    assigner = TASK_UTILS.build({"type": name, **settings})
    boxes = InstanceData(bboxes=counted, labels=torch.zeros(len(counted), dtype=torch.long))
    levels = ([len(priors)],) if "ATSS" in name else ()
    left_out = None if ignored is None else InstanceData(bboxes=ignored)
    return assigner.assign(InstanceData(priors=priors), *levels, boxes, left_out)


def test_both_are_exported():
    for kind in (IgnoreAwareATSSAssigner, IgnoreAwareMaxIoUAssigner):
        assert kind.__name__ in visionrel.detectors.__all__


@pytest.mark.parametrize("name", ARGUMENTS)
def test_without_a_counted_box_priors_in_an_ignored_one_are_left_out(name):
    assert assign(name).gt_inds.tolist() == [0, 0, 0]
    assert assign(f"IgnoreAware{name}").gt_inds.tolist() == [-1, 0, 0]


def test_the_share_may_be_that_of_the_ignored_box():
    """The first prior covers 0.36 of it, the second 0.5."""
    name = "IgnoreAwareMaxIoUAssigner"
    found = assign(name, ignore_wrt_candidates=False, ignore_iof_thr=0.4)
    assert found.gt_inds.tolist() == [0, -1, 0]


@pytest.mark.parametrize("name", ARGUMENTS)
@pytest.mark.parametrize(
    "case",
    [
        {"counted": torch.tensor([[20.0, 20, 30, 31]])},
        {"counted": torch.tensor([[20.0, 20, 30, 31]]), "ignored": None},
        {"counted": torch.tensor([[2.0, 2, 8, 9]]), "ignore_iof_thr": -1},
        {"ignored": None},
        {"ignored": NONE},
        {"ignore_iof_thr": -1},
        {"priors": NONE},
    ],
)
def test_otherwise_it_is_mmdetections(name, case):
    theirs, ours = assign(name, **case), assign(f"IgnoreAware{name}", **case)
    for key in ("gt_inds", "labels", "max_overlaps"):
        assert torch.equal(getattr(theirs, key), getattr(ours, key))
