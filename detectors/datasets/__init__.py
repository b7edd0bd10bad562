"""Aerial data sets for MMDetection: `CocoDataset` with class names whose order is checked.

Make the json files with `visionrel data convert` or `visionrel data render aerial`.
"""

from visionrel.detectors.datasets.aerial import (
    AerialDataset,
    AerialWorldDataset,
    DotaDataset,
    UavdtDataset,
    VisDroneDataset,
)


__all__ = [
    "AerialDataset",
    "AerialWorldDataset",
    "DotaDataset",
    "UavdtDataset",
    "VisDroneDataset",
]
