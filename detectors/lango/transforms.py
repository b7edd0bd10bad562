"""The known conditions of a picture, from a side file into the data sample."""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS

from visionrel.data.aerial.conditions import AXES, load_conditions


CONDITION_KEY = "scene_cond"
"""Of the conditions in results and, if it is among the `meta_keys`, in data samples."""


@TRANSFORMS.register_module()
class LoadSceneCondition(BaseTransform):
    """Adds `scene_cond`: axis to the probabilities of its phrases, known axes only.

    The side file is that of :mod:`visionrel.data.aerial.conditions`. `CocoDataset` drops unknown
    keys of pictures, hence a file of its own. Pictures are looked up by the end of their path, the
    longest first, so that `M0101/img000001.jpg` and `img000001.jpg` both work as names.

    Name `scene_cond` in the `meta_keys` of `PackDetInputs`; without it no condition reaches the
    model, which :class:`~visionrel.detectors.lango.checks.LangoCheckHook` refuses.

    A mixture of pictures has no single condition: `Mosaic` and `MixUp` are refused by
    :class:`~visionrel.detectors.lango.checks.LangoCheckHook`. A transform that changes the
    brightness contradicts the label `time`.

    Args:
        ann_file: the side file.
        axes: axis to phrases, those of the text bank.
    """

    def __init__(self, ann_file: str, axes: Mapping[str, Sequence[str]] = AXES) -> None:
        self.axes = {name: tuple(phrases) for name, phrases in axes.items()}
        self.conditions = load_conditions(Path(ann_file), axes)

    def find(self, img_path: str) -> Mapping[str, Sequence[float]]:
        """The known conditions of a picture; empty if there are none."""
        parts = PurePath(img_path).parts
        names = ("/".join(parts[start:]) for start in range(len(parts)))
        return next((self.conditions[name] for name in names if name in self.conditions), {})

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Adds `scene_cond` to the results of `LoadImageFromFile`."""
        results[CONDITION_KEY] = dict(self.find(results["img_path"]))
        return results
