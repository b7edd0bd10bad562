"""LANGO for MMDetection: language-guided detectors, *reconstructed from the paper's abstract*.

"Language-guided Learning for Object Detection Tackling Multiple Variations in Aerial Images",
arXiv 2505.23193. Only the abstract and the first lines were available to us and there is no public
code: nothing here reproduces the authors' results.
"""

from visionrel.detectors.lango.checks import LangoCheckHook
from visionrel.detectors.lango.detectors import LangoCascadeRCNN, LangoFasterRCNN, LangoGFL
from visionrel.detectors.lango.heads import RelationGFLHead, RelationShared2FCBBoxHead
from visionrel.detectors.lango.reasoner import VisualSemanticReasoner
from visionrel.detectors.lango.relation import RelationLearningLoss
from visionrel.detectors.lango.text_bank import TextBank, build_text_bank
from visionrel.detectors.lango.transforms import LoadSceneCondition


__all__ = [
    "LangoCascadeRCNN",
    "LangoCheckHook",
    "LangoFasterRCNN",
    "LangoGFL",
    "LoadSceneCondition",
    "RelationGFLHead",
    "RelationLearningLoss",
    "RelationShared2FCBBoxHead",
    "TextBank",
    "VisualSemanticReasoner",
    "build_text_bank",
]
