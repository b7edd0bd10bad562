"""The tree crowns that come with the package: what is there, whole, and enough to train on."""

from pathlib import Path

import pytest

from visionrel.data.aerial import check_labels
from visionrel.detectors import datasets
from visionrel.detectors.configuration import load_config
from visionrel.detectors.training import prepare_run, train_detector


TREES = Path(datasets.__file__).parent / "trees"
CONFIG = "faster-rcnn_r18_fpn_1xb4-600_trees"


@pytest.mark.parametrize(("split", "pictures", "boxes"), [("train", 3, 295), ("val", 1, 82)])
def test_the_doctor_finds_what_the_docs_say(split, pictures, boxes):
    report = check_labels(TREES / f"{split}.json", TREES / split, ("tree",))
    assert (report.pictures, report.boxes) == (pictures, {"tree": boxes})


def test_the_configuration_trains_on_its_own_pictures(tmp_path):
    assert Path(load_config(CONFIG).data_root).resolve() == TREES.resolve()
    done = train_detector(prepare_run(CONFIG, iterations=2), tmp_path / "run", validate=False)
    assert done.iterations == 2 and done.checkpoint.is_file()
