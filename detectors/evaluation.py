"""Scores of a detector on each split of its data: average precision and speed."""

import contextlib
import io
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import nn

from visionrel.detectors.checkpoints import load_weights, prediction_names, put_weights
from visionrel.detectors.comparison import SPLITS
from visionrel.detectors.configuration import load_config
from visionrel.detectors.inference import build_model, class_names
from visionrel.errors import InputError


logger = logging.getLogger(__name__)
AREAS = ("all", "small", "medium", "large")


@dataclass(frozen=True)
class Speed:
    """Milliseconds per picture, one at a time, and the parameters that prediction uses."""

    milliseconds: float
    parameters: int


def evaluate_detector(
    config: str | Path | Config,
    weights: str | Path,
    data_root: Path | None = None,
    splits: Sequence[str] = SPLITS,
    groups: Mapping[str, Sequence[str]] | None = None,
    max_detections: int = 100,
) -> dict[str, Any]:
    """Runs a detector over splits that differ in their conditions.

    Args:
        config: A configuration, its file, or the name of a shipped one.
        weights: safetensors, a checkpoint of MMEngine, or the name of a shipped detector.
        data_root: Folder with `SPLIT/` and `SPLIT.json`; that of the configuration if None.
        splits: Names of the splits.
        groups: Group to class names; each gets the mean over its classes. Groups with a class
            that the data do not have are left out.
        max_detections: Boxes per picture that count.

    Returns:
        `parameters`, `milliseconds` and `splits`: per split AP, AP50, AP75, AP by size, by class
        and by group, in [0, 1]; None where there is no object to find.

    Raises:
        InputError: If labels are missing or weights do not fit.
    """
    if not isinstance(config, Config):
        config = load_config(config, data_root=data_root)
    root = Path(data_root or config.data_root)
    if absent := [name for name in splits if not (root / f"{name}.json").is_file()]:
        raise InputError(
            f"{root} has no labels of {', '.join(absent)}; draw them with `visionrel data render "
            "aerial`, or name the splits that there are."
        )
    kept = kept_boxes(config)
    if kept is not None and max_detections > kept:
        logger.warning(
            "`max_detections` is %d, but the detector keeps at most %d boxes of a picture; raise "
            "`max_per_img` in `model.test_cfg` of the configuration to count more.",
            max_detections,
            kept,
        )
    model = build_model(config)
    put_weights(model, load_weights(weights), class_names(config)[0], weights)
    model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    found, seconds = {}, []
    for name in splits:
        results, spent = _predict(model, config, root, name)
        seconds += spent
        found[name] = score_boxes(root / f"{name}.json", results, groups, max_detections)
    speed = Speed(1000 * float(np.median(seconds)), count_parameters(model))
    return {**vars(speed), "splits": found}


def kept_boxes(config: Config) -> int | None:
    """Most boxes of a picture that a detector returns; None if its configuration does not tell."""
    settings = config.model.get("test_cfg") or {}
    return (settings.get("rcnn") or settings).get("max_per_img")


def count_parameters(model: nn.Module) -> int:
    """Number of parameters that prediction uses; those of training-only layers are left out."""
    used = prediction_names(model)
    return sum(value.numel() for name, value in model.named_parameters() if name in used)


def _predict(
    model: nn.Module, config: Config, root: Path, split: str
) -> tuple[list[dict[str, Any]], list[float]]:
    """COCO results of a split, and the seconds that each picture took."""
    settings = config.test_dataloader.copy()
    settings["batch_size"], settings["num_workers"] = 1, 0
    settings["persistent_workers"] = False
    settings["dataset"] = {
        **settings["dataset"],
        "data_root": str(root),
        "ann_file": f"{split}.json",
    }
    if (root / split).is_dir():
        settings["dataset"]["data_prefix"] = {"img": f"{split}/"}
    results, seconds = [], []
    with DefaultScope.overwrite_default_scope("mmdet"), torch.inference_mode(), _silence():
        loader = Runner.build_dataloader(settings)
        ids = loader.dataset.cat_ids
        for batch in loader:
            start = time.perf_counter()
            sample = model.test_step(batch)[0]
            seconds.append(time.perf_counter() - start)
            instances = sample.pred_instances.cpu().numpy()
            boxes = np.concatenate(
                [instances.bboxes[:, :2], instances.bboxes[:, 2:] - instances.bboxes[:, :2]], 1
            )
            results += [
                {
                    "image_id": sample.img_id,
                    "category_id": ids[label],
                    "bbox": box.tolist(),
                    "score": float(score),
                }
                for box, score, label in zip(boxes, instances.scores, instances.labels, strict=True)
            ]
    return results, seconds


def score_boxes(
    labels: Path,
    results: Sequence[Mapping[str, Any]],
    groups: Mapping[str, Sequence[str]] | None = None,
    max_detections: int = 100,
) -> dict[str, Any]:
    """Scores COCO results.

    Args:
        labels: COCO json.
        results: Entries with `image_id`, `category_id`, `bbox` and `score`.
        groups: Group to class names; those with a class that the labels lack are left out.
        max_detections: Boxes per picture that count.

    Returns:
        `AP`, `AP50`, `AP75`, `by_size`, `by_class` and `by_group`.
    """
    with _silence():
        truth = COCO(str(labels))
        if results:
            evaluation = COCOeval(truth, truth.loadRes([dict(item) for item in results]), "bbox")
        else:
            # pycocotools cannot load an empty list.
            evaluation = COCOeval(truth, COCO(), "bbox")
            evaluation.cocoDt.dataset = {**truth.dataset, "annotations": []}
            evaluation.cocoDt.createIndex()
        evaluation.params.maxDets = [max_detections]
        evaluation.evaluate()
        evaluation.accumulate()
    # [thresholds, recalls, classes, areas, counts]; -1 where there is nothing to find.
    precision = evaluation.eval["precision"][..., -1]
    names = [category["name"] for category in truth.loadCats(evaluation.params.catIds)]
    by_class = {name: _mean(precision[:, :, i, 0]) for i, name in enumerate(names)}
    return {
        "AP": _mean(precision[..., 0]),
        "AP50": _mean(precision[0, ..., 0]),
        "AP75": _mean(precision[5, ..., 0]),
        "by_size": {area: _mean(precision[..., i]) for i, area in enumerate(AREAS) if i},
        "by_class": by_class,
        "by_group": {
            group: _mean(precision[:, :, [names.index(name) for name in members], 0])
            for group, members in (groups or {}).items()
            if set(members) <= set(names)
        },
    }


def _mean(precision: np.ndarray) -> float | None:
    known = precision[precision > -1]
    return float(known.mean()) if known.size else None


def _silence() -> contextlib.redirect_stdout:
    """For pycocotools, which prints its progress."""
    return contextlib.redirect_stdout(io.StringIO())
