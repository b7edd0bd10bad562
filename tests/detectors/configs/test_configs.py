"""Every shipped configuration builds: its detector, its data and their order, its optimizer."""

import re
from collections.abc import Mapping

import pytest
from mmdet.registry import MODELS
from mmengine.config import utils
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from visionrel.artifacts import save_json
from visionrel.data.aerial import AXES, CLASS_SETS, save_conditions
from visionrel.detectors.configuration import load_config, shipped_configs
from visionrel.detectors.evaluation import kept_boxes


CLASSES = {**CLASS_SETS, "trees": ("tree",)}


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


def _quick(loader):
    """Serializing collects garbage each time, which takes a second."""
    if "dataset" not in loader.dataset:
        loader.dataset.serialize_data = False
    return loader


def check_optimizer(model, settings):
    """Multipliers of `custom_keys` name parts of the model, and reach them."""
    optimizer = build_optim_wrapper(model, settings).optimizer
    groups = {id(part): group for group in optimizer.param_groups for part in group["params"]}
    trained = {name: part for name, part in model.named_parameters() if part.requires_grad}
    assert {id(part) for part in trained.values()} <= groups.keys()
    for key, changes in settings.get("paramwise_cfg", {}).get("custom_keys", {}).items():
        found = [groups[id(part)] for name, part in trained.items() if key in name]
        assert found, f"{key} names no part of the model"
        for name, multiplier in (("lr", "lr_mult"), ("weight_decay", "decay_mult")):
            value = settings.optimizer.get(name, 0) * changes.get(multiplier, 1)
            assert any(abs(group[name] - value) < 1e-12 for group in found)


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
        kinds = config.train_dataloader, config.val_dataloader, config.test_dataloader
        loaders = [Runner.build_dataloader(_quick(loader), seed=0) for loader in kinds]
        check_optimizer(model, config.optim_wrapper)
    built = [loader.dataset for loader in loaders]
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
    assert loaders[0].batch_sampler.batch_size == batch
    # Where it counts iterations, the one picture comes again and again.
    endless = "max_iters" in config.train_cfg
    assert len(next(iter(loaders[0].batch_sampler))) == (batch if endless else 1)
    assert all(list(loader.batch_sampler) == [[0]] for loader in loaders[1:])
    if "auto_scale_lr" in config:
        assert config.auto_scale_lr.base_batch_size == processes * batch
    assert config.val_evaluator.ann_file == str(
        roots[data_of(name)] / config.val_dataloader.dataset.ann_file
    )


# By depth of the backbone and data: the name of a run over an FPN, of Deformable DETR's, of DINO's.
RUNS = {"aerial": ("r18", *["1xb4-2k"] * 3)} | {
    data: ("r50", "8xb1-12e", "8xb3-50e", "8xb2-12e") for data in ("visdrone", "uavdt", "dota")
}
CASCADES = ["", "bf-", "lango-"]
CONTROLS = [
    f"{part}_faster-rcnn"
    for part in (
        *("lango-no-text", "lango-random-bank", "lango-shuffled-bank"),
        "relation-shuffled-bank",
    )
]


def families():
    """Names of all the configurations that `docs/detection.md` speaks of."""
    for data, (depth, fpn, deformable, dino) in RUNS.items():
        for part in ("", "vsr-", "relation-", "lango-"):
            for base in ("gfl", "faster-rcnn"):
                yield f"{part}{base}_{depth}_fpn_{fpn}_{data}"
        for part in ("bf-", "bf-lango-"):
            yield f"{part}faster-rcnn_{depth}_fpn_{fpn}_{data}"
        for part in ("", "bf-"):
            yield f"{part}deformable-detr_{depth}_{deformable}_{data}"
            yield f"{part}dino-4scale_{depth}_{dino}_{data}"
    yield from (f"{part}cascade-rcnn_r50_fpn_8xb1-12e_visdrone" for part in CASCADES)
    yield from (f"{part}_r18_fpn_1xb4-2k_aerial" for part in CONTROLS)
    yield "faster-rcnn_r18_fpn_1xb4-600_trees"


def test_the_families_are_complete():
    assert set(families()) == set(shipped_configs())
