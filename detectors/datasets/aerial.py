"""`CocoDataset` for aerial data: class names, colours and a check of their order."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import ClassVar

from mmdet.datasets import CocoDataset
from mmdet.datasets.api_wrappers import COCO
from mmdet.registry import DATASETS

from visionrel.data.aerial.names import DOTA, UAVDT, VISDRONE
from visionrel.errors import InputError


class _OrderedCoco(COCO):
    """Finds categories by name and makes sure that they come in the order asked for.

    MMDetection numbers labels by the order of the file, but names them by the order of `metainfo`:
    with two orders every class would silently carry another's name.
    """

    def get_cat_ids(
        self,
        cat_names: Sequence[str] = (),
        sup_names: Sequence[str] = (),
        cat_ids: Sequence[int] = (),
    ) -> list[int]:
        ids = super().get_cat_ids(list(cat_names), list(sup_names), list(cat_ids))
        found = [self.cats[number]["name"] for number in ids]
        if cat_names and found != list(cat_names):
            raise InputError(_describe(found, list(cat_names)))
        return ids


def _describe(found: list[str], expected: list[str]) -> str:
    remedy = "`visionrel data check LABELS --images_dir DIR --classes ...` lists all differences."
    if missing := [name for name in expected if name not in found]:
        return f"The labels have no category {', '.join(missing)}, which `metainfo` names. {remedy}"
    first = next(
        index for index, name in enumerate(expected) if index >= len(found) or found[index] != name
    )
    return (
        f"The labels have the classes in another order than `metainfo`: number {first} is "
        f"{found[first]!r}, expected {expected[first]!r}; reorder one of them. {remedy}"
    )


def _palette(count: int) -> list[tuple[int, int, int]]:
    """Colours evenly around the wheel."""
    return [
        tuple(round(255 * part) for part in colorsys.hsv_to_rgb(index / count, 0.75, 0.95))
        for index in range(count)
    ]


@DATASETS.register_module()
class AerialDataset(CocoDataset):
    """`CocoDataset` that refuses labels whose classes are in another order than its `metainfo`."""

    COCOAPI = _OrderedCoco


@DATASETS.register_module()
class VisDroneDataset(AerialDataset):
    """VisDrone2019-DET after `visionrel data convert visdrone`."""

    METAINFO: ClassVar[dict] = {"classes": VISDRONE, "palette": _palette(len(VISDRONE))}


@DATASETS.register_module()
class AerialWorldDataset(VisDroneDataset):
    """The aerial world after `visionrel data render aerial`; it has VisDrone's classes."""


@DATASETS.register_module()
class UavdtDataset(AerialDataset):
    """UAVDT-DET after `visionrel data convert uavdt`."""

    METAINFO: ClassVar[dict] = {"classes": UAVDT, "palette": _palette(len(UAVDT))}


@DATASETS.register_module()
class DotaDataset(AerialDataset):
    """DOTA v1.0 with upright boxes after `visionrel data convert dota`."""

    METAINFO: ClassVar[dict] = {"classes": DOTA, "palette": _palette(len(DOTA))}


@DATASETS.register_module()
class TreesDataset(AerialDataset):
    """Crowns of trees; the pictures that come with the package, or others of the one class."""

    METAINFO: ClassVar[dict] = {"classes": ("tree",), "palette": [(255, 200, 0)]}
