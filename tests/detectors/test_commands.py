"""`visionrel train detector`, `detect` and `evaluate detector`, as a user runs them."""

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.conftest import run  # noqa: F401
from tests.detectors.runs import BASE, QUICK
from visionrel.artifacts import load_json


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

    again = json.loads(run("detect", *pictures, *words, "--json")[1])
    assert again["results"] != found["results"]

    words = ("evaluate", "detector", BASE, trained, "--data_root", str(aerial), "--json")
    code, out, err = run(*words, "--splits", "val", "test-fog")
    assert code == 0, err
    scores = json.loads(out)
    assert set(scores["splits"]) == {"val", "test-fog"} and scores["parameters"] > 1e6
    assert set(scores["splits"]["val"]["by_group"]) == {"frequent", "common", "rare"}


def test_every_unreadable_picture_is_told_and_nothing_written(run, aerial, trained):  # noqa: F811
    Path("empty.jpg").write_bytes(b"")
    good = str(aerial / "val" / "000000.jpg")
    code, out, err = run("detect", "empty.jpg", good, "gone.jpg", "--weights", trained)
    assert code == 2 and not out and "empty.jpg" in err and "gone.jpg" in err
    assert not Path("outputs").exists()


def test_mistakes_have_exit_code_2(run, aerial):  # noqa: F811
    picture = str(aerial / "val" / "000000.jpg")
    code, _, err = run("detect", picture, "--weights", "aerial-nothing")
    assert code == 2 and "neither as a file" in err
    code, _, err = run("detect", picture, "--threshold", "3")
    assert code == 2 and "[0, 1]" in err
    code, _, err = run("train", "detector", "faster-rcnn_r81")
    assert code == 2 and "The nearest: " in err
    code, _, err = run("train", "detector", BASE, "--data_root", "nowhere")
    assert code == 2 and "nowhere/train.json" in err and not Path("outputs").exists()
