"""Readers of training data; each checks everything before training begins."""

from visionrel.data.exemplars import (
    Exemplar,
    ExemplarDataset,
    ExemplarItem,
    fill_template,
    load_pixels,
    open_picture,
    read_exemplars,
)


__all__ = [
    "Exemplar",
    "ExemplarDataset",
    "ExemplarItem",
    "fill_template",
    "load_pixels",
    "open_picture",
    "read_exemplars",
]
