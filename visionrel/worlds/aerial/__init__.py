"""The aerial world: roads, fields, water and roofs from above, with vehicles and people."""

from visionrel.worlds.aerial.dataset import (
    SPLITS,
    Split,
    Written,
    count_classes,
    write_aerial,
)
from visionrel.worlds.aerial.rendering import (
    PICTURE_SIDE,
    Annotation,
    draw_aerial,
    render_aerial,
)
from visionrel.worlds.aerial.sampling import sample_aerial, sample_conditions
from visionrel.worlds.aerial.scene import (
    CLASSES,
    FREQUENCIES,
    GROUPS,
    AerialObject,
    AerialScene,
    Camera,
    Conditions,
)


__all__ = [
    "CLASSES",
    "FREQUENCIES",
    "GROUPS",
    "PICTURE_SIDE",
    "SPLITS",
    "AerialObject",
    "AerialScene",
    "Annotation",
    "Camera",
    "Conditions",
    "Split",
    "Written",
    "count_classes",
    "draw_aerial",
    "render_aerial",
    "sample_aerial",
    "sample_conditions",
    "write_aerial",
]
