"""The recipe of the small detectors, in one step, and the shipped ones."""

import pytest

from visionrel.weights_manifest import load_manifest
from visionrel.worlds.aerial import SPLITS, draw_aerial, sample_aerial, write_aerial


pytest.importorskip("mmdet")

import numpy as np

from visionrel.detectors.inference import Detector
from visionrel.weights.recipes import aerial


SHIPPED = [name for name in load_manifest() if name.startswith("aerial-")]


def test_the_recipe_leaves_weights_that_detect(tmp_path):
    sizes = {"train": 4, "val": 2, "test-night": 1, "test-fog": 1, "test-steep": 1}
    write_aerial(tmp_path / "data", sizes)
    config = aerial.BuildConfig(
        variants=("batchformer",),
        data_root=tmp_path / "data",
        iterations=1,
        output_dir=tmp_path / "out",
    )
    found = aerial.build(config)["aerial-batchformer"]
    assert set(found["scores"]) == {"AP val", "AP test-night", "AP test-fog", "AP test-steep"}
    picture, _ = draw_aerial(sample_aerial(np.random.default_rng(0)))
    assert Detector(None, found["file"], "cpu").detect(picture, threshold=0) is not None
    assert aerial.build(config)["aerial-batchformer"] == found


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_detectors_find_most_cars(name):
    """On fresh pictures by day; cars are a third of all boxes."""
    detector = Detector(None, name, "cpu")
    rng = np.random.default_rng(12345)
    there = right = 0
    for _ in range(4):
        picture, annotations = draw_aerial(sample_aerial(rng, SPLITS["val"].draw(rng)))
        found = detector.detect(picture, threshold=0.3)
        cars = [item.box for item in annotations if item.name == "car" and not item.ignore]
        boxes = found.boxes[[found.classes[label] == "car" for label in found.labels]]
        there += len(cars)
        right += sum(any(_overlap(car, box) > 0.5 for box in boxes) for car in cars)
    assert there > 10 and right > there / 2


def _overlap(car, box):
    left, top, width, height = car
    x = min(left + width, box[2]) - max(left, box[0])
    y = min(top + height, box[3]) - max(top, box[1])
    both = max(x, 0) * max(y, 0)
    area = (box[2] - box[0]) * (box[3] - box[1])
    return both / (width * height + area - both)
