import copy
import json

import pytest
from PIL import Image

from visionrel.data.aerial import check_labels, encode_conditions, save_conditions
from visionrel.errors import InputError


CLASSES = ("car", "bus")
GOOD = {
    "images": [
        {"id": 1, "file_name": "a.png", "width": 40, "height": 30},
        {"id": 2, "file_name": "sub/b.png", "width": 20, "height": 20},
    ],
    "annotations": [
        {
            **{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 10, 5]},
            **{"area": 50, "iscrowd": 0},
        },
        {
            **{"id": 2, "image_id": 2, "category_id": 2, "bbox": [0, 0, 20, 20.5]},
            **{"area": 410, "iscrowd": 0},
        },
        {
            **{"id": 3, "image_id": 1, "category_id": 2, "bbox": [20, 20, 20, 10]},
            **{"area": 200, "iscrowd": 1},
        },
    ],
    "categories": [{"id": 1, "name": "car"}, {"id": 2, "name": "bus"}],
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images" / "sub").mkdir(parents=True)
    Image.new("RGB", (40, 30)).save(tmp_path / "images" / "a.png")
    Image.new("RGB", (20, 20)).save(tmp_path / "images" / "sub" / "b.png")
    return tmp_path


def diagnose(folder, content, **options):
    (folder / "labels.json").write_text(json.dumps(content), encoding="utf-8")
    return check_labels(folder / "labels.json", folder / "images", **options)


def changed(*changes):
    """The good labels with entries set: (list, index, key, value)."""
    content = copy.deepcopy(GOOD)
    for name, index, key, value in changes:
        content[name][index][key] = value
    return content


def test_good_labels_are_counted(folder):
    report = diagnose(folder, GOOD, classes=CLASSES)
    assert (report.pictures, report.boxes, report.ignored) == (2, {"car": 1, "bus": 1}, 1)
    assert report.sizes == {"40x30": 1, "20x20": 1} and report.warnings == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("images", 1, "id", 1), "Id 1 stands 2 times in `images`"),
        (("images", 1, "id", "2"), "must be a whole number"),
        (("images", 1, "file_name", "a.png"), "a.png stands 2 times"),
        (("images", 0, "file_name", "../a.png"), "leaves the folder"),
        (("images", 0, "file_name", "/a.png"), "leaves the folder"),
        (("images", 0, "file_name", "C:\\a.png"), "leaves the folder"),
        (("images", 0, "file_name", 7), "non-empty text"),
        (("images", 0, "file_name", "c.png"), "c.png is not in the folder"),
        (("images", 0, "width", 41), "has 40 x 30 pixels, the labels say 41 x 30"),
        (("images", 0, "width", 0), "must be positive"),
        (("annotations", 0, "id", 2), "Id 2 stands 2 times in `annotations`"),
        (("annotations", 0, "image_id", 9), "no picture has the id 9"),
        (("annotations", 0, "category_id", 0), "no category has the id 0"),
        (("annotations", 0, "iscrowd", None), "needs `iscrowd`"),
        (("annotations", 0, "area", 0), "needs an `area`"),
        (("annotations", 0, "bbox", [1, 2, 3]), "`bbox` must be"),
        (("annotations", 0, "bbox", [1, 2, float("nan"), 3]), "`bbox` must be"),
        (("annotations", 0, "bbox", [1, 2, 0, 3]), "has no area"),
        (("annotations", 0, "bbox", [50, 2, 3, 3]), "lies outside its picture of 40 x 30"),
        (("annotations", 0, "bbox", [30, 20, 38, 28]), "28 pixels beyond"),
        (("categories", 1, "name", "car"), "Class 'car' stands 2 times"),
        (("categories", 1, "name", None), "Category 2 needs a `name`"),
        (("categories", 1, "id", 1), "Id 1 stands 2 times in `categories`"),
    ],
)
def test_each_mistake_is_named(folder, change, message):
    with pytest.raises(InputError) as error:
        diagnose(folder, changed(change))
    assert message in str(error.value)


