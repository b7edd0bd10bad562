"""Class names of the data sets that the converters know, in the order of their labels."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType


VISDRONE: tuple[str, ...] = (
    *("pedestrian", "people", "bicycle", "car", "van", "truck"),
    *("tricycle", "awning-tricycle", "bus", "motor"),
)
"""VisDrone2019-DET: category ids 1 to 10; 0 is an ignored region, 11 is others."""

UAVDT: tuple[str, ...] = ("car", "truck", "bus")
"""UAVDT-DET: categories 1 to 3."""

DOTA: tuple[str, ...] = (
    *("plane", "baseball-diamond", "bridge", "ground-track-field", "small-vehicle"),
    *("large-vehicle", "ship", "tennis-court", "basketball-court", "storage-tank"),
    *("soccer-ball-field", "roundabout", "harbor", "swimming-pool", "helicopter"),
)
"""DOTA v1.0, in the order of its development kit."""

CLASS_SETS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"visdrone": VISDRONE, "uavdt": UAVDT, "dota": DOTA, "aerial": VISDRONE}
)
"""Names by which a command line may mean a whole list of classes."""
