"""Boxes from pictures of any size and mode, whole and in tiles."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tests.detectors.runs import BASE, quick_run
from visionrel.detectors.inference import Detections, Detector
from visionrel.errors import InputError, VisionrelError


LOOKS = CLASSES, PALETTE = ("car", "bus"), ((255, 0, 0), (0, 0, 255))


@pytest.fixture(scope="module")
def detector(aerial, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "base"
    return Detector(None, quick_run(folder, aerial, BASE, 1).checkpoint, "cpu")


@pytest.fixture
def found():
    boxes = np.array([[10.0, 20, 30, 60], [0, 0, 8, 4]])
    return Detections(boxes, np.array([0.9, 0.4]), np.array([0, 1]), CLASSES, PALETTE)


def test_sizes_and_modes(detector, aerial):
    picture = Image.open(aerial / "val" / "000000.jpg")
    whole = detector.detect(picture, threshold=0)
    assert len(whole) and (np.diff(whole.scores) <= 0).all()
    for changed in (picture.convert("L"), picture.convert("RGBA"), picture.resize((500, 130))):
        boxes = detector.detect(changed, threshold=0).boxes
        assert (boxes >= 0).all() and (boxes <= np.tile(changed.size, 2)).all()


def test_one_tile_as_large_as_the_picture_is_the_whole_picture(detector, aerial):
    picture = Image.open(aerial / "val" / "000001.jpg")
    one, two = (detector.detect(picture, threshold=0, tile=tile) for tile in (None, 320))
    strongest = min(len(one), len(two), 20)
    assert strongest and np.allclose(one.scores[:strongest], two.scores[:strongest])


def test_tiles_cover_the_picture_and_boxes_come_back_in_its_pixels(detector, aerial):
    parts = [Image.open(aerial / "val" / f"00000{i}.jpg") for i in range(2)]
    wide = Image.new("RGB", (640, 320))
    for i, part in enumerate(parts):
        wide.paste(part, (320 * i, 0))
    tiled = detector.detect(wide, threshold=0, tile=320, overlap=0)
    single = detector.detect(parts[1], threshold=0)
    right = tiled.boxes[:, 0] >= 320
    best = single.boxes[0] + [320, 0, 320, 0]
    assert right.any() and np.abs(tiled.boxes[right] - best).max(1).min() < 1e-3


def test_numbers_out_of_range_are_told_together(detector):
    picture = Image.new("RGB", (64, 64))
    with pytest.raises(InputError) as caught:
        detector.detect(picture, threshold=2, tile=8, overlap=1)
    assert len(caught.value.problems) == 3


def test_as_coco(found):
    first = found.to_coco(7)[0]
    assert first == {"image_id": 7, "category_id": 1, "bbox": [10, 20, 20, 40], "score": 0.9}
    assert found.to_categories() == [{"id": 1, "name": "car"}, {"id": 2, "name": "bus"}]


def test_above_and_count(found):
    assert found.count() == {"car": 1, "bus": 1} and found.above(0.5).count() == {"car": 1}


def test_drawing_leaves_the_picture_alone(found):
    picture = Image.new("RGB", (64, 64))
    drawn = found.draw(picture)
    assert drawn.getpixel((10, 40)) == (255, 0, 0) and not np.asarray(picture).any()


def test_labels_stay_inside_the_picture():
    at_the_border = Detections(np.array([[60.0, 30, 63, 40]]), np.ones(1), np.zeros(1, int), *LOOKS)
    drawn = np.asarray(at_the_border.draw(Image.new("RGB", (64, 64))))
    assert (drawn[20:28, 10:60] == PALETTE[0]).all(2).any()


def test_as_supervision(found, monkeypatch):
    """Against the constructor's signature; the package is not among the requirements."""
    fake = SimpleNamespace(Detections=lambda **fields: SimpleNamespace(**fields))
    monkeypatch.setitem(sys.modules, "supervision", fake)
    made = found.to_supervision()
    assert made.xyxy.shape == (2, 4) and made.xyxy.dtype == np.float32
    assert made.class_id.tolist() == [0, 1] and made.data["class_name"].tolist() == ["car", "bus"]
    assert np.allclose(made.confidence, found.scores)


def test_as_the_supervision_of_the_package(found):
    supervision = pytest.importorskip("supervision")
    made = found.to_supervision()
    assert isinstance(made, supervision.Detections) and len(made) == 2
    assert np.array_equal(made.xyxy, found.boxes) and np.allclose(made.confidence, found.scores)
    (bus,) = made[made.class_id == 1]
    assert bus[-1] == {"class_name": "bus"}


def test_without_supervision_the_message_says_what_to_install(found, monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(VisionrelError, match="pip install supervision"):
        found.to_supervision()