def test_all_kinds_are_listed_at_once_and_none_buries_the_others(folder):
    (folder / "images" / "sub" / "b.png").write_bytes(b"")
    content = changed(("images", 0, "width", 41), ("annotations", 0, "bbox", [1, 2, 0, 3]))
    content["annotations"] += [
        {"id": 10 + k, "image_id": 9, "category_id": 1, "bbox": [1, 1, 1, 1]} for k in range(50)
    ]
    with pytest.raises(InputError) as error:
        diagnose(folder, content, classes=("car", "tram"))
    text = str(error.value)
    for part in (
        *("sub/b.png", "0 bytes", "41 x 30", "no area", "no picture has the id 9"),
        *("'tram' is expected", "'bus' in `categories` is not among", "and 30 more of this kind"),
    ):
        assert part in text


def test_another_order_of_classes_names_the_first_difference(folder):
    with pytest.raises(InputError, match="number 0 is 'car', expected 'bus'"):
        diagnose(folder, GOOD, classes=("bus", "car"))


@pytest.mark.parametrize("content", [[], {"images": []}, {**GOOD, "annotations": [1]}])
def test_other_json_is_refused(folder, content):
    with pytest.raises(InputError, match="COCO"):
        diagnose(folder, content)


def test_a_missing_folder_is_named(folder):
    (folder / "labels.json").write_text(json.dumps(GOOD), encoding="utf-8")
    with pytest.raises(InputError, match="`images_dir`"):
        check_labels(folder / "labels.json", folder / "nowhere")


def test_what_is_suspicious_is_a_warning(folder):
    Image.new("RGB", (5, 5)).save(folder / "images" / "spare.jpg")
    content = changed(("annotations", 1, "iscrowd", 1), ("annotations", 2, "ignore", 1))
    twin = {**content["annotations"][0], "id": 4}
    thin = {**content["annotations"][0], "id": 5, "bbox": [3, 3, 0.5, 9], "area": 4.5}
    content["annotations"] += [twin, thin]
    text = "\n".join(diagnose(folder, content).warnings)
    for part in (
        *(
            "no box of: bus",
            "1 pictures have only ignored boxes",
            "1 boxes stand there more than once",
        ),
        *("under 1 pixel", "have `ignore`", "1 pictures of the folder are not in the labels"),
    ):
        assert part in text


def test_pictures_without_any_box_are_told_apart_from_those_with_ignored_ones(folder):
    content = changed(("annotations", 1, "iscrowd", 1), ("annotations", 0, "iscrowd", 1))
    content["annotations"] = [e for e in content["annotations"] if e["image_id"] == 1]
    text = "\n".join(diagnose(folder, content).warnings)
    assert "1 pictures have no box; MMDetection leaves them out" in text
    assert "1 pictures have only ignored boxes; MMDetection keeps them" in text


def test_conditions_are_checked_too(folder):
    side = folder / "conditions.json"
    save_conditions(side, {"a.png": encode_conditions({"time": "night"})})
    warnings = diagnose(folder, GOOD, conditions=side).warnings
    assert warnings == ["1 pictures have no scene conditions"]
    save_conditions(side, {"a.png": {"time": (0.5, 0.1, 0.1)}})
    with pytest.raises(InputError, match="sum to 1"):
        diagnose(folder, GOOD, conditions=side)


def test_conditions_may_have_axes_of_their_own(folder):
    axes = {"time": ("at noon", "at midnight")}
    content = {"axes": {"time": list(axes["time"])}, "images": {"a.png": {"time": [0, 1]}}}
    (folder / "conditions.json").write_text(json.dumps(content), encoding="utf-8")
    told = {"classes": CLASSES, "conditions": folder / "conditions.json"}
    assert diagnose(folder, GOOD, **told, axes=axes)
    with pytest.raises(InputError, match="axis 'time' has the phrases"):
        diagnose(folder, GOOD, **told)


def test_a_part_of_the_classes_may_be_learned_in_the_order_of_the_labels(folder):
    assert diagnose(folder, GOOD, classes=("bus",), part=True)
    with pytest.raises(InputError, match="'car' in `categories` is not among those expected"):
        diagnose(folder, GOOD, classes=("bus",))
    with pytest.raises(InputError, match="number 0 is 'car', expected 'bus'"):
        diagnose(folder, GOOD, classes=("bus", "car"), part=True)
