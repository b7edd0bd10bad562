"""Aerial pictures with boxes: readers, converters to COCO, tiles and the doctor of labels."""

from visionrel.data.aerial.coco import (
    Box,
    Conversion,
    LabelledBox,
    LabelledPicture,
    clip_box,
    to_coco,
)
from visionrel.data.aerial.conditions import (
    AXES,
    SceneConditions,
    encode_conditions,
    load_conditions,
    save_conditions,
)
from visionrel.data.aerial.doctor import LabelReport, check_labels
from visionrel.data.aerial.dota import convert_dota
from visionrel.data.aerial.names import CLASS_SETS, DOTA, UAVDT, VISDRONE
from visionrel.data.aerial.tiles import (
    Tile,
    TileDetections,
    cut_boxes,
    make_tiles,
    merge_tiles,
    tile_starts,
    write_tiles,
)
from visionrel.data.aerial.uavdt import convert_uavdt
from visionrel.data.aerial.visdrone import convert_visdrone
from visionrel.data.aerial.voc import convert_voc


__all__ = [
    "AXES",
    "CLASS_SETS",
    "DOTA",
    "UAVDT",
    "VISDRONE",
    "Box",
    "Conversion",
    "LabelReport",
    "LabelledBox",
    "LabelledPicture",
    "SceneConditions",
    "Tile",
    "TileDetections",
    "check_labels",
    "clip_box",
    "convert_dota",
    "convert_uavdt",
    "convert_visdrone",
    "convert_voc",
    "cut_boxes",
    "encode_conditions",
    "load_conditions",
    "make_tiles",
    "merge_tiles",
    "save_conditions",
    "tile_starts",
    "to_coco",
    "write_tiles",
]
