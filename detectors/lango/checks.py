"""What can only be checked when model and data have met, before the first step."""

from collections.abc import Iterator, Sequence
from typing import Any

from mmdet.datasets.transforms import CachedMixUp, MixUp, Mosaic
from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.logging import print_log
from torch import nn

from visionrel.detectors.lango.reasoner import VisualSemanticReasoner
from visionrel.detectors.lango.relation import RelationLearningLoss
from visionrel.detectors.lango.text_bank import compare_classes
from visionrel.detectors.lango.transforms import CONDITION_KEY, LoadSceneCondition
from visionrel.errors import InputError


@HOOKS.register_module()
class LangoCheckHook(Hook):
    """Refuses a training whose data contradict the text bank or the scene conditions."""

    priority = "VERY_HIGH"

    def before_train(self, runner: Any) -> None:
        """Checks the model against the training set.

        Raises:
            InputError: If class names differ, pictures are mixed although their conditions are
                taught, the conditions are not packed, or the side file knows none of the pictures.
        """
        dataset = runner.train_dataloader.dataset
        known, total = check_data(runner.model, dataset)
        if total:
            print_log(f"Scene conditions are known for {known} of {total} pictures.", "current")


def check_data(model: nn.Module, dataset: Any) -> tuple[int, int]:
    """Compares a model with the data set it is to be trained on.

    Returns:
        How many pictures have a known condition, of how many that are looked up in a side file.

    Raises:
        InputError: With every problem.
    """
    transforms = [step for part in _parts(dataset) for step in _steps(part)]
    loaders = [step for step in transforms if isinstance(step, LoadSceneCondition)]
    classes = getattr(dataset, "metainfo", {}).get("classes", ())
    problems = list(_model_problems(model, classes, loaders))
    problems += [text for steps in _pipelines(dataset) for text in _packing_problems(steps)]
    mixing = [step for step in transforms if isinstance(step, Mosaic | MixUp | CachedMixUp)]
    if loaders and mixing:
        problems.append(
            f"{type(mixing[0]).__name__} mixes pictures and LoadSceneCondition gives them one "
            "condition; remove one of the two from the pipeline."
        )
    found = [known for part in _parts(dataset) for known in _look_up(part)]
    if found and not any(found):
        problems.append(
            "The side file of LoadSceneCondition names none of the pictures; its keys must be "
            "their file names or the ends of their paths."
        )
    if problems:
        raise InputError(list(dict.fromkeys(problems)))
    return sum(found), len(found)


def _model_problems(
    model: nn.Module, classes: Sequence[str], loaders: Sequence[LoadSceneCondition]
) -> Iterator[str]:
    for module in model.modules():
        if isinstance(module, RelationLearningLoss):
            yield from compare_classes(module.classes, classes)
        if isinstance(module, VisualSemanticReasoner):
            for loader in loaders:
                if loader.axes != module.axes:
                    yield (
                        f"LoadSceneCondition has the axes {loader.axes}, the reasoner's text bank "
                        f"has {module.axes}; give `axes` to the transform or take another bank."
                    )


def _packing_problems(steps: Sequence[Any]) -> Iterator[str]:
    """A condition that is loaded and not packed would silently leave the scene loss at 0."""
    places = [place for place, step in enumerate(steps) if isinstance(step, LoadSceneCondition)]
    if not places:
        return
    packing = [step for step in steps[places[-1] + 1 :] if hasattr(step, "meta_keys")]
    if not any(CONDITION_KEY in step.meta_keys for step in packing):
        keys = (*(packing[-1].meta_keys if packing else ("...",)), CONDITION_KEY)
        yield (
            f"LoadSceneCondition needs a later packing step whose `meta_keys` hold "
            f"{CONDITION_KEY!r}, otherwise no condition reaches the model; write "
            f"dict(type='PackDetInputs', meta_keys={keys}) after it."
        )


def _pipelines(dataset: Any, later: Sequence[Any] = ()) -> Iterator[list[Any]]:
    """All transforms that the pictures of each innermost data set go through, in their order."""
    steps = [*_steps(dataset), *later]
    inner = _inner(dataset)
    if not inner:
        yield steps
    for part in inner:
        yield from _pipelines(part, steps)


def _parts(dataset: Any) -> Iterator[Any]:
    """A data set and everything it wraps."""
    yield dataset
    for part in _inner(dataset):
        yield from _parts(part)


def _inner(dataset: Any) -> list[Any]:
    parts = getattr(dataset, "datasets", None) or [getattr(dataset, "dataset", None)]
    return [part for part in parts if part is not None]


def _steps(holder: Any) -> Iterator[Any]:
    """The transforms of a pipeline, nested ones included."""
    pipeline = getattr(holder, "pipeline", None) or getattr(holder, "transforms", [])
    for step in getattr(pipeline, "transforms", pipeline):
        yield step
        yield from _steps(step)


def _look_up(dataset: Any) -> list[bool]:
    """Whether each picture of a set that reads a side file is known there."""
    loaders = [step for step in _steps(dataset) if isinstance(step, LoadSceneCondition)]
    if not loaders or not hasattr(dataset, "get_data_info"):
        return []
    paths = (dataset.get_data_info(place)["img_path"] for place in range(len(dataset)))
    return [bool(loaders[0].find(path)) for path in paths]
