import json

import pytest
from mmdet.registry import DATASETS

from visionrel.data.aerial import CLASS_SETS, LabelledBox, LabelledPicture, to_coco
from visionrel.detectors.datasets import AerialDataset, VisDroneDataset
from visionrel.errors import InputError
from visionrel.worlds.aerial import write_aerial


@pytest.fixture
def labels(tmp_path):
    """One picture with a car, an ignored bus and a region to ignore."""
    boxes = (
        LabelledBox((10.0, 20.0, 30.0, 40.0), "car"),
        LabelledBox((50.0, 20.0, 30.0, 40.0), "bus", ignore=True),
        LabelledBox((0.0, 0.0, 9.0, 9.0), None),
    )
    content = to_coco([LabelledPicture("a.jpg", 100, 80, boxes)], ("car", "bus"))
    (tmp_path / "labels.json").write_text(json.dumps(content))
    return tmp_path / "labels.json"


def test_ignored_boxes_and_regions_reach_the_detector_as_ignored(labels):
    data = AerialDataset(str(labels), data_prefix={"img": ""}, metainfo={"classes": ("car", "bus")})
    found = [(i["bbox_label"], i["bbox"], i["ignore_flag"]) for i in data[0]["instances"]]
    assert found == [
        (0, [10, 20, 40, 60], 0),
        (1, [50, 20, 80, 60], 1),
        (0, [0, 0, 9, 9], 1),
        (1, [0, 0, 9, 9], 1),
    ]


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (("bus", "car"), "number 0 is 'car', expected 'bus'"),
        (("car", "bus", "tram"), "no category tram"),
    ],
)
def test_another_order_and_missing_classes_are_refused(labels, classes, message):
    with pytest.raises(InputError, match=message):
        AerialDataset(str(labels), data_prefix={"img": ""}, metainfo={"classes": classes})


def test_a_part_of_the_classes_in_their_order_is_fine(labels):
    data = AerialDataset(str(labels), data_prefix={"img": ""}, metainfo={"classes": ("bus",)})
    assert {item["bbox_label"] for item in data[0]["instances"]} == {0}


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        *(("VisDroneDataset", "visdrone"), ("UavdtDataset", "uavdt"), ("DotaDataset", "dota")),
        ("AerialWorldDataset", "aerial"),
    ],
)
def test_data_sets_are_registered_with_their_classes(name, classes):
    info = DATASETS.get(name).METAINFO
    assert info["classes"] == CLASS_SETS[classes] and len(info["palette"]) == len(info["classes"])


def test_the_world_can_be_read(tmp_path):
    written = write_aerial(tmp_path / "set", {"train": 2}, side=96)["train"]
    data = VisDroneDataset(
        ann_file=str(written.labels), data_prefix={"img": str(written.pictures)}, lazy_init=False
    )
    counted = [item for k in range(2) for item in data[k]["instances"] if not item["ignore_flag"]]
    assert 0 < len(counted) <= sum(written.counts.values())
