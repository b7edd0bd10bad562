"""Losses and sampling distributions, one paper's idea per file, all pure functions."""

from visionrel.losses.relation_focal import relation_focal_probabilities, sample_timesteps
from visionrel.losses.relation_steering import relation_steering_loss


__all__ = ["relation_focal_probabilities", "relation_steering_loss", "sample_timesteps"]
