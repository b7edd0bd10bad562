"""Every shipped configuration builds: its detector, its data sets and their pipelines."""

import re
from collections.abc import Mapping

import pytest
from mmdet.registry import DATASETS, MODELS
from mmengine.config import utils
from mmengine.registry import DefaultScope

from visionrel.artifacts import save_json
from visionrel.data.aerial import AXES, CLASS_SETS, save_conditions
from visionrel.detectors.configuration import load_config, shipped_configs
from visionrel.detectors.evaluation import kept_boxes


CLASSES = {**CLASS_SETS, "trees": ("tree",)}
COUNTS = {name: len(CLASSES[name]) for name in ("aerial", "visdrone", "uavdt", "dota")}


@pytest.fixture(scope="module", autouse=True)
def no_look_at_metafiles():
    """For each `mmdet::` MMEngine reads 200 files of model cards, none of which is of a base."""

    def find_nothing(package, path):
        raise ValueError(f"{path} has no model card")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, "_get_cfg_metainfo", find_nothing)
        yield


def data_of(name: str) -> str:
    return name.rpartition("_")[2]


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """For each data set a folder with labels of one picture, which is not there."""
    folders = {}
    for name, classes in CLASSES.items():
        folder = tmp_path_factory.mktemp(name)
        labels = {
            "images": [{"id": 1, "file_name": "a.jpg", "width": 64, "height": 64}],
            "annotations": [],
            "categories": [{"id": i, "name": each} for i, each in enumerate(classes, 1)],
        }
        for split in ("train", "val", "test"):
            save_json(folder / f"{split}.json", labels)
        uniform = {axis: [1 / len(phrases)] * len(phrases) for axis, phrases in AXES.items()}
        save_conditions(folder / "train-conditions.json", {"a.jpg": uniform})
        folders[name] = folder
    return folders


def _quick(dataset):
    """Serializing collects garbage each time, which takes a second."""
    return dataset if "dataset" in dataset else {**dataset, "serialize_data": False}


def _blocks(node):
    """A mapping or a list and everything in it."""
    yield node
    parts = node.values() if isinstance(node, Mapping) else node
    for part in parts:
        if isinstance(part, Mapping | list | tuple):
            yield from _blocks(part)


@pytest.mark.parametrize("name", shipped_configs())
def test_builds(name, roots):
    config = load_config(name, data_root=roots[data_of(name)])
    with DefaultScope.overwrite_default_scope("mmdet"):
        model = MODELS.build(config.model)
        loaders = config.train_dataloader, config.val_dataloader, config.test_dataloader
        built = [DATASETS.build(_quick(loader.dataset)) for loader in loaders]
    assert not [key for key in config if key.startswith("_")], "a helper of the configuration"
    heads = [part for part in model.modules() if hasattr(part, "num_classes")]
    expected = {len(CLASSES[data_of(name)])}
    # A region proposal network has the one class "object".
    assert {head.num_classes for head in heads} - {1} == expected - {1}
    assert {tuple(part.metainfo["classes"]) for part in built} == {CLASSES[data_of(name)]}
    assert all(len(part) for part in built)
    ignoring = [each for each in _blocks(config.model) if "ignore_iof_thr" in each]
    assert all(each.type.startswith("IgnoreAware") for each in ignoring)
    if data_of(name) in ("visdrone", "uavdt", "dota"):
        assert kept_boxes(config) == 500
    processes, batch = map(int, re.search(r"_(\d+)xb(\d+)-", name).groups())
    assert config.train_dataloader.batch_size == batch
    if "auto_scale_lr" in config:
        assert config.auto_scale_lr.base_batch_size == processes * batch
    assert config.val_evaluator.ann_file == str(
        roots[data_of(name)] / config.val_dataloader.dataset.ann_file
    )


def test_the_families_are_complete():
    names = set(shipped_configs())
    for data, run in (
        ("aerial", "1xb4-2k"),
        *((each, "8xb1-12e") for each in COUNTS if each != "aerial"),
    ):
        depth = "r18" if data == "aerial" else "r50"
        for part in ("", "vsr-", "relation-", "lango-"):
            for base in ("gfl", "faster-rcnn"):
                assert f"{part}{base}_{depth}_fpn_{run}_{data}" in names
        for part in ("bf-", "bf-lango-"):
            assert f"{part}faster-rcnn_{depth}_fpn_{run}_{data}" in names
