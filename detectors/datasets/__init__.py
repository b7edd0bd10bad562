"""Aerial data sets for MMDetection: `CocoDataset` with class names whose order is checked.

Pictures of trees come with the package; make other json files with `visionrel data convert` or
`visionrel data render aerial`.
"""

from visionrel.detectors.datasets.aerial import (
    AerialDataset,
    AerialWorldDataset,
    DotaDataset,
    TreesDataset,
    UavdtDataset,
    VisDroneDataset,
)


__all__ = [
    "AerialDataset",
    "AerialWorldDataset",
    "DotaDataset",
    "TreesDataset",
    "UavdtDataset",
    "VisDroneDataset",
]
