"""`visionrel train detector`, `detect` and `evaluate detector`, as a user runs them."""

import json
import shutil
import weakref
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.conftest import run  # noqa: F401
from tests.detectors.runs import BASE, QUICK
from visionrel.artifacts import load_json, save_json
from visionrel.data.exemplars import open_picture
from visionrel.detectors import command
from visionrel.detectors.configuration import load_config
from visionrel.detectors.evaluation import score_boxes


@pytest.fixture
def trained(run, aerial):  # noqa: F811
    """A detector trained for one step with the command."""
    options = [word for option in QUICK for word in ("--cfg_options", option)][:2]
    words = ("train", "detector", BASE, "--data_root", str(aerial), "--iterations", "1")
    code, out, err = run(*words, *options, "--work_dir", "run", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["steps"] == 1 and "coco/bbox_mAP" in found["metrics"]
    return found["checkpoint"]


def test_train_detect_evaluate(run, aerial, trained):  # noqa: F811
    pictures = [str(aerial / "val" / f"00000{i}.jpg") for i in range(2)]
    words = ("--weights", trained, "--threshold", "0.001", "--tiles", "200")
    code, out, err = run("detect", *pictures, *words, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert [item["file"] for item in found["pictures"]] == pictures
    drawn = Path(found["pictures"][0]["drawn"])
    assert Image.open(drawn).size == (320, 320)
    record = load_json(drawn.with_suffix(".json"))
    assert record["command"] == "detect" and len(record["base"]["sha256"]) == 64
    results = load_json(Path(found["results"]))
    assert [image["file_name"] for image in results["images"]] == pictures
    assert len(results["categories"]) == 10
    total = sum(sum(item["boxes"].values()) for item in found["pictures"])
    assert total == len(results["annotations"])
    assert [box["id"] for box in results["annotations"]] == list(range(1, total + 1))
    for box in results["annotations"]:
        assert box["area"] == round(box["bbox"][2] * box["bbox"][3], 4) and box["iscrowd"] == 0

    again = json.loads(run("detect", *pictures, *words, "--json")[1])
    assert again["results"] != found["results"]

    # A configuration under a name of one's own, whose pictures lie in a folder of their own.
    config = load_config(BASE)
    for loader in (config.val_dataloader, config.test_dataloader):
        loader.dataset.data_prefix.img = "pictures/val/"
    config.dump("mine.py")
    shutil.copytree(aerial, "data")
    shutil.move("data/val", "data/pictures/val")
    words = ("evaluate", "detector", "mine.py", trained, "--data_root", "data", "--json")
    code, out, err = run(*words, "--splits", "val", "test-fog", "--max_detections", "5")
    assert code == 0, err
    scores = json.loads(out)
    assert set(scores["splits"]) == {"val", "test-fog"} and scores["parameters"] > 1e6
    assert set(scores["splits"]["val"]["by_group"]) == {"frequent", "common", "rare"}


def test_the_number_of_boxes_and_the_groups_that_count(tmp_path):
    box = {"image_id": 1, "category_id": 1, "area": 100, "iscrowd": 0}
    places = [[20 * i, 0, 10, 10] for i in range(2)]
    truth = [{"id": i + 1, "bbox": place, **box} for i, place in enumerate(places)]
    labels = {"images": [{"id": 1}], "annotations": truth, "categories": [{"id": 1, "name": "car"}]}
    save_json(tmp_path / "val.json", labels)
    found = [{**box, "bbox": place, "score": 0.9} for place in places]
    groups = {"known": ("car",), "unknown": ("car", "bus")}
    all_of_them = score_boxes(tmp_path / "val.json", found, groups, 2)
    assert all_of_them["AP"] == pytest.approx(1) and set(all_of_them["by_group"]) == {"known"}
    assert score_boxes(tmp_path / "val.json", found, groups, 1)["AP"] < 0.6


def test_every_unreadable_picture_is_told_and_nothing_written(run, aerial, trained):  # noqa: F811
    Path("empty.jpg").write_bytes(b"")
    good = str(aerial / "val" / "000000.jpg")
    code, out, err = run("detect", "empty.jpg", good, "gone.jpg", "--weights", trained)
    assert code == 2 and not out and "empty.jpg" in err and "gone.jpg" in err
    assert not Path("outputs").exists()


def test_pictures_are_held_one_at_a_time(run, aerial, trained, monkeypatch):  # noqa: F811
    opened = []

    def open_noted(path):
        # The one before may live until it is replaced.
        assert sum(picture() is not None for picture in opened) <= 1
        picture = open_picture(path)
        opened.append(weakref.ref(picture))
        return picture

    monkeypatch.setattr(command, "open_picture", open_noted)
    pictures = [str(path) for path in sorted((aerial / "train").glob("*.jpg"))]
    code, _, err = run("detect", *pictures, "--weights", trained)
    assert code == 0, err
    assert len(opened) == 2 * len(pictures)


def test_more_boxes_than_the_detector_keeps_are_told(run, aerial, trained, caplog):  # noqa: F811
    words = ("evaluate", "detector", BASE, trained, "--data_root", str(aerial), "--splits", "val")
    assert run(*words)[0] == 0 and "max_per_img" not in caplog.text
    assert run(*words, "--max_detections", "500")[0] == 0
    assert "`max_detections` is 500, but the detector keeps at most 100 boxes" in caplog.text


def test_labels_that_are_wrong_name_the_flag_that_trains_without_a_check(run, aerial):  # noqa: F811
    shutil.copytree(aerial, "data")
    labels = load_json(Path("data/val.json"))
    labels["annotations"][0]["bbox"] = [0, 0, 330, 10]
    save_json(Path("data/val.json"), labels)
    words = ("train", "detector", BASE, "--data_root", "data", "--iterations", "1")
    code, _, err = run(*words)
    assert code == 2 and "10 pixels beyond" in err and "--no-check_labels" in err
    code, _, err = run(*words, "--no-check_labels", "--cfg_options", *QUICK[:1])
    assert code == 0, err


def test_mistakes_have_exit_code_2(run, aerial):  # noqa: F811
    picture = str(aerial / "val" / "000000.jpg")
    code, _, err = run("detect", picture, "--weights", "aerial-nothing")
    assert code == 2 and "neither as a file" in err
    code, _, err = run("detect", picture, "--device", "foo")
    assert code == 2 and "`device` 'foo' cannot be used" in err
    code, _, err = run("detect", picture, "--threshold", "3")
    assert code == 2 and "[0, 1]" in err
    code, _, err = run("train", "detector", "faster-rcnn_r81")
    assert code == 2 and "The nearest: " in err
    code, _, err = run("train", "detector", BASE, "--data_root", "nowhere")
    assert code == 2 and "nowhere/train.json" in err and not Path("outputs").exists()
