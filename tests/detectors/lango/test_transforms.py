"""The side file in a pipeline, and the checks before a training."""

from types import SimpleNamespace

import mmcv
import numpy as np
import pytest
from mmdet.datasets import CocoDataset, MultiImageMixDataset
from mmengine.registry import DefaultScope
from torch import nn

from visionrel.artifacts import save_json
from visionrel.data.aerial.conditions import encode_conditions, save_conditions
from visionrel.detectors.lango import (
    LangoCheckHook,
    LoadSceneCondition,
    RelationLearningLoss,
    VisualSemanticReasoner,
)
from visionrel.errors import InputError


NAMES = ("car", "bus")
NIGHT, RAIN = encode_conditions({"time": "night"}), encode_conditions({"weather": "rain"})


@pytest.fixture
def side_file(tmp_path):
    save_conditions(tmp_path / "conditions.json", {"a.png": NIGHT, "M1/a.png": RAIN})
    return str(tmp_path / "conditions.json")


def make_set(folder, side_file=None, names=("a.png", "b.png"), classes=NAMES, packed=True):
    images = [{"id": i, "file_name": name, "height": 8, "width": 8} for i, name in enumerate(names)]
    boxes = [
        {"id": i, "image_id": i, "category_id": 1, "bbox": [1, 1, 4, 4], "area": 16, "iscrowd": 0}
        for i in range(len(names))
    ]
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(classes)]
    save_json(
        folder / "boxes.json", {"images": images, "annotations": boxes, "categories": categories}
    )
    for name in names:
        mmcv.imwrite(np.zeros((8, 8, 3), np.uint8), str(folder / name))
    meta_keys = ("img_id", "img_path", "img_shape", *(("scene_cond",) if packed else ()))
    pipeline = [
        {"type": "LoadImageFromFile"},
        {"type": "LoadAnnotations", "with_bbox": True},
        *([{"type": "LoadSceneCondition", "ann_file": side_file}] if side_file else []),
        {"type": "PackDetInputs", "meta_keys": meta_keys},
    ]
    with DefaultScope.overwrite_default_scope("mmdet"):
        return CocoDataset(
            ann_file="boxes.json",
            data_root=str(folder),
            data_prefix={"img": ""},
            metainfo={"classes": classes},
            pipeline=pipeline,
            serialize_data=False,
        )


def check(dataset, model=None):
    runner = SimpleNamespace(
        model=model or nn.Identity(), train_dataloader=SimpleNamespace(dataset=dataset)
    )
    LangoCheckHook().before_train(runner)


def test_conditions_reach_the_data_sample(tmp_path, side_file):
    dataset = make_set(tmp_path, side_file)
    assert dataset[0]["data_samples"].metainfo["scene_cond"] == NIGHT
    assert dataset[1]["data_samples"].metainfo["scene_cond"] == {}


def test_the_longest_end_of_the_path_counts(side_file):
    transform = LoadSceneCondition(side_file)
    assert transform.find("/data/M1/a.png") == RAIN
    assert transform.find("/data/M2/a.png") == NIGHT
    assert transform.find("a.png") == NIGHT
    assert transform.find("/data/ba.png") == {}


def test_a_side_file_of_other_axes(side_file):
    with pytest.raises(InputError, match="'time' has the phrases"):
        LoadSceneCondition(side_file, axes={"time": ("day", "night")})


def relation_model(classes):
    bank = {"type": "random", "classes": classes, "dim": 4}
    relation = {"text_bank": bank, "in_channels": 4, "num_classes": len(classes)}
    return nn.ModuleDict({"relation": RelationLearningLoss(**relation)})


def test_good_data_pass(tmp_path, side_file):
    check(make_set(tmp_path, side_file), relation_model(NAMES))
    check(make_set(tmp_path))


@pytest.mark.parametrize("classes", [("bus", "car"), ("car", "van")])
def test_other_classes_than_the_data_set(tmp_path, classes):
    with pytest.raises(InputError, match=r"differ first at class \d: the bank has"):
        check(make_set(tmp_path), relation_model(classes))


def mixing(name):
    return {"type": name, "img_scale": (16, 16)}


@pytest.mark.parametrize("name", ["Mosaic", "MixUp", "CachedMosaic", "CachedMixUp"])
def test_mixing_is_refused(tmp_path, side_file, name):
    plain, labelled = make_set(tmp_path), make_set(tmp_path, side_file)
    sets = [
        labelled,
        {"type": "RepeatDataset", "dataset": labelled, "times": 2},
        {"type": "ConcatDataset", "datasets": [plain, labelled]},
    ]
    with DefaultScope.overwrite_default_scope("mmdet"):
        for dataset in sets:
            with pytest.raises(InputError, match=f"{name} mixes pictures"):
                check(MultiImageMixDataset(dataset, [mixing(name)]))
        check(MultiImageMixDataset(plain, [mixing(name)]))


def test_mixing_is_found_inside_other_transforms(tmp_path, side_file):
    dataset = make_set(tmp_path, side_file)
    with DefaultScope.overwrite_default_scope("mmdet"):
        inner = MultiImageMixDataset(
            dataset, [{"type": "RandomApply", "transforms": mixing("Mosaic")}]
        )
    with pytest.raises(InputError, match="Mosaic mixes pictures"):
        check(inner)


def test_conditions_that_are_not_packed(tmp_path, side_file):
    dataset = make_set(tmp_path, side_file, packed=False)
    written = r"meta_keys=\('img_id', 'img_path', 'img_shape', 'scene_cond'\)\) after it"
    with pytest.raises(InputError, match=written):
        check(dataset)
    packing = {"type": "PackDetInputs", "meta_keys": ("img_path", "scene_cond")}
    with DefaultScope.overwrite_default_scope("mmdet"):
        with pytest.raises(InputError, match=written):
            check(MultiImageMixDataset(dataset, [{"type": "RandomFlip", "prob": 0.0}]))
        check(MultiImageMixDataset(dataset, [packing]))


def test_a_side_file_of_other_pictures(tmp_path, side_file):
    with pytest.raises(InputError, match="names none of the pictures"):
        check(make_set(tmp_path, side_file, names=("c.png", "d.png")))


def test_every_problem_at_once(tmp_path, side_file):
    dataset = make_set(tmp_path, side_file, names=("c.png", "d.png"))
    with pytest.raises(InputError) as caught:
        check(dataset, relation_model(("bus", "car")))
    assert len(caught.value.problems) == 2


def test_a_reasoner_of_other_axes(tmp_path, side_file):
    bank = {"type": "random", "classes": NAMES, "dim": 4, "axes": {"time": ("day", "night")}}
    reasoner = VisualSemanticReasoner(bank, in_channels=8)
    with pytest.raises(InputError, match=r"LoadSceneCondition has the axes .*daytime"):
        check(make_set(tmp_path, side_file), nn.ModuleList([reasoner]))
