"""Losses and sampling distributions, one paper's idea per file, all pure functions."""

from visionrel.losses.keypoint_matching import KeypointReduction, keypoint_matching_loss
from visionrel.losses.masked_reconstruction import MaskForm, masked_reconstruction_loss
from visionrel.losses.predicate_attention import predicate_attention_loss
from visionrel.losses.relation_focal import (
    focal_probabilities_at,
    relation_focal_probabilities,
    sample_timesteps,
)
from visionrel.losses.relation_learning import relation_learning_loss
from visionrel.losses.relation_steering import relation_steering_loss
from visionrel.losses.relational_contrastive import relational_contrastive_loss
from visionrel.losses.scene_condition import scene_condition_loss
from visionrel.losses.token_alignment import token_alignment_loss
from visionrel.losses.token_relation import RelationTerms, token_relation_distillation_loss


__all__ = [
    "KeypointReduction",
    "MaskForm",
    "RelationTerms",
    "focal_probabilities_at",
    "keypoint_matching_loss",
    "masked_reconstruction_loss",
    "predicate_attention_loss",
    "relation_focal_probabilities",
    "relation_learning_loss",
    "relation_steering_loss",
    "relational_contrastive_loss",
    "sample_timesteps",
    "scene_condition_loss",
    "token_alignment_loss",
    "token_relation_distillation_loss",
]
