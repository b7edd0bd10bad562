"""A visitor's way through the detection tab, over the wire."""

import json
from pathlib import Path

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from tests.demos.conftest import free_port
from visionrel.demos import detection_desk
from visionrel.demos.app import build_app, serve
from visionrel.demos.detection_desk import (
    AS_TOLD,
    EXAMPLES,
    SHIPPED,
    Desk,
    Visit,
    draw_example,
    shipped_names,
)
from visionrel.errors import InputError


pytest.importorskip("mmdet")

from visionrel.data.aerial import CLASS_SETS
from visionrel.detectors.checkpoints import Weights, load_weights, save_weights
from visionrel.detectors.configuration import shipped_configs
from visionrel.detectors.inference import Detections


LOOK = {"threshold": 0.05, "tile": 0, "api_name": "/detect"}
TOY = "faster-rcnn_r18_fpn_1xb4-2k_aerial"


@pytest.fixture(scope="module")
def client(detector, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detection_desk, "SHIPPED", {})
        app = build_app({"detection": detector})
    serve(app, "127.0.0.1", free_port(), share=False, block=False)
    folder = tmp_path_factory.mktemp("downloads")
    yield Client(app.local_url, verbose=False, download_files=str(folder))
    app.close()


def test_an_example_is_looked_at(client, detector):
    picture = client.predict("at night", api_name="/example")
    assert Image.open(picture).size == (320, 320)
    shown, counts, boxes = client.predict(picture=handle_file(picture), names=[detector], **LOOK)
    assert "toy: " in shown[0]["caption"] and shown[0]["caption"].endswith(" ms")
    assert Image.open(shown[0]["image"]).size == (320, 320)
    found = json.loads(Path(boxes).read_text())[detector]["annotations"]
    assert ("| class | toy |" in counts) == bool(found)
    if not found:
        assert counts.startswith("Nothing found")


def test_tiles_of_a_larger_picture(client, detector, tmp_path):
    Image.new("RGB", (500, 400), "grey").save(tmp_path / "wide.png")
    picture = handle_file(tmp_path / "wide.png")
    shown, *_ = client.predict(picture=picture, names=[detector], **{**LOOK, "tile": 320})
    assert Image.open(shown[0]["image"]).size == (500, 400)


def test_mistakes_are_shown(client, detector, tmp_path):
    with pytest.raises(AppError, match="There is no picture"):
        client.predict(picture=None, names=[detector], **LOOK)
    Image.new("RGB", (64, 64)).save(tmp_path / "small.png")
    picture = handle_file(tmp_path / "small.png")
    with pytest.raises(AppError, match="Choose at least one detector"):
        client.predict(picture=picture, names=[], **LOOK)
    Image.new("1", (5000, 10)).save(tmp_path / "long.png")
    with pytest.raises(AppError, match="at most 4096 a side"):
        client.predict(picture=handle_file(tmp_path / "long.png"), names=[detector], **LOOK)
    (tmp_path / "cut.png").write_bytes((tmp_path / "small.png").read_bytes()[:60])
    with pytest.raises(InputError, match="cannot be read"):
        detection_desk._open(str(tmp_path / "cut.png"))
    with pytest.raises(AppError, match=r"not in the list|maximum|less than"):
        client.predict(picture=picture, names=[detector], **{**LOOK, "threshold": 3})


@pytest.fixture
def small(tmp_path):
    Image.new("RGB", (64, 64), "grey").save(tmp_path / "small.png")
    return str(tmp_path / "small.png")


def test_weights_that_do_not_tell_their_configuration_get_one(detector, small, tmp_path):
    own = str(tmp_path / "own.safetensors")
    save_weights(Path(own), Weights(load_weights(detector).tensors))
    desk = Desk(own)
    with pytest.raises(AppError, match="does not tell its configuration"):
        desk.detect(Visit(), small, [own], AS_TOLD, 0.3, 0)
    with pytest.raises(AppError, match="of another detector"):
        desk.detect(Visit(), small, [own], "gfl_r18_fpn_1xb4-2k_aerial", 0.3, 0)
    visit, shown, *_ = desk.detect(Visit(), small, [own], TOY, 0.3, 0)
    assert shown[0][1].startswith("own: ")
    visit.close()


def test_the_configuration_is_chosen_among_those_shipped(client, detector, small):
    assert shipped_names() == sorted(shipped_configs())
    shown, *_ = client.predict(
        picture=handle_file(small), names=[detector], **{**LOOK, "config": TOY}
    )
    assert shown[0]["caption"].startswith("toy: ")
    with pytest.raises(AppError, match="not in the list"):
        client.predict(
            picture=handle_file(small), names=[detector], **{**LOOK, "config": "/etc/mine.py"}
        )


def test_the_shipped_detectors_side_by_side(small):
    names = list(SHIPPED)
    visit, shown, counts, boxes = Desk().detect(Visit(), small, names, AS_TOLD, 0.05, 0)
    assert [label.partition(":")[0] for _, label in shown] == list(SHIPPED.values())
    assert all(Image.open(path).size == (64, 64) for path, _ in shown)
    found = json.loads(Path(boxes).read_text())
    assert list(found) == names and counts
    known = [{"id": i, "name": name} for i, name in enumerate(CLASS_SETS["aerial"], 1)]
    assert all(each["categories"] == known for each in found.values())
    visit.close()


def test_boxes_of_classes_that_only_a_later_detector_knows_are_counted():
    def found(label, *classes):
        colors = [(0, 0, 0)] * len(classes)
        return Detections(np.zeros((1, 4)), np.ones(1), np.array([label]), classes, tuple(colors))

    desk = Desk()
    desk.detectors = {"one": "One", "two": "Two"}
    both = {"one": found(1, "bus", "car"), "two": found(0, "tree", "bus", "car")}
    assert desk._count(both).splitlines()[2:] == ["| car | 1 | 0 |", "| tree | 0 | 1 |"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_are_pictures_of_the_world(name):
    assert draw_example(name).size == (320, 320)


def test_without_mmdetection_or_weights_the_tab_says_what_to_do(monkeypatch):
    monkeypatch.setattr(detection_desk, "SHIPPED", {})
    assert "visionrel detect" in Desk().missing
    monkeypatch.setattr(detection_desk, "find_spec", lambda name: None)
    assert "pip install '.[detection]'" in Desk("toy").missing
