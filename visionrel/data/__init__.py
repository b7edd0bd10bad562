"""Readers of training data; each checks everything before training begins."""

from visionrel.data.clips import Clip, read_clips
from visionrel.data.exemplars import (
    Exemplar,
    ExemplarDataset,
    ExemplarItem,
    fill_template,
    load_pixels,
    open_picture,
    read_exemplars,
)
from visionrel.data.video_files import (
    frame_indices,
    load_clip,
    read_pixels,
    resize_clip,
    write_gif,
    write_mp4,
)


__all__ = [
    "Clip",
    "Exemplar",
    "ExemplarDataset",
    "ExemplarItem",
    "fill_template",
    "frame_indices",
    "load_clip",
    "load_pixels",
    "open_picture",
    "read_clips",
    "read_exemplars",
    "read_pixels",
    "resize_clip",
    "write_gif",
    "write_mp4",
]
