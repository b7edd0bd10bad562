"""BatchFormer (arXiv 2203.01522) and BatchFormerV2 (arXiv 2204.01254) for MMDetection."""

from visionrel.detectors.batchformer.bbox_head import BatchFormerShared2FCBBoxHead
from visionrel.detectors.batchformer.detr import (
    BFDETR,
    BFDINO,
    BFConditionalDETR,
    BFDeformableDETR,
)
from visionrel.detectors.batchformer.layer import BatchFormerLayer, two_streams
from visionrel.detectors.batchformer.roi_head import BatchFormerCascadeRoIHead


__all__ = [
    "BFDETR",
    "BFDINO",
    "BFConditionalDETR",
    "BFDeformableDETR",
    "BatchFormerCascadeRoIHead",
    "BatchFormerLayer",
    "BatchFormerShared2FCBBoxHead",
    "two_streams",
]
